//! One voter on a real disk: the whole way from a proposal to its answer, restarts, refusals, failures.

use std::path::Path;
use std::time::Duration;

use super::Recorder;
use crate::consensus::handle::QUEUE_INPUTS_MAX;
use crate::consensus::open::{drive, first_snapshot};
use crate::consensus::store::{Fault, Identity, MemoryDisk, Timed};
use crate::consensus::{
    Answer, Handle, MAX_ENTRY_BYTES, NoPeers, Node, NodeConfig, OpenError, Options, Proposal, ProposeError,
    SnapshotPolicy, Start, Stopped, open,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn options(dir: &Path) -> Options {
    Options::new(dir, "m1", Start::Found, 7)
}

pub(super) async fn start(options: Options) -> (Handle<Recorder>, Recorder) {
    let machine = Recorder::default();
    let handle = open(options, machine.clone()).unwrap();
    let leading = async { handle.status().wait_for(|status| status.leading).await.unwrap().term };
    tokio::time::timeout(PATIENCE, leading).await.expect("a single voter leads at once");
    (handle, machine)
}

#[tokio::test]
async fn proposals_are_applied_and_found_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, machine) = start(options(dir.path())).await;
    let (index, count) = handle.propose(b"a".to_vec()).await.unwrap();
    assert_eq!(count, 1);
    let outputs = handle.propose_many(vec![b"b".to_vec(), b"c".to_vec()]).await.unwrap();
    assert_eq!(outputs, [(index + 1, 2), (index + 2, 3)]);
    assert_eq!(machine.texts(), ["a", "b", "c"]);
    let group = handle.identity().group;
    handle.shutdown().await.unwrap();

    let (handle, machine) = start(Options { start: Start::Existing, ..options(dir.path()) }).await;
    assert_eq!(machine.texts(), ["a", "b", "c"]);
    assert_eq!(handle.identity().group, group);
    handle.propose(b"d".to_vec()).await.unwrap();
    assert_eq!(machine.texts(), ["a", "b", "c", "d"]);
    handle.shutdown().await.unwrap();
}

#[tokio::test]
async fn leading_is_told_only_when_everything_earlier_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, _) = start(options(dir.path())).await;
    for _ in 0..20 {
        handle.propose(b"x".to_vec()).await.unwrap();
    }
    handle.shutdown().await.unwrap();
    let (handle, machine) = start(options(dir.path())).await;
    let told = machine.seen().leadership.clone();
    let leading: Vec<_> = told.iter().filter(|told| told.2).collect();
    assert_eq!(leading.len(), 1, "{told:?}");
    assert_eq!(leading[0].3, 20);
    handle.shutdown().await.unwrap();
    assert!(!machine.seen().leadership.last().unwrap().2, "told that it is over");
}

#[tokio::test]
async fn concurrent_proposals_share_commits_and_keep_their_own_answers() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, machine) = start(options(dir.path())).await;
    let tasks: Vec<_> = (0..500u32)
        .map(|number| {
            let handle = handle.clone();
            tokio::spawn(async move { (number, handle.propose(number.to_le_bytes().to_vec()).await) })
        })
        .collect();
    for task in tasks {
        let (number, outcome) = task.await.unwrap();
        let (index, _) = outcome.unwrap();
        assert!(machine.seen().entries.contains(&(index, number.to_le_bytes().to_vec())));
    }
    assert_eq!(machine.seen().entries.len(), 500);
    handle.shutdown().await.unwrap();
}

