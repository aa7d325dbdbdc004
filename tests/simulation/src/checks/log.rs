//! I1: what was acknowledged is never lost nor reverted. I2: one leader a term, one log, equal states.

use scheduler::state::State;
use spec::ids::DeploymentId;
use spec::time::Timestamp;

use super::{Checks, Truth};
use crate::figures::Figures;
use crate::master::Entry;
use crate::queue::Millis;

/// States that are kept for comparison; far more than any replica is behind.
const HISTORY_MAX: usize = 4_000;
/// Snapshots of two replicas are compared byte by byte this often.
const BYTES_EVERY: u64 = 64;

impl Checks {
    /// A master applied an entry.
    pub fn applied(&mut self, now: Millis, master: u64, entry: Entry, figures: &mut Figures) {
        let index = entry.applied.index;
        if index <= self.last_index() {
            return self.compare(now, master, &entry, figures);
        }
        figures.commits += 1;
        figures.commands += entry.batch.commands.len() as u64;
        let before = self.history.last_key_value().map(|(_, truth)| truth.after.clone()).unwrap_or_default();
        self.note_changes(now, &entry);
        self.check_entry(now, &before, &entry);
        self.history.insert(index, Truth { bytes: entry.bytes, after: entry.after });
        if self.history.len() > HISTORY_MAX {
            self.history.pop_first();
        }
    }

    /// Another master applied it before.
    fn compare(&mut self, now: Millis, master: u64, entry: &Entry, figures: &mut Figures) {
        let index = entry.applied.index;
        let oldest = self.history.first_key_value().map_or(0, |(oldest, _)| *oldest);
        let Some(truth) = self.history.get(&index) else {
            let known = index < oldest;
            return self.claim(known, now, "I2", || {
                format!("m{master} applies entry {index}, where the others have none")
            });
        };
        figures.compared += 1;
        if truth.bytes != entry.bytes {
            let text = format!("m{master} applies another entry {index} than was applied before");
            return self.fail(now, "I2", text);
        }
        let equal = truth.after == entry.after
            && (!index.is_multiple_of(BYTES_EVERY) || truth.after.snapshot().eq(entry.after.snapshot()));
        self.claim(equal, now, "I2", || {
            format!("m{master} has another state at index {index} than others had")
        });
    }

    /// A master's state was replaced by a snapshot.
    pub fn restored(&mut self, now: Millis, master: u64, state: &State, figures: &mut Figures) {
        if state.index > 0 {
            figures.snapshots_received += 1;
        }
        if let Some(truth) = self.history.get(&state.index) {
            figures.compared += 1;
            let equal = truth.after == *state;
            self.claim(equal, now, "I2", || {
                format!("m{master} restores another state at index {} than others had", state.index)
            });
        }
    }

    /// A master leads, with everything of earlier terms applied.
    pub fn reign_begins(&mut self, now: Millis, master: u64, term: u64, applied: u64) {
        let first = *self.leaders.entry(term).or_insert(master);
        self.claim(first == master, now, "I2", || format!("m{first} and m{master} both lead in term {term}"));
        self.reigning.insert(master, term);
        let acknowledged = self.acknowledged.range(..term).map(|(_, index)| *index).max().unwrap_or(0);
        self.claim(applied >= acknowledged, now, "I1", || {
            format!(
                "m{master} leads in term {term} from index {applied}; {acknowledged} was acknowledged before"
            )
        });
    }

    /// It leads no more.
    pub fn reign_over(&mut self, master: u64) {
        self.reigning.remove(&master);
    }

    /// A client is told that its change is accepted.
    pub fn acknowledged(
        &mut self,
        now: Millis,
        master: u64,
        term: u64,
        id: DeploymentId,
        version: Timestamp,
    ) {
        let known = self.accepted.get(&id).copied();
        match known {
            Some((index, accepted)) if accepted == version => {
                let latest = self.acknowledged.entry(term).or_default();
                *latest = (*latest).max(index);
            }
            _ => self.fail(
                now,
                "I1",
                format!("m{master} acknowledges {id:?}, which is not in the log: {known:?}"),
            ),
        }
    }

    /// What a read that begins now must see: what was acknowledged, and what others have seen.
    pub fn floor(&self) -> u64 {
        self.acknowledged.values().copied().fold(self.seen, u64::max)
    }

    /// A client has read the state as of this index.
    pub fn seen(&mut self, now: Millis, client: usize, floor: u64, index: u64) {
        self.claim(index >= floor, now, "I1", || {
            format!("c{client} reads the state of index {index}, and {floor} was there before it asked")
        });
        self.seen = self.seen.max(index);
    }

    /// The last entry that anybody has applied.
    pub fn last_index(&self) -> u64 {
        self.history.last_key_value().map_or(0, |(last, _)| *last)
    }

    /// A client is told that its change is surely not made.
    pub fn surely_not(&mut self, now: Millis, id: DeploymentId) {
        let made = self.accepted.contains_key(&id);
        self.claim(!made, now, "I1", || {
            format!("{id:?} is made, and somebody is told that it surely is not")
        });
        self.refused.insert(id);
    }

    /// A change was accepted, at this index.
    pub(super) fn accept(&mut self, now: Millis, id: DeploymentId, index: u64, version: Timestamp) {
        let refused = self.refused.contains(&id);
        self.claim(!refused, now, "I1", || {
            format!("{id:?} is made after somebody was told that it surely is not")
        });
        self.accepted.entry(id).or_insert((index, version));
    }

    /// At the end: everything acknowledged is in what this master has applied.
    pub fn kept(&mut self, now: Millis, master: u64, applied: u64) {
        let acknowledged = self.acknowledged.values().copied().max().unwrap_or(0);
        self.claim(applied >= acknowledged, now, "I1", || {
            format!("m{master} has applied {applied}, and {acknowledged} was acknowledged")
        });
    }
}
