//! Which agents have been away for too long, and how many of them may be given up at once. Pure: who has a
//! session, the state and the time come in, a verdict comes out.
//!
//! Where very many agents are away together it is seldom they that have failed: a switch has, or this master's
//! own network. Giving all of them up would start everything anew elsewhere, all at once. So within any minute no
//! more than 3 agents are given up, or a tenth of those not given up before where that is more: of 3 agents all, of
//! 100 agents 10 in the first minute and 9 in the next, of 5,000 agents 500. Who has been away for longest goes
//! first; the others stay as they are, and count as there again as soon as they come back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use spec::ids::AgentId;

use crate::state::{Agent, Presence, State};

/// Agents that may always be given up within [`WINDOW`].
const LOSSES_MIN: usize = 3;
/// Of so many agents one may be given up within [`WINDOW`].
const AGENTS_PER_LOSS: usize = 10;
/// For how long a loss counts.
const WINDOW: Duration = Duration::from_secs(60);

/// Since when agents have no session, and who was given up lately. Begins empty with every reign: a leader that
/// has just been elected gives every agent the full time to come back. Times are since any one moment, by a
/// clock that never goes back.
#[derive(Debug, Default)]
pub struct Away {
    since: BTreeMap<AgentId, Duration>,
    /// Bounded: nobody is added beyond the allowance, and each goes after [`WINDOW`].
    given_up: BTreeMap<AgentId, Duration>,
}

/// What absences call for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Away for too long: to be proposed as lost. Named again until the state says so.
    pub lose: Vec<AgentId>,
    /// How many more are away for too long and are not given up yet, because too many were lately.
    pub held_back: usize,
    /// They have a session that the state knows nothing of: they came back in the moment they were given up.
    /// What such a session reports would not count, and nothing would be placed on its agent.
    pub begin_anew: Vec<AgentId>,
}

fn is_connected(agent: &Agent) -> bool {
    agent.presence == Presence::Connected
}

impl Away {
    /// Looks at who is there. `connected` are the agents with a session, taken before `state` was; `timeout` is
    /// the silence that is too long.
    pub fn judge(
        &mut self,
        state: &State,
        connected: &BTreeSet<AgentId>,
        now: Duration,
        timeout: Duration,
    ) -> Verdict {
        let is_there = |agent: &AgentId| state.agents.get(agent).is_some_and(|agent| is_connected(agent));
        self.since.retain(|agent, _| is_there(agent) && !connected.contains(agent));
        let (mut there, mut begin_anew) = (0, Vec::new());
        // Both are in the order of ids: one walk serves, twice a second over thousands.
        let mut sessions = connected.iter().peekable();
        for agent in state.agents.values() {
            while let Some(unknown) = sessions.next_if(|session| **session < agent.id) {
                begin_anew.push(unknown.clone());
            }
            let session = sessions.next_if(|session| **session == agent.id);
            match (is_connected(agent), session) {
                (true, Some(_)) => there += 1,
                (true, None) => {
                    there += 1;
                    self.since.entry(agent.id.clone()).or_insert(now);
                }
                (false, Some(session)) => begin_anew.push(session.clone()),
                (false, None) => {}
            }
        }
        begin_anew.extend(sessions.cloned());
        self.given_up.retain(|_, at| now.saturating_sub(*at) < WINDOW);
        // Those that were given up lately and are gone from the state belong to the fleet as well.
        let gone = self.given_up.keys().filter(|agent| !is_there(agent)).count();
        let allowance = LOSSES_MIN.max((there + gone) / AGENTS_PER_LOSS);
        let (lose, held_back) = self.choose(now, timeout, allowance);
        Verdict { lose, held_back, begin_anew }
    }

