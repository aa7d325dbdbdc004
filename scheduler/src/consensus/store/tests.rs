//! What every store must hold to, and what the one on disk does about damage, strangers and power cuts.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use raft::eraftpb::{ConfState, Entry, HardState, SnapshotMetadata};
use uuid::Uuid;

use super::pieces::{stage_name, stage_number};
use super::*;

pub(super) fn identity() -> Identity {
    Identity { name: "m1".into(), id: 1, group: Uuid::from_u128(7) }
}

pub(super) fn meta(index: u64, term: u64) -> SnapshotMetadata {
    let mut meta = SnapshotMetadata { index, term, ..SnapshotMetadata::default() };
    meta.set_conf_state(ConfState { voters: vec![1], ..ConfState::default() });
    meta
}

pub(super) fn first() -> First<'static> {
    First::new(meta(1, 1), [b"begin".to_vec()])
}

pub(super) fn staged(store: &dyn LogStore, pieces: &[&[u8]]) -> Staged {
    let mut sink = store.stager()();
    pieces.iter().for_each(|piece| sink.put(piece).unwrap());
    sink.finish()
}

/// A snapshot of our own, from begin to end.
pub(super) fn own(store: &mut dyn LogStore, meta: SnapshotMetadata, compact: u64, pieces: &[&[u8]]) {
    let adoption = store.adoption(meta, compact).unwrap();
    let adopted = adoption(staged(store, pieces)).unwrap();
    store.adopted(adopted.expect("nothing newer came"));
}

/// A snapshot from the leader that has been staged.
pub(super) fn received(meta: SnapshotMetadata, staged: Staged) -> Option<Received> {
    let (stage, pieces) = staged.keep();
    Some(Received { meta, stage, pieces })
}

pub(super) fn pieces(store: &dyn LogStore) -> Vec<Vec<u8>> {
    store.pieces().unwrap().collect::<Result<_, _>>().unwrap()
}

pub(super) fn entry(index: u64, term: u64) -> Entry {
    Entry { index, term, data: format!("{term}:{index}").into(), ..Entry::default() }
}

pub(super) fn append(range: std::ops::RangeInclusive<u64>, term: u64) -> Write {
    let hard_state = Some(HardState { term, vote: 1, commit: range.start() - 1, ..HardState::default() });
    Write { entries: range.map(|index| entry(index, term)).collect(), hard_state, ..Write::default() }
}

pub(super) fn founded(dir: &Path) -> DiskStore {
    DiskStore::create(dir, &identity(), first()).unwrap()
}

/// A log on disk, and its twin in memory.
pub(super) fn twins() -> (tempfile::TempDir, DiskStore, MemoryDisk) {
    let dir = tempfile::tempdir().unwrap();
    let disk = founded(dir.path());
    (dir, disk, MemoryDisk::founded(first()).unwrap())
}

pub(super) fn reopened(dir: &Path) -> DiskStore {
    DiskStore::open(dir, "m1").unwrap()
}

/// Numbers of the stages that have files.
pub(super) fn stages(dir: &Path) -> BTreeSet<u64> {
    let names = fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| stage_number(&name)).collect()
}

/// All that a store holds, for comparison.
pub(super) fn contents(store: &dyn LogStore) -> (Vec<Entry>, HardState, SnapshotMetadata, Vec<Vec<u8>>) {
    let outline = store.outline();
    let entries = store.entries(outline.first_index(), outline.last_index() + 1, u64::MAX).unwrap();
    let terms: Vec<_> = entries.iter().map(|entry| outline.term(entry.index)).collect();
    assert_eq!(terms, entries.iter().map(|entry| Some(entry.term)).collect::<Vec<_>>());
    (entries, outline.hard_state().clone(), outline.snapshot().clone(), pieces(store))
}

/// A life of a log: appends, a replaced tail, a snapshot of its own with compaction, one from a leader.
pub(super) fn live(store: &mut dyn LogStore) {
    store.commit(append(2..=20, 2)).unwrap();
    store.commit(append(15..=25, 3)).unwrap();
    own(store, meta(12, 2), 9, &[b"one", b"two"]);
}

