//! The accept loop of `--rpc`, the one port for agents and masters: the first bytes say who it is. Knows
//! nothing of what they say to each other. The place where TLS will go.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::fleet::Fleet;
use crate::peers::{self, Peers};

/// Connections of agents at once. Far above the 5,000 that one leader is built for.
const AGENTS_MAX: usize = 16_384;
/// Connections of masters at once: far more than a cluster of 16 needs. Apart from those of agents, which
/// must not be able to lock them out.
const MASTERS_MAX: usize = 256;
/// Connections that have not said yet who they are: each may make the codec set a frame's worth of memory
/// aside, and strangers must not take the places of agents.
const STRANGERS_MAX: usize = 256;
/// Time for the first bytes.
const MAGIC_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after `accept` failed: file descriptors may have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Who answers whom.
#[derive(Clone)]
struct Hosts {
    fleet: Arc<Fleet>,
    peers: Arc<Peers>,
    agents: Arc<Semaphore>,
    masters: Arc<Semaphore>,
    apart: Arc<Apart>,
}

/// Threads for the connections of masters, from the first one on: they are heard however busy agents and clients
/// keep the others. A leader that does not hear its followers for 400 ms steps down.
#[derive(Default)]
struct Apart(OnceLock<Option<(Handle, DropGuard)>>);

/// Threads for masters: a snapshot that is written holds up one of them.
const APART_THREADS: usize = 2;

impl Apart {
    /// `None` when there are no threads to be had: then masters share those of everybody.
    fn handle(&self) -> Option<&Handle> {
        let begun = self.0.get_or_init(|| match begin() {
            Ok(begun) => Some(begun),
            Err(error) => {
                warn!(%error, "masters get no threads of their own");
                None
            }
        });
        begun.as_ref().map(|(handle, _)| handle)
    }

    async fn attend(
        &self,
        peers: Arc<Peers>,
        stream: TcpStream,
        from: SocketAddr,
        door: OwnedSemaphorePermit,
    ) {
        let Some(handle) = self.handle() else { return peers.attend(stream, from, door).await };
        // A connection belongs to the threads that it was opened on.
        let Ok(stream) = stream.into_std() else { return };
        let attending = handle.spawn(async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => peers.attend(stream, from, door).await,
                Err(error) => debug!(%from, %error, "a connection of another master was lost"),
            }
        });
        let _ = attending.await;
    }
}

fn begin() -> io::Result<(Handle, DropGuard)> {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(APART_THREADS).thread_name("masters").enable_all().build()?;
    let (handle, end) = (runtime.handle().clone(), CancellationToken::new());
    let ended = end.clone();
    // Ends with what holds the guard, and may not be dropped on a thread of another one.
    thread::Builder::new()
        .name("masters-end".into())
        .spawn(move || runtime.block_on(ended.cancelled_owned()))?;
    Ok((handle, end.drop_guard()))
}

/// Accepts until `shutdown`, then waits for the connections to end, which the same token tells them.
pub(crate) async fn serve(
    listener: TcpListener,
    fleet: Arc<Fleet>,
    peers: Arc<Peers>,
    shutdown: CancellationToken,
) {
    let (agents, masters) = (Arc::new(Semaphore::new(AGENTS_MAX)), Arc::new(Semaphore::new(MASTERS_MAX)));
    let hosts = Hosts { fleet, peers, agents, masters, apart: Arc::default() };
    let (doors, tracker) = (Arc::new(Semaphore::new(STRANGERS_MAX)), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &doors) => accepted,
        };
        let Some((stream, from, door)) = accepted else { continue };
        let (hosts, stop) = (hosts.clone(), shutdown.clone());
        tracker.spawn(async move { greet(stream, from, door, hosts, stop).await });
    }
    tracker.close();
    tracker.wait().await;
}

type Accepted = (TcpStream, SocketAddr, OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, doors: &Arc<Semaphore>) -> Option<Accepted> {
    let door = doors.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, from)) => Some((stream, from, door)),
        Err(error) => {
            warn!(%error, "accepting an agent or a master failed");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Reads the first bytes and hands the connection on. `door` is held until it has said who it is.
async fn greet(
    mut stream: TcpStream,
    from: SocketAddr,
    door: OwnedSemaphorePermit,
    hosts: Hosts,
    shutdown: CancellationToken,
) {
    let mut magic = [0; 4];
    let read = tokio::select! {
        () = shutdown.cancelled() => return,
        read = timeout(MAGIC_TIMEOUT, stream.read_exact(&mut magic)) => read,
    };
    let place = match (read, magic) {
        (Ok(Ok(_)), spec::protocol::MAGIC) => hosts.agents.try_acquire(),
        (Ok(Ok(_)), peers::MAGIC) => hosts.masters.try_acquire(),
        // Anybody can connect and say nothing, or nonsense.
        _ => return debug!(%from, "neither an agent nor a master"),
    };
    let Ok(_place) = place else { return warn!(%from, "too many connections: closed") };
    if magic == peers::MAGIC {
        hosts.apart.attend(hosts.peers.clone(), stream, from, door).await;
    } else {
        hosts.fleet.attend(stream, from, door).await;
    }
}
