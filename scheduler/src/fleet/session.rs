//! One agent's session: handshake, then two directions that do not wait for each other. Reports go into
//! the replicated state and are acknowledged once they are there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use spec::ids::AgentId;
use spec::protocol::{
    AgentMessage, Fence, Hello, MasterMessage, SILENCE_MILLIS_MAX, TaskReport, VERSION, Wanted, Welcome,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::logs::LogDesk;
use super::wire::{HANDSHAKE_TIMEOUT, Reader, Writer};
use super::{Line, OUTGOING_MAX, Switchboard, ToAgent, dispatch, wire};
use crate::cluster::{AskError, Cluster};
use crate::state::{Command, Outcome, Refusal};

/// Report frames read ahead of the replicated state; beyond it the agent has to wait.
const REPORTS_AHEAD: usize = 64;
/// Pause before a report that was not taken is proposed again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

static NUMBER: AtomicU64 = AtomicU64::new(1);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("nothing heard for {} s", SILENCE_MILLIS_MAX / 1000)]
    Silent,
    #[error("the agent said something out of turn")]
    OutOfTurn,
    #[error("{0}")]
    Refused(String),
    #[error("this master cannot take agents now: {0}")]
    Unable(#[from] AskError),
}

/// Runs one connection to its end.
pub(super) async fn run(
    stream: TcpStream,
    peer: SocketAddr,
    cluster: Arc<Cluster>,
    board: Arc<Switchboard>,
    shutdown: CancellationToken,
) {
    let closed = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        closed = converse(stream, &cluster, &board, shutdown.clone()) => closed,
    };
    match closed {
        Ok(()) => debug!(%peer, "session closed"),
        Err(SessionError::Refused(reason)) => warn!(%peer, reason, "agent refused"),
        Err(error) => info!(%peer, %error, "session ended"),
    }
}

async fn converse(
    stream: TcpStream,
    cluster: &Arc<Cluster>,
    board: &Arc<Switchboard>,
    close: CancellationToken,
) -> Result<(), SessionError> {
    let opened = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(stream, cluster)).await;
    let (reader, mut writer, hello) = opened.map_err(|_| SessionError::Silent)??;
    let agent = register(cluster, &mut writer, &hello).await?;
    let (outgoing, queue) = mpsc::channel(OUTGOING_MAX);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    board.connect(&agent, Line { number, outgoing: outgoing.clone(), close: close.clone() });
    let ended = attend(cluster, &agent, hello, (reader, writer), (outgoing, queue), close).await;
    if board.disconnect(&agent, number) {
        cluster.set_usage(&agent, None);
    }
    ended
}

/// Reads the agent's first message.
async fn handshake(stream: TcpStream, cluster: &Cluster) -> Result<(Reader, Writer, Hello), SessionError> {
    let (mut reader, mut writer) = wire::open(stream).await?;
    let Some(AgentMessage::Hello(hello)) = reader.read().await? else { return Err(SessionError::OutOfTurn) };
    if !cluster.leadership().borrow().leading || cluster.state().cluster_id.is_nil() {
        return Err(SessionError::Unable(AskError::NotLeader));
    }
    if let Some(reason) = objection(&hello, cluster) {
        writer.write(&MasterMessage::Refused { reason: reason.clone() }).await?;
        return Err(SessionError::Refused(reason));
    }
    Ok((reader, writer, *hello))
}

/// What keeps this agent out until a person does something about it.
fn objection(hello: &Hello, cluster: &Cluster) -> Option<String> {
    let state = cluster.state();
    if hello.protocol != VERSION {
        return Some(format!(
            "the agent speaks protocol {}, this master {VERSION}: run the same release of clusterctl on both",
            hello.protocol
        ));
    }
    if let Some(theirs) = hello.cluster_id.filter(|theirs| *theirs != state.cluster_id) {
        return Some(format!(
            "the agent belongs to cluster {theirs}, this is cluster {}: give it another --data-dir, or point it \
             at its own masters",
            state.cluster_id
        ));
    }
    let here = Fence { term: cluster.leadership().borrow().term, index: state.index };
    (hello.fence > here && hello.fence.index > here.index).then(|| {
        format!(
            "the agent has obeyed a leader at log index {}, this master is only at {}: its log was set back \
             (restored from an old copy?)",
            hello.fence.index, here.index
        )
    })
}

/// Gets the agent an id and answers the handshake.
async fn register(cluster: &Cluster, writer: &mut Writer, hello: &Hello) -> Result<AgentId, SessionError> {
    let info = hello.info.clone();
    let mut outcome =
        cluster.ask(Command::RegisterAgent { id: hello.agent_id.clone(), info: info.clone() }).await?;
    if let Outcome::Refused(Refusal::NoAgent(forgotten)) = &outcome {
        info!(agent = %forgotten, "a forgotten agent is back; it gets a new id");
        outcome = cluster.ask(Command::RegisterAgent { id: None, info }).await?;
    }
    let Outcome::Registered { id } = outcome else {
        return Err(SessionError::Refused(format!("registration was not accepted: {outcome:?}")));
    };
    let state = cluster.state();
    let welcome = Welcome {
        protocol: VERSION,
        agent_id: id.clone(),
        cluster_id: state.cluster_id,
        fence: Fence { term: cluster.leadership().borrow().term, index: state.index },
        dns: vec![cluster.options.dns],
        dns_domain: cluster.options.dns_domain.clone(),
    };
    writer.write(&MasterMessage::Welcome(welcome)).await?;
    info!(agent = %id, host = %hello.info.hostname, "agent connected");
    Ok(id)
}

