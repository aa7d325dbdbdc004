//! The stream to the leader: connecting, framing, beats. It carries messages and decides nothing.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use spec::protocol::{
    AgentMessage, FRAME_BYTES_MAX, HEARTBEAT_MILLIS, Hello, MAGIC, MasterMessage, SILENCE_MILLIS_MAX,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use tokio_util::task::AbortOnDropHandle;

/// Messages that wait to be sent; whoever has more waits.
pub const OUTGOING_MAX: usize = 64;
/// Messages that were received and wait to be obeyed.
const INCOMING_MAX: usize = 64;
/// How long a master may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the leader may take to answer the opening: it has to replicate a registration.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the end of a session is waited for.
const END_TIMEOUT: Duration = Duration::from_millis(100);
/// First pause after all masters were tried in vain; doubles each round.
const PAUSE_MILLIS_MIN: u64 = 100;
/// Longest such pause.
const PAUSE_MILLIS_MAX: u64 = 5_000;

/// A stream to a master, plain or, one day, TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
/// Whatever kind of stream it is.
pub type BoxedStream = Box<dyn Stream>;
type Frames = Framed<BoxedStream, LengthDelimitedCodec>;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The other side closed it: it does not lead, or stopped.
    #[error("closed by the master")]
    Closed,
    /// Nothing was heard.
    #[error("the master was silent for {} s", .0.as_secs())]
    Silent(Duration),
    /// A message could not be encoded or decoded.
    #[error("bad message: {0}")]
    Message(#[from] postcard::Error),
}

/// An open stream. Dropping it closes the connection.
#[derive(Debug)]
pub struct Session {
    /// What the master says; closed when the stream has ended.
    pub incoming: mpsc::Receiver<MasterMessage>,
    /// What the agent says.
    pub outgoing: mpsc::Sender<AgentMessage>,
    pump: AbortOnDropHandle<SessionError>,
}

/// Connects to one master. The place where TLS goes.
pub async fn connect(master: SocketAddr) -> io::Result<BoxedStream> {
    let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(master)).await;
    let stream = connecting.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

impl Session {
    /// Opens a session on a fresh connection.
    pub fn open(stream: BoxedStream, hello: Hello) -> Self {
        let (into_node, incoming) = mpsc::channel(INCOMING_MAX);
        let (outgoing, from_node) = mpsc::channel(OUTGOING_MAX);
        let pump = AbortOnDropHandle::new(tokio::spawn(pump(stream, hello, into_node, from_node)));
        Self { incoming, outgoing, pump }
    }

    /// Why it ended; to be asked once `incoming` is closed.
    pub async fn ended(self) -> SessionError {
        drop(self.incoming);
        drop(self.outgoing);
        // It ends at once, unless it is just now writing to somebody who does not read.
        let ended = timeout(END_TIMEOUT, self.pump).await;
        ended.unwrap_or(Ok(SessionError::Closed)).unwrap_or(SessionError::Closed)
    }
}

async fn pump(
    mut stream: BoxedStream,
    hello: Hello,
    into_node: mpsc::Sender<MasterMessage>,
    from_node: mpsc::Receiver<AgentMessage>,
) -> SessionError {
    if let Err(error) = stream.write_all(&MAGIC).await {
        return error.into();
    }
    let codec = LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec();
    let (sink, source) = Framed::new(stream, codec).split();
    tokio::select! {
        ended = listen(source, into_node) => ended,
        ended = speak(sink, hello, from_node) => ended,
    }
    .unwrap_or_else(|error| error)
}

type Ended = Result<SessionError, SessionError>;

async fn listen(mut source: SplitStream<Frames>, into_node: mpsc::Sender<MasterMessage>) -> Ended {
    let mut patience = WELCOME_TIMEOUT;
    loop {
        let frame = timeout(patience, source.next()).await.map_err(|_| SessionError::Silent(patience))?;
        let Some(frame) = frame.transpose()? else {
            return Ok(SessionError::Closed);
        };
        patience = Duration::from_millis(SILENCE_MILLIS_MAX);
        if into_node.send(postcard::from_bytes(&frame)?).await.is_err() {
            return Ok(SessionError::Closed);
        }
    }
}

/// Sends what there is, and a beat when there is nothing.
async fn speak(
    mut sink: SplitSink<Frames, Bytes>,
    hello: Hello,
    mut from_node: mpsc::Receiver<AgentMessage>,
) -> Ended {
    let mut message = AgentMessage::Hello(Box::new(fitting(hello)));
    loop {
        send(&mut sink, &message).await?;
        message = match timeout(Duration::from_millis(HEARTBEAT_MILLIS), from_node.recv()).await {
            Err(_) => AgentMessage::Beat,
            Ok(Some(message)) => message,
            Ok(None) => return Ok(SessionError::Closed),
        };
    }
}

async fn send(sink: &mut SplitSink<Frames, Bytes>, message: &AgentMessage) -> Result<(), SessionError> {
    let frame = Bytes::from(postcard::to_allocvec(message)?);
    let patience = Duration::from_millis(SILENCE_MILLIS_MAX);
    Ok(timeout(patience, sink.send(frame)).await.map_err(|_| SessionError::Silent(patience))??)
}

/// An opening that would be too large for a frame goes without the bodies of readiness responses.
fn fitting(mut hello: Hello) -> Hello {
    let size = postcard::experimental::serialized_size(&hello).unwrap_or(usize::MAX);
    if size > FRAME_BYTES_MAX - 1024 {
        let readiness = hello.tasks.iter_mut().flat_map(|report| &mut report.readiness);
        readiness.for_each(|report| report.last_response = None);
    }
    hello
}

/// How long to wait before attempt number `attempt` (from 0) to reach one of `masters`: none within the
/// first round, then longer and longer, spread by `random` (0 to 1) so that agents do not come in step.
pub fn pause(attempt: u32, masters: usize, random: f64) -> Duration {
    let round = attempt / u32::try_from(masters.max(1)).unwrap_or(u32::MAX);
    if round == 0 {
        return Duration::ZERO;
    }
    let longest = (PAUSE_MILLIS_MIN << (round - 1).min(16)).min(PAUSE_MILLIS_MAX);
    Duration::from_millis(longest).mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_by_rounds_and_are_spread() {
        for (attempt, masters, random, millis) in [
            (0, 3, 1.0, 0),
            (2, 3, 1.0, 0),
            (3, 3, 1.0, 100),
            (5, 3, 0.0, 50),
            (6, 3, 1.0, 200),
            (1, 1, 1.0, 100),
            (7, 1, 1.0, 5000),
            (u32::MAX, 1, 0.0, 2500),
            (1, 0, 1.0, 100),
        ] {
            assert_eq!(pause(attempt, masters, random), Duration::from_millis(millis), "{attempt}/{masters}");
        }
    }
}
