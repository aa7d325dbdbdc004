//! What deliberate bugs of the log do (`mutants`). Nothing of it ever runs unless one is turned on.

use raft::eraftpb::{Entry, EntryType};
use raft::{RaftLog, Storage};

/// The contents of the first two entries change places.
pub(super) fn swap(entries: &mut [Entry]) {
    let is_plain = |entry: &Entry| entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty();
    if let [first, second, ..] = entries
        && is_plain(first)
        && is_plain(second)
    {
        std::mem::swap(&mut first.data, &mut second.data);
    }
}

/// Everything that is on this disk counts as committed.
pub(super) fn commit_alone<T: Storage>(log: &mut RaftLog<T>) {
    log.commit_to(log.persisted.min(log.last_index()).max(log.committed));
}