type Halves = (Reader, Writer);
type Outgoing = (mpsc::Sender<ToAgent>, mpsc::Receiver<ToAgent>);

/// Both directions at once, until either ends.
async fn attend(
    cluster: &Arc<Cluster>,
    agent: &AgentId,
    hello: Hello,
    (reader, writer): Halves,
    (outgoing, queue): Outgoing,
    close: CancellationToken,
) -> Result<(), SessionError> {
    report(cluster, agent, true, hello.tasks, &outgoing).await?;
    // Taken after the line is connected: later entries come through the dispatcher, earlier ones are in it.
    let state = cluster.state();
    let wanted = dispatch::complete(&state, agent, cluster.leadership().borrow().term);
    let (reports, report_queue) = mpsc::channel(REPORTS_AHEAD);
    let logs = LogDesk::new(outgoing.clone());
    tokio::select! {
        () = close.cancelled() => Ok(()),
        ended = listen(cluster, agent, reader, reports, &logs, &outgoing) => ended,
        ended = speak(writer, queue, &logs, wanted) => ended,
        ended = take_reports(cluster, agent, report_queue, &outgoing) => ended,
    }
}

/// Reads what the agent says.
async fn listen(
    cluster: &Cluster,
    agent: &AgentId,
    mut reader: Reader,
    reports: mpsc::Sender<Vec<TaskReport>>,
    logs: &LogDesk,
    outgoing: &mpsc::Sender<ToAgent>,
) -> Result<(), SessionError> {
    let silence = Duration::from_millis(SILENCE_MILLIS_MAX);
    loop {
        let message =
            tokio::time::timeout(silence, reader.read()).await.map_err(|_| SessionError::Silent)??;
        match message {
            None => return Ok(()),
            Some(AgentMessage::Hello(_)) => return Err(SessionError::OutOfTurn),
            Some(AgentMessage::Status(list)) => drop(reports.send(list).await),
            Some(AgentMessage::Usage(usage)) => {
                cluster.set_usage(agent, Some(usage));
                let _ = outgoing.try_send(ToAgent::Message(MasterMessage::Beat));
            }
            Some(AgentMessage::Beat) => {
                let _ = outgoing.try_send(ToAgent::Message(MasterMessage::Beat));
            }
            Some(AgentMessage::LogData { stream, data }) => logs.part(stream, data),
            Some(AgentMessage::LogEnd { stream, error }) => logs.end(stream, error),
        }
    }
}

/// Takes reports into the state, in order, those that wait together as one command.
async fn take_reports(
    cluster: &Cluster,
    agent: &AgentId,
    mut queue: mpsc::Receiver<Vec<TaskReport>>,
    outgoing: &mpsc::Sender<ToAgent>,
) -> Result<(), SessionError> {
    while let Some(mut reports) = queue.recv().await {
        while let Ok(more) = queue.try_recv() {
            reports.extend(more);
        }
        report(cluster, agent, false, reports, outgoing).await?;
    }
    Ok(())
}

/// Reports that share a command: their entry stays far below the log's limit.
const REPORTS_PER_COMMAND: usize = 500;

/// Gets reports into the state and acknowledges them.
async fn report(
    cluster: &Cluster,
    agent: &AgentId,
    complete: bool,
    reports: Vec<TaskReport>,
    outgoing: &mpsc::Sender<ToAgent>,
) -> Result<(), SessionError> {
    // The complete list must stay in one command: what it does not name is gone.
    let size = if complete { usize::MAX } else { REPORTS_PER_COMMAND };
    let last = reports.iter().map(|report| report.seq).max();
    let mut chunks: Vec<Vec<TaskReport>> = reports.chunks(size).map(<[_]>::to_vec).collect();
    if chunks.is_empty() && complete {
        chunks.push(Vec::new());
    }
    for chunk in chunks {
        let command = Command::Report { agent: agent.clone(), complete, reports: chunk };
        while let Err(error) = cluster.ask(command.clone()).await {
            match error {
                // Saying a report twice is harmless: the state remembers the last sequence number.
                AskError::Busy | AskError::TimedOut => tokio::time::sleep(RETRY_PAUSE).await,
                AskError::NotLeader | AskError::Closed => return Err(error.into()),
            }
        }
    }
    if let Some(seq) = last {
        let _ = outgoing.send(ToAgent::Message(MasterMessage::Acknowledged { seq })).await;
    }
    Ok(())
}

/// Writes what the agent should hear.
async fn speak(
    mut writer: Writer,
    mut queue: mpsc::Receiver<ToAgent>,
    logs: &LogDesk,
    complete: Wanted,
) -> Result<(), SessionError> {
    let from = complete.fence.index;
    writer.write(&MasterMessage::Wanted(complete)).await?;
    while let Some(next) = queue.recv().await {
        let message = match next {
            ToAgent::Wanted(wanted) if wanted.fence.index <= from => continue,
            ToAgent::Wanted(wanted) => MasterMessage::Wanted(wanted),
            ToAgent::Message(message) => message,
            ToAgent::Log(request) => match logs.open(request) {
                Some(open) => MasterMessage::OpenLog(open),
                None => continue,
            },
        };
        writer.write(&message).await?;
    }
    Ok(())
}
