//! The small forwarder that an agent runs for its tasks. Names of the cluster are asked of a master every
//! time, so that they stop when their tasks stop; while no master can be reached, the last answer is given
//! again. Other names go to the machine's resolvers and are kept for as long as these allow.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::Name;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::exchange::Patience;
use crate::forward::{self, Upstream};
use crate::listen::{self, Handler};
use crate::packet::{self, Query, Via};
use crate::zone::{fqdn, is_domain};

/// Masters answer from memory, in the same data centre. Five of them can be tried before a stub that waits
/// its usual five seconds asks again.
const PATIENCE: Patience = Patience { resend: Duration::from_millis(150), limit: Duration::from_millis(500) };

/// Masters that are tried for one question.
const MASTERS_MAX: usize = 5;

/// For so long after no master answered, known names are answered without asking, and so without waiting.
const SILENT_FOR: Duration = Duration::from_secs(1);

/// Answers on every pair of sockets until `shutdown`. `masters` are the addresses where masters answer DNS,
/// and `domain` is theirs.
pub async fn serve(
    listen: Vec<(UdpSocket, TcpListener)>,
    masters: watch::Receiver<Vec<SocketAddr>>,
    domain: &str,
    upstream: Upstream,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let no_name = || io::Error::new(io::ErrorKind::InvalidInput, format!("`{domain}` is no DNS domain"));
    let resolver = Arc::new(Resolver {
        masters,
        apex: fqdn(domain).filter(|_| is_domain(domain)).ok_or_else(no_name)?,
        upstream,
        cluster: Mutex::default(),
        world: Mutex::default(),
        preferred: AtomicUsize::new(0),
        silent_since: Mutex::default(),
    });
    let mut all = JoinSet::new();
    for (udp, tcp) in listen {
        all.spawn(listen::serve(udp, tcp, resolver.clone(), shutdown.clone()));
    }
    while let Some(ended) = all.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(())
}

struct Resolver {
    masters: watch::Receiver<Vec<SocketAddr>>,
    apex: Name,
    upstream: Upstream,
    /// What masters said last; only for when none can be reached.
    cluster: Mutex<Cache>,
    /// What the machine's resolvers said. Apart from `cluster`, so that no crawler can push the cluster out.
    world: Mutex<Cache>,
    /// Position of the master that answered last.
    preferred: AtomicUsize,
    /// When all masters were found silent.
    silent_since: Mutex<Option<Instant>>,
}

impl Handler for Resolver {
    fn at_once(&self, query: &Query, packet: &[u8], via: Via) -> Option<Vec<u8>> {
        let now = Instant::now();
        let kept = if !self.apex.zone_of(&query.name) {
            lock(&self.world).fresh(packet, now)
        } else if self.all_silent(now) {
            lock(&self.cluster).stale(packet)
        } else {
            None
        };
        kept.map(|reply| packet::fitting(reply, packet, via))
    }

    async fn later(&self, query: Query, packet: Vec<u8>, via: Via) -> Vec<u8> {
        if self.apex.zone_of(&query.name) {
            return self.ask_masters(&packet, via).await;
        }
        let reply = self.upstream.answer(&packet, via).await;
        if !forward::is_failure(&reply) {
            lock(&self.world).put(&packet, &reply, Instant::now());
        }
        reply
    }
}

impl Resolver {
    async fn ask_masters(&self, packet: &[u8], via: Via) -> Vec<u8> {
        let masters = self.masters.borrow().clone();
        let first = self.preferred.load(Ordering::Relaxed);
        for turn in 0..masters.len().min(MASTERS_MAX) {
            let position = first.wrapping_add(turn) % masters.len();
            let master = masters[position];
            match forward::ask(master, packet, via, PATIENCE).await {
                Ok(reply) if forward::is_failure(&reply) => {
                    tracing::debug!(%master, code = %packet::code(&reply), "a master has no answer");
                }
                Ok(reply) => {
                    self.preferred.store(position, Ordering::Relaxed);
                    self.heard(packet, &reply);
                    return reply;
                }
                Err(error) => tracing::debug!(%master, %error, "a master did not answer"),
            }
        }
        self.without_masters(packet, via)
    }

    fn heard(&self, packet: &[u8], reply: &[u8]) {
        lock(&self.cluster).put(packet, reply, Instant::now());
        *lock(&self.silent_since) = None;
    }

    fn without_masters(&self, packet: &[u8], via: Via) -> Vec<u8> {
        let before = lock(&self.silent_since).replace(Instant::now());
        if before.is_none() {
            tracing::warn!("no master answers DNS: names are answered as they were last known");
        }
        match lock(&self.cluster).stale(packet) {
            Some(reply) => packet::fitting(reply, packet, via),
            None => packet::error(packet, ResponseCode::ServFail),
        }
    }

    fn all_silent(&self, now: Instant) -> bool {
        lock(&self.silent_since).is_some_and(|since| now.saturating_duration_since(since) < SILENT_FOR)
    }
}

/// What these locks guard is whole between any two statements, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
