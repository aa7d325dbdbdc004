//! All live sessions, by agent: how the rest of the fleet reaches one.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spec::ids::{AgentId, TaskId};
use spec::protocol::{MasterMessage, Wanted};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::masters;
use super::pulse::Pulse;
use crate::cluster::{Cluster, LogRequest};
use crate::state::State;

/// What is put into a session. Small: every session has room for 32 of them.
#[derive(Debug)]
pub(super) enum ToAgent {
    /// A change of what should run.
    Wanted(Box<Wanted>),
    /// Tasks that the agent asks about.
    Explain(Box<[TaskId]>),
    /// Reports up to here are in the replicated state; endings may be among them.
    Acknowledged { seq: u64, has_endings: bool },
    /// Anything else.
    Message(Box<MasterMessage>),
    /// A log that somebody wants to read.
    Log(Box<LogRequest>),
    /// That this master is still here.
    Beat,
}

/// One live session.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Tells this session from others of the same agent.
    pub(super) number: u64,
    /// Where it comes from, for people.
    pub(super) peer: String,
    /// What its agent understands.
    pub(super) protocol: u16,
    pub(super) outgoing: mpsc::Sender<ToAgent>,
    /// Cancelled: the session is to end, or has ended.
    pub(super) close: CancellationToken,
    pub(super) pulse: Arc<Pulse>,
}

impl Line {
    /// Puts something into the session; one that cannot keep up is closed.
    pub(super) fn tell(&self, agent: &AgentId, what: ToAgent) {
        if let Err(TrySendError::Full(_)) = self.outgoing.try_send(what) {
            warn!(%agent, "the session cannot keep up; closing it");
            self.close.cancel();
        }
    }
}

/// All live sessions.
#[derive(Debug, Default)]
pub(super) struct Switchboard {
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    by_agent: HashMap<AgentId, Line>,
    /// Whose they are, once somebody has asked and until that changes.
    connected: Option<Arc<BTreeSet<AgentId>>>,
}

impl Switchboard {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest session of an agent replaces the one before. It is forgotten when the seat is dropped,
    /// however the session ends.
    pub(super) fn connect(self: &Arc<Self>, cluster: &Arc<Cluster>, agent: &AgentId, line: Line) -> Seat {
        let number = line.number;
        {
            let mut lines = self.lines();
            lines.connected = None;
            if let Some(old) = lines.by_agent.insert(agent.clone(), line) {
                old.close.cancel();
            }
        }
        cluster.sessions.fetch_add(1, Ordering::Relaxed);
        Seat { board: self.clone(), cluster: cluster.clone(), agent: agent.clone(), number }
    }

    /// The session of an agent.
    pub(super) fn line(&self, agent: &AgentId) -> Option<Line> {
        self.lines().by_agent.get(agent).cloned()
    }

    pub(super) fn is_connected(&self, agent: &AgentId) -> bool {
        self.lines().by_agent.contains_key(agent)
    }

    /// The agents that have a session.
    pub(super) fn connected(&self) -> Arc<BTreeSet<AgentId>> {
        let mut lines = self.lines();
        let Lines { by_agent, connected } = &mut *lines;
        connected.get_or_insert_with(|| Arc::new(by_agent.keys().cloned().collect())).clone()
    }

    /// Looks at every session.
    pub(super) fn each(&self, look: impl Fn(&AgentId, &Line)) {
        self.lines().by_agent.iter().for_each(|(agent, line)| look(agent, line));
    }

    pub(super) fn close(&self, agent: &AgentId) {
        if let Some(line) = self.lines().by_agent.get(agent) {
            line.close.cancel();
        }
    }

    pub(super) fn close_all(&self) {
        for line in self.lines().by_agent.values() {
            line.close.cancel();
        }
    }

    /// Hands a change to a session. One that cannot keep up is closed, and learns the rest when it comes
    /// back; so does an agent without one.
    pub(super) fn want(&self, agent: &AgentId, wanted: Wanted) {
        if let Some(line) = self.line(agent) {
            line.tell(agent, ToAgent::Wanted(Box::new(wanted)));
        }
    }

    /// Tells everybody who the masters are.
    pub(super) fn tell_masters(&self, state: &State) {
        let Some(message) = masters::all(state) else { return };
        self.each(|agent, line| {
            if masters::understands(line.protocol) {
                line.tell(agent, ToAgent::Message(Box::new(message.clone())));
            }
        });
    }

    /// Asks a session for a log. Says why when that cannot be.
    pub(super) fn read_log(&self, request: LogRequest) {
        let (agent, parts) = (request.agent.clone(), request.parts.clone());
        let what = ToAgent::Log(Box::new(request));
        let reason = match self.line(&agent).map(|line| line.outgoing.try_send(what)) {
            Some(Ok(())) => return,
            Some(Err(TrySendError::Full(_))) => format!("agent {agent} is too busy to send logs; try again"),
            None | Some(Err(TrySendError::Closed(_))) => {
                format!("agent {agent} has no session; its logs cannot be read")
            }
        };
        let _ = parts.try_send(Err(reason));
    }
}

/// A session's place on the board.
#[derive(Debug)]
pub(super) struct Seat {
    board: Arc<Switchboard>,
    cluster: Arc<Cluster>,
    agent: AgentId,
    number: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.cluster.sessions.fetch_sub(1, Ordering::Relaxed);
        let mut lines = self.board.lines();
        if lines.by_agent.get(&self.agent).is_some_and(|line| line.number == self.number)
            && let Some(line) = lines.by_agent.remove(&self.agent)
        {
            lines.connected = None;
            // Whoever waits for it to go.
            line.close.cancel();
            self.cluster.forget_usage(&self.agent);
        }
    }
}
