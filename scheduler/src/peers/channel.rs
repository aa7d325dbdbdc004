//! One TCP connection between masters: dialled, framed, with a time limit on everything.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt;
use rustix::net::sockopt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use super::wire::{self, Opening, Reply};

/// Time for a connection to come about. On one network it takes a fraction of it, or comes to nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Time for the answer to an opening that needs nobody else.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for an opening to arrive after the magic bytes.
pub(super) const OPENING_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the other side to take what was written. Who takes longer is cut off, or was.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// Data that is not acknowledged for as long, or silence of the other kernel: the connection is dead. Without
/// it, one that was cut off would be tried again ever more rarely, also long after the network has healed.
const DEAD_AFTER: Duration = Duration::from_secs(2);

/// A framed connection.
pub(super) struct Channel {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
}

/// Its reading half.
pub(super) struct Reader(FramedRead<OwnedReadHalf, LengthDelimitedCodec>);
/// Its writing half.
pub(super) struct Writer(OwnedWriteHalf);

impl Channel {
    /// Dials, says `opening`, and hears the first reply, for which the other side has `patience`.
    pub(super) async fn open(
        address: SocketAddr,
        opening: &Opening,
        patience: Duration,
    ) -> io::Result<(Self, Reply)> {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        let mut channel = Self::new(stream.map_err(|_| late("it does not answer"))??)?;
        channel.writer.write(&wire::opening(opening)?).await?;
        let reply = channel.reader.reply(patience).await?;
        Ok((channel, reply))
    }

    /// Round a connection whose frames are small to begin with: strangers shall not make us set memory aside.
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        watch_over(&stream)?;
        let (reader, writer) = stream.into_split();
        let codec = LengthDelimitedCodec::builder().max_frame_length(wire::OPENING_BYTES_MAX).new_codec();
        Ok(Self { reader: Reader(FramedRead::new(reader, codec)), writer: Writer(writer) })
    }
}

impl Reader {
    /// The next frame; `None` when the other side has closed the connection.
    pub(super) async fn next(&mut self) -> io::Result<Option<BytesMut>> {
        self.0.next().await.transpose()
    }

    /// The next frame, within the given time.
    pub(super) async fn within(&mut self, patience: Duration) -> io::Result<BytesMut> {
        let frame = timeout(patience, self.next()).await.map_err(|_| late("it says nothing"))??;
        frame.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The next frame, as a reply.
    pub(super) async fn reply(&mut self, patience: Duration) -> io::Result<Reply> {
        wire::read_reply(&self.within(patience).await?)
    }

    /// From now on frames may be large.
    pub(super) fn allow_large(&mut self) {
        self.0.decoder_mut().set_max_frame_length(wire::FRAME_BYTES_MAX);
    }
}

impl Writer {
    /// The socket's own half.
    pub(super) fn into_half(self) -> OwnedWriteHalf {
        self.0
    }

    /// Writes whole frames.
    pub(super) async fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        timeout(WRITE_TIMEOUT, self.0.write_all(frames)).await.map_err(|_| late("it does not read"))?
    }

    /// Writes a reply in the version that was agreed.
    pub(super) async fn reply(&mut self, reply: &Reply, version: u16) -> io::Result<()> {
        self.write(&wire::reply(reply, version)?).await
    }
}

/// The kernel is to notice a dead connection by itself, also an idle one.
fn watch_over(stream: &TcpStream) -> io::Result<()> {
    let millis = DEAD_AFTER.as_millis() as u32;
    sockopt::set_tcp_user_timeout(stream, millis)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(1))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(1))?;
    sockopt::set_socket_keepalive(stream, true)?;
    Ok(())
}

pub(super) fn late(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}