#[tokio::test]
async fn snapshots_bound_the_log_and_restarts_go_on_from_them() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = SnapshotPolicy { entries: 50, keep_entries: 10, ..SnapshotPolicy::default() };
    let options = Options { snapshots, ..options(dir.path()) };
    let mut total = 0;
    for round in 0..3 {
        let (handle, machine) = start(options.clone()).await;
        assert_eq!(machine.seen().entries.len(), total, "round {round}");
        let before = handle.status().borrow().snapshot_index;
        for number in 0..120 {
            handle.propose(format!("{round}/{number}").into_bytes()).await.unwrap();
        }
        total += 120;
        let mut status = handle.status();
        let taken = status.wait_for(|status| status.snapshot_index >= before + 50);
        let taken = tokio::time::timeout(PATIENCE, taken).await.unwrap().unwrap().clone();
        assert!(taken.log_bytes < 200 * 40, "{taken:?}");
        handle.shutdown().await.unwrap();
    }
    let (handle, machine) = start(options).await;
    assert!(*machine.seen().restored.last().unwrap() > 100, "restored from a late snapshot");
    let expected = (0..3).flat_map(|round| (0..120).map(move |number| format!("{round}/{number}")));
    assert_eq!(machine.texts(), expected.collect::<Vec<_>>());
    handle.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_an_entry_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, machine) = start(options(dir.path())).await;
    let long = vec![1; MAX_ENTRY_BYTES + 1];
    assert!(matches!(handle.propose(long).await, Err(ProposeError::TooLarge { .. })));
    assert_eq!(handle.propose(Vec::new()).await, Err(ProposeError::Empty));
    assert_eq!(handle.propose_many(Vec::new()).await, Ok(Vec::new()));
    handle.propose(vec![1; MAX_ENTRY_BYTES]).await.unwrap();
    assert_eq!(machine.seen().entries.len(), 1);
    handle.shutdown().await.unwrap();
}

#[tokio::test]
async fn proposals_during_a_shutdown_get_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, machine) = start(options(dir.path())).await;
    let tasks: Vec<_> = (0..200u32)
        .map(|number| {
            let handle = handle.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(u64::from(number) * 50)).await;
                handle.propose(number.to_le_bytes().to_vec()).await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(4)).await;
    handle.shutdown().await.unwrap();
    for task in tasks {
        match task.await.unwrap() {
            Ok((index, _)) => assert!(machine.seen().entries.iter().any(|(at, _)| *at == index)),
            Err(error) => assert!(matches!(error, ProposeError::Stopped | ProposeError::Dropped), "{error}"),
        }
    }
    assert_eq!(handle.propose(b"late".to_vec()).await, Err(ProposeError::Stopped));
}

#[tokio::test]
async fn dropping_the_last_handle_stops_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, _) = start(options(dir.path())).await;
    let mut status = handle.status();
    drop(handle);
    let stopped = async { while status.changed().await.is_ok() {} };
    tokio::time::timeout(PATIENCE, stopped).await.expect("the thread ends");
    start(options(dir.path())).await.0.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_machine_that_breaks_stops_the_log_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, _) = start(options(dir.path())).await;
    assert_eq!(handle.propose(b"panic".to_vec()).await, Err(ProposeError::Dropped));
    let Err(Stopped(reason)) = handle.join().await else { panic!("it must not end in peace") };
    assert!(reason.contains("asked to"), "{reason}");
    assert_eq!(handle.status().borrow().failure.as_deref(), Some(&*reason));
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_never_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, _) = start(options(dir.path())).await;
    assert_eq!(handle.propose(b"unreadable".to_vec()).await, Err(ProposeError::Dropped));
    // Nor after a restart: it is in the log, and somebody may have been told so.
    let Err(first) = handle.join().await else { panic!("it must not end in peace") };
    let again = open(options(dir.path()), Recorder::default()).unwrap();
    let Err(Stopped(reason)) = again.join().await else { panic!("it must not end in peace") };
    assert!(reason.contains("log entry") && reason.contains("of another time"), "{reason}");
    assert_eq!(first.0, reason);
}

#[tokio::test]
async fn nothing_begins_anew_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let unfounded = Options { start: Start::Existing, ..options(dir.path()) };
    let refused = open(unfounded.clone(), Recorder::default()).err().unwrap();
    assert!(matches!(&refused, OpenError::Empty(_)), "{refused}");

    start(options(dir.path())).await.0.shutdown().await.unwrap();
    std::fs::remove_file(dir.path().join("raft.redb")).unwrap();
    for options in [unfounded, options(dir.path())] {
        let refused = open(options, Recorder::default()).err().unwrap().to_string();
        assert!(refused.contains("is missing"), "{refused}");
    }
}

