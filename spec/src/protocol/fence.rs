//! Fences: who may be obeyed of those that say they lead. The agent and the leader judge by the same rule.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// Where the epoch begins in a term.
const EPOCH_SHIFT: u32 = 32;

/// Orders what leaders say: an agent keeps the highest it has seen on disk and refuses anything lower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fence {
    /// Raft term of the leader that speaks.
    pub term: u64,
    /// Log index of the state it speaks from.
    pub index: u64,
}

impl Fence {
    /// The epoch in which the leader speaks: the high 32 bits of its term. Restoring a backup and recovering
    /// from one survivor begin the next one, so that everything said after it is above everything before.
    pub fn epoch(self) -> u64 {
        self.term >> EPOCH_SHIFT
    }

    /// What a leader that speaks from here is to an agent that has obeyed `obeyed`. The agent and the leader
    /// judge alike.
    pub fn standing(self, obeyed: Self) -> Standing {
        match self.epoch().cmp(&obeyed.epoch()) {
            Ordering::Less => Standing::Bygone,
            Ordering::Greater => Standing::Current,
            Ordering::Equal if self.term < obeyed.term => Standing::Deposed,
            Ordering::Equal if self.index < obeyed.index => Standing::SetBack,
            Ordering::Equal => Standing::Current,
        }
    }
}

/// What a leader is to an agent that has obeyed one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// To be obeyed.
    Current,
    /// Of an older term: a later leader has spoken. It will notice; another master is to be looked for.
    Deposed,
    /// It leads, and its log is shorter than what the agent was told from it: the log was set back, for example
    /// by an old copy of a data directory. Nothing it says can be trusted.
    SetBack,
    /// Of an earlier epoch: the cluster was restored or recovered since and goes on without this master.
    Bygone,
}

/// The first term of the epoch after that of `term`. Of the last epoch there is none: it stays the last.
pub fn next_epoch(term: u64) -> u64 {
    ((term >> EPOCH_SHIFT) + 1).min(u64::MAX >> EPOCH_SHIFT) << EPOCH_SHIFT
}

/// The first term of an epoch.
pub fn epoch_begin(epoch: u32) -> u64 {
    u64::from(epoch) << EPOCH_SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_above_all_terms_of_the_one_before() {
        for (term, epoch, next) in [
            (0, 0, 1 << 32),
            (1, 0, 1 << 32),
            (u64::from(u32::MAX), 0, 1 << 32),
            (1 << 32, 1, 2 << 32),
            ((7 << 32) + 5, 7, 8 << 32),
            (u64::MAX, u64::from(u32::MAX), u64::from(u32::MAX) << 32),
        ] {
            assert_eq!(Fence { term, index: 9 }.epoch(), epoch, "{term}");
            assert_eq!(next_epoch(term), next, "{term}");
            assert!(next > u64::MAX / 2 || epoch_begin((next >> 32) as u32) == next, "{term}");
        }
    }

    #[test]
    fn a_leader_stands_by_epoch_then_term_then_index() {
        const EPOCH: u64 = 1 << 32;
        let obeyed = Fence { term: EPOCH + 3, index: 100 };
        for (term, index, standing) in [
            (EPOCH + 3, 100, Standing::Current),
            (EPOCH + 3, 101, Standing::Current),
            (EPOCH + 9, 100, Standing::Current),
            (EPOCH + 3, 99, Standing::SetBack),
            (EPOCH + 9, 99, Standing::SetBack),
            (EPOCH + 2, 99, Standing::Deposed),
            (EPOCH + 2, 900, Standing::Deposed),
            (EPOCH - 1, 900, Standing::Bygone),
            (0, 0, Standing::Bygone),
            (2 * EPOCH, 0, Standing::Current),
        ] {
            assert_eq!(Fence { term, index }.standing(obeyed), standing, "{term}/{index}");
        }
        assert_eq!(obeyed.standing(Fence::default()), Standing::Current);
    }
}
