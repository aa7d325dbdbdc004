//! What waits for one other master: bytes that never make the log wait. The log's own thread writes to the
//! connection what that takes at once, which is nearly always everything; the rest waits, bounded, for the
//! connection's task. What does not fit is dropped, raft is told, and sends it again.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protobuf::Message as _;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tracing::warn;

use super::channel::{WRITE_TIMEOUT, late};
use super::reports::Reports;
use super::wire;
use crate::consensus::{Message, Pieces, Sent};

/// Bytes that wait: as much as raft has under way to one member, with its answers to it.
const BYTES_MAX: usize = 64 << 20;
/// As much goes out in one write, and stays allocated: nobody waits for the lock for longer than that takes.
const WRITE_BYTES: usize = 256 * 1024;
/// How often raft is told that messages were dropped.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// The end that the log writes to.
pub(super) struct Line {
    to: u64,
    pipe: Mutex<Pipe>,
    /// Something waits, or the connection broke.
    stuck: Notify,
    snapshots: mpsc::Sender<Snapshot>,
    reports: Reports,
    began: Instant,
    /// When raft was last told, in milliseconds after `began`, plus one.
    told: AtomicU64,
}

/// The end that has the connection. Dropped, it takes that with it.
pub(super) struct Outlet(Arc<Line>);

/// A snapshot on its way out.
pub(super) struct Snapshot {
    pub(super) message: Message,
    pub(super) pieces: Pieces,
}

/// A connection, and the frames that it has not taken yet.
#[derive(Default)]
struct Pipe {
    socket: Option<Arc<OwnedWriteHalf>>,
    frames: Vec<u8>,
    /// So much of `frames` has been written.
    written: usize,
    broken: Option<io::Error>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Written,
    Waits,
    Dropped,
}

impl Line {
    /// A line to the master `to`, which is not connected yet.
    pub(super) fn new(to: u64, reports: Reports) -> (Arc<Self>, Outlet, mpsc::Receiver<Snapshot>) {
        // raft has one snapshot under way to a member.
        let (snapshots, snapshot_queue) = mpsc::channel(1);
        let (pipe, stuck) = (Mutex::default(), Notify::new());
        let (began, told) = (Instant::now(), AtomicU64::new(0));
        let line = Arc::new(Self { to, pipe, stuck, snapshots, reports, began, told });
        (line.clone(), Outlet(line), snapshot_queue)
    }

    /// Sends a message as far as the connection takes it at once; the rest follows. Or drops it.
    pub(super) fn send(&self, message: &Message) {
        let fate = self.pipe().put(message);
        match fate {
            Fate::Written => {}
            Fate::Waits => self.stuck.notify_one(),
            Fate::Dropped => self.dropped(),
        }
    }

    /// Hands a snapshot to its own connection.
    pub(super) fn send_snapshot(&self, snapshot: Snapshot) {
        if self.snapshots.try_send(snapshot).is_err() {
            self.reports.tell(self.to, Sent::SnapshotLost);
        }
    }

    fn pipe(&self) -> MutexGuard<'_, Pipe> {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// There is a connection now, or none any more. What waited for an earlier one is dropped.
    pub(super) fn connected(&self, socket: Option<OwnedWriteHalf>) {
        *self.0.pipe() = Pipe { socket: socket.map(Arc::new), ..Pipe::default() };
    }

    /// Writes what the log left, until the connection breaks or takes nothing for long.
    pub(super) async fn drain(&self) -> io::Result<()> {
        loop {
            self.0.stuck.notified().await;
            while let Some(socket) = self.backlog()? {
                let writable = timeout(WRITE_TIMEOUT, socket.writable()).await;
                writable.map_err(|_| late("it does not read"))??;
                self.0.pipe().flush();
            }
        }
    }

    /// The connection, if something waits for it.
    fn backlog(&self) -> io::Result<Option<Arc<OwnedWriteHalf>>> {
        let mut pipe = self.0.pipe();
        match pipe.broken.take() {
            Some(error) => Err(error),
            None => Ok(pipe.socket.clone().filter(|_| pipe.waiting() > 0)),
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.connected(None);
    }
}

impl Pipe {
    fn waiting(&self) -> usize {
        self.frames.len() - self.written
    }

