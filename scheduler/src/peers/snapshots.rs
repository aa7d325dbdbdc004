//! Snapshots between masters, each over a connection of its own, so that it delays nothing else. Pieces are
//! read from and written to disk off the runtime's threads.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Peers;
use super::channel::{Channel, Reader};
use super::line::Snapshot;
use super::link::{self, LinkError};
use super::wire::{self, Purpose, Reply};
use crate::consensus::{Pieces, Sent, SnapshotInlet};
use crate::machine::StateMachine;

/// Pieces read ahead of the network.
const PIECES_AHEAD: usize = 2;
/// Time between two pieces, and for the last fsync.
const PIECE_TIMEOUT: Duration = Duration::from_secs(20);
/// No snapshot is larger, whatever it says: disks are finite.
const SNAPSHOT_BYTES_MAX: usize = 64 << 30;

/// Sends the snapshots for one master until `close`.
pub(super) async fn run(
    peers: Arc<Peers>,
    to: u64,
    mut queue: mpsc::Receiver<Snapshot>,
    close: CancellationToken,
) {
    loop {
        let snapshot = tokio::select! {
            () = close.cancelled() => return,
            next = queue.recv() => match next { Some(snapshot) => snapshot, None => return },
        };
        let index = snapshot.message.get_snapshot().get_metadata().index;
        let sent = tokio::select! {
            () = close.cancelled() => Err(io::Error::other("this master stops").into()),
            sent = send(&peers, to, snapshot) => sent,
        };
        let outcome = match sent {
            Ok(bytes) => {
                info!(to, index, bytes, "sent a snapshot to another master");
                Sent::SnapshotArrived
            }
            Err(error) => {
                warn!(to, index, %error, "a snapshot did not reach another master");
                Sent::SnapshotLost
            }
        };
        peers.switch.reports.tell(to, outcome);
    }
}

async fn send(peers: &Arc<Peers>, to: u64, snapshot: Snapshot) -> Result<usize, LinkError> {
    let address = peers.address(to, 0).ok_or(LinkError::Nowhere)?;
    let mut channel = link::open(peers, to, address, Purpose::Snapshot).await?;
    let mut bytes = Vec::new();
    if !wire::put_message(&mut bytes, &snapshot.message)? {
        return Err(wire::invalid("the message of a snapshot carries its contents").into());
    }
    channel.writer.write(&bytes).await?;
    let (mut pieces, mut sum) = (ahead(snapshot.pieces), 0);
    while let Some(piece) = pieces.recv().await {
        let piece = piece?;
        sum += piece.len();
        channel.writer.write(&wire::piece(Some(&piece))).await?;
    }
    channel.writer.write(&wire::piece(None)).await?;
    match channel.reader.reply(PIECE_TIMEOUT).await? {
        Reply::Taken => Ok(sum),
        Reply::Spoilt => Err(io::Error::other("it could not take it").into()),
        _ => Err(LinkError::OutOfTurn),
    }
}

/// Reads pieces on a thread that may block, a few ahead of whoever takes them.
fn ahead(pieces: Pieces) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || {
        for piece in pieces {
            let piece = piece.map_err(io::Error::other);
            let bad = piece.is_err();
            if sender.blocking_send(piece).is_err() || bad {
                return;
            }
        }
    });
    receiver
}

/// Takes a snapshot from the master `from`, which has been welcomed.
pub(super) async fn receive(peers: &Peers, from: u64, channel: &mut Channel, version: u16) -> io::Result<()> {
    channel.reader.allow_large();
    let frame = channel.reader.within(PIECE_TIMEOUT).await?;
    let message = wire::read_message(&frame, from, peers.own.id)?;
    let index = message.get_snapshot().get_metadata().index;
    let taken = take_pieces(&mut channel.reader, Inlet(Some(peers.log.receive_snapshot(message)))).await;
    match &taken {
        Ok(bytes) => info!(from, index, bytes, "received a snapshot"),
        Err(error) => warn!(from, index, %error, "a snapshot did not arrive whole"),
    }
    channel.writer.reply(&if taken.is_ok() { Reply::Taken } else { Reply::Spoilt }, version).await
}

async fn take_pieces(reader: &mut Reader, mut inlet: Inlet<Pending>) -> io::Result<usize> {
    let mut sum = 0;
    loop {
        let frame = reader.within(PIECE_TIMEOUT).await?;
        let Some(piece) = wire::read_piece(&frame)? else { break };
        sum += piece.len();
        if sum > SNAPSHOT_BYTES_MAX {
            return Err(wire::invalid("it is larger than any snapshot can be"));
        }
        let put = move |mut pending: Pending| match wire::read_piece(&frame) {
            Ok(Some(piece)) => pending.put(piece).map(|()| pending).map_err(io::Error::other),
            _ => Ok(pending),
        };
        inlet = Inlet(Some(inlet.blocking(put).await??));
    }
    if inlet.blocking(Pending::finish).await? {
        Ok(sum)
    } else {
        Err(io::Error::other("too much is waiting here"))
    }
}

type Pending = SnapshotInlet<StateMachine>;

/// Something that blocks whenever it is used, also when it is given up half-way and dropped: on other threads
/// than the runtime's.
struct Inlet<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Inlet<T> {
    async fn blocking<R: Send + 'static>(
        mut self,
        work: impl FnOnce(T) -> R + Send + 'static,
    ) -> io::Result<R> {
        let inner = self.0.take().ok_or_else(|| io::Error::other("it is gone"))?;
        Ok(tokio::task::spawn_blocking(move || work(inner)).await?)
    }
}

impl<T: Send + 'static> Drop for Inlet<T> {
    fn drop(&mut self) {
        if let Some(inner) = self.0.take() {
            tokio::task::spawn_blocking(move || drop(inner));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};

    use super::*;

    struct Tells(mpsc::Sender<ThreadId>);

    impl Drop for Tells {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().id());
        }
    }

    #[tokio::test]
    async fn what_is_given_up_half_way_blocks_no_thread_of_the_runtime() {
        let (sender, dropped) = mpsc::channel();
        let inlet = Inlet(Some(Tells(sender)));
        let kept = inlet.blocking(|tells| tells).await.unwrap();
        drop(Inlet(Some(kept)));
        let on = tokio::task::spawn_blocking(move || dropped.recv()).await.unwrap().unwrap();
        assert_ne!(on, thread::current().id());
    }
}
