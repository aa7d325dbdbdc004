//! Members with drivers: threads, clocks, a network of queues between them, and disks in memory that can be
//! made to hang or to be slow.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use raft::eraftpb::{Entry, SnapshotMetadata};
use uuid::Uuid;

use crate::consensus::open::{drive, first_snapshot};
use crate::consensus::store::{
    Adopted, Adoption, Identity, LogStore, MemoryDisk, MemoryStore, Outline, Stager, StoreError, Timed, Write,
};
use crate::consensus::{
    Handle, Machine, Message, Node, NodeConfig, Pieces, Sent, SnapshotPolicy, Status, Transport,
};

/// For what must come to pass, also on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Who can be reached.
pub(crate) struct Network<M: Machine>(Arc<Mutex<BTreeMap<u64, Handle<M>>>>);

impl<M: Machine> Clone for Network<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Machine> Default for Network<M> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<M: Machine> Network<M> {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Handle<M>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn to(&self, id: u64) -> Option<Handle<M>> {
        self.all().get(&id).cloned()
    }

    pub(crate) fn add(&self, id: u64, handle: &Handle<M>) {
        self.all().insert(id, handle.clone());
    }

    pub(crate) fn remove(&self, id: u64) {
        self.all().remove(&id);
    }

    /// Lets go of all handles, or no log would ever stop.
    pub(crate) fn close(&self) {
        self.all().clear();
    }
}

/// One member's way out.
pub(crate) struct Line<M: Machine>(pub(crate) u64, pub(crate) Network<M>);

impl<M: Machine> Transport for Line<M> {
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

/// What the commits of a disk have to pass.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<Hindrance>, Condvar)>);

#[derive(Default)]
struct Hindrance {
    hangs: bool,
    takes: Duration,
}

impl Gate {
    /// From now on (`true`) no commit ends.
    pub(crate) fn hang(&self, hangs: bool) {
        self.change(|hindrance| hindrance.hangs = hangs);
    }

    /// From now on every commit takes so long.
    pub(crate) fn slow(&self, takes: Duration) {
        self.change(|hindrance| hindrance.takes = takes);
    }

    fn change(&self, change: impl FnOnce(&mut Hindrance)) {
        let (hindrance, changed) = &*self.0;
        change(&mut hindrance.lock().unwrap_or_else(PoisonError::into_inner));
        changed.notify_all();
    }

    fn pass(&self) {
        let (hindrance, changed) = &*self.0;
        let hindrance = hindrance.lock().unwrap_or_else(PoisonError::into_inner);
        let open = changed.wait_while(hindrance, |hindrance| hindrance.hangs);
        let takes = open.unwrap_or_else(PoisonError::into_inner).takes;
        std::thread::sleep(takes);
    }
}

/// A disk with a gate.
struct Gated(MemoryStore, Gate);

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

    fn adoption(&self, meta: SnapshotMetadata, compact: u64) -> Result<Adoption, StoreError> {
        self.0.adoption(meta, compact)
    }

    fn adopted(&mut self, adopted: Adopted) {
        self.0.adopted(adopted);
    }

    fn commit(&mut self, write: Write) -> Result<(), StoreError> {
        self.1.pass();
        self.0.commit(write)
    }
}

/// A new group of three: the member `id` with this machine.
pub(crate) fn one_of_three<M: Machine>(
    id: u64,
    machine: M,
    tick: Duration,
    network: &Network<M>,
) -> (Handle<M>, Gate) {
    let snapshots = SnapshotPolicy { entries: 200, keep_entries: 50, ..SnapshotPolicy::default() };
    let (disk, gate) = (MemoryDisk::founded(first_snapshot(&machine, &[1, 2, 3])).unwrap(), Gate::default());
    let store = Timed::new(Gated(disk.open(), gate.clone()));
    let node = Node::open(NodeConfig { id, seed: id, snapshots }, store, machine).unwrap();
    let identity = Identity { name: format!("m{id}"), id, group: Uuid::nil() };
    let handle = drive(node, identity, tick, || {}, Line(id, network.clone())).unwrap();
    network.add(id, &handle);
    (handle, gate)
}

/// Waits until it is so.
pub(crate) async fn until<M: Machine>(handle: &Handle<M>, what: impl FnMut(&Status) -> bool) -> Status {
    let mut status = handle.status();
    let found = tokio::time::timeout(PATIENCE, status.wait_for(what)).await;
    found.expect("it comes to pass").expect("the log runs").clone()
}

/// Waits until one of them leads.
pub(crate) async fn leader<M: Machine>(handles: impl IntoIterator<Item = &Handle<M>>) -> u64 {
    let waits = handles.into_iter().map(|handle| Box::pin(until(handle, |status| status.leading)));
    futures_util::future::select_all(waits).await.0.leader.expect("it leads")
}
