//! Puts the parts of a master together; nothing else.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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
use crate::fleet::Fleet;
use crate::machine::StateMachine;
use crate::masters::{self, Masters};
use crate::peers::{self, JoinError, Peers, Reporter, Switch};
use crate::state::{Command, MasterInfo};
use crate::{api, leader, names, proposer, rpc};

/// Pause before a cluster is named again.
const FOUND_PAUSE: Duration = Duration::from_millis(200);
/// What an orderly stop waits for another master to lead.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(1);
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
    /// The cluster did not let it in.
    #[error(transparent)]
    Join(#[from] JoinError),
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
    /// How it begins.
    pub start: Start,
    /// Called by threads of its own that have nothing to do, many times a second: for an allocator that gives memory
    /// back by thread.
    pub at_rest: fn(),
}

/// How a master begins. One whose directory holds a log goes on with it, whatever is said here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// There must be a log.
    Existing,
    /// As the first master of a new cluster.
    Bootstrap,
    /// As a new master of the cluster that these masters belong to (their `--rpc`). One that has a log says
    /// there where it is now: so masters find each other when all addresses have changed.
    Join(Vec<SocketAddr>),
}

/// A running master.
pub struct Master {
    cluster: Arc<Cluster>,
    log: Handle<StateMachine>,
    masters: Arc<Masters>,
    peers: Arc<Peers>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Master {
    /// Binds, opens the log (joins a cluster first, which takes as long as it takes), and serves. REST refuses
    /// with "no leader" until the log has been read, and names wait: half of a log is not what the cluster is.
    pub async fn start(setup: Setup) -> Result<Self, MasterError> {
        let Setup { mut options, data_dir, start, at_rest } = setup;
        let sockets = Sockets::bind(&mut options).await?;
        let (cluster, inlets) = Cluster::new(options);
        let info = cluster.options.info();
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let unless_started = shutdown.clone().drop_guard();
        // Before there is a log, which may take long: whoever asks hears that there is no leader.
        serve_rest(&tasks, &cluster, sockets.http, &shutdown);
        let opened = open_log(&cluster, &info, (data_dir, at_rest), &start).await;
        if opened.is_err() {
            shutdown.cancel();
            tasks.close();
            tasks.wait().await;
        }
        let (log, switch, reporter) = opened?;
        let contacts = if let Start::Join(addresses) = start { addresses } else { Vec::new() };

        let masters = Masters::new(cluster.clone(), log.clone(), info);
        let peers = Peers::new(cluster.clone(), log.clone(), masters.clone(), switch, shutdown.clone());
        let fleet = Fleet::new(cluster.clone(), shutdown.clone());
        tasks.spawn(peers.clone().run(reporter, contacts));
        tasks.spawn(masters::serve(masters.clone(), peers.clone(), inlets.masters, shutdown.clone()));
        tasks.spawn(proposer::run(inlets.commands, cluster.clone(), log.clone(), shutdown.clone()));
        tasks.spawn(found(cluster.clone(), shutdown.clone()));
        tasks.spawn(leader::run(cluster.clone(), shutdown.clone()));
        let tending = fleet.clone();
        tasks.spawn(async move { tending.run(inlets.logs).await });
        tasks.spawn(rpc::serve(sockets.rpc, fleet, peers.clone(), shutdown.clone()));
        serve_names(&tasks, &cluster, &peers, (sockets.dns_udp, sockets.dns_tcp), &shutdown);
        tasks.close();
        info!(http = %cluster.options.http, rpc = %cluster.options.rpc, dns = %cluster.options.dns, "master is up");
        unless_started.disarm();
        Ok(Self { cluster, log, masters, peers, tasks, shutdown })
    }

    /// What its parts share.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Resolves when the log has failed, or the other masters have no place for this one, and it can do nothing
    /// more: the reason.
    pub async fn failed(&self) -> String {
        tokio::select! {
            ended = self.log.join() => match ended {
                Ok(()) => "its log was closed".to_owned(),
                Err(reason) => reason.to_string(),
            },
            reason = self.peers.dismissed() => reason,
        }
    }

    /// Lets another master lead if there is one, stops serving and closes the log. Tasks go on running.
    pub async fn stop(self) {
        if self.log.status().borrow().leading {
            // A planned stop is no gap for anybody; who cannot hand over stops all the same.
            let _ = tokio::time::timeout(HANDOVER_TIMEOUT, self.masters.transfer(None)).await;
        }
        self.shutdown.cancel();
        self.tasks.wait().await;
        if let Err(reason) = self.log.shutdown().await {
            warn!(%reason, "the log had stopped before");
        }
    }
}

/// A master that is dropped stops as if it had crashed: nobody is told.
impl Drop for Master {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Everything that a master listens on.
struct Sockets {
    http: TcpListener,
    rpc: TcpListener,
    dns_udp: UdpSocket,
    dns_tcp: TcpListener,
}

impl Sockets {
    /// Binds what the options say, and writes into them what came of it.
    async fn bind(options: &mut Options) -> Result<Self, MasterError> {
        let http = listen(options.http, "REST").await?;
        let rpc = listen(options.rpc, "agents").await?;
        let (dns_udp, dns_tcp) = listen_dns(options.dns).await?;
        let bound = http.local_addr().unwrap_or(options.http);
        let asked = std::mem::replace(&mut options.http, bound);
        options.advertised_http = advertised(&options.advertised_http, asked, options.http);
        options.rpc = rpc.local_addr().unwrap_or(options.rpc);
        options.dns = dns_tcp.local_addr().unwrap_or(options.dns);
        Ok(Self { http, rpc, dns_udp, dns_tcp })
    }
}

fn serve_rest(
    tasks: &TaskTracker,
    cluster: &Arc<Cluster>,
    listener: TcpListener,
    shutdown: &CancellationToken,
) {
    let (cluster, stop) = (cluster.clone(), shutdown.clone());
    tasks.spawn(async move {
        if let Err(error) = api::serve(listener, cluster, stop).await {
            warn!(%error, "the REST server ended");
        }
    });
}

/// Keeps the zone, and answers from it once it is whole.
fn serve_names(
    tasks: &TaskTracker,
    cluster: &Arc<Cluster>,
    peers: &Arc<Peers>,
    (udp, tcp): (UdpSocket, TcpListener),
    shutdown: &CancellationToken,
) {
    let domain = cluster.options.dns_domain.clone();
    let empty = Zone::new(dns::Settings { domain, ..dns::Settings::default() });
    let zone = Arc::new(ArcSwap::from_pointee(empty.clone()));
    tasks.spawn(names::run(cluster.clone(), zone.clone(), empty, shutdown.clone()));
    let upstream = dns::Upstream::system(vec![cluster.options.dns]);
    let (cluster, peers, stop) = (cluster.clone(), peers.clone(), shutdown.clone());
    tasks.spawn(async move {
        // Questions wait in the socket meanwhile: "no such name" would be a lie that resolvers keep.
        let whole = tokio::select! {
            whole = names::complete(&cluster, &stop) => whole,
            () = peers.caught_up() => true,
        };
        if whole && let Err(error) = dns::server::serve(udp, tcp, zone, upstream, stop).await {
            warn!(%error, "the name server ended");
        }
    });
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

type Log = (Handle<StateMachine>, Switch, Reporter);

/// Goes on with the log that is there; else begins one as it is told.
async fn open_log(
    cluster: &Arc<Cluster>,
    info: &MasterInfo,
    (data_dir, at_rest): (PathBuf, fn()),
    start: &Start,
) -> Result<Log, MasterError> {
    match open(cluster, &data_dir, consensus::Start::Existing, at_rest).await {
        Err(consensus::OpenError::Empty(_)) => {}
        opened => {
            let log = opened?;
            peers::forget_ticket(&data_dir)?;
            return Ok(log);
        }
    }
    let begin = match start {
        Start::Existing => consensus::Start::Existing,
        Start::Bootstrap => consensus::Start::Found,
        Start::Join(addresses) => {
            let joined = peers::join(&data_dir, info, addresses).await?;
            consensus::Start::Join { id: joined.id, group: joined.group }
        }
    };
    let log = open(cluster, &data_dir, begin, at_rest).await?;
    peers::forget_ticket(&data_dir)?;
    Ok(log)
}

/// Opening replays the log: not on a runtime thread.
async fn open(
    cluster: &Arc<Cluster>,
    data_dir: &Path,
    start: consensus::Start,
    at_rest: fn(),
) -> Result<Log, consensus::OpenError> {
    let (switch, reporter) = peers::transport();
    let machine = StateMachine::new(cluster.clone());
    let name = cluster.options.name.clone();
    let usual = consensus::Options::new(data_dir, name, start, fastrand::u64(..));
    let options = consensus::Options { at_rest, ..usual };
    let transport = switch.clone();
    let opened = tokio::task::spawn_blocking(move || consensus::open_with(options, machine, transport)).await;
    let log = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    Ok((log, switch, reporter))
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