#[tokio::test]
async fn a_disk_that_fails_stops_the_log_and_acknowledges_nothing_more() {
    let machine = Recorder::default();
    let disk = MemoryDisk::founded(first_snapshot(&machine, &[1])).unwrap();
    let config = NodeConfig { id: 1, seed: 1, snapshots: SnapshotPolicy::default() };
    let node = Node::open(config, Timed::new(disk.open()), machine.clone()).unwrap();
    let identity = Identity { name: "m1".into(), id: 1, group: uuid::Uuid::nil() };
    let handle = drive(node, identity, Duration::from_millis(50), || {}, NoPeers).unwrap();
    handle.status().wait_for(|status| status.leading).await.unwrap();
    handle.propose(b"kept".to_vec()).await.unwrap();
    disk.inject(Fault::Fail);
    assert_eq!(handle.propose(b"lost".to_vec()).await, Err(ProposeError::Dropped));
    let Err(Stopped(reason)) = handle.join().await else { panic!("it must not end in peace") };
    assert!(reason.contains("cannot write to") && reason.contains("then start again"), "{reason}");
    assert!(!handle.status().borrow().leading);
    assert_eq!(handle.propose(b"late".to_vec()).await, Err(ProposeError::Stopped));
    assert_eq!(machine.texts(), ["kept"]);
}

#[test]
fn what_is_committed_is_applied_bit_by_bit_unless_it_is_very_much() {
    let machine = Recorder::default();
    let disk = MemoryDisk::founded(first_snapshot(&machine, &[1])).unwrap();
    let config = NodeConfig { id: 1, seed: 1, snapshots: SnapshotPolicy::default() };
    let mut node = Node::open(config, disk.open(), machine.clone()).unwrap();
    node.campaign_if_alone().unwrap();
    node.ready(&NoPeers, &mut || false).unwrap();
    let mut applied = node.status().applied;
    // Entries of 40 KiB; how many of them the first call applies at least and at most; how many calls at least.
    for (count, least, most, calls_least) in [(1, 1, 1, 1), (20, 1, 3, 7), (300, 44, 250, 2)] {
        let entries = vec![vec![7; 40 << 10]; count];
        assert!(node.propose(vec![Proposal { ticket: 1, entries }]).is_empty());
        let (mut answers, mut calls) = (node.ready(&NoPeers, &mut || true).unwrap(), 1);
        let first = node.status().applied - applied;
        assert!((least..=most).contains(&first), "{first} of {count}");
        while node.has_more() {
            assert!(answers.is_empty(), "not before all of it is applied");
            answers = node.ready(&NoPeers, &mut || true).unwrap();
            calls += 1;
        }
        assert!(calls >= calls_least, "{calls} calls for {count}");
        assert!(matches!(&answers[..], [Answer { ticket: 1, outcome: Ok(all) }] if all.len() == count));
        applied = node.status().applied;
        assert_eq!(applied, node.status().last_index);
    }
    let indexes: Vec<u64> = machine.seen().entries.iter().map(|(index, _)| *index).collect();
    assert!(indexes.is_sorted() && indexes.len() == 321, "{}", indexes.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, machine) = start(options(dir.path())).await;
    let (refused, refusals) = std::sync::mpsc::channel();
    let propose = |_| {
        let (handle, refused) = (handle.clone(), refused.clone());
        tokio::spawn(async move {
            let outcome = handle.propose(b"x".to_vec()).await;
            let _ = outcome.as_ref().is_err_and(|error| refused.send(error.clone()).is_ok());
            outcome.is_ok()
        })
    };
    // Whoever holds the machine's state keeps the driver's thread from applying.
    let stalled = machine.seen();
    let tasks: Vec<_> = (0..2 * QUEUE_INPUTS_MAX).map(propose).collect();
    assert_eq!(refusals.recv_timeout(PATIENCE), Ok(ProposeError::Busy));
    drop(stalled);
    let mut done = 0;
    for task in tasks {
        done += usize::from(task.await.unwrap());
    }
    assert!(done >= QUEUE_INPUTS_MAX, "what was queued is applied: {done}");
    assert_eq!(machine.seen().entries.len(), done);
    handle.propose(b"room again".to_vec()).await.unwrap();
    handle.shutdown().await.unwrap();
}
