//! Agents that have no session for too long are given up: proposed as lost, once. A leader that has just
//! been elected gives every agent the full time to come back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use spec::ids::AgentId;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::board::Switchboard;
use crate::cluster::Cluster;
use crate::state::{Command, Presence, State};

/// How often absences are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs until `shutdown`.
pub(super) async fn run(cluster: Arc<Cluster>, board: Arc<Switchboard>, shutdown: CancellationToken) {
    let timeout = Duration::from_millis(cluster.options.agent_timeout_millis);
    let leadership = cluster.leadership();
    let mut away = Away::default();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if !leadership.borrow().leading {
            away = Away::default();
            continue;
        }
        // In this order: whoever has a session by now is in a later state.
        let connected = board.connected();
        let verdict = away.judge(&cluster.state(), &connected, Instant::now(), timeout);
        for agent in verdict.begin_anew {
            info!(%agent, "given up while it came back; it is to register again");
            board.close(&agent);
        }
        let lost = verdict.lose.iter().filter(|agent| !board.is_connected(agent));
        join_all(lost.map(|agent| lose(&cluster, agent))).await;
    }
}

async fn lose(cluster: &Cluster, agent: &AgentId) {
    match cluster.ask(Command::LoseAgent { id: agent.clone() }).await {
        Ok(_) => info!(%agent, "agent given up: no session for too long"),
        Err(error) => warn!(%agent, %error, "could not give up an agent; trying again"),
    }
}

/// Since when agents have no session.
#[derive(Debug, Default)]
struct Away(BTreeMap<AgentId, Instant>);

/// What absences call for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    /// Away for too long.
    lose: Vec<AgentId>,
    /// They have a session that the state knows nothing of: they came back in the moment they were given up.
    /// What such a session reports would not count, and nothing would be placed on its agent.
    begin_anew: Vec<AgentId>,
}

impl Away {
    fn judge(
        &mut self,
        state: &State,
        connected: &BTreeSet<AgentId>,
        now: Instant,
        timeout: Duration,
    ) -> Verdict {
        let is_there = |agent: &AgentId| {
            state.agents.get(agent).is_some_and(|agent| agent.presence == Presence::Connected)
        };
        let mut verdict = Verdict::default();
        verdict.begin_anew.extend(connected.iter().filter(|agent| !is_there(agent)).cloned());
        self.0.retain(|agent, _| is_there(agent) && !connected.contains(agent));
        let counted = state.agents.values().filter(|agent| agent.presence == Presence::Connected);
        for agent in counted.filter(|agent| !connected.contains(&agent.id)) {
            let since = *self.0.entry(agent.id.clone()).or_insert(now);
            if now.saturating_duration_since(since) >= timeout {
                verdict.lose.push(agent.id.clone());
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::fixture;

    fn ids(names: &[&str]) -> Vec<AgentId> {
        names.iter().map(|name| AgentId::new(*name)).collect()
    }

    #[test]
    fn silence_is_counted_from_the_first_look_without_a_session() {
        let state = fixture::cluster(&[("a", ""), ("b", "")]);
        let (mut away, begin) = (Away::default(), Instant::now());
        // Seconds, who has a session, who is given up.
        let table: [(u64, &[&str], &[&str]); 8] = [
            (100, &["a"], &[]),
            (109, &["a"], &[]),
            (110, &["a"], &["b"]),
            // Until the state says so.
            (111, &["a"], &["b"]),
            // Back in time: counted anew.
            (112, &["a", "b"], &[]),
            (113, &["a"], &[]),
            (122, &[], &[]),
            (123, &[], &["b"]),
        ];
        for (second, connected, lost) in table {
            let connected = ids(connected).into_iter().collect();
            let now = begin + Duration::from_secs(second);
            let verdict = away.judge(&state, &connected, now, Duration::from_secs(10));
            assert_eq!(verdict, Verdict { lose: ids(lost), begin_anew: vec![] }, "at {second} s");
        }
    }

    #[test]
    fn who_came_back_in_the_moment_it_was_given_up_begins_anew() {
        let mut state = fixture::cluster(&[("a", ""), ("b", "")]);
        let agent = state.agents.get_mut(&AgentId::new("b")).unwrap();
        Arc::make_mut(agent).presence = Presence::Lost;
        let connected = ids(&["a", "b", "forgotten"]).into_iter().collect();
        let verdict = Away::default().judge(&state, &connected, Instant::now(), Duration::ZERO);
        assert_eq!(verdict, Verdict { lose: vec![], begin_anew: ids(&["b", "forgotten"]) });
        let verdict = Away::default().judge(&state, &BTreeSet::new(), Instant::now(), Duration::ZERO);
        assert_eq!(verdict, Verdict { lose: ids(&["a"]), begin_anew: vec![] });
    }
}
