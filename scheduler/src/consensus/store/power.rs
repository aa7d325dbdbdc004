//! Power cuts and dying processes: whatever a crash leaves of the log on disk, nothing acknowledged is lost and no
//! commit is torn. How crashes are made is in `recorded`.

use std::path::PathBuf;
use std::sync::Arc;

use raft::eraftpb::{Entry, HardState, SnapshotMetadata};
use redb::Database;

use super::database::RaftFile;
use super::log::{Folder, Journal, Sizes};
use super::recorded::Disk;
use super::tables;
use super::tests::{contents, first, identity, received, staged};
use super::*;

/// So small that most frames begin a new segment, and some are larger than one.
const SIZES: Sizes = Sizes { first: 12 << 10, usual: 14 << 10 };

fn database(disk: &Disk) -> Database {
    Database::builder().create_with_backend(disk.database()).unwrap()
}

fn folder(disk: &Disk) -> Folder {
    Folder::new(Arc::new(disk.clone()), PathBuf::from("(recorded)"))
}

fn opened(disk: &Disk) -> Result<DiskStore, StoreError> {
    let file = RaftFile::new(database(disk), PathBuf::from("(recorded)"));
    DiskStore::with_files(file, folder(disk), SIZES, None)
}

fn founded(disk: &Disk) -> DiskStore {
    let (identity, first) = (identity(), first());
    let state = tables::first_state(&first.meta);
    let first = home::stage_first(folder(disk), &identity, first, 1).unwrap();
    let journal = Journal::found(folder(disk), identity.group, 1, state, SIZES).unwrap();
    tables::write_first(&database(disk), &identity, &first, journal.extent()).unwrap();
    opened(disk).unwrap()
}

/// A snapshot that a step takes, of so many bytes.
#[derive(Clone)]
enum Taking {
    Received(SnapshotMetadata, usize),
    /// The log is to begin after an index. What the step writes comes while the pieces are written, or when they are
    /// the current snapshot and the store does not know.
    Own {
        meta: SnapshotMetadata,
        compact: u64,
        bytes: usize,
        write_first: bool,
    },
}

/// The next step of a log's life.
struct Step {
    taking: Option<Taking>,
    write: Write,
}

impl Step {
    /// Mostly appends, now and then a replaced tail or a snapshot.
    fn draw(outline: &Outline, source: &mut fastrand::Rng) -> Self {
        let (last, state) = (outline.last_index(), outline.hard_state());
        let term = state.term + u64::from(source.u8(..5) == 0);
        let hard_state = |commit| Some(HardState { term, vote: 1, commit, ..HardState::default() });
        let entry = |index, bytes| Entry { index, term, data: vec![1; bytes].into(), ..Entry::default() };
        let meta = |index| SnapshotMetadata { index, term, ..SnapshotMetadata::default() };
        let kind = source.u8(..10);
        let bytes = source.usize(1..9000);
        if kind == 0 {
            let at = last + source.u64(1..5);
            let entries: Vec<_> = (at + 1..=at + source.u64(..3)).map(|index| entry(index, 900)).collect();
            let hard_state = hard_state(at + entries.len() as u64);
            let write = Write { entries, hard_state, ..Write::default() };
            return Self { taking: Some(Taking::Received(meta(at), bytes)), write };
        }
        let from = if kind < 5 { state.commit + 1 } else { last + 1 };
        let most = if kind == 9 { 9000 } else { 2000 };
        let entries: Vec<_> = (from..=from + 2).map(|index| entry(index, source.usize(1..most))).collect();
        let write = Write { entries, hard_state: hard_state(from), ..Write::default() };
        let own = || Taking::Own {
            meta: meta(state.commit),
            compact: (state.commit - 1).max(outline.base().index),
            bytes,
            write_first: source.bool(),
        };
        let due = kind < 3 && state.commit > outline.snapshot().index;
        Self { taking: due.then(own), write }
    }

    /// `between` is called when the first of two commits is done; the process dies there if it says so.
    fn take(&self, store: &mut dyn LogStore, between: &mut dyn FnMut() -> bool) -> Result<(), StoreError> {
        let mut write = self.write.clone();
        let (meta, compact, bytes, write_first) = match self.taking.clone() {
            Some(Taking::Own { meta, compact, bytes, write_first }) => (meta, compact, bytes, write_first),
            Some(Taking::Received(meta, bytes)) => {
                write.received = received(meta, staged(store, &[&vec![7; bytes]]));
                return store.commit(write);
            }
            None => return store.commit(write),
        };
        let adoption = store.adoption(meta, compact)?;
        let staged = staged(store, &[&vec![7; bytes]]);
        if write_first {
            store.commit(write.clone())?;
            if between() {
                return Ok(());
            }
        }
        let adopted = adoption(staged)?.expect("nothing newer came");
        if !write_first {
            if between() {
                return Ok(());
            }
            store.commit(write)?;
        }
        store.adopted(adopted);
        Ok(())
    }

