//! What of a log is kept in memory: where it begins and ends, the term and size of each entry, the hard
//! state, the current snapshot. Both stores answer from it; it does no I/O.

use std::collections::VecDeque;

use protobuf::Message as _;
use raft::eraftpb::{Entry, HardState, SnapshotMetadata};

use super::{Adopted, Received, Write};

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Index of the entry.
    pub index: u64,
    /// Term it was proposed in.
    pub term: u64,
}

/// The log without its contents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outline {
    /// The entry before the first one.
    base: Position,
    /// Term and size of each entry after `base`.
    spans: VecDeque<Span>,
    bytes: u64,
    hard_state: HardState,
    snapshot: SnapshotMetadata,
    stage: u64,
    pieces: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    term: u64,
    bytes: u32,
}

impl Outline {
    /// A log without entries that begins after `base`; `staged` is the number of the snapshot's stage and of
    /// its pieces.
    pub fn new(
        base: Position,
        hard_state: HardState,
        snapshot: SnapshotMetadata,
        (stage, pieces): (u64, u32),
    ) -> Self {
        Self { base, hard_state, snapshot, stage, pieces, ..Self::default() }
    }

    /// The entry before the first one.
    pub fn base(&self) -> Position {
        self.base
    }

    /// Index of the first entry, should it exist.
    pub fn first_index(&self) -> u64 {
        self.base.index + 1
    }

    /// Index of the last entry, or of the base when there is none.
    pub fn last_index(&self) -> u64 {
        self.base.index + self.spans.len() as u64
    }

