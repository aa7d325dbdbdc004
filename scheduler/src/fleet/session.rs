//! One agent's session: handshake, then directions that do not wait for each other. Reports go into
//! the replicated state and are acknowledged once they are there. Beats are sent whatever else waits, so
//! that an agent only leaves a master that is gone and not one that is busy.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use spec::ids::{AgentId, TaskId};
use spec::protocol::{
    AgentMessage, Fence, HEARTBEAT_MILLIS, Hello, MasterMessage, SILENCE_MILLIS_MAX, TaskReport, Wanted,
    Welcome,
};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::board::{Line, MAKE_WAY, Newcomer, Pulse, Switchboard, ToAgent};
use super::hello::Objection;
use super::logs::LogDesk;
use super::wire::{HANDSHAKE_TIMEOUT, Reader, Writer};
use super::{hello, masters, reports, wanted, wire};
use crate::cluster::{AskError, Cluster};
use crate::state::{Command, Outcome, Presence, Refusal};

/// Messages waiting for one agent; a session that falls further behind is closed and starts over.
const OUTGOING_MAX: usize = 1_024;
/// Report frames read ahead of the replicated state; beyond it the agent has to wait.
const REPORTS_AHEAD: usize = 8;
/// How long an acknowledgement waits for something to go along with.
const ACKNOWLEDGE_PATIENCE: Duration = Duration::from_millis(HEARTBEAT_MILLIS);
/// The same where agents wait for it: traces of what has ended are kept until then.
const ENDING_PATIENCE: Duration = Duration::from_millis(50);

static NUMBER: AtomicU64 = AtomicU64::new(1);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("nothing heard for {} s", SILENCE_MILLIS_MAX / 1000)]
    Silent,
    #[error("it did not say who it is within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    Shy,
    #[error("the agent said something out of turn")]
    OutOfTurn,
    #[error("{0}")]
    Refused(String),
    #[error("its agent is also connected from {0}; it may come again when that one has gone")]
    Twin(String),
    #[error("the state does not take what it reports: {0}")]
    Disowned(Refusal),
    #[error("the agent was given up while it came back")]
    GivenUp,
    #[error("this master cannot take agents now: {0}")]
    Unable(#[from] AskError),
}

/// Runs one connection to its end. `door` is held until it has said who it is.
pub(super) async fn run(
    stream: TcpStream,
    peer: SocketAddr,
    door: OwnedSemaphorePermit,
    cluster: Arc<Cluster>,
    board: Arc<Switchboard>,
    close: CancellationToken,
) {
    let closed = tokio::select! {
        // First: a session that was replaced says nothing more.
        biased;
        () = close.cancelled() => Ok(()),
        closed = converse(stream, peer, door, &cluster, &board, close.clone()) => closed,
    };
    match closed {
        Ok(()) => debug!(%peer, "session closed"),
        Err(SessionError::Refused(reason)) => warn!(%peer, reason, "agent refused"),
        Err(error @ SessionError::Twin(_)) => warn!(%peer, %error, "connection closed"),
        // Anybody can connect and say nothing, or nonsense.
        Err(error @ (SessionError::Shy | SessionError::OutOfTurn)) => debug!(%peer, %error, "not an agent"),
        Err(error) => info!(%peer, %error, "session ended"),
    }
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    door: OwnedSemaphorePermit,
    cluster: &Arc<Cluster>,
    board: &Arc<Switchboard>,
    close: CancellationToken,
) -> Result<(), SessionError> {
    let opened = timeout(HANDSHAKE_TIMEOUT, open(stream)).await;
    let (reader, mut writer, opening) = opened.map_err(|_| SessionError::Shy)??;
    drop(door);
    let leads = cluster.leadership().borrow().leading;
    let hello = match opening {
        Opening::Hello(hello) if leads => *hello,
        Opening::Hello(hello) if !masters::understands(hello.protocol) => {
            return Err(AskError::NotLeader.into());
        }
        Opening::Hello(_) | Opening::WhoLeads => return send_elsewhere(cluster, &mut writer).await,
    };
    let welcome = match while_beating(&mut writer, welcome(cluster, board, &hello)).await? {
        Ok(welcome) => welcome,
        Err(error) => return decline(cluster, &mut writer, &hello, error).await,
    };
    let (agent, term) = (welcome.agent_id.clone(), welcome.fence.term);
    writer.write(&MasterMessage::Welcome(welcome)).await?;
    info!(%agent, host = %hello.info.hostname, "agent connected");
    let (outgoing, queue) = mpsc::channel(OUTGOING_MAX);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let (pulse, protocol) = (Arc::<Pulse>::default(), hello.protocol);
    let (peer, outgoing_line) = (peer.to_string(), outgoing.clone());
    let line = Line { number, peer, protocol, outgoing: outgoing_line, close, pulse: pulse.clone() };
    let _seat = board.connect(cluster, &agent, line.clone());
    // After the line is on the board: later changes come by the dispatcher, earlier ones are in the state.
    if let Some(masters) = masters::all(&cluster.state()).filter(|_| masters::understands(protocol)) {
        line.tell(&agent, ToAgent::Message(Box::new(masters)));
    }
    Session { cluster, agent: &agent, term, pulse, outgoing }.attend(hello, reader, writer, queue).await
}

