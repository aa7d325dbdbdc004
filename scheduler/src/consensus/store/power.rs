//! Power cuts and dying processes: a disk that remembers every write and sync of every file and of its names, so
//! that each state a crash could leave on it can be made and opened again, and crash once more.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use raft::eraftpb::{Entry, HardState, SnapshotMetadata};
use redb::{Database, StorageBackend};
use uuid::Uuid;

use super::database::RaftFile;
use super::log::{Blob, Folder, Journal, Medium, Sizes};
use super::tables;
use super::*;

/// A disk writes these at once or not at all.
const SECTOR_BYTES: usize = 512;
/// So small that most frames begin a new segment, and some are larger than one.
const SIZES: Sizes = Sizes { first: 12 << 10, usual: 14 << 10 };

/// Files are told apart by their number in [`Image::files`].
#[derive(Clone, Debug)]
enum Op {
    Write(usize, usize, Vec<u8>),
    Resize(usize, usize),
    Sync(usize),
    /// A file, and its name.
    Name(usize, String),
    Unname(String),
    SyncNames,
}

/// What is on a disk.
#[derive(Clone, Debug, Default)]
struct Image {
    files: Vec<Vec<u8>>,
    names: BTreeMap<String, usize>,
}

impl Image {
    fn file(&mut self, number: usize) -> &mut Vec<u8> {
        self.files.resize(self.files.len().max(number + 1), Vec::new());
        &mut self.files[number]
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Write(file, at, bytes) => {
                let file = self.file(*file);
                file.resize(file.len().max(at + bytes.len()), 0);
                file[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Op::Resize(file, length) => self.file(*file).resize(*length, 0),
            Op::Name(file, name) => {
                self.names.retain(|_, named| named != file);
                self.names.insert(name.clone(), *file);
            }
            Op::Unname(name) => drop(self.names.remove(name)),
            Op::Sync(_) | Op::SyncNames => {}
        }
    }

    /// Some of the sectors of a write.
    fn apply_torn(&mut self, op: &Op, source: &mut fastrand::Rng) {
        let Op::Write(file, at, bytes) = op else {
            return self.apply(op);
        };
        for (number, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
            if source.bool() {
                self.apply(&Op::Write(*file, at + number * SECTOR_BYTES, sector.to_vec()));
            }
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// What was on the disk when it was made.
    begin: Image,
    ops: Vec<Op>,
    now: Image,
}

#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn with(begin: Image, ops: &[Op]) -> Self {
        let mut now = begin.clone();
        ops.iter().for_each(|op| now.apply(op));
        Self(Arc::new(Mutex::new(State { begin, ops: ops.to_vec(), now })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn did(&self, op: Op) {
        let mut state = self.lock();
        state.now.apply(&op);
        state.ops.push(op);
    }

    fn count(&self) -> usize {
        self.lock().ops.len()
    }

    /// As it is when the process dies after so many operations: nothing is lost, and nothing more is synced.
    fn killed(&self, after: usize) -> Self {
        let state = self.lock();
        Self::with(state.begin.clone(), &state.ops[..after])
    }

    /// As it may be when the power fails after so many operations: what was synced is there for certain, of the
    /// rest any part in any order.
    fn cut(&self, after: usize, source: &mut fastrand::Rng) -> Self {
        let state = self.lock();
        let ops = &state.ops[..after];
        let mut image = state.begin.clone();
        for (at, op) in ops.iter().enumerate() {
            let synced = ops[at..].iter().any(|later| match (op, later) {
                (Op::Write(file, ..) | Op::Resize(file, _), Op::Sync(synced)) => file == synced,
                (Op::Name(..) | Op::Unname(_), Op::SyncNames) => true,
                _ => false,
            });
            match source.u8(..4) {
                _ if synced => image.apply(op),
                0 => image.apply_torn(op, source),
                1 => {}
                _ => image.apply(op),
            }
        }
        Self::with(image, &[])
    }
}

/// A file on it.
#[derive(Debug)]
struct Recorded(Disk, usize);

impl Blob for Recorded {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.lock().now.file(self.1).len() as u64)
    }

    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        let found = state.now.file(self.1).get(at as usize..at as usize + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.did(Op::Write(self.1, at as usize, bytes.to_vec()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.did(Op::Sync(self.1));
        Ok(())
    }
}

impl StorageBackend for Recorded {
    fn len(&self) -> io::Result<u64> {
        self.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        Blob::read(self, offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.did(Op::Resize(self.1, len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        Blob::write(self, offset, data)
    }
}

impl Medium for Disk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().now.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Blob>> {
        // `raft.redb` is the first one, and has its name for ever.
        let number = self.lock().now.files.len().max(1);
        self.did(Op::Resize(number, 0));
        self.did(Op::Name(number, name.to_owned()));
        Ok(Arc::new(Recorded(self.clone(), number)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Blob>> {
        let number = *self.lock().now.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Recorded(self.clone(), number)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let number = *self.lock().now.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        self.did(Op::Name(number, to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.did(Op::Unname(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.did(Op::SyncNames);
        Ok(())
    }

    /// At once, so that a run can be repeated.
    fn beside(&self, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        work();
        Ok(())
    }
}

fn database(disk: &Disk) -> Database {
    Database::builder().create_with_backend(Recorded(disk.clone(), 0)).unwrap()
}

fn folder(disk: &Disk) -> Folder {
    Folder::new(Arc::new(disk.clone()), PathBuf::from("(recorded)"))
}

fn opened(disk: &Disk) -> Result<DiskStore, StoreError> {
    let file = RaftFile::new(database(disk), PathBuf::from("(recorded)"));
    DiskStore::with_files(file, folder(disk), SIZES, None)
}

fn founded(disk: &Disk) -> DiskStore {
    let identity = Identity { name: "m1".into(), id: 1, group: Uuid::from_u128(1) };
    let meta = SnapshotMetadata { index: 1, term: 1, ..SnapshotMetadata::default() };
    let state = tables::first_state(&meta);
    let journal = Journal::found(folder(disk), identity.group, 1, state, SIZES).unwrap();
    let first = First::new(meta, [b"begin".to_vec()]);
    tables::write_first(&database(disk), &identity, first, journal.extent()).unwrap().unwrap();
    opened(disk).unwrap()
}

type Contents = (Vec<Entry>, HardState, SnapshotMetadata);

fn contents(store: &DiskStore) -> Contents {
    let outline = store.outline();
    let entries = store.entries(outline.first_index(), outline.last_index() + 1, u64::MAX).unwrap();
    assert_eq!(entries.len() as u64, outline.last_index() - outline.base().index);
    (entries, outline.hard_state().clone(), outline.snapshot().clone())
}

/// The next step of a log's life: mostly appends, now and then a replaced tail or a snapshot. Yields what a crash in
/// the middle of it may leave, beside what was before and what is after it.
fn step(store: &mut DiskStore, source: &mut fastrand::Rng) -> Option<Contents> {
    let before = contents(store);
    let (last, state) = (store.outline().last_index(), before.1.clone());
    let term = state.term + u64::from(source.u8(..5) == 0);
    let hard_state = |commit| HardState { term, vote: 1, commit, ..HardState::default() };
    let entry = |index, bytes| Entry { index, term, data: vec![1; bytes].into(), ..Entry::default() };
    let kind = source.u8(..10);
    if kind < 3 {
        let mut sink = store.stager()();
        sink.put(&vec![7; source.usize(1..9000)]).unwrap();
        let (stage, pieces) = sink.finish().keep();
        let meta = |index| SnapshotMetadata { index, term, ..SnapshotMetadata::default() };
        if kind == 0 {
            let at = last + source.u64(1..5);
            let snapshot = Some(SnapshotWrite::Received { meta: meta(at), stage, pieces });
            let entries: Vec<_> = (at + 1..=at + source.u64(..3)).map(|index| entry(index, 900)).collect();
            let after = Some(hard_state(at + entries.len() as u64));
            store.commit(Write { snapshot, entries, hard_state: after, compact: 0 }).unwrap();
            return Some((Vec::new(), hard_state(at), meta(at)));
        }
        if state.commit > before.2.index {
            let snapshot = Some(SnapshotWrite::Own { meta: meta(state.commit), stage, pieces });
            let (after, compact) = (Some(hard_state(last)), state.commit - 1);
            let compact = compact.max(store.outline().base().index);
            store
                .commit(Write { snapshot, hard_state: after.clone(), compact, entries: Vec::new() })
                .unwrap();
            return Some((before.0, hard_state(last), before.2));
        }
    }
    let from = if kind < 5 { state.commit + 1 } else { last + 1 };
    let most = if kind == 9 { 9000 } else { 2000 };
    let entries: Vec<_> = (from..=from + 2).map(|index| entry(index, source.usize(1..most))).collect();
    let after = Some(hard_state(from));
    store.commit(Write { entries, hard_state: after, ..Write::default() }).unwrap();
    None
}

/// After how many operations each state was acknowledged, and which ones may be found before the next one is.
struct Lives(Vec<(usize, Contents, Vec<Contents>)>);

impl Lives {
    fn live(&mut self, store: &mut DiskStore, disk: &Disk, steps: usize, source: &mut fastrand::Rng) {
        for _ in 0..steps {
            let between = step(store, source);
            let after = contents(store);
            let during = &mut self.0.last_mut().unwrap().2;
            during.extend(between);
            during.push(after.clone());
            self.0.push((disk.count(), after, Vec::new()));
        }
    }

    /// What may be found when a crash comes after so many operations.
    fn allowed(&self, after: usize) -> Vec<Contents> {
        let (_, held, next) = self.0.iter().rfind(|(at, ..)| *at <= after).unwrap();
        [std::slice::from_ref(held), next].concat()
    }
}

#[test]
fn crashes_lose_nothing_acknowledged_and_tear_no_commit() {
    for seed in 0..6 {
        let mut source = fastrand::Rng::with_seed(seed);
        let disk = Disk::default();
        let mut store = founded(&disk);
        let mut lives = Lives(vec![(disk.count(), contents(&store), Vec::new())]);
        lives.live(&mut store, &disk, 30, &mut source);
        for round in 0..30 {
            let after = source.usize(lives.0[0].0..=disk.count());
            // The process or the power, some steps more, and then the power.
            let kill = source.bool();
            let second = if kill { disk.killed(after) } else { disk.cut(after, &mut source) };
            let case =
                format!("seed {seed}, round {round}, {} after {after}", if kill { "kill" } else { "cut" });
            let before = second.count();
            let mut store = opened(&second).unwrap_or_else(|error| panic!("{case}: {error}"));
            let (found, allowed) = (contents(&store), lives.allowed(after));
            assert!(allowed.contains(&found), "{case}: a torn commit");
            let mut again =
                Lives(vec![(before, found.clone(), allowed), (second.count(), found, Vec::new())]);
            again.live(&mut store, &second, 3, &mut source);
            if source.bool() {
                drop(store);
            }
            let after = source.usize(before..=second.count());
            let third = second.cut(after, &mut source);
            let store = opened(&third).unwrap_or_else(|error| panic!("{case}, then {after}: {error}"));
            assert!(again.allowed(after).contains(&contents(&store)), "{case}, then {after}: a torn commit");
        }
    }
}