#[test]
fn both_stores_hold_the_same_after_the_same_life() {
    let (dir, mut disk, memory_disk) = twins();
    let mut memory = memory_disk.open();
    for store in [&mut disk as &mut dyn LogStore, &mut memory] {
        live(store);
        let outline = store.outline();
        assert_eq!((outline.first_index(), outline.last_index()), (10, 25));
        assert_eq!((outline.term(9), outline.term(14), outline.term(15)), (Some(2), Some(2), Some(3)));
        assert_eq!(pieces(store), [b"one", b"two"]);
        assert_eq!(store.entries(10, 26, 1).unwrap().len(), 1, "at least one, however small the bound");
        assert!(store.commit(append(27..=28, 3)).is_err(), "a hole");
    }
    assert_eq!(contents(&disk), contents(&memory));
    drop(disk);
    assert_eq!(contents(&reopened(dir.path())), contents(&memory_disk.open()));
}

#[test]
fn a_received_snapshot_replaces_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = founded(dir.path());
    live(&mut disk);
    let received = received(meta(40, 5), staged(&disk, &[b"theirs"]));
    let hard_state = Some(HardState { term: 5, commit: 40, ..HardState::default() });
    disk.commit(Write { received, hard_state, ..Write::default() }).unwrap();
    disk.commit(append(41..=42, 5)).unwrap();
    drop(disk);
    let disk = reopened(dir.path());
    let (entries, _, snapshot, chunks) = contents(&disk);
    assert_eq!(entries, [entry(41, 5), entry(42, 5)]);
    assert_eq!((snapshot, chunks), (meta(40, 5), vec![b"theirs".to_vec()]));
    assert_eq!(disk.outline().base(), Position { index: 40, term: 5 });
}

#[test]
fn a_store_that_was_closed_can_be_opened_though_somebody_reads_or_stages() {
    let dir = tempfile::tempdir().unwrap();
    let disk = founded(dir.path());
    let (mut reader, mut sink) = (disk.pieces().unwrap(), disk.stager()());
    drop(disk);
    let again = reopened(dir.path());
    assert!(sink.put(b"late").is_err());
    // What is in memory may still be read.
    assert!(reader.next().unwrap().is_ok_and(|piece| piece == b"begin") || reader.next().is_none());
    drop(sink);
    assert_eq!(pieces(&again), [b"begin"]);
}

#[test]
fn a_new_member_begins_with_nothing() {
    let dir = tempfile::tempdir().unwrap();
    drop(DiskStore::create(dir.path(), &identity(), First::nothing()).unwrap());
    let mut disk = reopened(dir.path());
    let outline = disk.outline();
    assert_eq!((outline.first_index(), outline.last_index(), outline.snapshot().index), (1, 0, 0));
    assert!(pieces(&disk).is_empty());
    let received = received(meta(40, 5), staged(&disk, &[b"theirs"]));
    let hard_state = Some(HardState { term: 5, commit: 40, ..HardState::default() });
    disk.commit(Write { received, hard_state, ..Write::default() }).unwrap();
    drop(disk);
    assert_eq!(reopened(dir.path()).outline().last_index(), 40);
}

#[test]
fn what_cannot_be_read_founds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let torn = [Ok(b"begin".to_vec()), Err(std::io::Error::other("cut short"))];
    let first = First { meta: meta(1, 1), chunks: Box::new(torn.into_iter()) };
    let error = DiskStore::create(dir.path(), &identity(), first).unwrap_err();
    assert!(error.to_string().contains("cut short"), "{error}");
    assert!(!DiskStore::exists(dir.path()));
    drop(founded(dir.path()));
}

/// Puts a log of an older or of this format, from the fixtures, into a directory.
pub(super) fn fixture(name: &str, dir: &Path) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    for file in fs::read_dir(fixture).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), dir.join(file.file_name())).unwrap();
    }
}

