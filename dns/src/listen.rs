//! The sockets of a name server: datagrams and connections in, answers out, everything bounded. What the
//! answers are is the business of a [`Handler`].
//!
//! These loops are our own and only the codec is hickory's. `hickory-server` was tried against what is
//! needed here and stood in the way: it takes TCP connections without a limit and spins when descriptors
//! run out, starts a task for every datagram, answers the queries of a connection one after another (a slow
//! forward holds up the rest), logs every query at `info`, and its handlers can only return records, while
//! a forwarder should pass on the bytes it got.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::exchange::{frame, read_frame};
use crate::packet::{self, Refusal, Via};

/// Datagrams that wait for another server at a time; beyond that the answer is SERVFAIL at once. At the two
/// seconds that a dead resolver costs, this is 250 questions a second.
const WAITING_MAX: usize = 512;

/// Open TCP connections; the next ones wait in the kernel.
const CONNECTIONS_MAX: usize = 256;

/// Questions of one connection that are worked on at a time; its next ones are not read until then.
const PIPELINED_MAX: usize = 32;

/// A connection without a question for so long is closed (RFC 7766 asks for seconds, not minutes).
const IDLE: Duration = Duration::from_secs(10);

/// Pause after an error of the socket itself, such as running out of descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers queries.
pub(crate) trait Handler: Send + Sync + 'static {
    /// The answer, if no other server has to be asked. Must not wait.
    fn at_once(&self, query: &packet::Query, packet: &[u8], via: Via) -> Option<Vec<u8>>;

    /// The answer after asking others.
    fn later(&self, query: packet::Query, packet: Vec<u8>, via: Via) -> impl Future<Output = Vec<u8>> + Send;
}

/// What is to be done with a packet.
enum Step {
    Ignore,
    Reply(Vec<u8>),
    Ask(packet::Query),
}

fn step(handler: &impl Handler, packet: &[u8], via: Via) -> Step {
    match packet::read(packet) {
        Ok(query) => match handler.at_once(&query, packet, via) {
            Some(reply) => Step::Reply(reply),
            None => Step::Ask(query),
        },
        Err(Refusal::Silence) => Step::Ignore,
        Err(Refusal::Code(code)) => Step::Reply(packet::error(packet, code)),
    }
}

/// Answers on both sockets until `shutdown`.
pub(crate) async fn serve(
    udp: UdpSocket,
    tcp: TcpListener,
    handler: Arc<impl Handler>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let udp = Arc::new(udp);
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = datagrams(udp, handler.clone()) => Ok(()),
        () = connections(tcp, handler) => Ok(()),
    }
}

async fn datagrams(socket: Arc<UdpSocket>, handler: Arc<impl Handler>) {
    let mut waiting = JoinSet::new();
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        while waiting.try_join_next().is_some() {}
        let (length, asker) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "receiving a DNS datagram");
                sleep(PAUSE).await;
                continue;
            }
        };
        let packet = &buffer[..length];
        match step(&*handler, packet, Via::Udp) {
            Step::Ignore => {}
            Step::Reply(reply) => send(&socket, &reply, asker).await,
            Step::Ask(_) if waiting.len() >= WAITING_MAX => {
                let busy = packet::error(packet, hickory_proto::op::ResponseCode::ServFail);
                send(&socket, &busy, asker).await;
            }
            Step::Ask(query) => {
                let (socket, handler, packet) = (socket.clone(), handler.clone(), packet.to_vec());
                waiting.spawn(async move {
                    send(&socket, &handler.later(query, packet, Via::Udp).await, asker).await;
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, reply: &[u8], asker: SocketAddr) {
    if let Err(error) = socket.send_to(reply, asker).await {
        tracing::debug!(%error, %asker, "sending a DNS answer");
    }
}

async fn connections(listener: TcpListener, handler: Arc<impl Handler>) {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let Ok(permit) = free.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, asker)) => {
                let handler = handler.clone();
                open.spawn(async move {
                    let _permit = permit;
                    if let Err(error) = connection(stream, handler).await {
                        tracing::debug!(%error, %asker, "a DNS connection");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a DNS connection");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, handler: Arc<impl Handler>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let (replies, to_write) = mpsc::channel(PIPELINED_MAX);
    // Both ends finish by themselves: the reader at the end of input or silence, the writer when nobody is
    // left to hand it a reply, or when the asker does not take one in time.
    let (read, written) = tokio::join!(questions(read, handler, replies), answers(write, to_write));
    read.and(written)
}

async fn questions(
    mut stream: OwnedReadHalf,
    handler: Arc<impl Handler>,
    replies: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let mut waiting = JoinSet::new();
    while let Ok(Some(packet)) = timeout(IDLE, read_frame(&mut stream)).await.unwrap_or(Ok(None)) {
        match step(&*handler, &packet, Via::Tcp) {
            Step::Ignore => {}
            Step::Reply(reply) => {
                if replies.send(reply).await.is_err() {
                    return Ok(());
                }
            }
            Step::Ask(query) => {
                if waiting.len() >= PIPELINED_MAX {
                    waiting.join_next().await;
                }
                let (handler, replies) = (handler.clone(), replies.clone());
                waiting.spawn(async move {
                    let reply = handler.later(query, packet, Via::Tcp).await;
                    // A writer that is gone has nobody to write to.
                    let _ = replies.send(reply).await;
                });
            }
        }
        while waiting.try_join_next().is_some() {}
    }
    // The asker may have said all it wants to and still wait for answers.
    while waiting.join_next().await.is_some() {}
    Ok(())
}

async fn answers(mut stream: OwnedWriteHalf, mut replies: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(reply) = replies.recv().await {
        timeout(IDLE, stream.write_all(&frame(&reply))).await.map_err(|_| io::ErrorKind::TimedOut)??;
    }
    stream.shutdown().await
}