    fn put(&mut self, message: &Message) -> Fate {
        let before = self.waiting();
        // One message is always let through, however large.
        let full = before > 0 && before + message.compute_size() as usize > BYTES_MAX;
        if self.socket.is_none() || full {
            return Fate::Dropped;
        }
        if self.written > self.frames.len() / 2 {
            self.frames.drain(..self.written);
            self.written = 0;
        }
        if !wire::put_message(&mut self.frames, message).unwrap_or(false) {
            warn!(to = message.to, "a message is too large for the other masters, and dropped");
        }
        if before == 0 {
            self.flush();
        }
        let fine = self.waiting() == 0 && self.broken.is_none();
        if fine { Fate::Written } else { Fate::Waits }
    }

    /// Writes as much as the connection takes now.
    fn flush(&mut self) {
        let Some(socket) = self.socket.clone() else { return };
        while self.waiting() > 0 {
            let end = self.frames.len().min(self.written + WRITE_BYTES);
            match socket.try_write(&self.frames[self.written..end]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    *self = Self { broken: Some(error), ..Self::default() };
                    return;
                }
            }
        }
        self.written = 0;
        self.frames.clear();
        self.frames.shrink_to(WRITE_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::Entry;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const MIB: usize = 1 << 20;

    fn message(bytes: usize) -> Message {
        let mut message = Message { to: 2, ..Message::default() };
        message.mut_entries().push(Entry { data: vec![1; bytes].into(), ..Entry::default() });
        message
    }

    /// The two ends of a connection.
    async fn connection() -> (OwnedWriteHalf, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (ours.into_split().1, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_arrives_in_order() {
        let (reports, mut told) = Reports::new();
        let (line, outlet, _snapshots) = Line::new(2, reports);
        let (ours, mut theirs) = connection().await;
        outlet.connected(Some(ours));
        // Nobody reads: the kernel takes some, 64 MiB wait, the rest is dropped.
        (0..100).for_each(|_| line.send(&message(MIB)));
        assert_eq!(told.try_next(), Some((2, Sent::Unreachable)));
        let waiting = line.pipe().waiting();
        assert!((BYTES_MAX - 2 * MIB..=BYTES_MAX + MIB).contains(&waiting), "{waiting}");
        let mut bytes = 0;
        let reading = async {
            let mut frame = vec![0; 2 * MIB];
            while line.pipe().waiting() > 0 || bytes == 0 {
                let length = theirs.read_u32().await.unwrap() as usize;
                theirs.read_exact(&mut frame[..length]).await.unwrap();
                assert_eq!(wire::read_message(&frame[..length], 0, 2).unwrap().entries[0].data.len(), MIB);
                bytes += length;
            }
        };
        tokio::select! {
            ended = outlet.drain() => panic!("{ended:?}"),
            () = reading => {}
        }
        assert!(bytes > BYTES_MAX / 2, "{bytes}");
    }

    #[tokio::test]
    async fn one_message_is_let_through_however_large() {
        let (reports, mut told) = Reports::new();
        let (line, outlet, _snapshots) = Line::new(2, reports);
        let (ours, _theirs) = connection().await;
        outlet.connected(Some(ours));
        line.send(&message(7 * MIB));
        assert_eq!(told.try_next(), None);
    }

    #[tokio::test]
    async fn without_a_connection_nothing_waits() {
        let (reports, mut told) = Reports::new();
        let (line, outlet, _snapshots) = Line::new(2, reports);
        line.send(&message(1));
        assert_eq!(told.try_next(), Some((2, Sent::Unreachable)));
        let (ours, _theirs) = connection().await;
        outlet.connected(Some(ours));
        (0..20).for_each(|_| line.send(&message(MIB)));
        assert!(line.pipe().waiting() > 0);
        outlet.connected(None);
        line.send(&message(1));
        assert_eq!(line.pipe().waiting(), 0);
    }

    #[tokio::test]
    async fn a_connection_that_breaks_ends() {
        let (reports, _told) = Reports::new();
        let (line, outlet, _snapshots) = Line::new(2, reports);
        let (ours, theirs) = connection().await;
        outlet.connected(Some(ours));
        drop(theirs);
        let sending = async {
            loop {
                line.send(&message(1));
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            ended = outlet.drain() => assert!(ended.is_err()),
            () = sending => {}
        }
    }
}
