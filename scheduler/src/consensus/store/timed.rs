//! A store that takes the time of its commits. What a store does is not changed by it, nor what is read.

use std::time::{Duration, Instant};

use raft::eraftpb::{Entry, SnapshotMetadata};

use super::{Adopted, Adoption, LogStore, Outline, Pieces, Stager, StoreError, Write};

/// What the disk of a log has done since the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// How many. Snapshots that became current are none: they are rare, and large.
    pub count: u64,
    /// How long they took together.
    pub time: Duration,
}

impl Commits {
    /// The mean time of one since `before`; `None` when there was none.
    pub fn mean_since(&self, before: &Self) -> Option<Duration> {
        let count = u32::try_from(self.count.saturating_sub(before.count)).unwrap_or(u32::MAX);
        self.time.saturating_sub(before.time).checked_div(count)
    }
}

/// The store, and the time that it took.
#[derive(Debug)]
pub struct Timed<S> {
    store: S,
    commits: Commits,
}

impl<S: LogStore> Timed<S> {
    /// Begins to count.
    pub fn new(store: S) -> Self {
        Self { store, commits: Commits::default() }
    }

    /// So far.
    pub fn commits(&self) -> Commits {
        self.commits
    }
}

impl<S: LogStore> LogStore for Timed<S> {
    fn outline(&self) -> &Outline {
        self.store.outline()
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StoreError> {
        self.store.entries(low, high, max_bytes)
    }

    fn pieces(&self) -> Result<Pieces, StoreError> {
        self.store.pieces()
    }

    fn stager(&self) -> Stager {
        self.store.stager()
    }

    fn adoption(&self, meta: SnapshotMetadata, compact: u64) -> Result<Adoption, StoreError> {
        self.store.adoption(meta, compact)
    }

    fn adopted(&mut self, adopted: Adopted) {
        self.store.adopted(adopted);
    }

    fn commit(&mut self, write: Write) -> Result<(), StoreError> {
        let (counts, begun) = (write.received.is_none(), Instant::now());
        self.store.commit(write)?;
        if counts {
            self.commits.count += 1;
            self.commits.time += begun.elapsed();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_what_came_since() {
        let commits = |count, millis| Commits { count, time: Duration::from_millis(millis) };
        for (before, now, expected) in [
            (commits(0, 0), commits(0, 0), None),
            (commits(5, 100), commits(5, 100), None),
            (commits(5, 100), commits(15, 1_600), Some(Duration::from_millis(150))),
        ] {
            assert_eq!(now.mean_since(&before), expected);
        }
    }
}
