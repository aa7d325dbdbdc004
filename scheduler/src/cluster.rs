//! What the shells of a master share: the way in (commands), the way out (applied entries and state
//! snapshots), and what is soft (usage, why tasks wait). Holds no decisions.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, RwLock};

use arc_swap::ArcSwap;
use imbl::OrdMap;
use spec::features::Features;
use spec::ids::{AgentId, AppId, MasterId, TaskId};
use spec::protocol::LogFile;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::consensus::{Commits, Turns};
use crate::placement::{Policy, Waiting};
use crate::state::{Applied, Command, MasterInfo, Outcome, State};
use crate::usage::{Telling, Told};

/// Commands that wait for the log: one of every agent that a master takes.
const COMMANDS_MAX: usize = 16_384;
/// Entries that a slow reader of [`Cluster::subscribe`] may be behind before it is told that it missed some.
const APPLIED_BACKLOG: usize = 8192;

/// What a master was started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--name`.
    pub name: String,
    /// Where REST answers.
    pub http: SocketAddr,
    /// Where agents and masters connect.
    pub rpc: SocketAddr,
    /// Where DNS answers.
    pub dns: SocketAddr,
    /// `host:port` of REST as others reach it.
    pub advertised_http: String,
    /// What documents may say.
    pub features: Features,
    /// The DNS domain, `mesos`.
    pub dns_domain: String,
    /// How long a task may take from placed to running before it is started anew.
    pub launch_timeout_millis: u64,
    /// Which agents are good ones for a task.
    pub placement: Policy,
    /// Silence of an agent after which it counts as lost.
    pub agent_timeout_millis: u64,
}

impl Options {
    /// A master that takes free ports of this machine, with what the program takes where nothing is said.
    pub fn on_free_ports(name: impl Into<String>) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            name: name.into(),
            http: any,
            rpc: any,
            dns: any,
            advertised_http: any.to_string(),
            features: Features::default(),
            dns_domain: "mesos".to_owned(),
            launch_timeout_millis: 300_000,
            placement: Policy::default(),
            agent_timeout_millis: 75_000,
        }
    }

    /// What the other masters are told of this one. An address that means all is none that they reach: the
    /// one of REST, which is told as well, takes its place.
    pub fn info(&self) -> MasterInfo {
        let told = self.advertised_http.parse::<SocketAddr>().map(|http| http.ip());
        let reached = |bound: SocketAddr| match told {
            Ok(ip) if bound.ip().is_unspecified() => SocketAddr::new(ip, bound.port()),
            _ => bound,
        };
        MasterInfo {
            name: self.name.clone(),
            http: self.advertised_http.clone(),
            rpc: reached(self.rpc),
            dns: reached(self.dns),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Who leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Current term.
    pub term: u64,
    /// Is it this master, and has it applied everything its term began with?
    pub leading: bool,
    /// `host:port` of the leader's REST, if known.
    pub leader_http: Option<String>,
}

/// Why a command got no outcome. Whether it took effect is then unknown, except for
/// `NotLeader`, `TooLarge` and `Busy`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Nothing was done: ask the leader.
    #[error("this master does not lead")]
    NotLeader,
    /// Nothing was done, and trying again is no use.
    #[error(
        "the change takes {bytes} bytes in the replicated log, more than the {limit} of an entry: make it smaller, or split it"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What an entry holds.
        limit: usize,
    },
    /// Nothing was done: the queue is full.
    #[error("too many commands are waiting; try again")]
    Busy,
    /// The outcome is unknown.
    #[error("the command was not confirmed in time; it may or may not have taken effect")]
    TimedOut,
    /// The outcome is unknown; no more will come.
    #[error("this master is shutting down")]
    Closed,
}

/// A command on its way in.
#[derive(Debug)]
pub struct Asked {
    /// What.
    pub command: Command,
    /// Where the outcome goes.
    pub answer: oneshot::Sender<Result<Outcome, AskError>>,
}

