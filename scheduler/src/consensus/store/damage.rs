//! What the store on disk does about bytes that are not those it wrote, files that are gone, strangers, and commits
//! that were cut short.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use redb::Database;
use uuid::Uuid;

use super::database::RaftFile;
use super::log::{Folder, Sizes, segment_name};
use super::pieces::stage_name;
use super::tables::{META, key, write_meta};
use super::tests::{append, contents, entry, first, founded, identity, live, meta, own, reopened};
use super::*;

/// Room for a frame or two.
const SMALL: Sizes = Sizes { first: 6 << 10, usual: 8 << 10 };

/// A log with small segments.
fn small(dir: &Path, identity: &Identity) -> DiskStore {
    home::build(dir, identity, first(), 1, SMALL).unwrap();
    home::put_in_place(dir).unwrap();
    small_again(dir)
}

fn small_again(dir: &Path) -> DiskStore {
    let file = RaftFile::open(&home::raft_file(dir)).unwrap();
    DiskStore::with_files(file, Folder::at(dir), SMALL, None).unwrap()
}

/// A log that has seen something.
fn lived() -> (tempfile::TempDir, DiskStore) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = founded(dir.path());
    live(&mut store);
    (dir, store)
}

/// Entries of a kilobyte each.
fn long(range: std::ops::RangeInclusive<u64>) -> Write {
    let mut write = append(range, 2);
    write.entries.iter_mut().for_each(|entry| entry.data = vec![entry.index as u8; 1000].into());
    write
}

fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join(segment_name(number))
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Puts back files as they were.
fn restore(dir: &Path, whole: &[(PathBuf, Vec<u8>)]) {
    files(dir).iter().for_each(|(path, _)| fs::remove_file(path).unwrap());
    whole.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
}

/// What is on disk while a store is open: what its process would leave if it died now.
fn as_left_behind(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for (path, bytes) in files(dir) {
        fs::write(copy.path().join(path.file_name().unwrap()), bytes).unwrap();
    }
    copy
}

fn find(path: &Path, text: &str) -> usize {
    let bytes = fs::read(path).unwrap();
    bytes.windows(text.len()).rposition(|part| part == text.as_bytes()).unwrap()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Changes `raft.redb` behind the store's back.
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
fn a_damaged_entry_is_refused_also_the_last_one_of_a_log_that_was_closed_in_order() {
    let (dir, _) = lived();
    let path = segment(dir.path(), 1);
    let whole = fs::read(&path).unwrap();
    for text in ["2:11", "3:25"] {
        flip(&path, find(&path, text));
        let error = refusal(dir.path());
        assert!(matches!(error, StoreError::Corrupt { .. }));
        let said = error.to_string();
        for part in
            ["raft-00000001.log", "is not what was written there", "restore the directory from a copy"]
        {
            assert!(said.contains(part), "{said}");
        }
        fs::write(&path, &whole).unwrap();
    }
    drop(reopened(dir.path()));
}

#[test]
fn an_entry_that_is_damaged_later_is_not_handed_out() {
    let (dir, store) = lived();
    let path = segment(dir.path(), 1);
    let (bytes, at) = (fs::read(&path).unwrap(), find(&path, "2:11"));
    std::os::unix::fs::FileExt::write_at(
        &fs::File::options().write(true).open(&path).unwrap(),
        b"x",
        at as u64,
    )
    .unwrap();
    assert!(matches!(store.entries(11, 12, u64::MAX), Err(StoreError::Corrupt { .. })));
    assert_eq!(store.entries(15, 16, u64::MAX).unwrap(), [entry(15, 3)], "another commit");
    fs::write(&path, bytes).unwrap();
}

#[test]
fn a_commit_that_was_cut_short_is_taken_back_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = founded(dir.path());
    store.commit(append(2..=20, 2)).unwrap();
    let before = contents(&store);
    store.commit(append(15..=25, 3)).unwrap();
    let left = as_left_behind(dir.path());
    let after = contents(&store);
    assert_eq!(contents(&reopened(as_left_behind(left.path()).path())), after, "whole");
    let path = segment(left.path(), 1);
    flip(&path, find(&path, "3:20"));
    let mut torn = reopened(left.path());
    assert_eq!(contents(&torn), before);
    let bytes = fs::read(&path).unwrap();
    assert!(!bytes.windows(4).any(|part| part == b"3:25"), "nothing of it is left");
    torn.commit(append(21..=22, 4)).unwrap();
    let after = contents(&torn);
    drop(torn);
    assert_eq!(contents(&reopened(left.path())), after);
}

