//! What every store does with snapshots, its own and the leader's, while the log goes on.

use std::path::Path;
use std::time::{Duration, Instant};

use raft::eraftpb::HardState;

use super::tests::{
    append, contents, entry, founded, live, meta, own, pieces, received, reopened, staged, stages, twins,
};
use super::*;

#[test]
fn a_snapshot_that_was_never_finished_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = founded(dir.path());
    live(&mut disk);
    wait_for_stages(dir.path(), &[2]);
    // As after a crash: neither finished nor removed.
    staged(&disk, &[b"half"]).keep();
    drop(disk);
    assert_eq!(stages(dir.path()), [2, 3].into());
    drop(reopened(dir.path()));
    assert_eq!(stages(dir.path()), [2].into());
}

/// Waits until these stages only have files: old ones are removed beside the log.
fn wait_for_stages(dir: &Path, expected: &[u64]) {
    let begin = Instant::now();
    while stages(dir) != expected.iter().copied().collect() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{:?} are left", stages(dir));
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_old_snapshot_is_removed_and_whoever_reads_it_still_can() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = founded(dir.path());
    live(&mut disk);
    wait_for_stages(dir.path(), &[2]);
    let many: Vec<Vec<u8>> = (0..30).map(|n| vec![n; 9]).collect();
    for (index, chunks) in [(13, many.iter().map(Vec::as_slice).collect()), (14, vec![&b"new"[..]])] {
        let (reader, held) = (disk.pieces().unwrap(), disk.outline().stage().1);
        own(&mut disk, meta(index, 2), 0, &chunks);
        wait_for_stages(dir.path(), &[disk.outline().stage().0]);
        assert_eq!(reader.map(Result::unwrap).count(), held as usize);
        assert_eq!(pieces(&disk), chunks);
    }
}

#[test]
fn a_snapshot_becomes_the_current_one_beside_what_is_committed_meanwhile() {
    let (dir, mut disk, memory_disk) = twins();
    let mut memory = memory_disk.open();
    for store in [&mut disk as &mut dyn LogStore, &mut memory] {
        live(store);
        let adoption = store.adoption(meta(14, 2), 11).unwrap();
        let staged = staged(store, &[b"next"]);
        store.commit(append(26..=27, 3)).unwrap();
        let adopted = adoption(staged).unwrap().unwrap();
        // Until it has taken note the store is as it was, and goes on.
        assert_eq!(
            (pieces(store), store.outline().first_index()),
            (vec![b"one".to_vec(), b"two".to_vec()], 10)
        );
        assert_eq!(store.entries(10, 12, u64::MAX).unwrap(), [entry(10, 2), entry(11, 2)]);
        store.commit(append(28..=28, 3)).unwrap();
        store.adopted(adopted);
        assert_eq!((pieces(store), store.outline().first_index()), (vec![b"next".to_vec()], 12));
    }
    assert_eq!(contents(&disk), contents(&memory));
    drop(disk);
    assert_eq!(contents(&reopened(dir.path())), contents(&memory_disk.open()));
}

#[test]
fn what_was_not_taken_note_of_is_found_on_the_next_start() {
    let (dir, mut disk, memory_disk) = twins();
    let mut memory = memory_disk.open();
    for store in [&mut disk as &mut dyn LogStore, &mut memory] {
        live(store);
        let adoption = store.adoption(meta(14, 2), 11).unwrap();
        adoption(staged(store, &[b"next"])).unwrap().unwrap();
        store.commit(append(26..=27, 3)).unwrap();
    }
    drop((disk, memory));
    let (disk, memory) = (reopened(dir.path()), memory_disk.open());
    assert_eq!(contents(&disk), contents(&memory));
    assert_eq!((pieces(&disk), disk.outline().first_index()), (vec![b"next".to_vec()], 12));
}

#[test]
fn a_snapshot_from_the_leader_wins_whenever_it_comes() {
    for noted_late in [false, true] {
        let (dir, mut disk, memory_disk) = twins();
        let mut memory = memory_disk.open();
        for store in [&mut disk as &mut dyn LogStore, &mut memory] {
            live(store);
            let adoption = store.adoption(meta(14, 2), 11).unwrap();
            let own = staged(store, &[b"own"]);
            let received = received(meta(40, 5), staged(store, &[b"theirs"]));
            let hard_state = Some(HardState { term: 5, commit: 40, ..HardState::default() });
            let write = Write { received, hard_state, ..Write::default() };
            if noted_late {
                let adopted = adoption(own).unwrap().unwrap();
                store.commit(write).unwrap();
                store.adopted(adopted);
            } else {
                store.commit(write).unwrap();
                assert!(adoption(own).unwrap().is_none());
            }
            store.commit(append(41..=41, 5)).unwrap();
            assert_eq!((pieces(store), store.outline().first_index()), (vec![b"theirs".to_vec()], 41));
        }
        wait_for_stages(dir.path(), &[disk.outline().stage().0]);
        assert_eq!(contents(&disk), contents(&memory));
        drop(disk);
        assert_eq!(contents(&reopened(dir.path())), contents(&memory_disk.open()));
    }
}

#[test]
fn what_is_not_committed_becomes_no_snapshot() {
    let (_dir, mut disk, memory_disk) = twins();
    let mut memory = memory_disk.open();
    for store in [&mut disk as &mut dyn LogStore, &mut memory] {
        live(store);
        for (index, compact) in [(15, 9), (12, 9), (14, 15)] {
            let refused = store.adoption(meta(index, 2), compact).err();
            assert!(matches!(refused, Some(StoreError::Misuse { .. })), "{index} {compact}: {refused:?}");
        }
    }
}

#[test]
fn stages_do_not_touch_each_other() {
    let (dir, mut disk, memory_disk) = twins();
    let mut memory = memory_disk.open();
    for store in [&mut disk as &mut dyn LogStore, &mut memory] {
        live(store);
        let (mut arriving, mut abandoned) = (store.stager()(), store.stager()());
        arriving.put(b"arr").unwrap();
        abandoned.put(b"x").unwrap();
        // Another snapshot of our own at an index that also arrives.
        let view = store.pieces().unwrap();
        own(store, meta(13, 2), 0, &[b"own"]);
        assert_eq!(view.map(Result::unwrap).collect::<Vec<_>>(), [b"one", b"two"], "the view stays");
        assert_eq!(pieces(store), [b"own"]);
        drop(abandoned);
        arriving.put(b"iving").unwrap();
        let received = received(meta(13, 2), arriving.finish());
        let hard_state = Some(HardState { term: 3, commit: 13, ..HardState::default() });
        store.commit(Write { received, hard_state, ..Write::default() }).unwrap();
        assert_eq!(pieces(store), [&b"arr"[..], b"iving"]);
    }
    wait_for_stages(dir.path(), &[disk.outline().stage().0]);
    drop(disk);
    assert_eq!(pieces(&reopened(dir.path())), [&b"arr"[..], b"iving"]);
}
