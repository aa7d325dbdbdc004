//! All live sessions, by agent: how the rest of the fleet reaches one. Whether two connections of one agent
//! are one agent that came back or two agents with one id is decided here, too.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use spec::ids::AgentId;
use spec::protocol::{MasterMessage, Wanted};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::masters;
use crate::cluster::{Cluster, LogRequest};
use crate::state::State;

/// How long a newcomer waits for its earlier session to end, or to show that somebody else is there: two
/// beats and a half.
pub const MAKE_WAY: Duration = Duration::from_millis(2_500);
/// Who was heard of no longer ago is there: agents speak every second.
const ALIVE: Duration = Duration::from_millis(1_500);
/// Newcomers that are sent away without a word while one session lives. A session with very much to read
/// may seem alive after its agent has hung up, but not again and again.
const STRIKES_MAX: u32 = 3;

/// What is put into a session. Small: every session has room for 32 of them.
#[derive(Debug)]
pub(super) enum ToAgent {
    /// A change of what should run.
    Wanted(Box<Wanted>),
    /// Reports up to here are in the replicated state; endings may be among them.
    Acknowledged { seq: u64, has_endings: bool },
    /// Anything else.
    Message(Box<MasterMessage>),
    /// A log that somebody wants to read.
    Log(Box<LogRequest>),
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

/// Signs of life of a session.
#[derive(Debug)]
pub(super) struct Pulse {
    heard: Mutex<Instant>,
    strikes: AtomicU32,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { heard: Mutex::new(Instant::now()), strikes: AtomicU32::new(0) }
    }
}

impl Pulse {
    /// The agent said something.
    pub(super) fn beat(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// What to do with a newcomer of the same id, now that it has waited.
    pub(super) fn judge_newcomer(&self) -> Newcomer {
        let silence = self.heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        let judged = newcomer(silence, self.strikes.load(Ordering::Relaxed));
        if judged != Newcomer::Welcome {
            self.strikes.fetch_add(1, Ordering::Relaxed);
        }
        judged
    }
}

/// Whether a connection may take the place of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newcomer {
    /// Nobody is at the other end of the earlier one.
    Welcome,
    /// Somebody seems to be: try again.
    Later,
    /// Somebody is: two agents have one id.
    Twin,
}

/// What becomes of a newcomer when its agent's earlier session was last heard of so long ago, and sent so many
/// away before. Pure.
pub fn newcomer(silence: Duration, strikes: u32) -> Newcomer {
    match (silence <= ALIVE, strikes) {
        (false, _) => Newcomer::Welcome,
        (true, 0..STRIKES_MAX) => Newcomer::Later,
        (true, _) => Newcomer::Twin,
    }
}

/// All live sessions.
#[derive(Debug, Default)]
pub(super) struct Switchboard {
    lines: Mutex<HashMap<AgentId, Line>>,
}

impl Switchboard {
    fn lines(&self) -> MutexGuard<'_, HashMap<AgentId, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest session of an agent replaces the one before. It is forgotten when the seat is dropped,
    /// however the session ends.
    pub(super) fn connect(self: &Arc<Self>, cluster: &Arc<Cluster>, agent: &AgentId, line: Line) -> Seat {
        let number = line.number;
        if let Some(old) = self.lines().insert(agent.clone(), line) {
            old.close.cancel();
        }
        cluster.sessions.fetch_add(1, Ordering::Relaxed);
        Seat { board: self.clone(), cluster: cluster.clone(), agent: agent.clone(), number }
    }

    /// The session of an agent.
    pub(super) fn line(&self, agent: &AgentId) -> Option<Line> {
        self.lines().get(agent).cloned()
    }

    pub(super) fn is_connected(&self, agent: &AgentId) -> bool {
        self.lines().contains_key(agent)
    }

    /// The agents that have a session.
    pub(super) fn connected(&self) -> BTreeSet<AgentId> {
        self.lines().keys().cloned().collect()
    }

    pub(super) fn close(&self, agent: &AgentId) {
        if let Some(line) = self.lines().get(agent) {
            line.close.cancel();
        }
    }

    pub(super) fn close_all(&self) {
        for line in self.lines().values() {
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
        for (agent, line) in self.lines().iter().filter(|(_, line)| masters::understands(line.protocol)) {
            line.tell(agent, ToAgent::Message(Box::new(message.clone())));
        }
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
        if lines.get(&self.agent).is_some_and(|line| line.number == self.number)
            && let Some(line) = lines.remove(&self.agent)
        {
            // Whoever waits for it to go.
            line.close.cancel();
            self.cluster.set_usage(&self.agent, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_heard_again_and_again_is_somebody_else() {
        let millis = Duration::from_millis;
        for (silence, strikes, judged) in [
            (millis(0), 0, Newcomer::Later),
            (millis(1_500), 2, Newcomer::Later),
            (millis(1_500), 3, Newcomer::Twin),
            (millis(10), u32::MAX, Newcomer::Twin),
            (millis(1_501), 0, Newcomer::Welcome),
            (millis(9_000), 3, Newcomer::Welcome),
        ] {
            assert_eq!(newcomer(silence, strikes), judged, "{silence:?} after {strikes}");
        }
        let pulse = Pulse::default();
        let judged: Vec<_> = (0..4).map(|_| pulse.judge_newcomer()).collect();
        assert_eq!(judged, [Newcomer::Later, Newcomer::Later, Newcomer::Later, Newcomer::Twin]);
    }
}
