//! Where the leader is looked for: which master is tried next, after what pause, and when there is no use in going
//! on. Pure.
//!
//! All masters are tried in rounds, each once: those of the command line and those that the cluster has told of. A
//! master that does not lead says who does, and that one is tried next. The first round goes without a pause, and
//! masters have little time to answer in it; both grow from round to round.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use spec::protocol::MASTERS_MAX;

/// Pause before the second round; doubles from round to round.
const PAUSE_MILLIS_MIN: u64 = 100;
/// Longest pause.
const PAUSE_MILLIS_MAX: u64 = 5_000;
/// How long a master may take to accept a connection, and then to say its first word, in the first round.
const PATIENCE_MILLIS_MIN: u64 = 1_000;
/// The longest that either may take: masters may be busy.
const PATIENCE_MILLIS_MAX: u64 = 8_000;
/// A session that lasted as long was a success: the next search begins without a pause.
const STEADY: Duration = Duration::from_secs(10);
/// Masters tried in one round, whatever they say of each other.
const TRIES_MAX: usize = 4 * MASTERS_MAX;

/// The next master to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Where.
    pub master: SocketAddr,
    /// After this long.
    pub pause: Duration,
    /// For how long it may be silent.
    pub patience: Duration,
}

/// A search, and what is known from those before.
#[derive(Debug)]
pub struct Search {
    /// From the command line: always tried.
    given: Vec<SocketAddr>,
    /// What the cluster has told.
    learned: Vec<SocketAddr>,
    /// Rounds in vain.
    rounds: u32,
    /// Still to be tried in this round, the next one first.
    left: VecDeque<SocketAddr>,
    tried: BTreeSet<SocketAddr>,
    /// Of this round: who sent the agent away for good, and why.
    refusals: BTreeMap<SocketAddr, String>,
    /// Of this round: whom the others take for the leader; `None` for those that said nothing of use.
    opinions: BTreeMap<SocketAddr, Option<SocketAddr>>,
    /// The leader that was lost, and its term.
    lost: Option<(SocketAddr, u64)>,
}

impl Search {
    /// Knows the masters of the command line, of which there is at least one, and those learned before.
    pub fn new(given: Vec<SocketAddr>, learned: Vec<SocketAddr>) -> Self {
        let mut search = Self {
            given,
            learned,
            rounds: 0,
            left: VecDeque::new(),
            tried: BTreeSet::new(),
            refusals: BTreeMap::new(),
            opinions: BTreeMap::new(),
            lost: None,
        };
        search.begin_round();
        search
    }

    /// The masters of the cluster are these now. Says whether that is news.
    pub fn learn(&mut self, masters: &[SocketAddr]) -> bool {
        let masters = &masters[..masters.len().min(MASTERS_MAX)];
        let is_news = self.learned != masters;
        self.learned = masters.to_vec();
        is_news
    }

    /// What the cluster has told.
    pub fn learned(&self) -> &[SocketAddr] {
        &self.learned
    }

    /// Every master that is known, once.
    pub fn masters(&self) -> Vec<SocketAddr> {
        let mut seen = BTreeSet::new();
        self.given.iter().chain(&self.learned).copied().filter(|master| seen.insert(*master)).collect()
    }

    /// The master to try now. `random` (0 to 1) spreads agents that lost the same leader.
    pub fn next(&mut self, random: f64) -> Attempt {
        let mut wait = Duration::ZERO;
        if self.left.is_empty() {
            self.rounds = self.rounds.saturating_add(1);
            self.begin_round();
        }
        if self.tried.is_empty() {
            wait = pause(self.rounds, random);
        }
        // There is at least one.
        let master = self.left.pop_front().unwrap_or(self.given[0]);
        self.tried.insert(master);
        Attempt { master, pause: wait, patience: patience(self.rounds) }
    }

    fn begin_round(&mut self) {
        self.tried.clear();
        self.refusals.clear();
        self.opinions.clear();
        let lost = self.lost.map(|(master, _)| master);
        // The leader that was just lost comes last.
        let (last, first): (Vec<_>, Vec<_>) =
            self.masters().into_iter().partition(|master| Some(*master) == lost && self.rounds == 0);
        self.left = first.into_iter().chain(last).collect();
    }

    /// A master was not reached, or did not say anything of use.
    pub fn failed(&mut self, master: SocketAddr) {
        self.opinions.insert(master, None);
    }

