//! When a snapshot is due, and the work of writing one and making it the current one, which may run on any thread.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Frozen;
use super::store::{Adopted, Adoption, ChunkSink, StoreError};

/// When to take a snapshot and how much of the log to keep behind it.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPolicy {
    /// Entries applied since the last one; of a large state more, see `larger_max`.
    pub entries: u64,
    /// The same in bytes.
    pub bytes: u64,
    /// A state whose last snapshot is so many times larger than `bytes` is written after so many times as much, but
    /// never after more times than this: a start reads the snapshot, and then what came after it.
    pub larger_max: u64,
    /// Entries kept before a snapshot, for peers that are a little behind.
    pub keep_entries: u64,
    /// The same in bytes.
    pub keep_bytes: u64,
}

impl Default for SnapshotPolicy {
    fn default() -> Self {
        Self { entries: 10_000, bytes: 64 << 20, larger_max: 8, keep_entries: 1_000, keep_bytes: 16 << 20 }
    }
}

/// What was applied since the last snapshot, and whether one is being written.
#[derive(Debug)]
pub(super) struct Progress {
    policy: SnapshotPolicy,
    entries: u64,
    bytes: u64,
    writing: bool,
    /// Bytes of the current snapshot.
    size: u64,
}

impl Progress {
    pub(super) fn new(policy: SnapshotPolicy) -> Self {
        Self { policy, entries: 0, bytes: 0, writing: false, size: 0 }
    }

    pub(super) fn applied(&mut self, bytes: usize) {
        self.entries += 1;
        self.bytes += bytes as u64;
    }

    /// Whether a snapshot should be begun now; `wanted`: somebody waits for one.
    pub(super) fn due(&self, wanted: bool) -> bool {
        let SnapshotPolicy { entries, bytes, larger_max, .. } = self.policy;
        let scaled = |least: u64| {
            let larger = u128::from(least) * u128::from(self.size) / u128::from(bytes.max(1));
            u64::try_from(larger).unwrap_or(u64::MAX).clamp(least, least.saturating_mul(larger_max.max(1)))
        };
        let grown = self.entries >= scaled(entries) || self.bytes >= scaled(bytes);
        !self.writing && (grown || wanted)
    }

    /// The current snapshot is so large.
    pub(super) fn sized(&mut self, bytes: u64) {
        self.size = bytes;
    }

    pub(super) fn begun(&mut self) {
        (self.entries, self.bytes, self.writing) = (0, 0, true);
    }

    pub(super) fn ended(&mut self) {
        self.writing = false;
    }

    pub(super) fn policy(&self) -> SnapshotPolicy {
        self.policy
    }
}

/// A frozen state on its way to the store.
pub struct SnapshotJob {
    pub(super) frozen: Box<dyn Frozen>,
    pub(super) sink: Box<dyn ChunkSink>,
    pub(super) adoption: Adoption,
}

/// A snapshot is the current one in the store. To be handed back to the node, which does not know yet.
#[derive(Debug)]
pub struct Written {
    pub(super) adopted: Adopted,
    pub(super) bytes: u64,
}

impl SnapshotJob {
    /// Encodes the state, writes it and makes it the current snapshot. `None` when `abandon` was set before the end, or
    /// the leader has sent a newer one meanwhile.
    pub fn run(mut self, abandon: &AtomicBool) -> Result<Option<Written>, StoreError> {
        let mut bytes = 0;
        for chunk in self.frozen.chunks() {
            if abandon.load(Ordering::Relaxed) {
                return Ok(None);
            }
            self.sink.put(&chunk)?;
            bytes += chunk.len() as u64;
        }
        let adopted = (self.adoption)(self.sink.finish())?;
        Ok(adopted.map(|adopted| Written { adopted, bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_state_is_written_after_more() {
        let policy = SnapshotPolicy { entries: 100, bytes: 1000, larger_max: 8, ..SnapshotPolicy::default() };
        // Bytes of the last snapshot; entries and bytes that make the next one due.
        for (size, entries, bytes) in [
            (0, 100, 1_000),
            (1_000, 100, 1_000),
            (1_500, 150, 1_500),
            (5_000, 500, 5_000),
            (8_000, 800, 8_000),
            (u64::MAX, 800, 8_000),
        ] {
            let due = |applied: u64, each: usize| {
                let mut progress = Progress::new(policy);
                progress.sized(size);
                (0..applied).for_each(|_| progress.applied(each));
                progress.due(false)
            };
            assert_eq!((due(entries - 1, 0), due(entries, 0)), (false, true), "{size}");
            assert_eq!((due(1, bytes as usize - 1), due(1, bytes as usize)), (false, true), "{size}");
        }
    }

    #[test]
    fn one_snapshot_at_a_time() {
        let mut progress = Progress::new(SnapshotPolicy { entries: 1, ..SnapshotPolicy::default() });
        assert!(progress.due(true), "somebody waits");
        progress.begun();
        progress.applied(1);
        assert!(!progress.due(true));
        progress.ended();
        assert!(progress.due(false));
    }
}
