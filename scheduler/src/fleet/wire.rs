//! Framing of an agent's stream: after the magic bytes, which `rpc` has read, length-delimited `postcard`
//! messages. A leader has thousands of these streams, nearly all of them idle: what a message has needed is given
//! back after it.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use spec::protocol::{AgentMessage, FRAME_BYTES_MAX, MasterMessage, SILENCE_MILLIS_MAX, Wanted};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use super::wanted;
use crate::usage::{Telling, Told};

/// Time for one frame to be taken.
const WRITE_TIMEOUT: Duration = Duration::from_millis(SILENCE_MILLIS_MAX);
/// Time for the peer to show who it is.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a stream holds to read into while nothing comes: a beat and a report fit.
const IDLE_BYTES: usize = 1024;
/// What is put before a message without being sent, at most.
const AHEAD_BYTES: usize = 8 * 1024;

/// The writing half.
pub(super) struct Writer(FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>);
/// The reading half.
pub(super) struct Reader(FramedRead<OwnedReadHalf, LengthDelimitedCodec>);

/// Splits the stream, whose magic bytes have been read.
pub(super) fn open(stream: TcpStream) -> io::Result<(Reader, Writer)> {
    stream.set_nodelay(true)?;
    let codec = || LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec();
    let (reader, writer) = stream.into_split();
    let mut writer = FramedWrite::new(writer, codec());
    writer.set_backpressure_boundary(AHEAD_BYTES);
    shrink(writer.write_buffer_mut(), 0);
    Ok((Reader(FramedRead::with_capacity(reader, codec(), IDLE_BYTES)), Writer(writer)))
}

/// What an agent has said.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// Anything but [`AgentMessage::Usage`] and [`AgentMessage::UsageChanges`].
    Message(AgentMessage),
    /// What it uses, and its tasks.
    Usage(Telling),
}

/// The number of [`AgentMessage::Usage`] among the messages.
const USAGE: u8 = 2;
/// The number of [`AgentMessage::UsageChanges`].
const USAGE_CHANGES: u8 = 8;

impl Said {
    fn read(frame: &[u8]) -> Result<Self, postcard::Error> {
        match frame.split_first() {
            Some((&USAGE, usage)) => Told::read(usage).map(|told| Self::Usage(Telling::Everything(told))),
            Some((&USAGE_CHANGES, usage)) => {
                Told::read(usage).map(|told| Self::Usage(Telling::Changes(told)))
            }
            _ => postcard::from_bytes(frame).map(Self::Message),
        }
    }
}

impl Reader {
    /// The next message; `None` when the agent has closed the stream.
    pub(super) async fn read(&mut self) -> io::Result<Option<Said>> {
        let Some(frame) = self.0.next().await.transpose()? else { return Ok(None) };
        let message = Said::read(&frame).map(Some).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("unreadable message: {error}"))
        });
        shrink(self.0.read_buffer_mut(), IDLE_BYTES);
        message
    }
}

impl Writer {
    /// Sends one message.
    pub(super) async fn write(&mut self, message: &MasterMessage) -> io::Result<()> {
        let frame = encode(message)?;
        self.send(frame).await
    }

    /// Puts one message before the next.
    pub(super) async fn add(&mut self, message: &MasterMessage) -> io::Result<()> {
        let frame = Bytes::from(encode(message)?);
        in_time(self.0.feed(frame)).await
    }

    /// Sends what was put before.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        in_time(SinkExt::<Bytes>::flush(&mut self.0)).await?;
        shrink(self.0.write_buffer_mut(), 0);
        Ok(())
    }

    /// Sends what should run, in several messages where one does not hold it.
    pub(super) async fn write_wanted(&mut self, wanted: Wanted) -> io::Result<()> {
        let mut waiting = vec![wanted];
        while let Some(next) = waiting.pop() {
            let message = MasterMessage::Wanted(next);
            let frame = encode(&message)?;
            match message {
                MasterMessage::Wanted(large) if frame.len() > FRAME_BYTES_MAX && is_divisible(&large) => {
                    waiting.extend(wanted::split(large).into_iter().rev());
                }
                _ => self.send(frame).await?,
            }
        }
        Ok(())
    }

    async fn send(&mut self, frame: Vec<u8>) -> io::Result<()> {
        in_time(self.0.feed(Bytes::from(frame))).await?;
        self.flush().await
    }
}

/// An empty buffer becomes one of `idle` bytes, whatever it has grown to.
fn shrink(buffer: &mut BytesMut, idle: usize) {
    if buffer.is_empty() && buffer.capacity() != idle {
        *buffer = BytesMut::with_capacity(idle);
    }
}

/// Whoever does not take a frame for as long is gone, even if it goes on talking.
async fn in_time(sending: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    let sending = tokio::time::timeout(WRITE_TIMEOUT, sending).await;
    sending.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the agent does not read"))?
}

/// Changes can be halved until one task is left; the complete set is divided once, into changes and names.
fn is_divisible(wanted: &Wanted) -> bool {
    if wanted.complete { !wanted.apps.is_empty() } else { wanted.run.len().max(wanted.kill.len()) > 1 }
}

fn encode(message: &MasterMessage) -> io::Result<Vec<u8>> {
    postcard::to_allocvec(message)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

#[cfg(test)]
mod tests {
    use spec::protocol::{Measured, Usage};

    use super::*;

    #[test]
    fn use_is_told_from_other_messages() {
        let machine = Measured { cpus_milli: 7, mem_bytes: 8 };
        let usage = Usage { machine, ..Usage::default() };
        let said = |message: &AgentMessage| Said::read(&postcard::to_allocvec(message).unwrap()).unwrap();
        let told = Told::from(&usage);
        assert_eq!(said(&AgentMessage::Usage(usage.clone())), Said::Usage(Telling::Everything(told.clone())));
        assert_eq!(said(&AgentMessage::UsageChanges(usage)), Said::Usage(Telling::Changes(told)));
        for message in [AgentMessage::Beat, AgentMessage::WhoLeads, AgentMessage::Status(Vec::new())] {
            assert_eq!(said(&message), Said::Message(message));
        }
        assert!(Said::read(&[]).is_err() && Said::read(&[USAGE]).is_err());
    }
}
