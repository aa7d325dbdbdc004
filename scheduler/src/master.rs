//! Puts the parts of a master together; nothing else.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use dns::Zone;
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use uuid::Uuid;

use crate::cluster::{Cluster, Options};
use crate::consensus::{self, Handle};
use crate::machine::StateMachine;
use crate::state::Command;
use crate::{api, fleet, leader, names, proposer};

/// Raft id of the master that founds a cluster.
const FIRST_MASTER: u64 = 1;

/// Why a master did not start.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// An address could not be bound.
    #[error("cannot listen on {address} for {purpose}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// `REST`, `agents` or `DNS`.
        purpose: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The log could not be opened.
    #[error(transparent)]
    Log(#[from] consensus::OpenError),
}

/// What a master is started with, beyond what its parts share.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Addresses, names and limits. Ports of 0 are replaced by those that the system chose.
    pub options: Options,
    /// Holds the log.
    pub data_dir: PathBuf,
    /// Begin a new cluster here if there is none yet.
    pub bootstrap: bool,
}

/// A running master.
pub struct Master {
    cluster: Arc<Cluster>,
    log: Handle<StateMachine>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Master {
    /// Binds, opens the log, and serves. Everything is up when this returns.
    pub async fn start(setup: Setup) -> Result<Self, MasterError> {
        let Setup { mut options, data_dir, bootstrap } = setup;
        let http = listen(options.http, "REST").await?;
        let rpc = listen(options.rpc, "agents").await?;
        let (dns_udp, dns_tcp) = listen_dns(options.dns).await?;
        options.http = http.local_addr().unwrap_or(options.http);
        options.rpc = rpc.local_addr().unwrap_or(options.rpc);
        options.dns = dns_tcp.local_addr().unwrap_or(options.dns);
        let (domain, name) = (options.dns_domain.clone(), options.name.clone());
        let (cluster, inlets) = Cluster::new(options);
        let machine = StateMachine::new(cluster.clone());
        let log = open_log(data_dir, name, bootstrap, machine).await?;

        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(proposer::run(inlets.commands, log.clone(), shutdown.clone()));
        tasks.spawn(found(cluster.clone(), shutdown.clone()));
        tasks.spawn(leader::run(cluster.clone(), shutdown.clone()));
        tasks.spawn(fleet::serve(rpc, cluster.clone(), inlets.logs, shutdown.clone()));
        let (serving, stop) = (cluster.clone(), shutdown.clone());
        tasks.spawn(async move {
            if let Err(error) = api::serve(http, serving, stop).await {
                warn!(%error, "the REST server ended");
            }
        });
        let empty = Zone::new(dns::Settings { domain, ..dns::Settings::default() });
        let zone = Arc::new(ArcSwap::from_pointee(empty.clone()));
        tasks.spawn(names::run(cluster.clone(), zone.clone(), empty, shutdown.clone()));
        let upstream = dns::Upstream::system(vec![cluster.options.dns]);
        tasks.spawn(dns::server::serve(dns_udp, dns_tcp, zone, upstream, shutdown.clone()));
        tasks.close();
        info!(http = %cluster.options.http, rpc = %cluster.options.rpc, dns = %cluster.options.dns, "master is up");
        Ok(Self { cluster, log, tasks, shutdown })
    }

    /// What its parts share.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Resolves when the log has failed and the master can do nothing more: the reason.
    pub async fn failed(&self) -> String {
        match self.log.join().await {
            Ok(()) => "its log was closed".to_owned(),
            Err(reason) => reason.to_string(),
        }
    }

    /// Stops serving and closes the log. Tasks go on running.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.wait().await;
        if let Err(reason) = self.log.shutdown().await {
            warn!(%reason, "the log had stopped before");
        }
    }
}

async fn listen(address: SocketAddr, purpose: &'static str) -> Result<TcpListener, MasterError> {
    TcpListener::bind(address).await.map_err(|source| MasterError::Bind { address, purpose, source })
}

/// UDP and TCP on one number, also when the system chooses it.
async fn listen_dns(address: SocketAddr) -> Result<(UdpSocket, TcpListener), MasterError> {
    let fail = |source| MasterError::Bind { address, purpose: "DNS", source };
    let tcp = TcpListener::bind(address).await.map_err(fail)?;
    let udp = UdpSocket::bind(tcp.local_addr().map_err(fail)?).await.map_err(fail)?;
    Ok((udp, tcp))
}

/// Opening replays the log: not on a runtime thread.
async fn open_log(
    data_dir: PathBuf,
    name: String,
    bootstrap: bool,
    machine: StateMachine,
) -> Result<Handle<StateMachine>, MasterError> {
    let mut options = consensus::Options::new(data_dir, name, FIRST_MASTER, fastrand::u64(..));
    options.bootstrap = bootstrap;
    let opened = tokio::task::spawn_blocking(move || consensus::open(options, machine)).await;
    Ok(opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?)
}

/// Names a new cluster as soon as this master leads it.
async fn found(cluster: Arc<Cluster>, shutdown: CancellationToken) {
    let mut leadership = cluster.leadership();
    while cluster.state().cluster_id.is_nil() {
        tokio::select! {
            () = shutdown.cancelled() => return,
            leads = leadership.wait_for(|now| now.leading) => if leads.is_err() { return },
        }
        if !cluster.state().cluster_id.is_nil() {
            return;
        }
        if let Err(error) = cluster.ask(Command::Found { cluster_id: Uuid::new_v4() }).await {
            warn!(%error, "naming the cluster failed; trying again");
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }
}