    /// Who goes now, those first that have been away for longest, and how many have to wait.
    fn choose(&mut self, now: Duration, timeout: Duration, allowance: usize) -> (Vec<AgentId>, usize) {
        let mut overdue: Vec<(Duration, &AgentId)> = self
            .since
            .iter()
            .filter(|(_, since)| now.saturating_sub(**since) >= timeout)
            .map(|(agent, since)| (*since, agent))
            .collect();
        overdue.sort_unstable();
        let mut lose = Vec::new();
        for (_, agent) in &overdue {
            if self.given_up.contains_key(*agent) {
                lose.push((*agent).clone());
            } else if self.given_up.len() < allowance {
                self.given_up.insert((*agent).clone(), now);
                lose.push((*agent).clone());
            }
        }
        let held_back = overdue.len() - lose.len();
        (lose, held_back)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::placement::fixture;

    fn ids(names: &[&str]) -> Vec<AgentId> {
        names.iter().map(|name| AgentId::new(*name)).collect()
    }

    fn set_presence(state: &mut State, agent: &AgentId, presence: Presence) {
        Arc::make_mut(state.agents.get_mut(agent).unwrap()).presence = presence;
    }

    #[test]
    fn silence_is_counted_from_the_first_look_without_a_session() {
        let state = fixture::cluster(&[("a", ""), ("b", "")]);
        let mut away = Away::default();
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
            let verdict =
                away.judge(&state, &connected, Duration::from_secs(second), Duration::from_secs(10));
            assert_eq!(verdict, Verdict { lose: ids(lost), ..Verdict::default() }, "at {second} s");
        }
    }

    #[test]
    fn who_came_back_in_the_moment_it_was_given_up_begins_anew() {
        let mut state = fixture::cluster(&[("a", ""), ("b", "")]);
        set_presence(&mut state, &AgentId::new("b"), Presence::Lost);
        let connected = ids(&["a", "b", "forgotten"]).into_iter().collect();
        let now = Duration::from_secs(100);
        let verdict = Away::default().judge(&state, &connected, now, Duration::ZERO);
        assert_eq!(verdict, Verdict { begin_anew: ids(&["b", "forgotten"]), ..Verdict::default() });
        let verdict = Away::default().judge(&state, &BTreeSet::new(), now, Duration::ZERO);
        assert_eq!(verdict, Verdict { lose: ids(&["a"]), ..Verdict::default() });
    }

    #[test]
    fn many_at_once_are_given_up_little_by_little() {
        // Agents, those away, and how many are given up at 10, 11, 69, 70, 130 and 190 s.
        let table: [(usize, usize, [usize; 6]); 6] = [
            (1, 1, [1, 0, 0, 0, 0, 0]),
            (3, 3, [3, 0, 0, 0, 0, 0]),
            (10, 10, [3, 0, 0, 3, 3, 1]),
            (40, 6, [4, 0, 0, 2, 0, 0]),
            (100, 100, [10, 0, 0, 9, 8, 7]),
            (100, 5, [5, 0, 0, 0, 0, 0]),
        ];
        for (all, away_at_once, expected) in table {
            let names: Vec<String> = (0..all).map(|n| format!("a{n:03}")).collect();
            let agents: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
            let mut state = fixture::cluster(&agents);
            let connected: BTreeSet<AgentId> =
                names[away_at_once..].iter().map(|name| AgentId::new(name.as_str())).collect();
            let (mut away, mut left) = (Away::default(), away_at_once);
            away.judge(&state, &connected, Duration::ZERO, Duration::from_secs(10));
            for (second, lost) in [10, 11, 69, 70, 130, 190].into_iter().zip(expected) {
                let now = Duration::from_secs(second);
                let verdict = away.judge(&state, &connected, now, Duration::from_secs(10));
                left -= lost;
                assert_eq!((verdict.lose.len(), verdict.held_back), (lost, left), "{all} at {second} s");
                verdict.lose.iter().for_each(|agent| set_presence(&mut state, agent, Presence::Lost));
            }
        }
    }

    #[test]
    fn who_was_held_back_and_returns_is_not_given_up_and_the_longest_away_go_first() {
        let names = ["a", "b", "c", "d", "e"];
        let state = fixture::cluster(&names.map(|name| (name, "")));
        let mut away = Away::default();
        let mut judge = |second, connected: &[&str]| {
            let connected = ids(connected).into_iter().collect();
            away.judge(&state, &connected, Duration::from_secs(second), Duration::from_secs(10))
        };
        judge(0, &["a", "b"]);
        judge(1, &["b"]);
        judge(2, &[]);
        let first = judge(20, &[]);
        assert_eq!((first.lose, first.held_back), (ids(&["c", "d", "e"]), 2));
        let proposed_again = judge(21, &[]);
        assert_eq!((proposed_again.lose, proposed_again.held_back), (ids(&["c", "d", "e"]), 2));
        assert_eq!(judge(22, &["a"]).held_back, 1);
        assert_eq!(judge(82, &["a", "c", "d", "e"]).lose, ids(&["b"]));
    }
}
