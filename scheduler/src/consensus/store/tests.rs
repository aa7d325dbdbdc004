//! What every store must hold to, and what the one on disk does about damage, strangers and power cuts.

use std::fs;
use std::path::Path;

use raft::eraftpb::{ConfState, Entry, HardState, SnapshotMetadata};
use redb::{Database, ReadableDatabase, ReadableTable};
use uuid::Uuid;

use super::tables::{LOG, META, PIECES, key, write_meta};
use super::*;

fn identity() -> Identity {
    Identity { name: "m1".into(), id: 1, group: Uuid::from_u128(7) }
}

fn meta(index: u64, term: u64) -> SnapshotMetadata {
    let mut meta = SnapshotMetadata { index, term, ..SnapshotMetadata::default() };
    meta.set_conf_state(ConfState { voters: vec![1], ..ConfState::default() });
    meta
}

fn first() -> First<'static> {
    First::new(meta(1, 1), [b"begin".to_vec()])
}

/// Stages pieces; the number of the stage and of the pieces.
fn staged(store: &dyn LogStore, pieces: &[&[u8]]) -> (u64, u32) {
    let mut sink = store.stager()();
    pieces.iter().for_each(|piece| sink.put(piece).unwrap());
    sink.finish().keep()
}

fn pieces(store: &dyn LogStore) -> Vec<Vec<u8>> {
    store.pieces().unwrap().collect::<Result<_, _>>().unwrap()
}

fn entry(index: u64, term: u64) -> Entry {
    Entry { index, term, data: format!("{term}:{index}").into(), ..Entry::default() }
}

fn append(range: std::ops::RangeInclusive<u64>, term: u64) -> Write {
    let hard_state = Some(HardState { term, vote: 1, commit: range.start() - 1, ..HardState::default() });
    Write { entries: range.map(|index| entry(index, term)).collect(), hard_state, ..Write::default() }
}

fn founded(dir: &Path) -> DiskStore {
    DiskStore::create(dir, &identity(), first()).unwrap()
}

fn reopened(dir: &Path) -> DiskStore {
    DiskStore::open(dir, "m1").unwrap()
}

/// All that a store holds, for comparison.
fn contents(store: &dyn LogStore) -> (Vec<Entry>, HardState, SnapshotMetadata, Vec<Vec<u8>>) {
    let outline = store.outline();
    let entries = store.entries(outline.first_index(), outline.last_index() + 1, u64::MAX).unwrap();
    let terms: Vec<_> = entries.iter().map(|entry| outline.term(entry.index)).collect();
    assert_eq!(terms, entries.iter().map(|entry| Some(entry.term)).collect::<Vec<_>>());
    (entries, outline.hard_state().clone(), outline.snapshot().clone(), pieces(store))
}

/// A life of a log: appends, a replaced tail, a snapshot of its own with compaction, one from a leader.
fn live(store: &mut dyn LogStore) {
    store.commit(append(2..=20, 2)).unwrap();
    store.commit(append(15..=25, 3)).unwrap();
    let (stage, pieces) = staged(store, &[b"one", b"two"]);
    let snapshot = Some(SnapshotWrite::Own { meta: meta(12, 2), stage, pieces });
    store.commit(Write { snapshot, compact: 9, ..Write::default() }).unwrap();
}

#[test]
fn both_stores_hold_the_same_after_the_same_life() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = founded(dir.path());
    let memory_disk = MemoryDisk::founded(first()).unwrap();
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
    let (stage, pieces) = staged(&disk, &[b"theirs"]);
    let received = SnapshotWrite::Received { meta: meta(40, 5), stage, pieces };
    let hard_state = Some(HardState { term: 5, commit: 40, ..HardState::default() });
    disk.commit(Write { snapshot: Some(received), hard_state, ..Write::default() }).unwrap();
    disk.commit(append(41..=42, 5)).unwrap();
    drop(disk);
    let disk = reopened(dir.path());
    let (entries, _, snapshot, chunks) = contents(&disk);
    assert_eq!(entries, [entry(41, 5), entry(42, 5)]);
    assert_eq!((snapshot, chunks), (meta(40, 5), vec![b"theirs".to_vec()]));
    assert_eq!(disk.outline().base(), Position { index: 40, term: 5 });
}

/// Keys of all pieces in the file.
fn piece_keys(dir: &Path) -> Vec<(u64, u32)> {
    let db = Database::open(dir.join("raft.redb")).unwrap();
    let pieces = db.begin_read().unwrap().open_table(PIECES).unwrap();
    pieces.iter().unwrap().map(|record| record.unwrap().0.value()).collect()
}

