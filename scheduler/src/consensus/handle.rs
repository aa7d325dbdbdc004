//! What the rest of the master holds of the log: propose, look at the status, pass on peers' messages, stop.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use raft::eraftpb::Message;
use tokio::sync::{oneshot, watch};

use super::members::{MemberChange, Members, Standing};
use super::store::{ChunkSink, Commits, Identity, Staged, Stager, StoreError};
use super::transport::Sent;
use super::turns::Turns;
use super::waiting::Proposal;

/// Inputs that may wait for the driver, and the bytes of their proposals together.
pub(super) const QUEUE_INPUTS_MAX: usize = 8192;
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// Why a proposal was not (or may not have been) applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // each text says what its fields are
pub enum ProposeError {
    /// Another master leads, if any. Nothing was appended.
    #[error("this master does not lead")]
    NotLeader { leader: Option<u64> },
    /// Leadership was lost or the log stopped meanwhile: it may be applied or not.
    #[error("whether the entry is or will be applied is unknown: leadership was lost, or the log stopped")]
    Dropped,
    /// Too much is waiting. Nothing was appended.
    #[error("too many proposals are waiting")]
    Busy,
    /// The log is closed or has failed. Nothing was appended.
    #[error("the replicated log is stopped")]
    Stopped,
    /// Nothing was appended.
    #[error("{bytes} bytes exceed the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// Nothing was appended.
    #[error("an entry must not be empty")]
    Empty,
    /// A change of the members or of the leader that cannot be. Nothing was appended.
    #[error("{reason}")]
    Impossible { reason: &'static str },
}

/// Where the log stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Term of the last election that this member has heard of.
    pub term: u64,
    /// Who leads.
    pub leader: Option<u64>,
    /// Whether this member leads and has applied everything of earlier terms.
    pub leading: bool,
    /// Whether this member leads because the leader before it asked it to.
    pub invited: bool,
    /// Last entry known to be on a majority of disks.
    pub commit: u64,
    /// Last entry applied here.
    pub applied: u64,
    /// Last entry on disk here.
    pub last_index: u64,
    /// Size of the entries on disk.
    pub log_bytes: u64,
    /// Last entry covered by the snapshot on disk.
    pub snapshot_index: u64,
    /// Who takes part.
    pub members: Members,
    /// How far each of them is; only the leader knows. Brought up to date every few ticks.
    pub standings: Vec<Standing>,
    /// What the disk has done; a node without a driver knows no time, and says nothing.
    pub commits: Commits,
    /// How long the log's thread was busy at a stretch; likewise.
    pub turns: Turns,
    /// Why the log stopped by itself; it never does so silently.
    pub failure: Option<Arc<str>>,
}

/// The log stopped by itself, for this reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Stopped(pub Arc<str>);

/// Proposals' outcome on its way back.
pub(super) type Reply<O> = oneshot::Sender<Result<Vec<O>, ProposeError>>;

/// What the driver's thread receives.
pub(super) enum Input<O> {
    Propose {
        entries: Vec<Vec<u8>>,
        reply: Reply<O>,
        room: Room,
    },
    Step(Box<Message>),
    /// A snapshot whose pieces have been staged.
    Snapshot(Box<Message>, Staged),
    Report(u64, Sent),
    ReadIndex(oneshot::Sender<Result<(), ProposeError>>),
    Change(MemberChange, oneshot::Sender<Result<(), ProposeError>>),
    Transfer(u64, oneshot::Sender<Result<(), ProposeError>>),
    /// Something else is to be looked at.
    Wake,
}

/// Bytes held in the queue; given back when dropped.
pub(super) struct Room {
    bytes: usize,
    used: Arc<AtomicUsize>,
}

impl Room {
    fn take(used: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
        let before = used.fetch_add(bytes, Ordering::Relaxed);
        let room = Self { bytes, used: Arc::clone(used) };
        (before + bytes <= QUEUE_BYTES_MAX).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A snapshot on its way in: goes to disk piece by piece, and takes effect when it is complete. Dropped before
/// that, it leaves nothing behind; that blocks, too.
pub struct SnapshotInlet<M: super::Machine> {
    handle: Handle<M>,
    sink: Box<dyn ChunkSink>,
    message: Message,
}

impl<M: super::Machine> SnapshotInlet<M> {
    /// Makes the next piece durable. Blocks: not on a runtime thread.
    pub fn put(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        self.sink.put(piece)
    }

    /// All pieces are here. `false`: too much is waiting, the snapshot is dropped.
    pub fn finish(self) -> bool {
        let input = Input::Snapshot(Box::new(self.message), self.sink.finish());
        self.handle.shared.inputs.try_send(input).is_ok()
    }
}

/// A running log. When the last clone is dropped the log stops.
pub struct Handle<M: super::Machine> {
    shared: Arc<Shared<M::Output>>,
}

pub(super) struct Shared<O> {
    pub(super) inputs: SyncSender<Input<O>>,
    pub(super) queued_bytes: Arc<AtomicUsize>,
    pub(super) status: watch::Receiver<Status>,
    /// Closed when the driver has ended.
    pub(super) ended: watch::Receiver<()>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) thread: Mutex<Option<JoinHandle<()>>>,
    pub(super) identity: Identity,
    /// Where the pieces of a snapshot go.
    pub(super) stage: Stager,
}

impl<M: super::Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M: super::Machine> Handle<M> {
    pub(super) fn new(shared: Shared<M::Output>) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// Appends one entry. Returns when it is on disk, committed and applied.
    pub async fn propose(&self, entry: Vec<u8>) -> Result<M::Output, ProposeError> {
        let outputs = self.propose_many(vec![entry]).await?;
        outputs.into_iter().next().ok_or(ProposeError::Dropped)
    }

