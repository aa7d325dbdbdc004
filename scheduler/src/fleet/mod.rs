//! Agents as the leader's shell sees them: sessions, what is sent to them, and who has been silent for
//! too long. What should run and what a silence means is decided elsewhere.
//!
//! [`serve`] accepts connections; `session` is one of them, `hello` (pure) judges its opening, and `reports`
//! brings what it says into the state; `board` knows the live ones; `dispatch` routes applied events to
//! them as `wanted` (pure) words them; `watch` proposes to give up agents that stay away, by `absence` (pure);
//! `logs` carries task logs; `masters` (pure) tells of the masters; `wire` is the framing.

pub mod absence;
mod board;
mod dispatch;
pub mod hello;
mod logs;
pub mod masters;
pub mod reports;
mod session;
pub mod wanted;
mod watch;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::cluster::{Cluster, LogRequest};
use board::Switchboard;
pub use board::{MAKE_WAY, Newcomer, newcomer};

/// Connections at once; the next one waits. Far above the 5,000 agents that one leader is built for.
const CONNECTIONS_MAX: usize = 16_384;
/// Of these, such that have not said yet who they are: each may make the codec set a frame's worth of memory
/// aside, and strangers must not take the places of agents.
const STRANGERS_MAX: usize = 256;
/// Pause after `accept` failed: file descriptors may have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Serves agents until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    cluster: Arc<Cluster>,
    logs: mpsc::Receiver<LogRequest>,
    shutdown: CancellationToken,
) {
    let board = Arc::new(Switchboard::default());
    let tracker = TaskTracker::new();
    tracker.spawn(dispatch::run(cluster.clone(), board.clone(), shutdown.clone()));
    tracker.spawn(watch::run(cluster.clone(), board.clone(), shutdown.clone()));
    tracker.spawn(logs::run(logs, board.clone(), shutdown.clone()));
    let (places, doors) =
        (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Arc::new(Semaphore::new(STRANGERS_MAX)));
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &places, &doors) => accepted,
        };
        let Some((stream, peer, place, door)) = accepted else { continue };
        let session =
            session::run(stream, peer, door, cluster.clone(), board.clone(), shutdown.child_token());
        tracker.spawn(async move {
            session.await;
            drop(place);
        });
    }
    tracker.close();
    tracker.wait().await;
}

type Accepted = (TcpStream, std::net::SocketAddr, OwnedSemaphorePermit, OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>, doors: &Arc<Semaphore>) -> Option<Accepted> {
    let place = places.clone().acquire_owned().await.ok()?;
    let door = doors.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place, door)),
        Err(error) => {
            warn!(%error, "accepting an agent failed");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
