//! Puts the parts of a master together; nothing else.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use dns::Zone;
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use uuid::Uuid;

use crate::cluster::{AskError, Cluster, Options};
use crate::consensus::{self, Handle};
use crate::machine::StateMachine;
use crate::state::Command;
use crate::{api, fleet, leader, names, proposer};

/// Pause before a cluster is named again.
const FOUND_PAUSE: Duration = Duration::from_millis(200);
/// How often a free pair of ports is looked for.
const DNS_ATTEMPTS: usize = 16;

/// Why a master did not start.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// An address could not be bound.
    #[error("cannot listen on {address} for {purpose}: {source}{}", way_out(source))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// `REST`, `agents` or `DNS`.
        purpose: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The log could not be opened.
    #[error(transparent)]
    Log(#[from] consensus::OpenError),
}

/// What a person can do about an address that cannot be had. Who else may have it is for the program to say,
/// which knows its options.
fn way_out(source: &io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::PermissionDenied => {
            "; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE: take a higher one"
        }
        ErrorKind::AddrNotAvailable => "; this machine has no such address (`ip address` shows those it has)",
        _ => "",
    }
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
    /// Binds, opens the log, and serves. Names and apps are answered for as soon as the log has been read,
    /// and refused until then: half of a log is not what the cluster is.
    pub async fn start(setup: Setup) -> Result<Self, MasterError> {
        let Setup { mut options, data_dir, bootstrap } = setup;
        let http = listen(options.http, "REST").await?;
        let rpc = listen(options.rpc, "agents").await?;
        let (dns_udp, dns_tcp) = listen_dns(options.dns).await?;
        let bound = http.local_addr().unwrap_or(options.http);
        let asked = std::mem::replace(&mut options.http, bound);
        options.advertised_http = advertised(&options.advertised_http, asked, options.http);
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
        let (reading, stop) = (cluster.clone(), shutdown.clone());
        tasks.spawn(async move {
            // Questions wait in the socket meanwhile: "no such name" would be a lie that resolvers keep.
            if names::complete(&reading, &stop).await
                && let Err(error) = dns::server::serve(dns_udp, dns_tcp, zone, upstream, stop).await
            {
                warn!(%error, "the name server ended");
            }
        });
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
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| MasterError::Bind { address, purpose, source })
}

/// UDP and TCP on one number, also when the system chooses it: it chooses for TCP alone.
async fn listen_dns(address: SocketAddr) -> Result<(UdpSocket, TcpListener), MasterError> {
    let mut attempts = if address.port() == 0 { DNS_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match bind_dns(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse && attempts > 0 => {}
            bound => {
                let fail = |source| MasterError::Bind { address, purpose: "DNS", source };
                return bound.map_err(fail);
            }
        }
    }
}

async fn bind_dns(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let tcp = TcpListener::bind(address).await?;
    Ok((UdpSocket::bind(tcp.local_addr()?).await?, tcp))
}

/// What others are told: a port that the system chose is known only now.
fn advertised(told: &str, asked: SocketAddr, bound: SocketAddr) -> String {
    match told.rsplit_once(':') {
        Some((host, "0")) if asked.port() == 0 => format!("{host}:{}", bound.port()),
        _ => told.to_owned(),
    }
}

/// Opening replays the log: not on a runtime thread.
async fn open_log(
    data_dir: PathBuf,
    name: String,
    bootstrap: bool,
    machine: StateMachine,
) -> Result<Handle<StateMachine>, MasterError> {
    let start = if bootstrap { consensus::Start::Found } else { consensus::Start::Existing };
    let options = consensus::Options::new(data_dir, name, start, fastrand::u64(..));
    let opened = tokio::task::spawn_blocking(move || consensus::open(options, machine)).await;
    Ok(opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?)
}

/// Names a new cluster as soon as this master leads it.
async fn found(cluster: Arc<Cluster>, shutdown: CancellationToken) {
    let mut leadership = cluster.leadership();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            leads = leadership.wait_for(|now| now.leading) => if leads.is_err() { return },
        }
        if !cluster.state().cluster_id.is_nil() {
            return;
        }
        match cluster.ask(Command::Found { cluster_id: Uuid::new_v4() }).await {
            Ok(_) | Err(AskError::Closed) => return,
            Err(error) => warn!(%error, "naming the cluster failed; trying again"),
        }
        tokio::time::sleep(FOUND_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_cannot_be_had_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let rest = listen(address, "REST").await.unwrap_err().to_string();
        let dns = listen_dns(address).await.unwrap_err().to_string();
        for (error, purpose) in [(rest, "REST"), (dns, "DNS")] {
            assert!(error.contains(&address.to_string()) && error.contains(purpose), "{error}");
        }
        let foreign = listen("192.0.2.1:80".parse().unwrap(), "agents").await.unwrap_err().to_string();
        assert!(foreign.contains("no such address"), "{foreign}");
    }

    #[tokio::test]
    async fn names_are_asked_on_one_number() {
        let (udp, tcp) = listen_dns("127.0.0.1:0".parse().unwrap()).await.unwrap();
        assert_eq!(udp.local_addr().unwrap(), tcp.local_addr().unwrap());
    }

    #[test]
    fn what_is_advertised_is_what_was_bound() {
        let [any, bound]: [SocketAddr; 2] = ["10.0.0.1:0".parse().unwrap(), "10.0.0.1:99".parse().unwrap()];
        for (told, asked, expected) in [
            ("10.0.0.1:0", any, "10.0.0.1:99"),
            ("[::1]:0", any, "[::1]:99"),
            ("m.example:80", any, "m.example:80"),
            ("10.0.0.1:99", bound, "10.0.0.1:99"),
        ] {
            assert_eq!(advertised(told, asked, bound), expected);
        }
    }
}