/// How a connection opens.
enum Opening {
    Hello(Box<Hello>),
    WhoLeads,
}

/// Reads the agent's first message.
async fn open(stream: TcpStream) -> Result<(Reader, Writer, Opening), SessionError> {
    let (mut reader, writer) = wire::open(stream)?;
    match reader.read().await? {
        Some(AgentMessage::Hello(hello)) => Ok((reader, writer, Opening::Hello(hello))),
        Some(AgentMessage::WhoLeads) => Ok((reader, writer, Opening::WhoLeads)),
        _ => Err(SessionError::OutOfTurn),
    }
}

/// The last word of a master that does not lead, and its answer to whoever asks who does.
async fn send_elsewhere(cluster: &Cluster, writer: &mut Writer) -> Result<(), SessionError> {
    let elsewhere = masters::elsewhere(&cluster.state(), &cluster.leadership().borrow());
    Ok(writer.write(&elsewhere).await?)
}

/// Works on an opening, which may take as long as the replicated log does. The agent hears meanwhile that
/// somebody is there, the first time at once.
async fn while_beating<T>(writer: &mut Writer, work: impl Future<Output = T>) -> Result<T, SessionError> {
    let mut work = pin!(work);
    loop {
        writer.write(&MasterMessage::Beat).await?;
        if let Ok(done) = timeout(Duration::from_millis(HEARTBEAT_MILLIS), &mut work).await {
            return Ok(done);
        }
    }
}

/// Tells the agent what it can use of why it does not come in.
async fn decline(
    cluster: &Cluster,
    writer: &mut Writer,
    hello: &Hello,
    error: SessionError,
) -> Result<(), SessionError> {
    match &error {
        SessionError::Refused(reason) => {
            writer.write(&MasterMessage::Refused { reason: reason.clone() }).await?;
        }
        SessionError::Unable(AskError::NotLeader) if masters::understands(hello.protocol) => {
            send_elsewhere(cluster, writer).await?;
        }
        _ => {}
    }
    Err(error)
}

/// The answer to an opening, once the agent has its place in the replicated state.
async fn welcome(cluster: &Cluster, board: &Switchboard, hello: &Hello) -> Result<Welcome, SessionError> {
    let term = admit(cluster, board, hello).await?;
    let agent_id = register(cluster, hello).await?;
    let state = cluster.state();
    Ok(Welcome {
        protocol: hello.protocol,
        agent_id,
        cluster_id: state.cluster_id,
        fence: Fence { term, index: state.index },
        dns: masters::dns(&state, cluster.options.dns),
        dns_domain: cluster.options.dns_domain.clone(),
    })
}

/// Whether the agent may come in, and in which term.
async fn admit(cluster: &Cluster, board: &Switchboard, hello: &Hello) -> Result<u64, SessionError> {
    let (now, state) = (cluster.leadership().borrow().clone(), cluster.state());
    if !now.leading || state.cluster_id.is_nil() {
        return Err(AskError::NotLeader.into());
    }
    let here = Fence { term: now.term, index: state.index };
    match hello::objection(hello, state.cluster_id, here) {
        None => {}
        Some(Objection::Refused(reason)) => return Err(SessionError::Refused(reason)),
        Some(Objection::Stale) => {
            warn!(
                obeyed = hello.fence.term,
                ours = now.term,
                "an agent has obeyed a later leader than this one"
            );
            return Err(AskError::NotLeader.into());
        }
    }
    if let Some(agent) = &hello.agent_id {
        make_way(board, agent).await?;
    }
    Ok(now.term)
}

