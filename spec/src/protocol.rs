//! What agents and masters say to each other, over one long-lived TCP stream of length-delimited frames,
//! each a `postcard` encoding of one message. Enums only grow at the end.
//!
//! The agent opens with [`AgentMessage::Hello`]; the leader answers [`MasterMessage::Welcome`] or
//! [`MasterMessage::Refused`], then sends the complete set of wanted tasks once ([`Wanted::complete`])
//! and changes to it from then on. Every status carries a sequence number and is said again after a
//! reconnect until it is acknowledged, which happens when it is in the replicated state.
//!
//! A master that does not lead answers an opening with [`MasterMessage::Elsewhere`]. While a leader works on
//! an opening it says [`MasterMessage::Beat`], so that a busy leader is told from a dead one.
//!
//! In a session that stands the agent asks and the leader answers: an agent that has nothing to say sends a beat, or
//! what it uses in its place, every [`BEAT_MILLIS`] (up to version 3 every [`HEARTBEAT_MILLIS`]), and the leader
//! answers each at once. A leader that cannot read, because what it has read waits for its log, still says a beat
//! before the agent wonders.
//!
//! Versions: masters take agents of [`VERSION_MIN`] to [`VERSION`] and say to each only what its version knows; an
//! agent says its own. So masters are upgraded first, then agents. Version 2 added [`AgentMessage::WhoLeads`],
//! [`MasterMessage::Masters`] and [`MasterMessage::Elsewhere`]; to an agent of version 1 a master that does not
//! lead just closes the connection. Version 3 added [`AgentMessage::Explain`]: the complete set holds no definitions
//! of tasks that the agent has named in its opening. Version 4 added [`AgentMessage::UsageChanges`], and agents that
//! speak half as often.

mod fence;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::AppDocument;
use crate::ids::{AgentId, TaskId};
use crate::resources::Resources;
use crate::time::Timestamp;

pub use fence::{Fence, Standing, epoch_begin, next_epoch};

/// Version of this protocol.
pub const VERSION: u16 = 4;
/// Oldest version of an agent that masters take.
pub const VERSION_MIN: u16 = 1;
/// Masters that an agent is told of, and keeps.
pub const MASTERS_MAX: usize = 16;
/// First bytes of a connection: what is not Gantry's is told apart before anything is decoded.
pub const MAGIC: [u8; 4] = *b"GNTY";
/// No frame is larger; the other side is cut off when it tries.
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest that a leader which works on something for an agent stays silent, and an agent up to version 3.
pub const HEARTBEAT_MILLIS: u64 = 1_000;
/// The longest that an agent stays silent since version 4.
pub const BEAT_MILLIS: u64 = 2_000;
/// Silence after which either side gives the connection up.
pub const SILENCE_MILLIS_MAX: u64 = 10_000;

/// From an agent to the leader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AgentMessage {
    /// Opens the session.
    Hello(Box<Hello>),
    /// News of tasks, in order of `seq`.
    Status(Vec<TaskReport>),
    /// Measured use of the machine and of all tasks, every few seconds; also serves as a beat.
    Usage(Usage),
    /// Nothing to say, still here. Answered at once.
    Beat,
    /// Part of a log asked for by [`MasterMessage::OpenLog`].
    LogData {
        /// The stream of the request.
        stream: u64,
        /// Bytes as the task wrote them.
        data: Vec<u8>,
    },
    /// No more of that log; `error` when it could not be read.
    LogEnd {
        /// The stream of the request.
        stream: u64,
        /// Why it could not be read.
        error: Option<String>,
    },
    /// In place of [`AgentMessage::Hello`]: who leads? Any master answers [`MasterMessage::Elsewhere`], the leader
    /// with its own address, and closes. Since version 2.
    WhoLeads,
    /// Tasks that the agent has and knows no definition of, when it was not sent one with the complete set: what
    /// was kept of them is lost. Since version 3.
    Explain(Vec<TaskId>),
    /// As [`AgentMessage::Usage`], without the tasks that use what was last said of them on this connection. Since
    /// version 4.
    UsageChanges(Usage),
}

/// Who the agent is and what it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the agent; the session speaks it.
    pub protocol: u16,
    /// The id from an earlier registration, if any.
    pub agent_id: Option<AgentId>,
    /// The cluster it belongs to, if it ever joined one.
    pub cluster_id: Option<Uuid>,
    /// Highest fence obeyed so far.
    pub fence: Fence,
    /// Capacity and attributes.
    pub info: AgentInfo,
    /// Every task it knows, running or ended and not yet acknowledged.
    pub tasks: Vec<TaskReport>,
}