    /// Appends entries, in order and with nothing between them.
    pub async fn propose_many(&self, entries: Vec<Vec<u8>>) -> Result<Vec<M::Output>, ProposeError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        Proposal::check(&entries)?;
        let bytes = entries.iter().map(Vec::len).sum();
        let room = Room::take(&self.shared.queued_bytes, bytes).ok_or(ProposeError::Busy)?;
        let (reply, outcome) = oneshot::channel();
        self.shared.inputs.try_send(Input::Propose { entries, reply, room }).map_err(
            |error| match error {
                TrySendError::Full(_) => ProposeError::Busy,
                TrySendError::Disconnected(_) => ProposeError::Stopped,
            },
        )?;
        outcome.await.unwrap_or(Err(ProposeError::Dropped))
    }

    /// Waits until this member has applied all that was acknowledged before the call, if it leads: what is
    /// read then is linearizable. A majority confirms it; no write to disk.
    pub async fn read_index(&self) -> Result<(), ProposeError> {
        self.call(Input::ReadIndex).await
    }

    /// Changes the group; returns when the change is in force. Only the leader can; [`ProposeError::Busy`] says
    /// that another change is under way, [`ProposeError::Dropped`] that leadership was lost meanwhile.
    pub async fn change_members(&self, change: MemberChange) -> Result<(), ProposeError> {
        self.call(|reply| Input::Change(change, reply)).await
    }

    /// Hands leadership to the voter `to`; returns when somebody else leads, or with
    /// [`ProposeError::Busy`] when nothing came of it within an election timeout.
    pub async fn transfer(&self, to: u64) -> Result<(), ProposeError> {
        self.call(|reply| Input::Transfer(to, reply)).await
    }

    async fn call(
        &self,
        input: impl FnOnce(oneshot::Sender<Result<(), ProposeError>>) -> Input<M::Output>,
    ) -> Result<(), ProposeError> {
        let (reply, outcome) = oneshot::channel();
        self.shared.inputs.try_send(input(reply)).map_err(|error| match error {
            TrySendError::Full(_) => ProposeError::Busy,
            TrySendError::Disconnected(_) => ProposeError::Stopped,
        })?;
        outcome.await.unwrap_or(Err(ProposeError::Dropped))
    }

    /// Takes a snapshot that the leader streams: `message` is its `MsgSnapshot` without contents. Several at
    /// once do no harm; the first that is complete takes effect, if raft has a use for it.
    pub fn receive_snapshot(&self, message: Message) -> SnapshotInlet<M> {
        SnapshotInlet { handle: self.clone(), sink: (self.shared.stage)(), message }
    }

    /// A message from another member. Dropped when too much is waiting: raft sends again.
    pub fn step(&self, message: Message) {
        if self.shared.inputs.try_send(Input::Step(Box::new(message))).is_err() {
            tracing::debug!("queue full: message from a peer dropped");
        }
    }

    /// What became of messages to the member `to`. `false`: too much is waiting, say it again later.
    pub fn report(&self, to: u64, sent: Sent) -> bool {
        self.shared.inputs.try_send(Input::Report(to, sent)).is_ok()
    }

    /// Where the log stands, now and whenever it changes. Closed when the log has stopped.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.clone()
    }

    /// Whose log this is.
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// Stops the log. Proposals that are queued get [`ProposeError::Stopped`], those under way
    /// [`ProposeError::Dropped`]. Returns when the files are closed.
    pub async fn shutdown(&self) -> Result<(), Stopped> {
        self.shared.stopping.store(true, Ordering::Release);
        // A full queue wakes the driver as well.
        let _ = self.shared.inputs.try_send(Input::Wake);
        self.join().await
    }

    /// Waits until the log has stopped, for whatever reason.
    pub async fn join(&self) -> Result<(), Stopped> {
        let mut ended = self.shared.ended.clone();
        while ended.changed().await.is_ok() {}
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It has let go of everything, so it is about to end.
            let _ = thread.join();
        }
        let failure = self.shared.status.borrow().failure.clone();
        failure.map_or(Ok(()), |reason| Err(Stopped(reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queued_bytes_are_bounded_and_given_back() {
        let used = Arc::default();
        let most = Room::take(&used, QUEUE_BYTES_MAX - 1).unwrap();
        assert!(Room::take(&used, 2).is_none());
        let rest = Room::take(&used, 1).unwrap();
        drop((most, rest));
        assert_eq!(used.load(Ordering::Relaxed), 0);
    }
}