#[test]
fn a_log_that_ends_before_its_commit_index_is_refused() {
    let (dir, _open) = lived();
    let left = as_left_behind(dir.path());
    let path = segment(left.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0);
    fs::write(&path, bytes).unwrap();
    assert!(refusal(left.path()).to_string().contains("out of order"));
}

#[test]
fn segments_that_are_not_those_of_the_log_are_refused() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let foreign = Identity { group: Uuid::from_u128(8), ..identity() };
    for (dir, identity) in [(dir.path(), identity()), (other.path(), foreign)] {
        let mut store = small(dir, &identity);
        (2..20).for_each(|index| store.commit(long(index..=index)).unwrap());
    }
    let whole = files(dir.path());
    let count = (1..).take_while(|number| segment(dir.path(), *number).exists()).count() as u64;
    assert!(count >= 5, "{count}");
    let path = |number| segment(dir.path(), number);
    let foreign = |number| fs::read(segment(other.path(), number)).unwrap();
    let cut = |number, length: usize| {
        let bytes = fs::read(path(number)).unwrap();
        fs::write(path(number), &bytes[..length]).unwrap();
    };
    /// Which file, what is done to it, and a word of the refusal.
    type Case<'a> = (u64, &'a dyn Fn(), &'a str);
    let cases: [Case<'_>; 12] = [
        (1, &|| fs::remove_file(path(1)).unwrap(), "is missing, though this directory held the log"),
        (3, &|| fs::remove_file(path(3)).unwrap(), "restore it from a copy"),
        (count, &|| fs::remove_file(path(count)).unwrap(), "is missing"),
        (
            2,
            &|| fs::write(path(2), fs::read(path(3)).unwrap()).map(drop).unwrap(),
            "part 3 of the log, not 2",
        ),
        (
            2,
            &|| fs::write(path(2), foreign(2)).unwrap(),
            "belongs to cluster 00000000-0000-0000-0000-000000000008",
        ),
        (2, &|| cut(2, 5000), "it has 5000 bytes instead of 8192"),
        (count, &|| cut(count, 5000), "bytes instead of 8192"),
        (count, &|| cut(count, 100), "cut to 100 bytes"),
        (2, &|| cut(2, 0), "cut to 0 bytes"),
        (2, &|| fs::write(path(2), vec![0; 8192]).unwrap(), "its header is damaged"),
        (1, &|| fs::write(path(1), b"hello".repeat(2000)).unwrap(), "its header is damaged"),
        (1, &|| flip(&path(1), 4200), "what begins at byte 4096"),
    ];
    for (number, change, word) in cases {
        change();
        for _ in 0..2 {
            let said = refusal(dir.path()).to_string();
            assert!(said.contains(&segment_name(number)) && said.contains(word), "{word}: {said}");
        }
        restore(dir.path(), &whole);
    }
    assert_eq!(small_again(dir.path()).outline().last_index(), 19);
}

#[test]
fn an_older_copy_of_the_small_file_does_not_hide_what_came_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = small(dir.path(), &identity());
    store.commit(long(2..=2)).unwrap();
    let old = as_left_behind(dir.path());
    (3..5).for_each(|index| store.commit(long(index..=index)).unwrap());
    drop(store);
    fs::copy(old.path().join("raft.redb"), dir.path().join("raft.redb")).unwrap();
    let said = refusal(dir.path()).to_string();
    assert!(said.contains("raft-00000002.log") && said.contains("raft.redb is older"), "{said}");
}

#[test]
fn old_segments_are_used_again_and_surplus_ones_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = small(dir.path(), &identity());
    let mut seen = std::collections::BTreeSet::new();
    let mut most = 0;
    for index in 2..200 {
        store.commit(long(index..=index)).unwrap();
        if index % 25 == 0 {
            own(&mut store, meta(index - 1, 2), index - 5, &[b"state"]);
        }
        let logs = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap());
        let logs: Vec<_> = logs.filter(|file| file.file_name().to_string_lossy().ends_with(".log")).collect();
        most = most.max(logs.len());
        // Files that are not needed are removed beside the log.
        seen.extend(logs.iter().filter_map(|file| file.metadata().ok()).map(|file| file.ino()));
    }
    assert!(most < 20, "{most} files");
    assert!(seen.len() < 60, "{} different files", seen.len());
    let before = contents(&store);
    assert_eq!(before.0.len(), 29);
    drop(store);
    assert_eq!(contents(&small_again(dir.path())), before);
    let names: Vec<_> = files(dir.path()).into_iter().map(|(path, _)| path).collect();
    assert!(names.iter().any(|path| path.ends_with("raft-00000060.log")), "{names:?}");
}