/// What an agent offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Name shown as `host` of its tasks; the `--ip` unless told otherwise.
    pub hostname: String,
    /// Where its tasks are reached.
    pub ip: IpAddr,
    /// What placement may hand out.
    pub capacity: Resources,
    /// Ports that may be handed out, inclusive ranges, sorted, not overlapping.
    pub ports: Vec<(u16, u16)>,
    /// Attributes for constraints; values in Mesos' text form.
    pub attributes: BTreeMap<String, String>,
    /// What it can run.
    pub runtimes: Runtimes,
    /// Version of the agent program.
    pub version: String,
}

/// Which kinds of task an agent can run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtimes {
    /// DOCKER containers: `None` when a Docker Engine answers, else why not.
    pub docker: Option<String>,
    /// Commands without an image: `None` when they can run, else why not.
    pub process: Option<String>,
    /// Everything is only simulated.
    pub hollow: bool,
}

/// The state of one task as its agent sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// The task.
    pub task: TaskId,
    /// Grows with every report of the agent, never repeats.
    pub seq: u64,
    /// What it is now.
    pub state: TaskState,
    /// When that was so, by the agent's clock.
    pub at: Timestamp,
    /// A sentence for people: why it failed, what it waits for.
    pub message: String,
    /// Addresses of the task; empty means the agent's.
    pub addresses: Vec<IpAddr>,
    /// One entry per health check of the app that has had a result, by index.
    pub health: Vec<HealthReport>,
    /// Results of readiness checks, by name.
    pub readiness: Vec<ReadinessReport>,
    /// For endings: a health check was the reason of the kill.
    pub unhealthy_kill: bool,
}

/// Mesos' task states, as far as an agent can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TaskState {
    /// Accepted; image or artifacts are on their way.
    Staging,
    /// Being started.
    Starting,
    /// Up.
    Running,
    /// Told to stop.
    Killing,
    /// Ended by itself with exit code 0.
    Finished,
    /// Ended by itself otherwise, or could not be run.
    Failed,
    /// Ended because it was told to.
    Killed,
    /// The definition cannot be run at all.
    Error,
    /// Gone without a trace (the machine restarted, somebody removed the container).
    Gone,
    /// Never arrived: the agent was never told of it.
    Dropped,
}

impl TaskState {
    /// Will it never change again?
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Staging | Self::Starting | Self::Running | Self::Killing)
    }
}

/// The standing of one health check of one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// Index in the app's `healthChecks`.
    pub check: u32,
    /// Did the last one succeed?
    pub alive: bool,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// First success ever.
    pub first_success: Option<Timestamp>,
    /// Last success.
    pub last_success: Option<Timestamp>,
    /// Last failure.
    pub last_failure: Option<Timestamp>,
    /// Why it failed.
    pub last_failure_cause: Option<String>,
}

/// The standing of one readiness check of one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadinessReport {
    /// Name of the check.
    pub name: String,
    /// Passed (for good).
    pub ready: bool,
    /// Status, content type and body of the last response, when the check asks to keep it.
    pub last_response: Option<(u16, String, String)>,
}

/// Measured use of the machine and of each task. Soft: lives in the leader's memory only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// When measured.
    pub at: Timestamp,
    /// The whole machine.
    pub machine: Measured,
    /// Each running task.
    pub tasks: Vec<(TaskId, Measured)>,
}

/// CPU and memory in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// CPU over the last interval, in thousandths of a core.
    pub cpus_milli: u64,
    /// Resident memory in bytes.
    pub mem_bytes: u64,
}

