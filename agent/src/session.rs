//! The stream to the leader: connecting, framing, beats as `rhythm` says. It carries messages and decides nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, SinkExt, StreamExt};
use spec::app::AppDocument;
use spec::protocol::{
    AgentMessage, FRAME_BYTES_MAX, HEARTBEAT_MILLIS, Hello, MAGIC, MasterMessage, SILENCE_MILLIS_MAX,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use tokio_util::task::AbortOnDropHandle;

use crate::alarm::Alarm;
use crate::definitions::Definitions;
use crate::rhythm::{Due, Rhythm, on_grid};

/// Messages that wait to be sent; whoever has more waits.
pub const OUTGOING_MAX: usize = 64;
/// Messages that were received and wait to be obeyed.
const INCOMING_MAX: usize = 64;
/// How long the leader may be silent between its first word and its welcome: it replicates a registration
/// meanwhile, and beats.
const WELCOME_PATIENCE: Duration = Duration::from_millis(3 * HEARTBEAT_MILLIS);
/// Silence after which a session is over.
const SILENCE_MAX: Duration = Duration::from_millis(SILENCE_MILLIS_MAX);
/// How long the end of a session is waited for.
const END_TIMEOUT: Duration = Duration::from_millis(100);
/// A stream to a master, plain or, one day, TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
/// Whatever kind of stream it is.
pub type BoxedStream = Box<dyn Stream>;
type Frames = Framed<BoxedStream, LengthDelimitedCodec>;

/// Where the grid of beats begins, for all sessions of this process.
static BASE: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The last moment of the beats' grid that is not after `at`.
pub fn on_shared_grid(at: Instant) -> Instant {
    on_grid(*BASE, at)
}

/// What a session yields.
#[derive(Debug)]
pub enum Heard {
    /// The master says something; beats are left out.
    Message(MasterMessage),
    /// It has been silent for so long that another may lead.
    Silence,
}

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
    /// A definition could not be read.
    #[error("bad definition: {0}")]
    Definition(#[from] serde_json::Error),
}

/// An open stream. Dropping it closes the connection.
#[derive(Debug)]
pub struct Session {
    /// What is heard of the master; closed when the stream has ended.
    pub incoming: mpsc::Receiver<Heard>,
    /// What the agent says.
    pub outgoing: mpsc::Sender<AgentMessage>,
    pump: AbortOnDropHandle<SessionError>,
}

/// Connects to one master within `patience`. The place where TLS goes.
pub async fn connect(master: SocketAddr, patience: Duration) -> io::Result<BoxedStream> {
    let connecting = timeout(patience, TcpStream::connect(master)).await;
    let stream = connecting.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

/// Asks one master who leads. `None` when it does not know; the term is the one of which it speaks.
pub async fn who_leads(
    master: SocketAddr,
    patience: Duration,
) -> Result<(Option<SocketAddr>, u64), SessionError> {
    let stream = connect(master, patience).await?;
    let mut frames = greet(stream).await?;
    send(&mut frames, &AgentMessage::WhoLeads).await?;
    loop {
        let frame = timeout(patience, frames.next()).await.map_err(|_| SessionError::Silent(patience))?;
        let frame = frame.transpose()?.ok_or(SessionError::Closed)?;
        match postcard::from_bytes::<MasterMessage<&[u8]>>(&frame)? {
            MasterMessage::Elsewhere { leader, term } => return Ok((leader, term)),
            MasterMessage::Beat => {}
            _ => return Err(SessionError::Closed),
        }
    }
}

impl Session {
    /// Opens a session on a fresh connection. The master says its first word within `patience`, or it is over.
    /// Definitions in what it says are among `definitions`.
    pub fn open(
        stream: BoxedStream,
        hello: Hello,
        patience: Duration,
        definitions: Arc<Definitions>,
    ) -> Self {
        let (into_node, incoming) = mpsc::channel(INCOMING_MAX);
        let (outgoing, from_node) = mpsc::channel(OUTGOING_MAX);
        let pump = pump(stream, hello, (patience, definitions), into_node, from_node);
        let pump = AbortOnDropHandle::new(tokio::spawn(pump));
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

/// Says the magic word; frames from then on.
async fn greet(mut stream: BoxedStream) -> io::Result<Frames> {
    stream.write_all(&MAGIC).await?;
    let codec = LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec();
    Ok(Framed::new(stream, codec))
}

async fn pump(
    stream: BoxedStream,
    hello: Hello,
    (patience, definitions): (Duration, Arc<Definitions>),
    into_node: mpsc::Sender<Heard>,
    from_node: mpsc::Receiver<AgentMessage>,
) -> SessionError {
    let (sink, source) = match greet(stream).await {
        Ok(frames) => frames.split(),
        Err(error) => return error.into(),
    };
    let rhythm = Mutex::new(Rhythm::new(*BASE, Instant::now()));
    let mut speaker = Speaker { sink, rhythm: &rhythm, held: None };
    tokio::select! {
        // In this order: what has arrived counts before it is called a silence.
        biased;
        ended = listen(source, patience, &definitions, (&into_node, &rhythm)) => ended,
        ended = speaker.speak(hello, from_node, &into_node) => ended,
    }
    .unwrap_or_else(|error| error)
}

type Ended = Result<SessionError, SessionError>;

fn lock(rhythm: &Mutex<Rhythm>) -> MutexGuard<'_, Rhythm> {
    rhythm.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(
    mut source: SplitStream<Frames>,
    mut patience: Duration,
    definitions: &Definitions,
    (into_node, rhythm): (&mpsc::Sender<Heard>, &Mutex<Rhythm>),
) -> Ended {
    let mut welcomed = false;
    loop {
        let frame = match welcomed {
            // Silence from now on is the rhythm's.
            true => source.next().await,
            false => {
                let frame = timeout(patience, source.next()).await;
                frame.map_err(|_| SessionError::Silent(patience))?
            }
        };
        let Some(frame) = frame.transpose()? else {
            return Ok(SessionError::Closed);
        };
        lock(rhythm).hear(Instant::now());
        let message = decode(&frame, definitions)?;
        welcomed |= matches!(message, MasterMessage::Welcome(_));
        patience = WELCOME_PATIENCE;
        let is_beat = matches!(message, MasterMessage::Beat);
        if !is_beat && into_node.send(Heard::Message(message)).await.is_err() {
            return Ok(SessionError::Closed);
        }
    }
}

/// Reads a message, and the definitions in it that are new.
fn decode(frame: &[u8], definitions: &Definitions) -> Result<MasterMessage, SessionError> {
    let message: MasterMessage<&[u8]> = postcard::from_bytes(frame)?;
    Ok(message.with_apps(|json| definitions.read(json).map(AppDocument))?)
}

/// What the agent says.
struct Speaker<'a> {
    sink: SplitSink<Frames, Bytes>,
    rhythm: &'a Mutex<Rhythm>,
    /// What it uses. In no hurry: it takes the place of the next beat, or goes along with what else is said.
    held: Option<AgentMessage>,
}

impl Speaker<'_> {
    /// Sends what there is, and a beat when there is nothing.
    async fn speak(
        &mut self,
        hello: Hello,
        mut from_node: mpsc::Receiver<AgentMessage>,
        into_node: &mpsc::Sender<Heard>,
    ) -> Ended {
        let mut alarm = Alarm::new();
        self.say(AgentMessage::Hello(Box::new(fitting(hello)))).await?;
        loop {
            let next = lock(self.rhythm).next();
            tokio::select! {
                biased;
                message = from_node.recv() => match message {
                    Some(usage @ (AgentMessage::Usage(_) | AgentMessage::UsageChanges(_))) => {
                        if let Some(before) = self.held.replace(usage) {
                            self.say(before).await?;
                        }
                    }
                    Some(message) => {
                        self.say_held_with_next().await?;
                        self.say(message).await?;
                    }
                    None => return Ok(SessionError::Closed),
                },
                now = alarm.ring(Some(next)) => {
                    let due = lock(self.rhythm).due(now);
                    match due {
                        Some(Due::Beat) => {
                            let beat = self.held.take().unwrap_or(AgentMessage::Beat);
                            self.say(beat).await?;
                        }
                        // A node that has no room for it has heard something.
                        Some(Due::Wonder) => drop(into_node.try_send(Heard::Silence)),
                        Some(Due::GiveUp) => return Err(SessionError::Silent(SILENCE_MAX)),
                        None => {}
                    }
                }
            }
        }
    }

    async fn say(&mut self, message: AgentMessage) -> Result<(), SessionError> {
        send(&mut self.sink, &message).await?;
        lock(self.rhythm).say(Instant::now());
        Ok(())
    }

    /// Puts what is held before the next message, which sends both.
    async fn say_held_with_next(&mut self) -> Result<(), SessionError> {
        let Some(held) = self.held.take() else { return Ok(()) };
        let frame = Bytes::from(postcard::to_allocvec(&held)?);
        in_time(self.sink.feed(frame)).await
    }
}

async fn send(
    sink: &mut (impl Sink<Bytes, Error = io::Error> + Unpin),
    message: &AgentMessage,
) -> Result<(), SessionError> {
    let frame = Bytes::from(postcard::to_allocvec(message)?);
    in_time(sink.send(frame)).await
}

async fn in_time(sending: impl Future<Output = io::Result<()>>) -> Result<(), SessionError> {
    Ok(timeout(SILENCE_MAX, sending).await.map_err(|_| SessionError::Silent(SILENCE_MAX))??)
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