    /// Term of an entry, or of the base.
    pub fn term(&self, index: u64) -> Option<u64> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        let at = index.checked_sub(self.first_index())?;
        self.spans.get(usize::try_from(at).ok()?).map(|span| span.term)
    }

    /// Size of all entries together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Term, vote and commit index.
    pub fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// Index, term and members of the current snapshot.
    pub fn snapshot(&self) -> &SnapshotMetadata {
        &self.snapshot
    }

    /// Number of the current snapshot's stage, and of its pieces.
    pub fn stage(&self) -> (u64, u32) {
        (self.stage, self.pieces)
    }

    /// The index to compact to so that at most `entries` and `bytes` remain before `upto`.
    pub fn compaction(&self, upto: u64, entries: u64, bytes: u64) -> u64 {
        let mut kept = 0;
        let mut index = upto.min(self.last_index());
        while index > self.base.index && upto - index < entries {
            let Some(span) = self.spans.get((index - self.first_index()) as usize) else {
                break;
            };
            kept += u64::from(span.bytes);
            if kept > bytes {
                break;
            }
            index -= 1;
        }
        index
    }

    /// What is wrong with a write, if anything: a store must never hold a log with a hole.
    pub fn check(&self, write: &Write) -> Result<(), String> {
        let mut next = self.bounds_before(write);
        for (at, entry) in write.entries.iter().enumerate() {
            if at == 0 && (self.first_allowed(write)..=next.1 + 1).contains(&entry.index) {
                next.1 = entry.index;
            } else if entry.index == next.1 + 1 {
                next.1 += 1;
            } else {
                return Err(format!("entry {} does not follow entry {}", entry.index, next.1));
            }
        }
        match &write.received {
            Some(received) if received.meta.index < self.snapshot.index => Err(format!(
                "a snapshot at {}, and one at {} is there",
                received.meta.index, self.snapshot.index
            )),
            _ => Ok(()),
        }
    }

    /// What is wrong with a snapshot of our own at `meta`, with which the log is to begin after `compact`.
    pub fn check_own(&self, meta: &SnapshotMetadata, compact: u64) -> Result<(), String> {
        let commit = self.hard_state.commit;
        if meta.index > commit.min(self.last_index()) || meta.index <= self.snapshot.index {
            return Err(format!("a snapshot at {} of what is committed up to {commit}", meta.index));
        }
        if compact > meta.index {
            return Err(format!("compacting to {compact} beyond the snapshot at {}", meta.index));
        }
        Ok(())
    }

    /// Base and last index before the entries of `write` are appended.
    fn bounds_before(&self, write: &Write) -> (u64, u64) {
        match &write.received {
            Some(Received { meta, .. }) => (meta.index, meta.index),
            None => (self.base.index, self.last_index()),
        }
    }

    /// Where the log begins once it is compacted to an index.
    pub fn base_at(&self, compact: u64) -> Position {
        match self.term(compact) {
            Some(term) if compact > self.base.index => Position { index: compact, term },
            _ => self.base,
        }
    }

    fn first_allowed(&self, write: &Write) -> u64 {
        self.bounds_before(write).0 + 1
    }

    /// Takes over what has been made durable; `check` has passed.
    pub fn apply(&mut self, write: &Write) {
        if let Some(Received { meta, stage, pieces }) = &write.received {
            self.base = Position { index: meta.index, term: meta.term };
            self.spans.clear();
            self.bytes = 0;
            self.snapshot = meta.clone();
            (self.stage, self.pieces) = (*stage, *pieces);
        }
        if let Some(first) = write.entries.first() {
            self.truncate(first.index);
        }
        write.entries.iter().for_each(|entry| self.push(entry));
        if let Some(hard_state) = &write.hard_state {
            self.hard_state = hard_state.clone();
        }
    }

    /// A snapshot of our own is the current one.
    pub fn adopt(&mut self, own: &Adopted) {
        self.snapshot = own.meta.clone();
        (self.stage, self.pieces) = (own.stage, own.pieces);
        self.compact(own.base.index);
    }

    /// What a log begins with that is read again.
    pub(super) fn set_hard_state(&mut self, state: &HardState) {
        self.hard_state = state.clone();
    }

    /// Takes over again what was made durable once, with what came of it. The begin may have moved on since:
    /// entries up to it are gone.
    pub(super) fn replay(&mut self, entries: &[Entry], hard_state: &HardState) -> Result<(), String> {
        if let Some(first) = entries.first() {
            self.truncate(first.index);
        }
        let base = self.base.index;
        for entry in entries.iter().filter(|entry| entry.index > base) {
            if entry.index != self.last_index() + 1 {
                return Err(format!("entry {} has no predecessor", entry.index));
            }
            self.push(entry);
        }
        self.hard_state = hard_state.clone();
        Ok(())
    }

    /// Counts in the next entry.
    pub fn push(&mut self, entry: &Entry) {
        let bytes = entry.compute_size();
        self.spans.push_back(Span { term: entry.term, bytes });
        self.bytes += u64::from(bytes);
    }

    fn truncate(&mut self, from: u64) {
        while self.last_index() >= from {
            let Some(span) = self.spans.pop_back() else {
                return;
            };
            self.bytes -= u64::from(span.bytes);
        }
    }

    fn compact(&mut self, upto: u64) {
        while self.base.index < upto {
            let Some(span) = self.spans.pop_front() else {
                return;
            };
            self.bytes -= u64::from(span.bytes);
            self.base = Position { index: self.base.index + 1, term: span.term };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, data: vec![0; 10].into(), ..Default::default() }
    }

    fn entries(range: std::ops::RangeInclusive<u64>, term: u64) -> Write {
        Write { entries: range.map(|index| entry(index, term)).collect(), ..Default::default() }
    }

    fn log() -> Outline {
        let snapshot = SnapshotMetadata { index: 1, term: 1, ..Default::default() };
        let mut outline =
            Outline::new(Position { index: 1, term: 1 }, HardState::default(), snapshot, (1, 0));
        outline.apply(&entries(2..=9, 2));
        outline
    }

    #[test]
    fn appending_replaces_a_tail() {
        let mut outline = log();
        assert_eq!((outline.first_index(), outline.last_index()), (2, 9));
        let write = entries(6..=7, 3);
        outline.check(&write).unwrap();
        outline.apply(&write);
        assert_eq!(outline.last_index(), 7);
        assert_eq!((outline.term(5), outline.term(6), outline.term(8)), (Some(2), Some(3), None));
    }

    #[test]
    fn what_is_replayed_ends_up_as_it_was() {
        let state = HardState { term: 3, ..HardState::default() };
        let mut outline = log();
        outline.compact(5);
        // A tail that begins before the base, as a frame may that is older than it.
        outline.replay(&entries(3..=7, 3).entries, &state).unwrap();
        assert_eq!((outline.base().index, outline.last_index(), outline.term(6)), (5, 7, Some(3)));
        assert_eq!((outline.hard_state(), outline.bytes()), (&state, log().bytes() / 4));
        outline.replay(&entries(2..=4, 3).entries, &state).unwrap();
        assert_eq!(outline.last_index(), 5, "what followed it was replaced");
        assert!(outline.replay(&entries(7..=8, 3).entries, &state).is_err(), "a hole");
        outline.replay(&entries(6..=6, 4).entries, &state).unwrap();
        assert_eq!(outline.term(6), Some(4));
    }

    #[test]
    fn holes_are_refused() {
        let outline = log();
        assert!(outline.check(&entries(11..=12, 2)).is_err());
        assert!(outline.check(&entries(1..=3, 2)).is_err());
        assert!(outline.check(&entries(10..=12, 2)).is_ok());
    }

    #[test]
    fn snapshots_of_what_is_not_committed_or_older_ones_are_refused() {
        let mut outline = log();
        outline.set_hard_state(&HardState { commit: 7, ..HardState::default() });
        let own =
            |index, compact| outline.check_own(&SnapshotMetadata { index, ..Default::default() }, compact);
        for (index, compact, fits) in
            [(7, 7, true), (2, 0, true), (7, 8, false), (8, 7, false), (1, 1, false), (10, 1, false)]
        {
            assert_eq!(own(index, compact).is_ok(), fits, "{index} {compact}");
        }
    }

    #[test]
    fn compaction_keeps_what_is_asked_for_by_count_and_by_bytes() {
        let outline = log();
        assert_eq!(outline.compaction(8, 3, u64::MAX), 5);
        assert_eq!(outline.compaction(8, 100, u64::MAX), 1);
        let each = outline.bytes() / 8;
        assert_eq!(outline.compaction(8, 100, each * 2), 6);
        assert_eq!(outline.compaction(8, 0, u64::MAX), 8);
    }

    #[test]
    fn compacting_moves_the_base() {
        let mut outline = log();
        let meta = SnapshotMetadata { index: 7, term: 2, ..Default::default() };
        let base = outline.base_at(5);
        assert_eq!(base, Position { index: 5, term: 2 });
        outline.adopt(&Adopted { meta, stage: 2, pieces: 3, base, first_segment: 1 });
        assert_eq!(outline.base(), base);
        assert_eq!((outline.term(4), outline.term(5), outline.last_index()), (None, Some(2), 9));
        assert_eq!(outline.stage(), (2, 3));
    }
}