#[test]
fn a_snapshot_that_was_never_finished_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = founded(dir.path());
    live(&mut disk);
    // As after a crash: neither finished nor removed.
    staged(&disk, &[b"half"]);
    drop(disk);
    assert_eq!(piece_keys(dir.path()), [(2, 0), (2, 1), (3, 0)]);
    drop(reopened(dir.path()));
    assert_eq!(piece_keys(dir.path()), [(2, 0), (2, 1)]);
}

#[test]
fn stages_do_not_touch_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = founded(dir.path());
    let memory_disk = MemoryDisk::founded(first()).unwrap();
    let mut memory = memory_disk.open();
    for store in [&mut disk as &mut dyn LogStore, &mut memory] {
        live(store);
        let (mut arriving, mut abandoned) = (store.stager()(), store.stager()());
        arriving.put(b"arr").unwrap();
        abandoned.put(b"x").unwrap();
        // Another snapshot of our own at an index that also arrives.
        let (stage, count) = staged(store, &[b"own"]);
        let view = store.pieces().unwrap();
        let snapshot = Some(SnapshotWrite::Own { meta: meta(13, 2), stage, pieces: count });
        store.commit(Write { snapshot, ..Write::default() }).unwrap();
        assert_eq!(view.map(Result::unwrap).collect::<Vec<_>>(), [b"one", b"two"], "the view stays");
        assert_eq!(pieces(store), [b"own"]);
        drop(abandoned);
        arriving.put(b"iving").unwrap();
        let (stage, count) = arriving.finish().keep();
        let received = |pieces| Some(SnapshotWrite::Received { meta: meta(13, 2), stage, pieces });
        let short = store.commit(Write { snapshot: received(count + 1), ..Write::default() });
        assert!(matches!(short, Err(StoreError::Misuse { .. })), "a piece is missing");
        let hard_state = Some(HardState { term: 3, commit: 13, ..HardState::default() });
        store.commit(Write { snapshot: received(count), hard_state, ..Write::default() }).unwrap();
        assert_eq!(pieces(store), [&b"arr"[..], b"iving"]);
    }
    drop(disk);
    assert_eq!(piece_keys(dir.path()).len(), 2, "nothing else is left");
    assert_eq!(pieces(&reopened(dir.path())), [&b"arr"[..], b"iving"]);
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
    let (stage, pieces) = staged(&disk, &[b"theirs"]);
    let received = SnapshotWrite::Received { meta: meta(40, 5), stage, pieces };
    let hard_state = Some(HardState { term: 5, commit: 40, ..HardState::default() });
    disk.commit(Write { snapshot: Some(received), hard_state, ..Write::default() }).unwrap();
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

#[test]
fn a_log_of_format_1_is_read_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/log-v1/raft.redb");
    fs::copy(fixture, dir.path().join("raft.redb")).unwrap();
    for _ in 0..2 {
        let disk = reopened(dir.path());
        let outline = disk.outline();
        assert_eq!(disk.identity().name, "m1");
        assert_eq!(disk.identity().group.to_string(), "47a3a804-15db-4355-9396-2ae260ac4809");
        assert_eq!((outline.base().index, outline.snapshot().index, outline.last_index()), (16, 21, 32));
        assert_eq!(outline.snapshot().get_conf_state().voters, [1]);
        let state = outline.hard_state();
        assert_eq!((state.term, state.vote, state.commit), (2, 1, 32));
        let texts = disk.entries(17, 33, u64::MAX).unwrap().into_iter();
        let texts: Vec<_> = texts.map(|entry| String::from_utf8(entry.data.to_vec()).unwrap()).collect();
        assert_eq!(texts, (14..30).map(|number| format!("entry {number}")).collect::<Vec<_>>());
        let held: Vec<(u64, Vec<u8>)> =
            pieces(&disk).iter().flat_map(|piece| postcard::from_bytes::<Vec<_>>(piece).unwrap()).collect();
        assert_eq!(held.last().unwrap(), &(21, b"entry 18".to_vec()));
        assert_eq!(held.len(), 19);
    }
    let mut disk = reopened(dir.path());
    let (stage, count) = staged(&disk, &[b"new"]);
    assert_eq!(stage, 22);
    let snapshot = Some(SnapshotWrite::Own { meta: meta(32, 2), stage, pieces: count });
    disk.commit(Write { snapshot, compact: 31, ..Write::default() }).unwrap();
    drop(disk);
    assert_eq!(pieces(&reopened(dir.path())), [b"new"]);
}

/// Changes the file behind the store's back.
fn tamper(dir: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let db = Database::open(dir.join("raft.redb")).unwrap();
    let transaction = db.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}

fn refusal(dir: &Path) -> StoreError {
    DiskStore::open(dir, "m1").expect_err("it must be refused")
}

