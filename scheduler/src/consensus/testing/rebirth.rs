//! Groups that begin with a backup, or with what one survivor holds.

use std::fs;
use std::path::Path;

use super::{Recorder, single};
use crate::consensus::store::{DiskStore, First, Identity, LogStore, StoreError, Write};
use crate::consensus::{
    BEFORE_RECOVER, Frozen, Machine, OpenError, Options, SnapshotPolicy, Start, found_from, open, recover,
};
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType, HardState, SnapshotMetadata,
};

fn options(dir: &Path) -> Options {
    Options::new(dir, "m1", Start::Existing, 3)
}

fn chunks() -> Vec<std::io::Result<Vec<u8>>> {
    let machine = Recorder::default();
    machine.seen().entries.push((7, b"kept".to_vec()));
    let frozen: Box<dyn Frozen> = machine.freeze();
    frozen.chunks().map(Ok).collect()
}

#[tokio::test]
async fn a_backup_begins_a_group_that_goes_on_above_it() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("data");
    let group = found_from(&dir, "m1", 5, 90, 1 << 32, chunks()).unwrap();
    let machine = Recorder::default();
    let handle = open(options(&dir), machine.clone()).unwrap();
    let status = handle.status().wait_for(|status| status.leading).await.unwrap().clone();
    assert_eq!((handle.identity().id, handle.identity().group), (5, group));
    assert_eq!((status.term, status.members.voters), ((1 << 32) + 1, vec![5]));
    assert_eq!(machine.texts(), ["kept"]);
    let (index, _) = handle.propose(b"new".to_vec()).await.unwrap();
    assert!(index > 90);
    handle.shutdown().await.unwrap();
}

#[test]
fn a_backup_is_restored_into_nothing_but_an_empty_place() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("data");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("notes"), "mine").unwrap();
    assert!(matches!(found_from(&dir, "m1", 1, 9, 9, chunks()), Err(OpenError::NotEmpty(_))));
    fs::remove_file(dir.join("notes")).unwrap();
    // What a crash in the middle leaves is no obstacle, and neither is a backup that was cut short.
    fs::write(dir.join("raft.redb.new"), "half").unwrap();
    fs::write(dir.join("raft-00000001.log"), "half").unwrap();
    let torn = vec![Ok(b"half".to_vec()), Err(std::io::Error::other("cut short"))];
    let error = found_from(&dir, "m1", 1, 9, 9, torn).unwrap_err();
    assert!(error.to_string().contains("cut short"), "{error}");
    found_from(&dir, "m1", 1, 9, 9, chunks()).unwrap();
    assert!(matches!(found_from(&dir, "m1", 1, 9, 9, chunks()), Err(OpenError::NotEmpty(_))));
    assert!(matches!(found_from(&dir, "m1", 0, 9, 9, chunks()), Err(OpenError::NoId)));
}

/// The log of member 2 of five: two entries committed, one not, and a sixth member on its way.
fn survivor(dir: &Path) {
    let identity = Identity { name: "m2".into(), id: 2, group: uuid::Uuid::from_u128(1) };
    let mut meta = SnapshotMetadata { index: 10, term: 4, ..SnapshotMetadata::default() };
    let (voters, learners) = (vec![1, 2, 3, 4, 5], vec![7]);
    meta.set_conf_state(ConfState { voters, learners, ..ConfState::default() });
    let mut store =
        DiskStore::create(dir, &identity, First::new(meta, Recorder::default().freeze().chunks())).unwrap();
    let entry = |index, data: &[u8]| Entry { index, term: 5, data: data.to_vec().into(), ..Entry::default() };
    let mut change = ConfChangeV2::default();
    for (kind, node_id) in [(ConfChangeType::AddLearnerNode, 6), (ConfChangeType::RemoveNode, 5)] {
        let mut step = ConfChangeSingle { node_id, ..ConfChangeSingle::default() };
        step.set_change_type(kind);
        change.mut_changes().push(step);
    }
    let mut members = entry(13, &protobuf::Message::write_to_bytes(&change).unwrap());
    members.set_entry_type(EntryType::EntryConfChangeV2);
    let entries = vec![entry(11, b"a"), entry(12, b""), members, entry(14, b"not known to be committed")];
    let hard_state = Some(HardState { term: 6, vote: 3, commit: 12, ..HardState::default() });
    store.commit(Write { entries, hard_state, ..Write::default() }).unwrap();
}