/// Gives an earlier session of this agent time to end. Where its directory was copied, two agents would push
/// each other out for ever; the one that is here stays, and the other is told.
async fn make_way(board: &Switchboard, agent: &AgentId) -> Result<(), SessionError> {
    let Some(earlier) = board.line(agent) else { return Ok(()) };
    if timeout(MAKE_WAY, earlier.close.cancelled()).await.is_ok() {
        return Ok(());
    }
    match earlier.pulse.judge_newcomer() {
        Newcomer::Welcome => Ok(()),
        Newcomer::Later => Err(SessionError::Twin(earlier.peer)),
        Newcomer::Twin => Err(SessionError::Refused(format!(
            "agent {agent} is connected from {} already: was its data directory copied? Start this one with an \
             empty --data-dir",
            earlier.peer
        ))),
    }
}

/// Gets the agent its id. One that the state has as it is now needs no entry of the log: when the leader changes
/// all agents come at once, and nothing of them is new.
async fn register(cluster: &Cluster, hello: &Hello) -> Result<AgentId, SessionError> {
    // What this master knows of it is the last that was acknowledged, also of its tasks.
    cluster.current().await?;
    let state = cluster.state();
    if let Some(agent) = hello.agent_id.as_ref().and_then(|id| state.agents.get(id))
        && agent.presence == Presence::Connected
        && *agent.info == hello.info
    {
        return Ok(agent.id.clone());
    }
    let command = Command::RegisterAgent { id: hello.agent_id.clone(), info: hello.info.clone() };
    let id = match cluster.ask(command).await {
        Ok(Outcome::Registered { id }) => id,
        Ok(outcome) => {
            return Err(SessionError::Refused(format!("registration was not accepted: {outcome:?}")));
        }
        Err(error @ AskError::TooLarge { .. }) => return Err(SessionError::Refused(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    if let Some(before) = hello.agent_id.as_ref().filter(|before| **before != id) {
        info!(agent = %id, %before, "a forgotten agent is back; it has a new id");
    }
    Ok(id)
}

/// A session that stands.
struct Session<'a> {
    cluster: &'a Arc<Cluster>,
    agent: &'a AgentId,
    term: u64,
    pulse: Arc<Pulse>,
    outgoing: mpsc::Sender<ToAgent>,
}

impl Session<'_> {
    /// All directions at once, until one ends.
    async fn attend(
        &self,
        hello: Hello,
        reader: Reader,
        writer: Writer,
        queue: mpsc::Receiver<ToAgent>,
    ) -> Result<(), SessionError> {
        let (reports, report_queue) = mpsc::channel(REPORTS_AHEAD);
        let (complete, first) = oneshot::channel();
        let logs = LogDesk::new(self.outgoing.clone());
        tokio::select! {
            biased;
            () = self.deposed() => Err(AskError::NotLeader.into()),
            ended = self.take_reports(hello, complete, report_queue) => ended,
            ended = self.listen(reader, reports, &logs) => ended,
            ended = speak(writer, first, queue, &logs) => ended,
        }
    }

    /// Another term is another leader's, or another life of this one: the agent is to hear a new fence.
    async fn deposed(&self) {
        let mut leadership = self.cluster.leadership();
        let _ = leadership.wait_for(|now| !now.leading || now.term != self.term).await;
    }

    /// Reads what the agent says. While reports wait for the state it waits as well.
    async fn listen(
        &self,
        mut reader: Reader,
        reports: mpsc::Sender<Vec<TaskReport>>,
        logs: &LogDesk,
    ) -> Result<(), SessionError> {
        let silence = Duration::from_millis(SILENCE_MILLIS_MAX);
        loop {
            let message = timeout(silence, reader.read()).await.map_err(|_| SessionError::Silent)??;
            self.pulse.beat();
            match message {
                None => return Ok(()),
                Some(AgentMessage::Hello(_) | AgentMessage::WhoLeads) => return Err(SessionError::OutOfTurn),
                Some(AgentMessage::Status(list)) => drop(reports.send(list).await),
                Some(AgentMessage::Usage(usage)) => self.cluster.set_usage(self.agent, Some(usage)),
                Some(AgentMessage::Beat) => {}
                Some(AgentMessage::Explain(tasks)) => {
                    let told = wanted::explanation(&self.cluster.state(), self.agent, self.term, &tasks);
                    let _ = self.outgoing.send(ToAgent::Wanted(Box::new(told))).await;
                }
                Some(AgentMessage::LogData { stream, data }) => logs.part(stream, data),
                Some(AgentMessage::LogEnd { stream, error }) => logs.end(stream, error),
            }
        }
    }

    /// Takes reports into the state, in order, those that wait together at once: first what the agent opened
    /// with, which says what should run.
    async fn take_reports(
        &self,
        hello: Hello,
        complete: oneshot::Sender<Wanted>,
        mut queue: mpsc::Receiver<Vec<TaskReport>>,
    ) -> Result<(), SessionError> {
        let (named, tasks) = (wanted::named(&hello), hello.tasks);
        let last = tasks.iter().map(|report| report.seq).max();
        let has_endings = tasks.iter().any(|report| report.state.is_terminal());
        let opening = reports::opening(&self.cluster.state(), self.agent, tasks);
        reports::take_in(self.cluster, opening).await?;
        let _ = complete.send(self.complete(&named)?);
        // What is named would stay for as long as the session does.
        drop(named);
        self.acknowledge(last, has_endings).await;
        while let Some(mut reports) = queue.recv().await {
            while let Ok(more) = queue.try_recv() {
                reports.extend(more);
            }
            let last = reports.iter().map(|report| report.seq).max();
            let has_endings = reports.iter().any(|report| report.state.is_terminal());
            reports::take_in(self.cluster, reports::news(self.agent, reports)).await?;
            self.acknowledge(last, has_endings).await;
        }
        Ok(())
    }

    /// What should run, by the state of this moment: no session holds on to one. To be asked after the line is
    /// connected: later entries come through the dispatcher, earlier ones are in it.
    fn complete(&self, named: &BTreeSet<TaskId>) -> Result<Wanted, SessionError> {
        let state = self.cluster.state();
        let agent = state.agents.get(self.agent).filter(|agent| agent.presence == Presence::Connected);
        let agent = agent.ok_or(SessionError::GivenUp)?;
        Ok(wanted::complete(&state, &agent.id, self.term, named))
    }

    async fn acknowledge(&self, last: Option<u64>, has_endings: bool) {
        if let Some(seq) = last {
            let _ = self.outgoing.send(ToAgent::Acknowledged { seq, has_endings }).await;
        }
    }
}

/// An acknowledgement on its way out. Agents only wait for those of endings, so it goes along with what else is
/// said, or after a while.
#[derive(Debug, Default)]
struct Acknowledging {
    seq: Option<u64>,
    due: Option<Instant>,
}

impl Acknowledging {
    fn note(&mut self, seq: u64, has_endings: bool, now: Instant) {
        let due = now + if has_endings { ENDING_PATIENCE } else { ACKNOWLEDGE_PATIENCE };
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
        self.seq = self.seq.max(Some(seq));
    }

    fn take(&mut self) -> Option<MasterMessage> {
        self.due = None;
        self.seq.take().map(|seq| MasterMessage::Acknowledged { seq })
    }
}

/// Writes what the agent should hear, the complete set first; a beat when there is nothing.
async fn speak(
    mut writer: Writer,
    mut complete: oneshot::Receiver<Wanted>,
    mut queue: mpsc::Receiver<ToAgent>,
    logs: &LogDesk,
) -> Result<(), SessionError> {
    let beat = Duration::from_millis(HEARTBEAT_MILLIS);
    let complete = loop {
        match timeout(beat, &mut complete).await {
            Ok(Ok(complete)) => break complete,
            Ok(Err(_)) => return Ok(()),
            Err(_) => writer.write(&MasterMessage::Beat).await?,
        }
    };
    let from = complete.fence.index;
    writer.write_wanted(complete).await?;
    let mut acknowledging = Acknowledging::default();
    loop {
        let until = acknowledging.due.unwrap_or_else(|| Instant::now() + beat);
        let next = match timeout_at(until, queue.recv()).await {
            Err(_) => {
                writer.write(&acknowledging.take().unwrap_or(MasterMessage::Beat)).await?;
                continue;
            }
            Ok(None) => return Ok(()),
            Ok(Some(ToAgent::Acknowledged { seq, has_endings })) => {
                acknowledging.note(seq, has_endings, Instant::now());
                continue;
            }
            Ok(Some(ToAgent::Wanted(wanted))) if wanted.fence.index <= from => continue,
            Ok(Some(next)) => next,
        };
        if let Some(acknowledged) = acknowledging.take() {
            writer.add(&acknowledged).await?;
        }
        match next {
            ToAgent::Wanted(wanted) => writer.write_wanted(*wanted).await?,
            ToAgent::Message(message) => writer.write(&message).await?,
            ToAgent::Log(request) => match logs.open(*request) {
                Some(open) => writer.write(&MasterMessage::OpenLog(open)).await?,
                None => writer.flush().await?,
            },
            // Handled above.
            ToAgent::Acknowledged { .. } => {}
        }
    }
}
