//! Agents as the leader's shell sees them: sessions, what is sent to them, and who has been silent for
//! too long. What should run and what a silence means is decided elsewhere.
//!
//! [`serve`] accepts connections; `session` is one of them; `dispatch` routes applied events to sessions;
//! `absence` proposes to give up agents that stay away; `logs` carries task logs; `wire` is the framing.

mod absence;
mod dispatch;
mod logs;
mod session;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use spec::ids::AgentId;
use spec::protocol::{MasterMessage, Wanted};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::cluster::{Cluster, LogRequest};

/// Connections at once; the next one waits. Far above the 5,000 agents that one leader is built for.
const CONNECTIONS_MAX: usize = 16_384;
/// Messages waiting for one agent; a session that falls further behind is closed and starts over.
const OUTGOING_MAX: usize = 1_024;

/// What the dispatcher and the log desk put into a session.
#[derive(Debug)]
enum ToAgent {
    /// A change of what should run, from the entry at `index`.
    Wanted(Wanted),
    /// Anything else.
    Message(MasterMessage),
    /// A log that somebody wants to read.
    Log(LogRequest),
}

/// One live session.
#[derive(Clone, Debug)]
struct Line {
    /// Tells this session from an earlier one of the same agent.
    number: u64,
    outgoing: mpsc::Sender<ToAgent>,
    close: CancellationToken,
}

/// All live sessions, by agent.
#[derive(Debug, Default)]
pub(crate) struct Switchboard {
    lines: Mutex<HashMap<AgentId, Line>>,
}

impl Switchboard {
    fn lines(&self) -> MutexGuard<'_, HashMap<AgentId, Line>> {
        self.lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The newest session of an agent replaces the one before.
    fn connect(&self, agent: &AgentId, line: Line) {
        if let Some(old) = self.lines().insert(agent.clone(), line) {
            old.close.cancel();
        }
    }

    /// Forgets a session unless a newer one has taken its place; true when it was forgotten.
    fn disconnect(&self, agent: &AgentId, number: u64) -> bool {
        let mut lines = self.lines();
        let ours = lines.get(agent).is_some_and(|line| line.number == number);
        if ours {
            lines.remove(agent);
        }
        ours
    }

    fn is_connected(&self, agent: &AgentId) -> bool {
        self.lines().contains_key(agent)
    }

    fn close_all(&self) {
        for line in self.lines().values() {
            line.close.cancel();
        }
    }

    /// Hands something to a session; one that cannot keep up is closed, and learns the rest when it
    /// comes back. False when there is no session.
    fn send(&self, agent: &AgentId, message: ToAgent) -> Result<(), ToAgent> {
        let Some(line) = self.lines().get(agent).cloned() else { return Err(message) };
        line.outgoing.try_send(message).map_err(|error| {
            warn!(%agent, "the session cannot keep up; closing it");
            line.close.cancel();
            error.into_inner()
        })
    }
}

/// Serves agents until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    cluster: Arc<Cluster>,
    logs: mpsc::Receiver<LogRequest>,
    shutdown: CancellationToken,
) {
    let board = Arc::new(Switchboard::default());
    let tracker = tokio_util::task::TaskTracker::new();
    tracker.spawn(dispatch::run(cluster.clone(), board.clone(), shutdown.clone()));
    tracker.spawn(absence::run(cluster.clone(), board.clone(), shutdown.clone()));
    tracker.spawn(logs::run(logs, board.clone(), shutdown.clone()));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (cluster, board, shutdown) = (cluster.clone(), board.clone(), shutdown.child_token());
                tracker.spawn(async move {
                    session::run(stream, peer, cluster, board, shutdown).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "accepting an agent failed");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
    board.close_all();
    tracker.close();
    tracker.wait().await;
}