#[test]
fn a_damaged_entry_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    live(&mut founded(dir.path()));
    tamper(dir.path(), |transaction| {
        let mut log = transaction.open_table(LOG).unwrap();
        let mut sealed = log.get(11).unwrap().unwrap().value().to_vec();
        *sealed.last_mut().unwrap() ^= 1;
        log.insert(11, sealed.as_slice()).unwrap();
    });
    let error = refusal(dir.path());
    assert!(matches!(error, StoreError::Corrupt { .. }));
    let text = error.to_string();
    for part in ["raft.redb", "entry 11 is damaged", "restore the directory from a copy"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_missing_entry_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    live(&mut founded(dir.path()));
    tamper(dir.path(), |transaction| {
        transaction.open_table(LOG).unwrap().remove(11).unwrap();
    });
    assert!(refusal(dir.path()).to_string().contains("entry 12 has no predecessor"));
}

#[test]
fn a_damaged_piece_of_the_snapshot_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    live(&mut founded(dir.path()));
    tamper(dir.path(), |transaction| {
        let mut pieces = transaction.open_table(PIECES).unwrap();
        pieces.insert((2, 1), &b"1234two"[..]).unwrap();
    });
    let mut pieces = reopened(dir.path()).pieces().unwrap();
    assert_eq!(pieces.next().unwrap().unwrap(), b"one");
    let error = pieces.next().unwrap().expect_err("it must be refused");
    assert!(error.to_string().contains("piece 1 of the snapshot is damaged"), "{error}");
}

#[test]
fn a_log_that_ends_before_its_commit_index_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    live(&mut founded(dir.path()));
    tamper(dir.path(), |transaction| {
        transaction.open_table(LOG).unwrap().retain_in(13.., |_, _| false).unwrap();
    });
    assert!(refusal(dir.path()).to_string().contains("out of order"));
}

#[test]
fn another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    live(&mut founded(dir.path()));
    tamper(dir.path(), |transaction| write_meta(transaction, key::FORMAT, &9u32.to_le_bytes()).unwrap());
    let error = refusal(dir.path());
    assert!(matches!(error, StoreError::Format { found: 9, .. }), "{error}");
    assert!(error.to_string().contains("start it with the version that wrote it"));
}

#[test]
fn damaged_meta_records_are_refused() {
    for name in
        [key::FORMAT, key::NAME, key::ID, key::GROUP, key::BASE, key::HARD_STATE, key::SNAPSHOT, key::STAGE]
    {
        let dir = tempfile::tempdir().unwrap();
        live(&mut founded(dir.path()));
        tamper(dir.path(), |transaction| {
            transaction.open_table(META).unwrap().insert(name, &b"12345678"[..]).unwrap();
        });
        assert!(matches!(refusal(dir.path()), StoreError::Corrupt { .. }), "{name}");
    }
}

#[test]
fn strangers_and_second_processes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = founded(dir.path());
    assert!(matches!(refusal(dir.path()), StoreError::InUse { .. }));
    drop(store);
    let error = DiskStore::open(dir.path(), "m2").unwrap_err();
    assert!(error.to_string().contains("belongs to master `m1`, not to `m2`"), "{error}");
    assert_eq!(reopened(dir.path()).identity(), &identity());
}

#[test]
fn damaged_pages_and_foreign_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    live(&mut founded(dir.path()));
    let path = dir.path().join("raft.redb");
    let whole = fs::read(&path).unwrap();
    let zeroed = |from: usize| [&whole[..from], &vec![0; whole.len() - from]].concat();
    let damaged = [Vec::new(), b"not a log".to_vec(), zeroed(0), zeroed(4096), whole[..5000].to_vec()];
    for (number, bytes) in damaged.into_iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        let error = refusal(dir.path());
        assert!(matches!(error, StoreError::Corrupt { .. } | StoreError::Io { .. }), "{number}: {error}");
        assert!(error.to_string().contains("raft.redb"), "{number}: {error}");
    }
}

#[test]
fn flipped_bits_anywhere_never_go_unnoticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = founded(dir.path());
    live(&mut disk);
    let before = contents(&disk);
    drop(disk);
    let path = dir.path().join("raft.redb");
    let whole = fs::read(&path).unwrap();
    let mut source = fastrand::Rng::with_seed(3);
    for _ in 0..300 {
        let mut bytes = whole.clone();
        bytes[source.usize(..whole.len())] ^= 1 << source.u32(..8);
        fs::write(&path, bytes).unwrap();
        let Ok(store) = DiskStore::open(dir.path(), "m1") else {
            assert!(DiskStore::open(dir.path(), "m1").is_err(), "once refused, always refused");
            continue;
        };
        if store.pieces().is_ok_and(|mut pieces| pieces.all(|piece| piece.is_ok())) {
            assert_eq!(contents(&store), before, "accepted, so it must be as it was");
        }
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
    disk.lie(true);
    disk.open().commit(append(6..=9, 2)).unwrap();
    disk.crash();
    assert_eq!(disk.open().outline().last_index(), 5);
}
