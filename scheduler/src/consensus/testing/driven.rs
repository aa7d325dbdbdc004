//! Members with drivers: threads, clocks, and a network of queues between them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use raft::eraftpb::Entry;
use uuid::Uuid;

use super::Recorder;
use crate::consensus::open::{drive, first_snapshot};
use crate::consensus::store::{
    Identity, LogStore, MemoryDisk, MemoryStore, Outline, Stager, StoreError, Write,
};
use crate::consensus::{
    Handle, MemberChange, Message, Node, NodeConfig, Options, Pieces, ProposeError, Sent, SnapshotPolicy,
    Start, Status, Transport, open_with,
};

const PATIENCE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(20);

/// Who can be reached.
#[derive(Clone, Default)]
struct Network(Arc<Mutex<BTreeMap<u64, Handle<Recorder>>>>);

impl Network {
    fn to(&self, id: u64) -> Option<Handle<Recorder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn add(&self, id: u64, handle: &Handle<Recorder>) {
        self.0.lock().unwrap().insert(id, handle.clone());
    }

    /// Lets go of all handles, or no log would ever stop.
    fn close(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// One member's way out.
struct Line(u64, Network);

impl Transport for Line {
    fn send(&self, to: u64, message: Message) {
        if let Some(handle) = self.1.to(to) {
            handle.step(message);
        }
    }

    fn send_snapshot(&self, to: u64, message: Message, pieces: Pieces) {
        let (from, network) = (self.0, self.1.clone());
        std::thread::spawn(move || {
            let receive = || {
                let mut inlet = network.to(to)?.receive_snapshot(message);
                pieces.into_iter().try_for_each(|piece| inlet.put(&piece?)).ok()?;
                inlet.finish().then_some(())
            };
            let sent = if receive().is_some() { Sent::SnapshotArrived } else { Sent::SnapshotLost };
            network.to(from).map(|handle| handle.report(to, sent))
        });
    }
}

/// A disk whose commits wait while somebody holds the gate.
struct Gated(MemoryStore, Arc<Mutex<()>>);

impl LogStore for Gated {
    fn outline(&self) -> &Outline {
        self.0.outline()
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StoreError> {
        self.0.entries(low, high, max_bytes)
    }

    fn pieces(&self) -> Result<Pieces, StoreError> {
        self.0.pieces()
    }

    fn stager(&self) -> Stager {
        self.0.stager()
    }

    fn commit(&mut self, write: Write) -> Result<(), StoreError> {
        let _open = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.commit(write)
    }
}

struct Member {
    handle: Handle<Recorder>,
    machine: Recorder,
    gate: Arc<Mutex<()>>,
}

fn three(network: &Network) -> BTreeMap<u64, Member> {
    let snapshots = SnapshotPolicy { entries: 200, keep_entries: 50, ..SnapshotPolicy::default() };
    let member = |id| {
        let (machine, gate) = (Recorder::default(), Arc::default());
        let disk = MemoryDisk::founded(first_snapshot(&machine, &[1, 2, 3])).unwrap();
        let store = Gated(disk.open(), Arc::clone(&gate));
        let node = Node::open(NodeConfig { id, seed: id, snapshots }, store, machine.clone()).unwrap();
        let identity = Identity { name: format!("m{id}"), id, group: Uuid::nil() };
        let handle = drive(node, identity, TICK, Line(id, network.clone())).unwrap();
        network.add(id, &handle);
        (id, Member { handle, machine, gate })
    };
    (1..=3).map(member).collect()
}

async fn until(handle: &Handle<Recorder>, what: impl FnMut(&Status) -> bool) -> Status {
    let mut status = handle.status();
    let found = tokio::time::timeout(PATIENCE, status.wait_for(what)).await;
    found.expect("it comes to pass").expect("the log runs").clone()
}

async fn leader(members: &BTreeMap<u64, Member>) -> u64 {
    let waits = members.values().map(|member| Box::pin(until(&member.handle, |status| status.leading)));
    futures_util::future::select_all(waits).await.0.leader.expect("it leads")
}

async fn stop(network: Network, members: BTreeMap<u64, Member>) {
    network.close();
    for member in members.into_values() {
        member.handle.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_disk_hangs_does_not_slow_the_others() {
    let network = Network::default();
    let members = three(&network);
    let leads = leader(&members).await;
    let hangs = members.keys().copied().find(|id| *id != leads).unwrap();
    let gate = Arc::clone(&members[&hangs].gate);
    // The gate is held by a thread of its own: it must not be held over an await.
    let (shut, opened): (SyncSender<()>, Receiver<()>) = sync_channel(0);
    let (held, holding) = sync_channel(0);
    let keeper = std::thread::spawn(move || {
        let _closed = gate.lock().unwrap();
        held.send(()).unwrap();
        let _ = opened.recv();
    });
    holding.recv().unwrap();
    let handle = &members[&leads].handle;
    for number in 0..500 {
        let done = tokio::time::timeout(PATIENCE, handle.propose(format!("{number}").into_bytes())).await;
        done.expect("two of three are enough").unwrap();
        if number % 50 == 0 {
            handle.read_index().await.unwrap();
        }
    }
    assert!(members[&hangs].machine.texts().len() < 500, "it hangs");
    drop(shut);
    keeper.join().unwrap();
    let applied = handle.status().borrow().applied;
    until(&members[&hangs].handle, |status| status.applied >= applied).await;
    assert_eq!(members[&hangs].machine.texts().len(), 500);
    stop(network, members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_changes_and_transfers_are_answered() {
    let network = Network::default();
    let members = three(&network);
    let leads = leader(&members).await;
    let handle = &members[&leads].handle;
    let reads: Vec<_> = (0..200)
        .map(|_| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.read_index().await })
        })
        .collect();
    for read in reads {
        assert_eq!(read.await.unwrap(), Ok(()));
    }
    let impossible = handle.change_members(MemberChange::Promote { id: 9, replacing: None }).await;
    assert!(matches!(impossible, Err(ProposeError::Impossible { .. })));
    let to = members.keys().copied().find(|id| *id != leads).unwrap();
    handle.transfer(to).await.unwrap();
    until(&members[&to].handle, |status| status.leading).await;
    assert_eq!(handle.read_index().await, Err(ProposeError::NotLeader { leader: Some(to) }));
    let standings = until(&members[&to].handle, |status| status.standings.len() == 3).await.standings;
    assert!(standings.iter().all(|standing| (1..=3).contains(&standing.id)), "{standings:?}");
    stop(network, members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gets_an_answer_finds_it_in_the_status() {
    let (dir, network) = (tempfile::tempdir().unwrap(), Network::default());
    let (handle, _) = on_disk(dir.path(), 1, Start::Found, &network);
    let mut applied = until(&handle, |status| status.leading).await.applied;
    for number in 0..300 {
        handle.propose(format!("{number}").into_bytes()).await.unwrap();
        let now = handle.status().borrow().applied;
        assert!(now > applied, "{now} after {applied}");
        applied = now;
    }
    network.close();
    handle.shutdown().await.unwrap();
}

fn on_disk(dir: &Path, id: u64, start: Start, network: &Network) -> (Handle<Recorder>, Recorder) {
    let machine = Recorder::default();
    let snapshots = SnapshotPolicy { entries: 50, keep_entries: 10, ..SnapshotPolicy::default() };
    let options = Options { tick: TICK, snapshots, ..Options::new(dir, format!("m{id}"), start, id) };
    let handle = open_with(options, machine.clone(), Line(id, network.clone())).unwrap();
    network.add(id, &handle);
    (handle, machine)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_joins_is_promoted_and_goes_on_when_the_founder_leaves() {
    let (dir, network) = (tempfile::tempdir().unwrap(), Network::default());
    let (first, _) = on_disk(&dir.path().join("1"), 1, Start::Found, &network);
    until(&first, |status| status.leading).await;
    for number in 0..200 {
        first.propose(format!("{number}").into_bytes()).await.unwrap();
    }
    let join = Start::Join { id: 2, group: first.identity().group };
    let (second, machine) = on_disk(&dir.path().join("2"), 2, join, &network);
    first.change_members(MemberChange::AddLearner(2)).await.unwrap();
    let applied = first.status().borrow().applied;
    until(&second, |status| status.applied >= applied).await;
    assert_eq!(machine.texts().len(), 200);
    // An existing log goes on whatever it is started with.
    network.0.lock().unwrap().remove(&2);
    second.shutdown().await.unwrap();
    drop(second);
    let (second, machine) = on_disk(&dir.path().join("2"), 2, Start::Found, &network);
    assert_eq!((second.identity().id, second.identity().group), (2, first.identity().group));
    first.change_members(MemberChange::Promote { id: 2, replacing: Some(1) }).await.unwrap();
    until(&second, |status| status.leading).await;
    assert_eq!(until(&first, |status| !status.leading).await.members.voters, [2]);
    second.propose(b"alone".to_vec()).await.unwrap();
    assert_eq!(machine.texts().len(), 201);
    network.close();
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}