/// A request for a task's log, on its way to the agent's session.
#[derive(Debug)]
pub struct LogRequest {
    /// The task.
    pub task: TaskId,
    /// Its agent.
    pub agent: AgentId,
    /// Which output.
    pub file: LogFile,
    /// Begin this many lines before the end.
    pub tail_lines: Option<u32>,
    /// Go on as it grows.
    pub follow: bool,
    /// Where the parts go; dropping the receiver ends the request. An `Err` is the last part.
    pub parts: mpsc::Sender<Result<Vec<u8>, String>>,
}

/// One master, for `GET /v2/masters` and for whoever decides about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterStatus {
    /// Its number.
    pub id: MasterId,
    /// Absent in the moment between joining the group and being named in the state.
    pub info: Option<MasterInfo>,
    /// What it is in the group.
    pub role: MasterRole,
    /// Does it lead?
    pub leader: bool,
    /// Was it heard of lately? `None` when the master that was asked does not lead and cannot know.
    pub reachable: Option<bool>,
    /// Entries of the log that it lacks; `None` as above.
    pub behind: Option<u64>,
    /// What its disk has done, and how long its log's thread was busy at a stretch; `None` of all but the one that
    /// was asked.
    pub log: Option<(Commits, Turns)>,
}

/// What a master is in the replicated group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterRole {
    /// It votes.
    Voter,
    /// It receives the log, and votes once it has caught up.
    Learner,
    /// It is being removed, or has not begun to take part.
    Outside,
}

/// Something about the masters themselves, on its way to `masters` (the shell round membership).
#[derive(Debug)]
pub enum MastersRequest {
    /// Answer when what this master has applied is all that was acknowledged before.
    Current(oneshot::Sender<Result<(), AskError>>),
    /// Who there is. Any master can say.
    List(oneshot::Sender<Result<Vec<MasterStatus>, AskError>>),
    /// Take a master out of the group, then forget it. The leader first hands over when it is meant itself.
    Remove {
        /// Which.
        id: MasterId,
        /// When it is out, or why not: a sentence for people.
        answer: oneshot::Sender<Result<(), MastersError>>,
    },
    /// Let another master lead.
    Transfer {
        /// Whom; the one that is furthest when not given.
        to: Option<MasterId>,
        /// When another one leads, or why not.
        answer: oneshot::Sender<Result<(), MastersError>>,
    },
}

/// Why a change of the masters was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MastersError {
    /// As for every command.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// There is no such master.
    #[error("Master {0} does not exist")]
    Unknown(MasterId),
    /// It would do harm, for this reason.
    #[error("{0}")]
    Refused(String),
}

/// Shared by all shells of one master.
#[derive(Debug)]
pub struct Cluster {
    /// What it was started with.
    pub options: Options,
    state: ArcSwap<State>,
    applied: broadcast::Sender<Arc<Applied>>,
    commands: mpsc::Sender<Asked>,
    logs: mpsc::Sender<LogRequest>,
    masters: mpsc::Sender<MastersRequest>,
    leadership: watch::Sender<Leadership>,
    /// How many snapshots have taken the place of the state.
    restored: watch::Sender<u64>,
    /// Why tasks wait, by app; replaced as a whole by the control loop.
    pub waiting: ArcSwap<OrdMap<AppId, Arc<Waiting>>>,
    usage: RwLock<BTreeMap<AgentId, Arc<Told>>>,
    /// Agents that have a session with this master; kept by the fleet.
    pub sessions: AtomicUsize,
    /// Agents that have been away for too long and are not given up yet, since too many were lately; kept by the fleet.
    pub held_back: AtomicUsize,
}

/// The receiving ends that the master's parts take.
#[derive(Debug)]
pub struct Inlets {
    /// Commands, for the proposer.
    pub commands: mpsc::Receiver<Asked>,
    /// Log requests, for the fleet.
    pub logs: mpsc::Receiver<LogRequest>,
    /// Questions about the masters, for `masters`.
    pub masters: mpsc::Receiver<MastersRequest>,
}