#[test]
fn a_commit_that_is_larger_than_a_segment_has_one_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = small(dir.path(), &identity());
    for range in [2..=3, 4..=40, 41..=42] {
        store.commit(long(range)).unwrap();
    }
    assert!(
        files(dir.path()).iter().any(|(path, bytes)| path.ends_with(segment_name(3)) && bytes.len() > 37_000)
    );
    let before = contents(&store);
    drop(store);
    assert_eq!(contents(&small_again(dir.path())), before);
}

#[test]
fn a_snapshot_that_is_not_the_one_that_was_written_is_refused() {
    let (dir, _) = lived();
    let other = tempfile::tempdir().unwrap();
    live(&mut small(other.path(), &Identity { group: Uuid::from_u128(8), ..identity() }));
    let path = dir.path().join(stage_name(2));
    let whole = fs::read(&path).unwrap();
    // Two pieces of three bytes, each behind its length and its sum.
    let cut = |length: usize| fs::write(&path, &whole[..length]).unwrap();
    /// What is done to the file, how many pieces can be read, and a word of the refusal.
    type Case<'a> = (&'a dyn Fn(), usize, &'a str);
    let cases: [Case<'_>; 7] = [
        (&|| flip(&path, find(&path, "one")), 0, "piece 0 of the snapshot is damaged"),
        (&|| flip(&path, find(&path, "two")), 1, "piece 1 of the snapshot is damaged"),
        (&|| flip(&path, 0), 0, "piece 0 of the snapshot is damaged"),
        (&|| flip(&path, 14), 1, "piece 1 of the snapshot is damaged"),
        (&|| cut(15), 1, "piece 1 of the snapshot is damaged"),
        (&|| cut(0), 0, "piece 0 of the snapshot is damaged"),
        (
            &|| fs::copy(other.path().join(stage_name(2)), &path).map(drop).unwrap(),
            0,
            "piece 0 of the snapshot is damaged",
        ),
    ];
    for (change, good, word) in cases {
        change();
        let read: Vec<_> = reopened(dir.path()).pieces().unwrap().collect();
        let (last, before) = read.split_last().unwrap();
        assert_eq!((before.len(), before.iter().all(Result::is_ok)), (good, true), "{word}");
        let said = last.as_ref().expect_err("it must be refused").to_string();
        assert!(said.contains("raft-00000002.snapshot") && said.contains(word), "{word}: {said}");
        fs::write(&path, &whole).unwrap();
    }
    fs::remove_file(&path).unwrap();
    let said = refusal(dir.path()).to_string();
    assert!(said.contains("raft-00000002.snapshot is missing"), "{said}");
}

#[test]
fn another_format_is_refused() {
    let (dir, _) = lived();
    tamper(dir.path(), |transaction| write_meta(transaction, key::FORMAT, &9u32.to_le_bytes()).unwrap());
    let error = refusal(dir.path());
    assert!(matches!(error, StoreError::Format { found: 9, .. }), "{error}");
    assert!(error.to_string().contains("start it with the version that wrote it"));
}

#[test]
fn damaged_meta_records_are_refused() {
    for name in
        [key::FORMAT, key::NAME, key::ID, key::GROUP, key::BASE, key::SNAPSHOT, key::STAGE, key::EXTENT]
    {
        let (dir, _) = lived();
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
    let (dir, _) = lived();
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
    let mut disk = small(dir.path(), &identity());
    live(&mut disk);
    (26..29).for_each(|index| disk.commit(long(index..=index)).unwrap());
    let before = contents(&disk);
    drop(disk);
    let whole = files(dir.path());
    let damaged: Vec<_> = whole.iter().filter(|(path, _)| !path.ends_with("raft.lock")).collect();
    let mut source = fastrand::Rng::with_seed(3);
    let mut refused = 0;
    for round in 0..200 {
        // Of raft.redb, of a snapshot or of segments.
        let (path, bytes) = damaged[source.usize(..damaged.len())];
        let mut bytes = bytes.clone();
        let at = source.usize(..bytes.len());
        bytes[at] ^= 1 << source.u32(..8);
        fs::write(path, bytes).unwrap();
        match DiskStore::open(dir.path(), "m1") {
            Ok(store) => {
                if store.pieces().is_ok_and(|mut pieces| pieces.all(|piece| piece.is_ok())) {
                    assert_eq!(contents(&store), before, "{round}: accepted, so it must be as it was");
                }
            }
            Err(_) => {
                refused += 1;
                assert!(DiskStore::open(dir.path(), "m1").is_err(), "once refused, always refused");
            }
        }
        restore(dir.path(), &whole);
    }
    assert!(refused > 20, "{refused}");
}
