//! Agents as the leader's shell sees them: sessions, what is sent to them, and who has been silent for
//! too long. What should run and what a silence means is decided elsewhere.
//!
//! [`Fleet::attend`] takes a connection that `rpc` has accepted; `session` is one of them, `entrance` its way in,
//! whose opening `hello` (pure) judges, `speech` what it is told, and `reports` brings what it says into the state;
//! `board` knows the live ones, `pulse` when they were heard and spoken to;
//! `dispatch` routes applied events to them as `wanted` (pure) words them; `watch` proposes to give up agents
//! that stay away, by `absence` (pure); `logs` carries task logs;
//! `masters` (pure) tells of the masters; `wire` is the framing.

pub mod absence;
mod board;
mod dispatch;
mod entrance;
pub mod hello;
mod logs;
pub mod masters;
mod pulse;
pub mod reports;
mod session;
mod speech;
pub mod wanted;
mod watch;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, LogRequest};
use board::Switchboard;
pub use pulse::{MAKE_WAY, Newcomer, UNASKED_AFTER, newcomer};

/// All agents of one master.
pub struct Fleet {
    cluster: Arc<Cluster>,
    board: Arc<Switchboard>,
    shutdown: CancellationToken,
}

impl Fleet {
    /// Nobody is connected yet. Sessions end with `shutdown`.
    pub fn new(cluster: Arc<Cluster>, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self { cluster, board: Arc::default(), shutdown })
    }

    /// Looks after all sessions until `shutdown`.
    pub async fn run(&self, logs: mpsc::Receiver<LogRequest>) {
        let (cluster, board, shutdown) = (&self.cluster, &self.board, &self.shutdown);
        tokio::join!(
            dispatch::run(cluster.clone(), board.clone(), shutdown.clone()),
            watch::run(cluster.clone(), board.clone(), shutdown.clone()),
            logs::run(logs, board.clone(), shutdown.clone()),
            pulse::run(board.clone(), shutdown.clone()),
        );
    }

    /// Runs one connection, whose magic bytes have been read, to its end. `door` is held until it has said who
    /// it is.
    pub async fn attend(&self, stream: TcpStream, peer: SocketAddr, door: OwnedSemaphorePermit) {
        let (cluster, board) = (self.cluster.clone(), self.board.clone());
        session::run(stream, peer, door, cluster, board, self.shutdown.child_token()).await;
    }
}