#[test]
fn logs_of_all_formats_are_read_and_go_on() {
    for (name, group, stage) in [
        ("log-v1", "47a3a804-15db-4355-9396-2ae260ac4809", 21),
        ("log-v2", "f39c78e7-7d83-4ee7-815e-b5c5e2e11681", 2),
        ("log-v3", "28adfada-3361-44f6-a900-7c9d0e243c61", 2),
        ("log-v4", "28adfada-3361-44f6-a900-7c9d0e243c61", 2),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fixture(name, dir.path());
        // What a conversion, or the begin of a segment, leaves when it is cut short is no obstacle.
        let leftovers = ["raft-00000001.log", "raft-00000003.log", "raft-spare.log"].map(str::to_owned);
        for leftover in leftovers.into_iter().chain([stage_name(stage), stage_name(stage + 1)]) {
            let path = dir.path().join(leftover);
            if !path.exists() {
                fs::write(path, "half").unwrap();
            }
        }
        for _ in 0..2 {
            let disk = reopened(dir.path());
            let outline = disk.outline();
            assert_eq!(disk.identity().name, "m1");
            assert_eq!(disk.identity().group.to_string(), group);
            assert_eq!((outline.base().index, outline.snapshot().index, outline.last_index()), (16, 21, 32));
            assert_eq!(outline.snapshot().get_conf_state().voters, [1]);
            let state = outline.hard_state();
            assert_eq!((state.term, state.vote, state.commit), (2, 1, 32));
            let texts = disk.entries(17, 33, u64::MAX).unwrap().into_iter();
            let texts: Vec<_> = texts.map(|entry| String::from_utf8(entry.data.to_vec()).unwrap()).collect();
            assert_eq!(texts, (14..30).map(|number| format!("entry {number}")).collect::<Vec<_>>());
            let held: Vec<(u64, Vec<u8>)> = pieces(&disk)
                .iter()
                .flat_map(|piece| postcard::from_bytes::<Vec<_>>(piece).unwrap())
                .collect();
            assert_eq!(held.last().unwrap(), &(21, b"entry 18".to_vec()));
            assert_eq!(held.len(), 19);
        }
        let mut disk = reopened(dir.path());
        assert_eq!((disk.outline().stage().0, stages(dir.path())), (stage, [stage].into()));
        own(&mut disk, meta(32, 2), 31, &[b"new"]);
        assert_eq!(disk.outline().stage().0, stage + 1);
        drop(disk);
        assert_eq!(pieces(&reopened(dir.path())), [b"new"]);
    }
}

#[test]
fn places_that_cannot_be_written_are_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for place in [file.as_path(), Path::new("/proc/no-such-place")] {
        let error = DiskStore::create(place, &identity(), first()).unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }));
        assert!(error.to_string().contains(&*place.to_string_lossy()), "{error}");
    }
}

#[test]
fn a_full_disk_says_what_to_do() {
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let text = StoreError::io("write to", Path::new("/data/raft.redb"), full).to_string();
    assert!(text.contains("/data/raft.redb") && text.contains("make room and start again"), "{text}");
}

#[test]
fn a_crash_while_founding_leaves_a_directory_that_can_be_founded() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("raft.redb.new"), "half").unwrap();
    assert!(!DiskStore::exists(dir.path()));
    live(&mut founded(dir.path()));
    assert!(DiskStore::exists(dir.path()));
}

#[test]
fn the_twin_in_memory_fails_as_it_is_told() {
    let disk = MemoryDisk::founded(first()).unwrap();
    for (fault, last) in [(Fault::Fail, 1), (Fault::FailAfterSync, 5)] {
        let mut store = disk.open();
        disk.inject(fault);
        assert!(store.commit(append(2..=5, 2)).is_err());
        assert!(store.commit(append(2..=5, 2)).is_err(), "dead until it is opened again");
        assert_eq!(disk.open().outline().last_index(), last);
    }
    // A snapshot of our own is one commit.
    for (fault, index) in [(Fault::Fail, 1), (Fault::FailAfterSync, 5)] {
        let mut store = disk.open();
        store.commit(Write { hard_state: append(6..=6, 2).hard_state, ..Write::default() }).unwrap();
        let adoption = store.adoption(meta(5, 2), 3).unwrap();
        let staged = staged(&store, &[b"state"]);
        disk.inject(fault);
        assert!(adoption(staged).is_err());
        assert!(store.commit(append(6..=6, 2)).is_err(), "dead until it is opened again");
        assert_eq!(disk.open().outline().snapshot().index, index);
    }
    // One from the leader is two: the snapshot, and then the entries after it.
    let (mut store, state) =
        (disk.open(), HardState { term: 3, vote: 2, commit: 41, ..HardState::default() });
    disk.inject(Fault::Halfway);
    store.commit(append(6..=6, 2)).unwrap();
    let received = received(meta(40, 3), staged(&store, &[b"theirs"]));
    assert!(store.commit(Write { received, hard_state: Some(state.clone()), ..append(41..=41, 3) }).is_err());
    let found = disk.open();
    assert_eq!((found.outline().base().index, found.outline().last_index()), (40, 40));
    assert_eq!(found.outline().hard_state(), &HardState { commit: 40, ..state });
    disk.lie(true);
    disk.open().commit(append(41..=49, 3)).unwrap();
    disk.crash();
    assert_eq!(disk.open().outline().last_index(), 40);
}
