//! How a session comes about: who connects, whether it may come in, and its place in the replicated state. What
//! is said once it stands is `session`'s.

use std::pin::pin;
use std::time::Duration;

use spec::ids::AgentId;
use spec::protocol::{AgentMessage, Fence, HEARTBEAT_MILLIS, Hello, MasterMessage, Welcome};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{info, warn};

use super::board::Switchboard;
use super::hello::{self, Objection};
use super::pulse::{MAKE_WAY, Newcomer};
use super::session::SessionError;
use super::wire::{Reader, Said, Writer};
use super::{masters, wire};
use crate::cluster::{AskError, Cluster};
use crate::state::{Command, Outcome, Presence};

/// How a connection opens.
pub(super) enum Opening {
    Hello(Box<Hello>),
    WhoLeads,
}

/// Reads the agent's first message.
pub(super) async fn open(stream: TcpStream) -> Result<(Reader, Writer, Opening), SessionError> {
    let (mut reader, writer) = wire::open(stream)?;
    match reader.read().await? {
        Some(Said::Message(AgentMessage::Hello(hello))) => Ok((reader, writer, Opening::Hello(hello))),
        Some(Said::Message(AgentMessage::WhoLeads)) => Ok((reader, writer, Opening::WhoLeads)),
        _ => Err(SessionError::OutOfTurn),
    }
}

/// The last word of a master that does not lead, and its answer to whoever asks who does.
pub(super) async fn send_elsewhere(cluster: &Cluster, writer: &mut Writer) -> Result<(), SessionError> {
    let elsewhere = masters::elsewhere(&cluster.state(), &cluster.leadership().borrow());
    Ok(writer.write(&elsewhere).await?)
}

/// Works on an opening, which may take as long as the replicated log does. The agent hears meanwhile that
/// somebody is there, the first time at once.
pub(super) async fn while_beating<T>(
    writer: &mut Writer,
    work: impl Future<Output = T>,
) -> Result<T, SessionError> {
    let mut work = pin!(work);
    loop {
        writer.write(&MasterMessage::Beat).await?;
        if let Ok(done) = timeout(Duration::from_millis(HEARTBEAT_MILLIS), &mut work).await {
            return Ok(done);
        }
    }
}

/// Tells the agent what it can use of why it does not come in.
pub(super) async fn decline(
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
pub(super) async fn welcome(
    cluster: &Cluster,
    board: &Switchboard,
    hello: &Hello,
) -> Result<Welcome, SessionError> {
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
