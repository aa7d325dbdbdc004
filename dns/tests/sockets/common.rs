//! Clients and scripted servers on loopback, for the tests with real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use gantry_dns::{Protocol, Settings, Upstream, Zone, ZonePort, ZoneTask};
use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use spec::ids::AgentId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::testing;
pub use crate::testing::query;

pub const SOON: Duration = Duration::from_secs(10);

pub fn task(app: &str, number: u8) -> ZoneTask {
    let id = format!("{app}.instance-11111111-2222-3333-4444-5555555555{number:02}._app.1");
    ZoneTask {
        task: id.parse().unwrap(),
        agent: AgentId::new(format!("c-S{number}")),
        agent_ip: [10, 0, 0, number].into(),
        addresses: Vec::new(),
        ports: vec![ZonePort { number: 31_000, protocol: Protocol::Tcp, name: None }],
        host_ports: vec![31_000],
    }
}

pub fn zone(tasks: impl IntoIterator<Item = ZoneTask>) -> Arc<ArcSwap<Zone>> {
    let mut zone = Zone::new(Settings::default());
    tasks.into_iter().for_each(|task| zone.put(task));
    Arc::new(ArcSwap::from_pointee(zone))
}

pub async fn sockets() -> (SocketAddr, UdpSocket, TcpListener) {
    // The same port for both is not promised by binding to port 0: try until it happens.
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = udp.local_addr().unwrap();
        if let Ok(tcp) = TcpListener::bind(at).await {
            return (at, udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

pub struct Running {
    pub at: SocketAddr,
    pub stop: CancellationToken,
    pub task: tokio::task::JoinHandle<std::io::Result<()>>,
}

pub async fn server(zone: Arc<ArcSwap<Zone>>, upstream: Upstream) -> Running {
    let (at, udp, tcp) = sockets().await;
    let stop = CancellationToken::new();
    let task = tokio::spawn(gantry_dns::server::serve(udp, tcp, zone, upstream, stop.clone()));
    Running { at, stop, task }
}

impl Running {
    pub async fn stop(self) {
        self.stop.cancel();
        timeout(SOON, self.task).await.unwrap().unwrap().unwrap();
    }
}

pub async fn udp_bytes(at: SocketAddr, packet: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(at).await.unwrap();
    socket.send(packet).await.unwrap();
    let mut buffer = vec![0; 65_535];
    let length = timeout(SOON, socket.recv(&mut buffer)).await.expect("an answer").unwrap();
    buffer.truncate(length);
    buffer
}

pub async fn ask(at: SocketAddr, name: &str, kind: RecordType) -> Message {
    Message::from_vec(&udp_bytes(at, &query(name, kind, Some(4096))).await).unwrap()
}

pub async fn write(stream: &mut TcpStream, packet: &[u8]) {
    let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, packet].concat()).await.unwrap();
}

pub async fn read(stream: &mut TcpStream) -> Message {
    let mut bytes = vec![0; timeout(SOON, stream.read_u16()).await.unwrap().unwrap().into()];
    stream.read_exact(&mut bytes).await.unwrap();
    Message::from_vec(&bytes).unwrap()
}

pub fn first(message: &Message) -> String {
    message.answers.first().map(|record| record.data.to_string()).unwrap_or_default()
}

/// A resolver that answers every query on UDP with `answer`, and counts.
pub struct Scripted {
    pub at: SocketAddr,
    pub asked: Arc<AtomicUsize>,
    _task: tokio_util::task::AbortOnDropHandle<()>,
}

impl Scripted {
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

pub async fn resolver(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Scripted {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (at, asked) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    let task = tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::SeqCst);
            if let Some(reply) = answer(&buffer[..length]) {
                socket.send_to(&reply, from).await.unwrap();
            }
        }
    });
    Scripted { at, asked, _task: tokio_util::task::AbortOnDropHandle::new(task) }
}

/// The answer of a resolver with so many addresses.
pub fn reply(query: &[u8], count: u8, ttl: u32) -> Vec<u8> {
    testing::reply(query, (0..count).map(|n| [192, 0, 2, n]), ttl)
}
