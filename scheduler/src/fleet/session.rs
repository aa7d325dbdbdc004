//! One agent's session: the way in, then directions that do not wait for each other. Reports go into
//! the replicated state and are acknowledged once they are there. An agent's beats are answered at once; that it is
//! heard at all, and hears something while its reports wait, is `pulse`'s. Who comes in is `entrance`'s.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use spec::ids::{AgentId, TaskId};
use spec::protocol::{AgentMessage, Hello, MasterMessage, TaskReport, Wanted};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::board::{Line, Switchboard, ToAgent};
use super::entrance::{self, Opening};
use super::logs::LogDesk;
use super::pulse::Pulse;
use super::wire::{HANDSHAKE_TIMEOUT, Reader, Said, Writer};
use super::{masters, reports, speech, wanted};
use crate::cluster::{AskError, Cluster};
use crate::state::{Presence, Refusal};

/// Messages waiting for one agent; a session that falls further behind is closed and starts over.
const OUTGOING_MAX: usize = 1_024;
/// Report frames read ahead of the replicated state; beyond it the agent has to wait.
const REPORTS_AHEAD: usize = 8;

static NUMBER: AtomicU64 = AtomicU64::new(1);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
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
    let opened = timeout(HANDSHAKE_TIMEOUT, entrance::open(stream)).await;
    let (reader, mut writer, opening) = opened.map_err(|_| SessionError::Shy)??;
    drop(door);
    let leads = cluster.leadership().borrow().leading;
    let hello = match opening {
        Opening::Hello(hello) if leads => *hello,
        Opening::Hello(hello) if !masters::understands(hello.protocol) => {
            return Err(AskError::NotLeader.into());
        }
        Opening::Hello(_) | Opening::WhoLeads => return entrance::send_elsewhere(cluster, &mut writer).await,
    };
    let welcome =
        match entrance::while_beating(&mut writer, entrance::welcome(cluster, board, &hello)).await? {
            Ok(welcome) => welcome,
            Err(error) => return entrance::decline(cluster, &mut writer, &hello, error).await,
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
        let explain =
            |tasks: &[TaskId], last| wanted::explanation(&self.cluster.state(), self.agent, last, tasks);
        tokio::select! {
            // In this order: `speak` finds what `listen` has been asked.
            biased;
            () = self.deposed() => Err(AskError::NotLeader.into()),
            ended = self.take_reports(hello, complete, report_queue) => ended,
            ended = self.listen(reader, reports, &logs) => ended,
            ended = speech::speak(writer, first, queue, &logs, &self.pulse, explain) => ended,
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
        loop {
            let message = reader.read().await?;
            self.pulse.hear();
            let message = match message {
                None => return Ok(()),
                Some(Said::Usage(told)) => {
                    self.pulse.ask();
                    self.cluster.take_usage(self.agent, told);
                    continue;
                }
                Some(Said::Message(message)) => message,
            };
            match message {
                AgentMessage::Hello(_) | AgentMessage::WhoLeads => return Err(SessionError::OutOfTurn),
                AgentMessage::Status(list) => drop(reports.send(list).await),
                AgentMessage::Beat => self.pulse.ask(),
                // Use is said in its own way.
                AgentMessage::Usage(_) | AgentMessage::UsageChanges(_) => {}
                AgentMessage::Explain(tasks) => {
                    let _ = self.outgoing.send(ToAgent::Explain(tasks.into())).await;
                }
                AgentMessage::LogData { stream, data } => logs.part(stream, data),
                AgentMessage::LogEnd { stream, error } => logs.end(stream, error),
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
