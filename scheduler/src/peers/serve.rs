//! Connections that other masters have dialled: who it is, what it wants, and doing that.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, info};

use super::channel::{Channel, OPENING_TIMEOUT};
use super::seats::Seat;
use super::wire::{self, Introduction, Opening, Purpose, Refusal, Reply};
use super::{Peers, admit, book, snapshots};
use crate::masters::NotDone;

/// A membership change or a read waits for a majority; whoever asks waits longer than this.
const WORK_TIMEOUT: Duration = Duration::from_secs(8);

impl Peers {
    /// Runs one connection, whose magic bytes have been read, to its end. `door` is held until it has said who
    /// it is.
    pub(crate) async fn attend(
        self: &Arc<Self>,
        stream: TcpStream,
        from: SocketAddr,
        door: OwnedSemaphorePermit,
    ) {
        let ended = tokio::select! {
            () = self.shutdown.cancelled() => return,
            ended = self.converse(stream, door) => ended,
        };
        if let Err(error) = ended {
            debug!(%from, %error, "a connection of another master ended");
        }
    }

    async fn converse(self: &Arc<Self>, stream: TcpStream, door: OwnedSemaphorePermit) -> io::Result<()> {
        let mut channel = Channel::new(stream)?;
        let frame = channel.reader.within(OPENING_TIMEOUT).await?;
        let (opening, version) = match wire::read_opening(&frame)? {
            Ok(opening) => opening,
            Err(refusal) => return channel.writer.reply(&Reply::Refused(refusal), wire::VERSION).await,
        };
        drop(door);
        let reply = match opening {
            Opening::Member { who, purpose } => {
                return self.answer_member(who, purpose, channel, version).await;
            }
            Opening::Join { ticket, info } => match book::flaw(&info) {
                Some(flaw) => Reply::Refused(Refusal::Reason(flaw)),
                None => self.worked(self.masters.join(ticket, info), |id| self.joined(id)).await,
            },
        };
        channel.writer.reply(&reply, version).await
    }

    async fn answer_member(
        self: &Arc<Self>,
        who: Introduction,
        purpose: Purpose,
        mut channel: Channel,
        version: u16,
    ) -> io::Result<()> {
        let from = who.from;
        if let Some(refusal) = self.objection(&who) {
            info!(from, reason = %refusal, "another master was refused");
            return channel.writer.reply(&Reply::Refused(refusal), version).await;
        }
        self.book.note(from, who.info);
        let welcome = Reply::Welcome { id: self.own.id, info: self.info.clone() };
        let reply = match purpose {
            Purpose::Messages => {
                let seat = self.seats.take(from, purpose);
                channel.writer.reply(&welcome, version).await?;
                return self.listen(from, seat, channel, version).await;
            }
            Purpose::Snapshot => {
                let seat = self.seats.take(from, purpose);
                channel.writer.reply(&welcome, version).await?;
                return tokio::select! {
                    () = seat.replaced() => Ok(()),
                    received = snapshots::receive(self, from, &mut channel, version) => received,
                };
            }
            Purpose::Leave => self.worked(self.masters.leave(from), |()| Reply::Left).await,
            Purpose::Current => self.worked(self.masters.commit(), Reply::Commit).await,
            Purpose::Greet => welcome,
        };
        channel.writer.reply(&reply, version).await
    }

    /// Why it is not let in, if not.
    pub(super) fn objection(&self, who: &Introduction) -> Option<Refusal> {
        admit::objection(who, self.own, &self.cluster.state(), &self.log.status().borrow().members)
    }

    /// Passes on messages until the connection ends, another one takes its place, or the sender is no member
    /// any more.
    async fn listen(&self, from: u64, seat: Seat, mut channel: Channel, version: u16) -> io::Result<()> {
        channel.reader.allow_large();
        loop {
            let frame = tokio::select! {
                // First: an older connection must say nothing after a newer one, or messages change places.
                biased;
                () = seat.replaced() => return Ok(()),
                () = seat.expelled() => {
                    let refusal = Reply::Refused(Refusal::Removed);
                    return channel.writer.reply(&refusal, version).await;
                }
                frame = channel.reader.next() => frame?,
            };
            let Some(frame) = frame else { return Ok(()) };
            self.log.step(wire::read_message(&frame, from, self.own.id)?);
        }
    }

    fn joined(&self, id: u64) -> Reply {
        Reply::Joined { id, group: self.own.group }
    }

    /// The reply to something that only the leader does.
    async fn worked<T>(
        &self,
        work: impl Future<Output = Result<T, NotDone>>,
        done: impl FnOnce(T) -> Reply,
    ) -> Reply {
        let worked = tokio::time::timeout(WORK_TIMEOUT, work).await;
        match worked.unwrap_or(Err(NotDone::Later)) {
            Ok(value) => done(value),
            Err(NotDone::Later) => Reply::Later,
            Err(NotDone::NotLeader) => self.leader_rpc().map_or(Reply::Later, Reply::Elsewhere),
            Err(NotDone::Refused(reason)) => Reply::Refused(Refusal::Reason(reason)),
        }
    }

    /// Where the leader is, if it is another one.
    pub(super) fn leader_rpc(&self) -> Option<SocketAddr> {
        let leader = self.log.status().borrow().leader.filter(|leader| *leader != self.own.id)?;
        self.address(leader, 0)
    }
}