    /// A master says that it does not lead, and who does. `obeyed` is the highest term the agent has obeyed:
    /// what is said of an earlier one is out of date, and so is whoever takes the lost leader for the leader.
    pub fn elsewhere(&mut self, master: SocketAddr, leader: Option<SocketAddr>, term: u64, obeyed: u64) {
        self.opinions.insert(master, leader);
        let is_lost = |leader| self.lost.is_some_and(|(lost, in_term)| lost == leader && term <= in_term);
        let Some(leader) = leader.filter(|leader| term >= obeyed && !is_lost(*leader)) else { return };
        self.go_to(leader);
    }

    /// This one is to be tried next, if it has not been in this round.
    fn go_to(&mut self, leader: SocketAddr) {
        if !self.tried.contains(&leader) && self.tried.len() < TRIES_MAX {
            self.left.retain(|master| *master != leader);
            self.left.push_front(leader);
        }
    }

    /// A master sends the agent away for good. Whether that is the end depends on the others: it may be one that
    /// the cluster has gone on without.
    pub fn refused(&mut self, master: SocketAddr, reason: String) {
        self.refusals.insert(master, reason);
    }

    /// Why there is no use in going on: everybody was asked and either refused the agent or takes one that did
    /// for the leader.
    pub fn hopeless(&self) -> Option<&String> {
        let follows =
            |opinion: &Option<SocketAddr>| opinion.is_some_and(|leader| self.refusals.contains_key(&leader));
        let all = self.left.is_empty() && self.opinions.values().all(follows);
        self.refusals.values().next().filter(|_| all)
    }

    /// The session with the leader of `term` is over after it has `lasted`: looks for another one, or for the
    /// same one, at once; but one that ends again and again is not hammered.
    pub fn lost(&mut self, leader: SocketAddr, term: u64, lasted: Duration) {
        self.rounds = if lasted >= STEADY { 0 } else { self.rounds.saturating_add(1) };
        self.lost = Some((leader, term));
        self.begin_round();
    }

    /// The session is to be opened anew with the same master.
    pub fn again(&mut self, master: SocketAddr) {
        self.rounds = 0;
        self.begin_round();
        self.go_to(master);
    }

    /// The leader was left for one of a later term.
    pub fn moved(&mut self, from: SocketAddr, term: u64, to: SocketAddr) {
        self.lost(from, term, STEADY);
        self.go_to(to);
    }
}

