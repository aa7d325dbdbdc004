//! What waits for one other master: a queue that never makes the log wait. Bounded in messages and bytes;
//! what does not fit is dropped, raft is told, and sends it again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use protobuf::Message as _;
use tokio::sync::mpsc;

use super::reports::Reports;
use crate::consensus::{Message, Pieces, Sent};

/// Messages that wait, and their bytes: as much as raft has under way to one member, with its answers to it.
const MESSAGES_MAX: usize = 4096;
const BYTES_MAX: usize = 64 << 20;
/// Messages written at once.
const BATCH_MAX: usize = 512;
/// How often raft is told that messages were dropped.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// The end that the log writes to.
pub(super) struct Line {
    to: u64,
    queue: mpsc::Sender<Message>,
    snapshots: mpsc::Sender<Snapshot>,
    load: Arc<Load>,
    reports: Reports,
    began: Instant,
    /// When raft was last told, in milliseconds after `began`, plus one.
    told: AtomicU64,
}

/// The end that a connection reads from.
pub(super) struct Outlet {
    queue: mpsc::Receiver<Message>,
    load: Arc<Load>,
}

/// A snapshot on its way out.
pub(super) struct Snapshot {
    pub(super) message: Message,
    pub(super) pieces: Pieces,
}

#[derive(Default)]
struct Load {
    bytes: AtomicUsize,
    connected: AtomicBool,
}

impl Line {
    /// A line to the master `to`, which is not connected yet.
    pub(super) fn new(to: u64, reports: Reports) -> (Arc<Self>, Outlet, mpsc::Receiver<Snapshot>) {
        let (queue, messages) = mpsc::channel(MESSAGES_MAX);
        // raft has one snapshot under way to a member.
        let (snapshots, snapshot_queue) = mpsc::channel(1);
        let load = Arc::<Load>::default();
        let outlet = Outlet { queue: messages, load: load.clone() };
        let (began, told) = (Instant::now(), AtomicU64::new(0));
        (Arc::new(Self { to, queue, snapshots, load, reports, began, told }), outlet, snapshot_queue)
    }

    /// Queues a message, or drops it.
    pub(super) fn send(&self, message: Message) {
        if !self.load.connected.load(Ordering::Acquire) {
            return self.dropped();
        }
        let bytes = message.compute_size() as usize;
        let before = self.load.bytes.fetch_add(bytes, Ordering::Relaxed);
        // One message is always let through, however large.
        if (before > 0 && before + bytes > BYTES_MAX) || self.queue.try_send(message).is_err() {
            self.load.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.dropped();
        }
    }

    /// Hands a snapshot to its own connection.
    pub(super) fn send_snapshot(&self, snapshot: Snapshot) {
        if self.snapshots.try_send(snapshot).is_err() {
            self.reports.tell(self.to, Sent::SnapshotLost);
        }
    }

    fn dropped(&self) {
        let now = self.began.elapsed().as_millis() as u64 + 1;
        let told = self.told.load(Ordering::Relaxed);
        if (told == 0 || now - told >= TELL_EVERY.as_millis() as u64)
            && self.told.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.reports.tell(self.to, Sent::Unreachable);
        }
    }
}

impl Outlet {
    /// Fills `messages`, which is empty, with what waits, in order: at least one, none when the line is gone.
    pub(super) async fn next(&mut self, messages: &mut Vec<Message>) {
        self.queue.recv_many(messages, BATCH_MAX).await;
        let bytes: usize = messages.iter().map(|message| message.compute_size() as usize).sum();
        self.load.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// There is a connection now, or none any more. What waited for an earlier one is dropped.
    pub(super) fn connected(&mut self, connected: bool) {
        if !connected {
            self.load.connected.store(false, Ordering::Release);
        }
        while let Ok(message) = self.queue.try_recv() {
            self.load.bytes.fetch_sub(message.compute_size() as usize, Ordering::Relaxed);
        }
        self.load.connected.store(connected, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::Entry;

    use super::*;

    fn message(bytes: usize) -> Message {
        let mut message = Message { to: 2, ..Message::default() };
        message.mut_entries().push(Entry { data: vec![1; bytes].into(), ..Entry::default() });
        message
    }

    async fn taken(outlet: &mut Outlet) -> usize {
        let mut count = 0;
        while !outlet.queue.is_empty() {
            let mut messages = Vec::new();
            outlet.next(&mut messages).await;
            count += messages.len();
        }
        count
    }

    #[tokio::test]
    async fn the_queue_is_bounded_in_messages_and_bytes() {
        const MIB: usize = 1 << 20;
        for (size, sent, kept) in [(1, 5_000, MESSAGES_MAX), (MIB, 70, 63), (100 * MIB, 2, 1)] {
            let (reports, mut told) = Reports::new();
            let (line, mut outlet, _snapshots) = Line::new(2, reports);
            outlet.connected(true);
            (0..sent).for_each(|_| line.send(message(size)));
            assert_eq!(told.try_next(), Some((2, Sent::Unreachable)), "{size}");
            assert_eq!(taken(&mut outlet).await, kept, "{size}");
            assert_eq!(outlet.load.bytes.load(Ordering::Relaxed), 0, "all room is given back");
        }
    }

    #[tokio::test]
    async fn without_a_connection_nothing_waits() {
        let (reports, mut told) = Reports::new();
        let (line, mut outlet, _snapshots) = Line::new(2, reports);
        line.send(message(1));
        assert_eq!(told.try_next(), Some((2, Sent::Unreachable)));
        outlet.connected(true);
        line.send(message(1));
        outlet.connected(false);
        assert_eq!(taken(&mut outlet).await, 0);
        assert_eq!(outlet.load.bytes.load(Ordering::Relaxed), 0);
    }
}
