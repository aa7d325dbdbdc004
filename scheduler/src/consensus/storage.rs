//! raft's view of a log store: reads go to the recent entries in memory first. Writes go through
//! [`Storage::commit`] alone, so that the two never differ.

use std::cell::Cell;
use std::collections::VecDeque;

use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, Snapshot};
use raft::{GetEntriesContext, RaftState, StorageError};

use super::store::{Adopted, LogStore, StoreError, Write};

/// Recent entries kept in memory for slightly slower peers, in bytes.
const RECENT_BYTES_MAX: u64 = 8 << 20;

/// A log store with recent entries in memory.
pub(super) struct Storage<S> {
    store: S,
    /// The last entries of the log, without holes.
    recent: VecDeque<Entry>,
    recent_bytes: u64,
    /// A member that needs a snapshot and is not in the current one.
    lacking: Cell<Option<u64>>,
}

impl<S: LogStore> Storage<S> {
    pub(super) fn new(store: S) -> Self {
        Self { store, recent: VecDeque::new(), recent_bytes: 0, lacking: Cell::new(None) }
    }

    pub(super) fn store(&self) -> &S {
        &self.store
    }

    /// Who waits for a snapshot that knows them, if anybody does.
    pub(super) fn lacking(&self) -> Option<u64> {
        self.lacking.get()
    }

    /// Makes `write` durable.
    pub(super) fn commit(&mut self, write: Write) -> Result<(), StoreError> {
        let entries = write.entries.clone();
        let replaced = write.received.is_some();
        self.store.commit(write)?;
        if replaced {
            self.forget_from(0);
        }
        if let Some(first) = entries.first() {
            self.forget_from(first.index);
        }
        entries.into_iter().for_each(|entry| self.remember(entry));
        self.forget_compacted();
        Ok(())
    }

    /// A snapshot of our own is the current one on disk.
    pub(super) fn adopted(&mut self, adopted: Adopted) {
        self.store.adopted(adopted);
        self.forget_compacted();
    }

    fn forget_compacted(&mut self) {
        while self.recent.front().is_some_and(|entry| entry.index < self.store.outline().first_index()) {
            self.forget_oldest();
        }
    }

    fn remember(&mut self, entry: Entry) {
        self.recent_bytes += u64::from(entry.compute_size());
        self.recent.push_back(entry);
        while self.recent_bytes > RECENT_BYTES_MAX {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(entry) = self.recent.pop_front() {
            self.recent_bytes -= u64::from(entry.compute_size());
        }
    }

    fn forget_from(&mut self, index: u64) {
        while let Some(entry) = self.recent.pop_back_if(|entry| entry.index >= index) {
            self.recent_bytes -= u64::from(entry.compute_size());
        }
    }

    /// The entries `[low, high)` from memory, if the first is there.
    fn recent(&self, low: u64, high: u64, max_bytes: u64) -> Option<Vec<Entry>> {
        let at = usize::try_from(low.checked_sub(self.recent.front()?.index)?).ok()?;
        let count = usize::try_from(high.saturating_sub(low)).ok()?;
        let mut bytes = 0;
        let fits = |(at, entry): &(usize, &Entry)| {
            bytes += u64::from(entry.compute_size());
            *at == 0 || bytes <= max_bytes
        };
        let found = self.recent.iter().skip(at).take(count).enumerate().take_while(fits);
        Some(found.map(|(_, entry)| entry.clone()).collect())
    }
}

impl<S: LogStore> raft::Storage for Storage<S> {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let outline = self.store.outline();
        let conf_state: ConfState = outline.snapshot().get_conf_state().clone();
        Ok(RaftState::new(outline.hard_state().clone(), conf_state))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low < self.store.outline().first_index() {
            return Err(StorageError::Compacted.into());
        }
        let max_bytes = max_size.into().unwrap_or(u64::MAX);
        if let Some(entries) = self.recent(low, high, max_bytes) {
            return Ok(entries);
        }
        self.store.entries(low, high, max_bytes).map_err(|error| StorageError::Other(error.into()).into())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let outline = self.store.outline();
        let missing =
            if index < outline.base().index { StorageError::Compacted } else { StorageError::Unavailable };
        outline.term(index).ok_or_else(|| missing.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.store.outline().first_index())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.store.outline().last_index())
    }

    /// Without its contents: they are streamed from the store when it leaves. A member that was added after
    /// the current snapshot was taken has no use for it: it would not find itself in there.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let meta = self.store.outline().snapshot();
        let knows = is_member(meta.get_conf_state(), to);
        if meta.index < request_index || !knows {
            self.lacking.set(Some(to).filter(|_| !knows));
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        let mut snapshot = Snapshot::default();
        snapshot.set_metadata(meta.clone());
        Ok(snapshot)
    }
}

/// In any role.
pub(super) fn is_member(members: &ConfState, id: u64) -> bool {
    [&members.voters, &members.voters_outgoing, &members.learners, &members.learners_next]
        .into_iter()
        .any(|ids| ids.contains(&id))
}