#[tokio::test]
async fn one_survivor_goes_on_alone_with_everything_it_has() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    survivor(dir);
    let recovered = recover(dir, "m2", |term| (term >> 32 | 1) << 32, Recorder::default()).unwrap();
    assert_eq!((recovered.id, recovered.index, recovered.term), (2, 14, 1 << 32));
    assert_eq!(recovered.lost, [1, 3, 4, 6, 7]);
    let old = DiskStore::open(&dir.join(BEFORE_RECOVER), "m2").unwrap();
    assert_eq!((old.identity().group, old.outline().last_index()), (uuid::Uuid::from_u128(1), 14));
    assert_eq!(&*old.entries(14, 15, u64::MAX).unwrap()[0].data, b"not known to be committed");
    drop(old);
    let machine = Recorder::default();
    let handle = open(Options { name: "m2".into(), ..options(dir) }, machine.clone()).unwrap();
    handle.status().wait_for(|status| status.leading).await.unwrap();
    assert_eq!(handle.identity().group, recovered.group);
    assert_ne!(recovered.group, uuid::Uuid::from_u128(1));
    assert_eq!(machine.texts(), ["a", "not known to be committed"]);
    assert!(handle.propose(b"new".to_vec()).await.unwrap().0 > 14);
    handle.shutdown().await.unwrap();
    let old = DiskStore::open(&dir.join(BEFORE_RECOVER), "m2").unwrap();
    assert_eq!(old.outline().last_index(), 14, "what was kept is not written to");
    drop(old);
    // And once more, over what the first one kept.
    assert_eq!(recover(dir, "m2", |term| term, Recorder::default()).unwrap().lost, [0; 0]);
    assert!(DiskStore::open(&dir.join(BEFORE_RECOVER), "m2").unwrap().outline().last_index() > 14);
}

#[tokio::test]
async fn what_cannot_be_recovered_is_left_as_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let refusal = |name: &str| recover(dir, name, |term| term + 1, Recorder::default()).unwrap_err();
    assert!(matches!(refusal("m1"), OpenError::Empty(_)));
    let (handle, _) = single::start(Options { start: Start::Found, ..options(dir) }).await;
    assert!(matches!(refusal("m1"), OpenError::Store(StoreError::InUse { .. })));
    handle.propose(b"unreadable".to_vec()).await.unwrap_err();
    handle.join().await.unwrap_err();
    assert!(matches!(refusal("m3"), OpenError::Store(StoreError::Foreign { .. })));
    let before = DiskStore::open(dir, "m1").unwrap().outline().clone();
    assert!(matches!(refusal("m1"), OpenError::Node(_)), "an entry is never skipped");
    assert_eq!(DiskStore::open(dir, "m1").unwrap().outline(), &before);
    assert!(!dir.join(BEFORE_RECOVER).exists());

    let joined = tempfile::tempdir().unwrap();
    let identity = Identity { name: "m1".into(), id: 4, group: uuid::Uuid::nil() };
    drop(DiskStore::create(joined.path(), &identity, First::nothing()).unwrap());
    let refused = recover(joined.path(), "m1", |term| term, Recorder::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Nothing(_)), "{refused}");
}

#[tokio::test]
async fn logs_of_earlier_versions_are_led_on() {
    for version in ["log-v1", "log-v2"] {
        let dir = tempfile::tempdir().unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        fs::copy(fixtures.join(version).join("raft.redb"), dir.path().join("raft.redb")).unwrap();
        led_on(dir.path()).await;
    }
}

async fn led_on(dir: &Path) {
    for round in 0..2 {
        let snapshots = SnapshotPolicy { entries: 20, keep_entries: 5, ..SnapshotPolicy::default() };
        let (handle, machine) = single::start(Options { snapshots, ..options(dir) }).await;
        let expected: Vec<_> = (0..30 + round * 30).map(|number| format!("entry {number}")).collect();
        assert_eq!(machine.texts(), expected);
        for number in expected.len()..expected.len() + 30 {
            handle.propose(format!("entry {number}").into_bytes()).await.unwrap();
        }
        handle.shutdown().await.unwrap();
    }
}
