//! Power cuts: a file that remembers every write and sync it was given, so that each state a crash could
//! leave on a disk can be made and opened again.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use raft::eraftpb::{Entry, HardState, SnapshotMetadata};
use redb::{Database, StorageBackend};
use uuid::Uuid;

use super::tables;
use super::*;

/// A disk writes these at once or not at all.
const SECTOR_BYTES: usize = 512;

#[derive(Clone, Debug)]
enum Op {
    Write(usize, Vec<u8>),
    Resize(usize),
    Sync,
}

impl Op {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Op::Write(at, bytes) => {
                image.resize(image.len().max(at + bytes.len()), 0);
                image[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Op::Resize(length) => image.resize(*length, 0),
            Op::Sync => {}
        }
    }

    /// Some of the sectors of a write.
    fn apply_torn(&self, image: &mut Vec<u8>, source: &mut fastrand::Rng) {
        let Op::Write(at, bytes) = self else {
            return self.apply(image);
        };
        for (number, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
            if source.bool() {
                Op::Write(at + number * SECTOR_BYTES, sector.to_vec()).apply(image);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Recorded(Arc<Mutex<(Vec<u8>, Vec<Op>)>>);

impl Recorded {
    fn with(image: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new((image, Vec::new()))))
    }

    fn did(&self, op: Op) {
        let mut state = self.0.lock().unwrap();
        op.apply(&mut state.0);
        state.1.push(op);
    }

    fn ops(&self) -> Vec<Op> {
        self.0.lock().unwrap().1.clone()
    }
}

impl StorageBackend for Recorded {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let found = state.0.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.did(Op::Resize(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.did(Op::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.did(Op::Write(offset as usize, data.to_vec()));
        Ok(())
    }
}

/// What may be on the disk when the power fails after `ops`: what was synced for certain, of the rest any
/// part in any order.
fn after_cut(ops: &[Op], source: &mut fastrand::Rng) -> Vec<u8> {
    let synced = ops.iter().rposition(|op| matches!(op, Op::Sync)).map_or(0, |at| at + 1);
    let mut image = Vec::new();
    ops[..synced].iter().for_each(|op| op.apply(&mut image));
    for op in &ops[synced..] {
        match source.u8(..4) {
            0 => op.apply_torn(&mut image, source),
            1 => {}
            _ => op.apply(&mut image),
        }
    }
    image
}

fn store_on(file: Recorded) -> Result<DiskStore, StoreError> {
    let db = Database::builder().create_with_backend(file).map_err(|error| StoreError::Corrupt {
        path: PathBuf::from("(recorded)"),
        what: error.to_string(),
    })?;
    DiskStore::with_database(db, PathBuf::from("(recorded)"), None)
}

type Contents = (Vec<Entry>, HardState, SnapshotMetadata);

fn contents(store: &DiskStore) -> Contents {
    let outline = store.outline();
    let entries = store.entries(outline.first_index(), outline.last_index() + 1, u64::MAX).unwrap();
    (entries, outline.hard_state().clone(), outline.snapshot().clone())
}

fn founded(file: &Recorded) -> DiskStore {
    let identity = Identity { name: "m1".into(), id: 1, group: Uuid::from_u128(1) };
    let meta = SnapshotMetadata { index: 1, term: 1, ..SnapshotMetadata::default() };
    let db = Database::builder().create_with_backend(file.clone()).unwrap();
    tables::write_first(&db, &identity, First::new(meta, [b"begin".to_vec()])).unwrap().unwrap();
    DiskStore::with_database(db, PathBuf::from("(recorded)"), None).unwrap()
}

/// The next step of a log's life: mostly appends, now and then a replaced tail or a snapshot.
fn step(store: &mut DiskStore, term: u64, source: &mut fastrand::Rng) {
    let (last, commit) = (store.outline().last_index(), store.outline().hard_state().commit);
    if source.u8(..5) == 0 && commit > store.outline().snapshot().index {
        let mut sink = store.stager()();
        sink.put(&vec![7; source.usize(1..9000)]).unwrap();
        let (stage, pieces) = sink.finish().keep();
        let meta = SnapshotMetadata { index: commit, term, ..SnapshotMetadata::default() };
        let snapshot = Some(SnapshotWrite::Own { meta, stage, pieces });
        return store.commit(Write { snapshot, compact: commit - 1, ..Write::default() }).unwrap();
    }
    let from = if source.u8(..4) == 0 { commit + 1 } else { last + 1 };
    let entry =
        |index| Entry { index, term, data: vec![1; source.usize(1..3000)].into(), ..Entry::default() };
    let entries: Vec<_> = (from..=from + 2).map(entry).collect();
    let hard_state = Some(HardState { term, vote: 1, commit: from, ..HardState::default() });
    store.commit(Write { entries, hard_state, ..Write::default() }).unwrap();
}

#[test]
fn power_cuts_lose_nothing_acknowledged_and_tear_no_commit() {
    for seed in 0..4 {
        let mut source = fastrand::Rng::with_seed(seed);
        let file = Recorded::default();
        let mut store = founded(&file);
        // After how many operations each commit was acknowledged, and what the log held then.
        let mut lives = vec![(file.ops().len(), contents(&store))];
        for round in 0..25 {
            step(&mut store, 2 + round / 5, &mut source);
            lives.push((file.ops().len(), contents(&store)));
        }
        let ops = file.ops();
        for _ in 0..60 {
            let cut = source.usize(lives[0].0..=ops.len());
            let image = after_cut(&ops[..cut], &mut source);
            let store =
                store_on(Recorded::with(image)).unwrap_or_else(|error| panic!("{seed}/{cut}: {error}"));
            let acknowledged = lives.iter().rposition(|(at, _)| *at <= cut).unwrap();
            let found = contents(&store);
            let allowed = &lives[acknowledged..(acknowledged + 2).min(lives.len())];
            assert!(allowed.iter().any(|(_, held)| *held == found), "seed {seed}, cut {cut}: a torn commit");
        }
    }
}
