//! One question to one server, by UDP or TCP: fresh id, fresh port, and only the answer to that question is
//! taken. Shell; who is asked next is decided elsewhere.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

use crate::packet::{self, Via};

/// How long one server may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// After this a datagram counts as lost and is sent once more.
    pub(crate) resend: Duration,
    /// After this the server counts as silent.
    pub(crate) limit: Duration,
}

/// A number that nobody outside can foresee: a hash of a counter under a key that the system's randomness
/// gave. Guards against forged answers, and seeds the order of answers.
pub(crate) fn unforeseen() -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    KEY.hash_one(COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Asks, and returns the answer under the id of the query.
pub(crate) async fn ask(
    server: SocketAddr,
    query: &[u8],
    via: Via,
    patience: Patience,
) -> io::Result<Vec<u8>> {
    let mut own = query.to_vec();
    packet::set_id(&mut own, unforeseen() as u16);
    let asked = async {
        match via {
            Via::Udp => ask_udp(server, &own, patience).await,
            Via::Tcp => ask_tcp(server, &own).await,
        }
    };
    let mut reply = timeout(patience.limit, asked).await.map_err(|_| io::ErrorKind::TimedOut)??;
    packet::set_id(&mut reply, packet::id(query).unwrap_or_default());
    Ok(reply)
}

async fn ask_udp(server: SocketAddr, query: &[u8], patience: Patience) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        socket.send(query).await?;
        let until = Instant::now() + patience.resend;
        // Runs until `ask` loses patience: datagrams that are not the answer do not count.
        while let Ok(received) = timeout_at(until, socket.recv(&mut buffer)).await {
            let reply = &buffer[..received?];
            if packet::answers(reply, query) {
                return Ok(reply.to_vec());
            }
        }
    }
}

async fn ask_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&frame(query)).await?;
    match read_frame(&mut stream).await? {
        Some(reply) if packet::answers(&reply, query) => Ok(reply),
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is to another question")),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A message with its length before it (RFC 1035, section 4.2.2), in one piece, so that it is one segment.
pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut framed = Vec::with_capacity(2 + usize::from(length));
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message[..usize::from(length)]);
    framed
}

/// The next message of a connection; `None` when it ends between two.
pub(crate) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => length,
        Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(other) => return Err(other),
    };
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}
