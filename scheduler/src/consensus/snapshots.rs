//! When a snapshot is due, and the work of writing one, which may run on any thread.

use std::sync::atomic::{AtomicBool, Ordering};

use raft::eraftpb::SnapshotMetadata;

use super::Frozen;
use super::store::{ChunkSink, Staged, StoreError};

/// When to take a snapshot and how much of the log to keep behind it.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPolicy {
    /// Entries applied since the last one.
    pub entries: u64,
    /// Bytes applied since the last one.
    pub bytes: u64,
    /// Entries kept before a snapshot, for peers that are a little behind.
    pub keep_entries: u64,
    /// The same in bytes.
    pub keep_bytes: u64,
}

impl Default for SnapshotPolicy {
    fn default() -> Self {
        Self { entries: 10_000, bytes: 64 << 20, keep_entries: 1_000, keep_bytes: 16 << 20 }
    }
}

/// What was applied since the last snapshot, and whether one is being written.
#[derive(Debug)]
pub(super) struct Progress {
    policy: SnapshotPolicy,
    entries: u64,
    bytes: u64,
    writing: bool,
}

impl Progress {
    pub(super) fn new(policy: SnapshotPolicy) -> Self {
        Self { policy, entries: 0, bytes: 0, writing: false }
    }

    pub(super) fn applied(&mut self, bytes: usize) {
        self.entries += 1;
        self.bytes += bytes as u64;
    }

    /// Whether a snapshot should be begun now; `wanted`: somebody waits for one.
    pub(super) fn due(&self, wanted: bool) -> bool {
        let grown = self.entries >= self.policy.entries || self.bytes >= self.policy.bytes;
        !self.writing && (grown || wanted)
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
    pub(super) meta: SnapshotMetadata,
    pub(super) frozen: Box<dyn Frozen>,
    pub(super) sink: Box<dyn ChunkSink>,
}

/// All pieces of a snapshot are in the store. To be handed back to the node.
#[derive(Debug)]
pub struct Written {
    pub(super) meta: SnapshotMetadata,
    pub(super) staged: Staged,
}

impl SnapshotJob {
    /// Encodes the state and writes it. `None` when `abandon` was set before the end.
    pub fn run(mut self, abandon: &AtomicBool) -> Result<Option<Written>, StoreError> {
        for chunk in self.frozen.chunks() {
            if abandon.load(Ordering::Relaxed) {
                return Ok(None);
            }
            self.sink.put(&chunk)?;
        }
        Ok(Some(Written { meta: self.meta, staged: self.sink.finish() }))
    }
}
