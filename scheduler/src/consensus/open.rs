//! Starting a log: founding it or finding it on disk, then the driver's thread round it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use raft::eraftpb::{ConfState, SnapshotMetadata};
use tokio::sync::watch;
use uuid::Uuid;

use super::driver::Driver;
use super::handle::{Handle, QUEUE_INPUTS_MAX, Shared};
use super::node::{Node, NodeConfig, NodeError};
use super::snapshots::SnapshotPolicy;
use super::store::{DiskStore, First, Identity, LogStore, StoreError, Timed};
use super::turns::Turns;
use super::{Machine, NoPeers, Transport};

/// Where a new cluster's log begins: raft wants its first members in a snapshot at index 1 or later.
const FIRST: u64 = 1;
/// Id of the master that founds a cluster.
const FOUNDER: u64 = 1;

/// How a log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It must be there already.
    Existing,
    /// Found a new cluster with this master as its only voter, number 1.
    Found,
    /// Begin without entries, as the member that a leader has given this number; it sends the rest.
    Join {
        /// Number in the group.
        id: u64,
        /// The cluster.
        group: Uuid,
    },
}

/// Settings of a log.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of the log; one for each master.
    pub data_dir: PathBuf,
    /// Name of this master. A directory is used under one name only.
    pub name: String,
    /// What to do in a directory without a log. One that has a log is used as it is.
    pub start: Start,
    /// The clock's grain: a follower waits 10 to 20 ticks for its leader before it holds an election.
    pub tick: Duration,
    /// Source of election timeouts; should differ between masters.
    pub seed: u64,
    /// When to take snapshots.
    pub snapshots: SnapshotPolicy,
    /// Called by the log's thread whenever it had nothing to do for a tick.
    pub at_rest: fn(),
}

impl Options {
    /// The usual settings: elections after 0.4 to 0.8 s, a snapshot every 10,000 entries or 64 MiB.
    pub fn new(data_dir: impl Into<PathBuf>, name: impl Into<String>, start: Start, seed: u64) -> Self {
        Self {
            data_dir: data_dir.into(),
            name: name.into(),
            start,
            tick: Duration::from_millis(40),
            seed,
            snapshots: SnapshotPolicy::default(),
            at_rest: || {},
        }
    }
}

/// Why a log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is nothing to start from.
    #[error(
        "{} holds no cluster's log: found a new cluster with --bootstrap, or check the path of the data \
         directory",
        .0.display()
    )]
    Empty(PathBuf),
    /// It is not to be overwritten.
    #[error("{} is not empty: give a directory that does not exist yet", .0.display())]
    NotEmpty(PathBuf),
    /// It joined a cluster and was never told anything.
    #[error("{} holds nothing to recover: this master joined and never received the state", .0.display())]
    Nothing(PathBuf),
    /// raft's ids begin at 1.
    #[error("0 is not an id of a master")]
    NoId,
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log is there, but cannot be used.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The system refuses a thread.
    #[error("cannot start the log's thread: {0}")]
    Thread(std::io::Error),
}

/// Starts the log of a cluster of one master. Blocks while the state is read from disk.
pub fn open<M: Machine>(options: Options, machine: M) -> Result<Handle<M>, OpenError> {
    open_with(options, machine, NoPeers)
}

/// Starts a log whose messages go through `transport`. Blocks while the state is read from disk.
pub fn open_with<M: Machine>(
    options: Options,
    machine: M,
    transport: impl Transport,
) -> Result<Handle<M>, OpenError> {
    let store = open_store(&options, &machine)?;
    let identity = store.identity().clone();
    let config = NodeConfig { id: identity.id, seed: options.seed, snapshots: options.snapshots };
    let node = Node::open(config, Timed::new(store), machine)?;
    drive(node, identity, options.tick, options.at_rest, transport)
}

/// Starts the thread round a node.
pub(super) fn drive<M: Machine, S: LogStore>(
    node: Node<M, Timed<S>>,
    identity: Identity,
    tick: Duration,
    at_rest: fn(),
    transport: impl Transport,
) -> Result<Handle<M>, OpenError> {
    let stage = node.store().stager();
    let (sender, inputs) = mpsc::sync_channel(QUEUE_INPUTS_MAX);
    let (status_sender, status) = watch::channel(node.status());
    let (ended_sender, ended) = watch::channel(());
    let stopping = Arc::new(AtomicBool::new(false));
    let driver = Driver {
        node,
        transport: Box::new(transport),
        inputs,
        status: status_sender,
        _ended: ended_sender,
        stopping: Arc::clone(&stopping),
        tick,
        replies: HashMap::new(),
        calls: HashMap::new(),
        next_ticket: 0,
        snapshot: None,
        turns: Turns::default(),
        at_rest,
    };
    let thread = thread::Builder::new().name("log".into()).spawn(move || driver.run());
    let thread = Mutex::new(Some(thread.map_err(OpenError::Thread)?));
    let queued_bytes = Arc::new(AtomicUsize::new(0));
    Ok(Handle::new(Shared { inputs: sender, queued_bytes, status, ended, stopping, thread, identity, stage }))
}

fn open_store<M: Machine>(options: &Options, machine: &M) -> Result<DiskStore, OpenError> {
    let Options { data_dir, name, start, .. } = options;
    if DiskStore::exists(data_dir) {
        return Ok(DiskStore::open(data_dir, name)?);
    }
    let (id, group, first) = match *start {
        Start::Existing => return Err(OpenError::Empty(data_dir.clone())),
        Start::Found => (FOUNDER, Uuid::new_v4(), first_snapshot(machine, &[FOUNDER])),
        Start::Join { id: raft::INVALID_ID, .. } => return Err(OpenError::NoId),
        Start::Join { id, group } => (id, group, First::nothing()),
    };
    let identity = Identity { name: name.clone(), id, group };
    tracing::info!(dir = %data_dir.display(), %group, id, ?start, "a new log");
    Ok(DiskStore::create(data_dir, &identity, first)?)
}

/// What a new cluster's log begins with: the machine as it is, with its first voters.
pub fn first_snapshot<M: Machine>(machine: &M, voters: &[u64]) -> First<'static> {
    let mut meta = SnapshotMetadata { index: FIRST, term: 1, ..SnapshotMetadata::default() };
    meta.set_conf_state(ConfState { voters: voters.to_vec(), ..ConfState::default() });
    First::new(meta, machine.freeze().chunks())
}