    /// What a crash in the middle of it may leave, beside what was before and what is after it.
    fn halfway(&self, twin: &MemoryDisk) -> Option<MemoryDisk> {
        let crashed = twin.image();
        match &self.taking {
            None => None,
            Some(Taking::Received(..)) => {
                crashed.inject(Fault::Halfway);
                self.take(&mut crashed.open(), &mut || false).is_err().then_some(crashed)
            }
            Some(Taking::Own { .. }) => {
                self.take(&mut crashed.open(), &mut || true).unwrap();
                Some(crashed)
            }
        }
    }
}

/// A log on disk and its twin in memory, which simulated clusters run on and which says what a crash may leave.
struct Life {
    store: DiskStore,
    disk: Disk,
    twin: MemoryDisk,
    /// After how many operations each state was acknowledged, and which ones may be found before the next one is.
    states: Vec<(usize, MemoryDisk, Vec<MemoryDisk>)>,
}

impl Life {
    fn new() -> Self {
        let disk = Disk::default();
        let (store, twin) = (founded(&disk), MemoryDisk::founded(first()).unwrap());
        Self { states: vec![(disk.count(), twin.image(), Vec::new())], store, disk, twin }
    }

    fn live(&mut self, steps: usize, source: &mut fastrand::Rng) {
        for _ in 0..steps {
            let step = Step::draw(self.store.outline(), source);
            let between = step.halfway(&self.twin);
            step.take(&mut self.twin.open(), &mut || false).unwrap();
            let mut middle = None;
            let count = || {
                middle = Some(self.disk.count());
                false
            };
            step.take(&mut self.store, &mut { count }).unwrap();
            assert_eq!(contents(&self.twin.open()), contents(&self.store));
            if let Some(between) = between {
                self.states.last_mut().unwrap().2.push(between.image());
                self.states.extend(middle.map(|at| (at, between, Vec::new())));
            }
            self.states.last_mut().unwrap().2.push(self.twin.image());
            self.states.push((self.disk.count(), self.twin.image(), Vec::new()));
        }
    }

    /// What may be found when a crash comes after so many operations.
    fn allowed(&self, after: usize) -> Vec<MemoryDisk> {
        let (_, held, next) = self.states.iter().rfind(|(at, ..)| *at <= after).unwrap();
        [std::slice::from_ref(held), next].concat()
    }

    /// The log goes on from what a crash after so many operations has left.
    fn after_crash(&self, crashed: Disk, after: usize, case: &str) -> Self {
        let before = crashed.count();
        let store = opened(&crashed).unwrap_or_else(|error| panic!("{case}: {error}"));
        let (found, allowed) = (contents(&store), self.allowed(after));
        let twin = allowed.iter().find(|allowed| contents(&allowed.open()) == found);
        let twin = twin.unwrap_or_else(|| panic!("{case}: a torn commit")).image();
        let states = vec![(before, twin.image(), allowed), (crashed.count(), twin.image(), Vec::new())];
        Self { store, disk: crashed, twin, states }
    }
}

#[test]
fn crashes_lose_nothing_acknowledged_and_tear_no_commit() {
    for seed in 0..6 {
        let mut source = fastrand::Rng::with_seed(seed);
        let mut life = Life::new();
        life.live(30, &mut source);
        for round in 0..30 {
            let after = source.usize(life.states[0].0..=life.disk.count());
            // The process or the power, some steps more, and then the power.
            let kill = source.bool();
            let crashed = if kill { life.disk.killed(after) } else { life.disk.cut(after, &mut source) };
            let case =
                format!("seed {seed}, round {round}, {} after {after}", if kill { "kill" } else { "cut" });
            let before = crashed.count();
            let mut second = life.after_crash(crashed, after, &case);
            second.live(3, &mut source);
            if source.bool() {
                second.store.close();
            }
            let after = source.usize(before..=second.disk.count());
            let third = second.disk.cut(after, &mut source);
            second.after_crash(third, after, &format!("{case}, then {after}"));
        }
    }
}

#[test]
fn a_crash_leaves_each_state_that_the_twin_in_memory_has() {
    let mut source = fastrand::Rng::with_seed(1);
    let mut life = Life::new();
    life.live(80, &mut source);
    let mut halfway = 0;
    let ends = life.states[1..].iter().map(|(end, ..)| end);
    for ((begin, held, during), end) in
        life.states.iter().zip(ends).filter(|((.., during), _)| during.len() > 1)
    {
        let found: Vec<_> =
            (*begin..=*end).map(|after| contents(&opened(&life.disk.killed(after)).unwrap())).collect();
        for state in std::iter::once(held).chain(during) {
            assert!(found.contains(&contents(&state.open())), "never found between {begin} and {end}");
        }
        halfway += 1;
    }
    assert!(halfway >= 5, "{halfway} writes in two parts");
}