/// From the leader to an agent. `D` is the form of definitions: an agent reads them where they lie, as `&[u8]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MasterMessage<D = AppDocument> {
    /// The session stands.
    Welcome(Welcome),
    /// It does not, and will not until a person does something.
    Refused {
        /// What a person has to do about it.
        reason: String,
    },
    /// What should run.
    Wanted(Wanted<D>),
    /// All reports up to this sequence number are in the replicated state. What is said after this under a higher
    /// fence than before knows of them: it names no task to be run that has ended by them.
    Acknowledged {
        /// The last one.
        seq: u64,
    },
    /// Nothing to say, still here.
    Beat,
    /// Send a task's log.
    OpenLog(OpenLog),
    /// Nobody reads that log any more.
    CloseLog {
        /// Which.
        stream: u64,
    },
    /// That many more parts of the log may be sent: its reader has taken as many.
    MoreLog {
        /// Which.
        stream: u64,
        /// How many more.
        parts: u32,
    },
    /// All masters: after the welcome, and when they change. Since version 2.
    Masters {
        /// Where they take agents. At most [`MASTERS_MAX`], as of `dns`.
        rpc: Vec<SocketAddr>,
        /// Where they answer DNS.
        dns: Vec<SocketAddr>,
    },
    /// This master does not lead; the last message of the connection. Since version 2.
    Elsewhere {
        /// Where the leader takes agents, if this master knows.
        leader: Option<SocketAddr>,
        /// The term of which this master speaks: what is said of a lower one is out of date.
        term: u64,
    },
}

impl<D> MasterMessage<D> {
    /// The same with definitions in another form, or why one cannot be had.
    pub fn with_apps<E, X>(self, form: impl FnMut(D) -> Result<E, X>) -> Result<MasterMessage<E>, X> {
        Ok(match self {
            Self::Wanted(Wanted { fence, complete, apps, run, kill }) => {
                let apps = apps.into_iter().map(form).collect::<Result<_, X>>()?;
                MasterMessage::Wanted(Wanted { fence, complete, apps, run, kill })
            }
            Self::Welcome(welcome) => MasterMessage::Welcome(welcome),
            Self::Refused { reason } => MasterMessage::Refused { reason },
            Self::Acknowledged { seq } => MasterMessage::Acknowledged { seq },
            Self::Beat => MasterMessage::Beat,
            Self::OpenLog(request) => MasterMessage::OpenLog(request),
            Self::CloseLog { stream } => MasterMessage::CloseLog { stream },
            Self::MoreLog { stream, parts } => MasterMessage::MoreLog { stream, parts },
            Self::Masters { rpc, dns } => MasterMessage::Masters { rpc, dns },
            Self::Elsewhere { leader, term } => MasterMessage::Elsewhere { leader, term },
        })
    }
}

/// Answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version that the session speaks: that of the agent.
    pub protocol: u16,
    /// The agent's id, new or old.
    pub agent_id: AgentId,
    /// The cluster.
    pub cluster_id: Uuid,
    /// Where the leader speaks from.
    pub fence: Fence,
    /// DNS servers of the masters.
    pub dns: Vec<SocketAddr>,
    /// The domain they answer for, `mesos`.
    pub dns_domain: String,
}

/// What should run on the agent. `D` is the form of definitions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wanted<D = AppDocument> {
    /// Where the leader speaks from; lower than what the agent has obeyed means: ignore.
    pub fence: Fence,
    /// True: `run` and `kill` together name every task of the agent; anything else that is ours is an
    /// orphan and to be removed. False: only changes.
    pub complete: bool,
    /// Definitions that `run` refers to by index. The complete set lacks those of tasks that an agent of version 3
    /// has named in its opening.
    pub apps: Vec<D>,
    /// Tasks to run (those already running go on).
    pub run: Vec<RunTask>,
    /// Tasks to end.
    pub kill: Vec<KillTask>,
}

/// One task to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTask {
    /// The task.
    pub task: TaskId,
    /// Index into [`Wanted::apps`]. One that is not there: the agent knows the task. It was sent before, with its
    /// definition (where one message could not hold all of them), or the agent has named it in its opening.
    pub app: u32,
    /// Allocated host ports, in the order of the app's declared ports that get one.
    pub host_ports: Vec<u16>,
}

/// One task to end: SIGTERM, then SIGKILL after the grace period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillTask {
    /// The task.
    pub task: TaskId,
    /// Time between SIGTERM and SIGKILL.
    pub grace_millis: u64,
}

/// A request for a task's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenLog {
    /// Names the answer's parts.
    pub stream: u64,
    /// The task.
    pub task: TaskId,
    /// Which of its two outputs.
    pub file: LogFile,
    /// Begin this many lines before the end; `None`: from the beginning.
    pub tail_lines: Option<u32>,
    /// Go on until closed or the task has ended.
    pub follow: bool,
}

/// Standard output or standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFile {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Parts of one log that an agent may send before it is asked for more: a slow terminal holds up its own
/// log and nothing else.
pub const LOG_WINDOW: u32 = 32;
/// Default time between SIGTERM and SIGKILL when the app names none (Mesos' agent default).
pub const KILL_GRACE_MILLIS: u64 = 3_000;
