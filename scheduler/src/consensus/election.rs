//! Election timeouts drawn from a seed. raft draws its own from the thread's generator; setting ours round
//! every call makes a node's messages a function of its inputs and its seed alone.

use raft::{Raft, StateRole, Storage};

/// Ticks without a leader before an election is held: at least these, at most twice as many.
pub(super) const ELECTION_TICKS: usize = 10;
/// Ticks between heartbeats of a leader.
pub(super) const HEARTBEAT_TICKS: usize = 2;

/// The timeout in force and where the next one comes from.
pub(super) struct Election {
    source: fastrand::Rng,
    timeout: usize,
    seen: (u64, StateRole, u64),
    elapsed: usize,
}

impl Election {
    pub(super) fn new(seed: u64) -> Self {
        let mut election = Self {
            source: fastrand::Rng::with_seed(seed),
            timeout: 0,
            seen: (0, StateRole::Follower, 0),
            elapsed: 0,
        };
        election.draw();
        election
    }

    /// To be called before and after every call that may change raft's state. A new timeout is drawn when the
    /// term, the role or the leader changes, and when the count of ticks begins anew: it ran out, or the
    /// leader was heard of.
    pub(super) fn settle<S: Storage>(&mut self, raft: &mut Raft<S>) {
        let now = (raft.term, raft.state, raft.leader_id);
        if now != self.seen || raft.election_elapsed < self.elapsed {
            self.draw();
        }
        self.seen = now;
        self.elapsed = raft.election_elapsed;
        raft.set_randomized_election_timeout(self.timeout);
    }

    fn draw(&mut self) {
        self.timeout = self.source.usize(ELECTION_TICKS..2 * ELECTION_TICKS);
    }
}