impl Cluster {
    /// An empty cluster and the ends that feed from it.
    pub fn new(options: Options) -> (Arc<Self>, Inlets) {
        let (commands, command_inlet) = mpsc::channel(COMMANDS_MAX);
        let (logs, log_inlet) = mpsc::channel(64);
        let (masters, masters_inlet) = mpsc::channel(4096);
        let cluster = Self {
            options,
            state: ArcSwap::default(),
            applied: broadcast::channel(APPLIED_BACKLOG).0,
            commands,
            logs,
            masters,
            leadership: watch::Sender::default(),
            restored: watch::Sender::default(),
            waiting: ArcSwap::default(),
            usage: RwLock::default(),
            sessions: AtomicUsize::new(0),
            held_back: AtomicUsize::new(0),
        };
        (Arc::new(cluster), Inlets { commands: command_inlet, logs: log_inlet, masters: masters_inlet })
    }

    /// Proposes a command and waits until it is replicated and applied.
    pub async fn ask(&self, command: Command) -> Result<Outcome, AskError> {
        let (answer, outcome) = oneshot::channel();
        self.commands.try_send(Asked { command, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AskError::Busy,
            mpsc::error::TrySendError::Closed(_) => AskError::Closed,
        })?;
        outcome.await.map_err(|_| AskError::Closed)?
    }

    /// Waits until this master, which must lead, has applied all that was acknowledged before the call: what
    /// is read then is linearizable.
    pub async fn current(&self) -> Result<(), AskError> {
        self.about_masters(MastersRequest::Current).await?
    }

    /// The masters of the cluster.
    pub async fn masters(&self) -> Result<Vec<MasterStatus>, AskError> {
        self.about_masters(MastersRequest::List).await?
    }

    /// Takes a master out of the cluster.
    pub async fn remove_master(&self, id: MasterId) -> Result<(), MastersError> {
        self.about_masters(|answer| MastersRequest::Remove { id, answer }).await?
    }

    /// Lets another master lead.
    pub async fn transfer_leadership(&self, to: Option<MasterId>) -> Result<(), MastersError> {
        self.about_masters(|answer| MastersRequest::Transfer { to, answer }).await?
    }

    async fn about_masters<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> MastersRequest,
    ) -> Result<T, AskError> {
        let (answer, answered) = oneshot::channel();
        self.masters.try_send(request(answer)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AskError::Busy,
            mpsc::error::TrySendError::Closed(_) => AskError::Closed,
        })?;
        answered.await.map_err(|_| AskError::Closed)
    }

    /// The latest applied state; cheap.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Applied entries from now on, in order.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Applied>> {
        self.applied.subscribe()
    }

    /// Called by the replicated machine alone: the state moved on. State first, then the news of it.
    pub fn publish(&self, state: State, applied: impl IntoIterator<Item = Applied>) {
        self.state.store(Arc::new(state));
        for entry in applied {
            let _ = self.applied.send(Arc::new(entry));
        }
    }

    /// Called by the replicated machine alone: another state has taken the place of the one before, and no
    /// entry says how they differ.
    pub fn replace(&self, state: State) {
        self.state.store(Arc::new(state));
        self.restored.send_modify(|count| *count += 1);
    }

    /// Changes when [`Self::replace`] was called. Whoever follows entries begins anew from the state then.
    pub fn restored(&self) -> watch::Receiver<u64> {
        self.restored.subscribe()
    }

    /// Who leads, and news of it.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    /// Called by the replicated machine alone.
    pub fn set_leadership(&self, leadership: Leadership) {
        self.leadership.send_if_modified(|current| {
            let changed = *current != leadership;
            *current = leadership;
            changed
        });
    }

    /// Asks an agent for a task's log.
    pub async fn open_log(&self, request: LogRequest) -> Result<(), AskError> {
        self.logs.send(request).await.map_err(|_| AskError::Closed)
    }

    /// Latest measured use of each agent.
    pub fn usage(&self) -> BTreeMap<AgentId, Arc<Told>> {
        self.usage.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// What an agent says of it. Called by the fleet alone.
    pub fn take_usage(&self, agent: &AgentId, telling: Telling) {
        let mut book = self.usage.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        match book.get_mut(agent) {
            Some(told) => *told = Arc::new(Told::after(Some(&**told), telling)),
            None => drop(book.insert(agent.clone(), Arc::new(Told::after(None, telling)))),
        }
    }

    /// An agent's session has ended. Called by the fleet alone.
    pub fn forget_usage(&self, agent: &AgentId) {
        self.usage.write().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(agent);
    }
}