fn pause(round: u32, random: f64) -> Duration {
    if round == 0 {
        return Duration::ZERO;
    }
    let longest = (PAUSE_MILLIS_MIN << (round - 1).min(16)).min(PAUSE_MILLIS_MAX);
    Duration::from_millis(longest).mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

fn patience(round: u32) -> Duration {
    Duration::from_millis((PATIENCE_MILLIS_MIN << round.min(16)).min(PATIENCE_MILLIS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u16) -> SocketAddr {
        ([192, 0, 2, 1], n).into()
    }

    fn search(given: &[u16], learned: &[u16]) -> Search {
        let all = |list: &[u16]| list.iter().copied().map(at).collect();
        Search::new(all(given), all(learned))
    }

    /// The next masters, without their pauses; each fails.
    fn tries(search: &mut Search, count: usize) -> Vec<u16> {
        let mut next = || {
            let master = search.next(1.0).master;
            search.failed(master);
            master.port()
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn rounds_begin_with_growing_pauses_and_patience() {
        let mut search = search(&[1], &[2]);
        let seen: Vec<_> = (0..18)
            .map(|_| search.next(1.0))
            .map(|next| (next.master.port(), next.pause.as_millis(), next.patience.as_millis()))
            .collect();
        let expected = [
            (1, 0, 1000),
            (2, 0, 1000),
            (1, 100, 2000),
            (2, 0, 2000),
            (1, 200, 4000),
            (2, 0, 4000),
            (1, 400, 8000),
            (2, 0, 8000),
            (1, 800, 8000),
        ];
        assert_eq!(seen[..9], expected);
        assert_eq!(seen[16], (1, 5000, 8000));
        assert_eq!(pause(1, 0.0), Duration::from_millis(50), "spread");
        assert_eq!((pause(u32::MAX, 1.0), patience(u32::MAX)), (pause(99, 1.0), patience(99)));
    }

    #[test]
    fn every_master_is_tried_once_a_round_however_it_is_known() {
        assert_eq!(tries(&mut search(&[1, 2], &[2, 3]), 6), [1, 2, 3, 1, 2, 3]);
        let mut search = search(&[1], &[]);
        assert!(search.learn(&[at(1), at(2)]) && !search.learn(&[at(1), at(2)]));
        assert_eq!(tries(&mut search, 3), [1, 1, 2], "what is learned counts from the next round");
        let many: Vec<_> = (1..100).map(at).collect();
        search.learn(&many);
        assert_eq!(search.learned().len(), MASTERS_MAX);
    }

    #[test]
    fn whoever_leads_is_tried_next_unless_that_is_out_of_date() {
        // The leader said, of which term; the masters tried after master 1 said so. The agent has obeyed term 5.
        let table: [(Option<u16>, u64, &[u16]); 7] = [
            (Some(3), 5, &[3, 2]),
            (Some(3), 6, &[3, 2]),
            (Some(3), 4, &[2, 3]),
            (Some(9), 5, &[9, 2]),
            (Some(9), 4, &[2, 3]),
            (Some(1), 6, &[2, 3]),
            (None, 6, &[2, 3]),
        ];
        for (leader, term, then) in table {
            let mut search = search(&[1, 2, 3], &[]);
            assert_eq!(search.next(0.0).master, at(1));
            search.elsewhere(at(1), leader.map(at), term, 5);
            assert_eq!(tries(&mut search, 2), then, "{leader:?} of {term}");
        }
    }

    #[test]
    fn masters_that_point_at_each_other_for_ever_are_asked_once_a_round() {
        let mut search = search(&[1], &[]);
        let mut asked = 0;
        while search.next(0.0).pause.is_zero() {
            asked += 1;
            search.elsewhere(at(asked), Some(at(asked + 1)), 9, 0);
        }
        assert_eq!(usize::from(asked), TRIES_MAX);
    }

    #[test]
    fn a_lost_leader_comes_last_and_is_not_believed_to_lead_in_its_term() {
        for (term, then) in [(5, [3, 2]), (6, [2, 3])] {
            let mut search = search(&[1, 2, 3], &[]);
            search.lost(at(2), 5, STEADY);
            assert_eq!(
                search.next(0.0),
                Attempt { master: at(1), pause: Duration::ZERO, patience: patience(0) }
            );
            search.elsewhere(at(1), Some(at(2)), term, 5);
            assert_eq!(tries(&mut search, 2), then, "of term {term}");
        }
        let mut search = search(&[1, 2, 3], &[]);
        search.lost(at(1), 5, STEADY);
        assert_eq!(tries(&mut search, 6), [2, 3, 1, 1, 2, 3]);
        search.moved(at(1), 5, at(3));
        assert_eq!(tries(&mut search, 3), [3, 2, 1]);
        search.again(at(2));
        assert_eq!(search.next(1.0).master, at(2));
    }

    #[test]
    fn short_sessions_are_followed_by_pauses_and_a_steady_one_by_none() {
        let mut search = search(&[1], &[]);
        search.next(1.0);
        for (lasted, pause) in [(0, 100), (9_999, 200), (1, 400), (10_000, 0), (0, 100)] {
            search.lost(at(1), 1, Duration::from_millis(lasted));
            assert_eq!(search.next(1.0).pause, Duration::from_millis(pause), "after {lasted} ms");
        }
    }

    #[test]
    fn a_refusal_is_final_when_nobody_knows_better() {
        enum Said {
            Refused,
            Leads(u16),
            Nothing,
        }
        use Said::{Leads, Nothing, Refused};
        for (said, hopeless) in [
            ([Refused, Refused, Refused], true),
            ([Refused, Leads(1), Leads(1)], true),
            ([Leads(3), Leads(3), Refused], true),
            ([Refused, Nothing, Leads(1)], false),
            ([Refused, Leads(2), Leads(1)], false),
            ([Nothing, Nothing, Nothing], false),
        ] {
            let mut search = search(&[1, 2, 3], &[]);
            for _ in 0..3 {
                assert_eq!(search.hopeless(), None, "not before everybody was asked");
                let master = search.next(0.0).master;
                match said[usize::from(master.port()) - 1] {
                    Refused => search.refused(master, "why".to_owned()),
                    Leads(leader) => search.elsewhere(master, Some(at(leader)), 5, 5),
                    Nothing => search.failed(master),
                }
            }
            assert_eq!(search.hopeless().is_some(), hopeless);
            search.next(0.0);
            assert_eq!(search.hopeless(), None, "a new round");
        }
    }
}
