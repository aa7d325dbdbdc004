//! Three members of etcd, Debian's package, as the yardstick: default settings, separate processes.
//!
//! `wire` reads and writes the few protobuf messages that are needed; `client` is gRPC over HTTP/2.

mod client;
mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::group::Kind;
use super::loopback;
use client::Grpc;
use wire::Status;

/// As for our masters: a member that is less behind than this is in good standing.
const BEHIND_MAX: u64 = 64;

/// What to do when it is not installed.
pub(super) const INSTALL: &str =
    "etcd is not installed, so there is nothing to compare with: apt-get install etcd-server etcd-client";

/// Is there an `etcd` to run?
pub(super) fn is_installed() -> bool {
    let version = Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// Where each of them listens, and where their data is.
pub(super) struct Etcd {
    dir: PathBuf,
    clients: Vec<SocketAddr>,
    peers: Vec<SocketAddr>,
}

impl Etcd {
    pub(super) fn new(dir: &Path, count: usize) -> anyhow::Result<Self> {
        let mut clients = loopback(count * 2)?;
        let peers = clients.split_off(count);
        Ok(Self { dir: dir.to_owned(), clients, peers })
    }

    async fn status(&self, member: usize) -> Option<Status> {
        Grpc::open(self.clients[member]).await.ok()?.status().await.ok()
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn name(member: usize) -> String {
    format!("e{}", member + 1)
}

impl Kind for Etcd {
    const NAME: &'static str = "etcd";
    type Client = Grpc;

    fn command(&self, member: usize) -> Command {
        let (client, peer) = (url(self.clients[member]), url(self.peers[member]));
        let all = self.peers.iter().enumerate().map(|(n, peer)| format!("{}={}", name(n), url(*peer)));
        let mut command = Command::new("etcd");
        command.args(["--name", &name(member), "--logger", "zap", "--log-level", "warn"]);
        command.arg("--data-dir").arg(self.dir.join(name(member)));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &all.collect::<Vec<_>>().join(",")]);
        command
    }

    fn address(&self, member: usize) -> SocketAddr {
        self.clients[member]
    }

    async fn leader(&self) -> Option<usize> {
        for member in 0..self.clients.len() {
            if self.status(member).await.is_some_and(|status| status.leader == status.member) {
                return Some(member);
            }
        }
        None
    }

    async fn is_whole(&self) -> bool {
        let mut indexes = Vec::new();
        for member in 0..self.clients.len() {
            match self.status(member).await.filter(|status| status.leader != 0) {
                Some(status) => indexes.push(status.index),
                None => return false,
            }
        }
        let highest = indexes.iter().max().copied().unwrap_or(0);
        indexes.iter().all(|index| highest - index < BEHIND_MAX)
    }
}
