//! The name server that tasks of this agent get: where it listens and what it is told. How it answers is
//! in `dns::resolver`.
//!
//! `resolv.conf` knows no ports, so it has to be port 53: of a loopback address that is free (tasks that
//! share the host's network), and of the host's address on Docker's bridge (containers behind it). Where
//! that may not be had, tasks keep the machine's resolvers and the log says what to do.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use dns::Upstream;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::options::ResolverChoice;
use crate::runtime::Resolvers;

/// The port that `resolv.conf` means.
const PORT: u16 = 53;
/// Loopback addresses that are tried: one an agent, and several agents can share a machine. Not those of
/// systemd's resolver (127.0.0.53 and .54) and not 127.0.1.1, which Debian gives the machine's own name.
const LOOPBACKS: std::ops::RangeInclusive<u8> = 53..=84;

/// The running name server.
#[derive(Debug)]
pub struct Resolver {
    /// What tasks are given.
    pub addresses: Resolvers,
    masters: watch::Sender<Vec<SocketAddr>>,
    domain: watch::Sender<Option<String>>,
    choice: ResolverChoice,
    shutdown: CancellationToken,
    serving: Vec<AbortOnDropHandle<()>>,
}

type Sockets = (UdpSocket, TcpListener);

/// Starts listening. `last` is the address of the last time: tasks that still run ask there. Questions
/// are answered once [`Resolver::learn`] has said where masters are.
pub async fn start(
    choice: ResolverChoice,
    last: Option<IpAddr>,
    bridge: Option<IpAddr>,
    shutdown: CancellationToken,
) -> Resolver {
    let mut sockets = Vec::new();
    let addresses = match choice {
        ResolverChoice::Off => Resolvers::default(),
        ResolverChoice::On(ip) => on(ip, bridge, &mut sockets).await,
        ResolverChoice::Auto => anywhere(last, bridge, &mut sockets).await,
    };
    let (masters, domain) = (watch::Sender::new(Vec::new()), watch::Sender::new(None));
    let mut resolver = Resolver { addresses, masters, domain, choice, shutdown, serving: Vec::new() };
    resolver.serve(sockets);
    resolver
}

impl Resolver {
    fn serve(&mut self, sockets: Vec<Sockets>) {
        if sockets.is_empty() {
            return;
        }
        let Resolvers { host, bridge } = self.addresses;
        info!(?host, ?bridge, "tasks are given this name server");
        let serving =
            serve(sockets, self.masters.subscribe(), self.domain.subscribe(), self.shutdown.clone());
        self.serving.push(AbortOnDropHandle::new(tokio::spawn(serving)));
    }

    /// Docker has come up after the agent: containers behind its bridge get a name server too.
    pub async fn reach(&mut self, bridge: Option<IpAddr>) {
        if self.choice == ResolverChoice::Off || self.addresses.bridge.is_some() {
            return;
        }
        let mut sockets = Vec::new();
        self.addresses.bridge = on_bridge(bridge, &mut sockets).await;
        self.serve(sockets);
    }

    /// Says where masters answer DNS, and for which domain.
    pub fn learn(&self, masters: &[SocketAddr], domain: &str) {
        self.masters.send_if_modified(|known| {
            let changed = known != masters;
            known.clear();
            known.extend_from_slice(masters);
            changed
        });
        self.domain.send_if_modified(|known| {
            let changed = known.as_deref() != Some(domain);
            *known = Some(domain.to_owned());
            changed
        });
    }
}

async fn serve(
    sockets: Vec<Sockets>,
    masters: watch::Receiver<Vec<SocketAddr>>,
    mut domain: watch::Receiver<Option<String>>,
    shutdown: CancellationToken,
) {
    let own = sockets.iter().filter_map(|(udp, _)| udp.local_addr().ok()).collect();
    let Ok(domain) = domain.wait_for(Option::is_some).await.map(|domain| domain.clone().unwrap_or_default())
    else {
        return;
    };
    let served = dns::resolver::serve(sockets, masters, &domain, Upstream::system(own), shutdown).await;
    if let Err(error) = served {
        warn!(%error, "the name server for tasks has stopped");
    }
}

/// On the address that was asked for; containers behind a bridge reach it unless it is a loopback one.
async fn on(ip: IpAddr, bridge: Option<IpAddr>, sockets: &mut Vec<Sockets>) -> Resolvers {
    match bind(ip).await {
        Ok(pair) => sockets.push(pair),
        Err(error) => {
            complain(ip, &error);
            return Resolvers::default();
        }
    }
    let bridge = if ip.is_loopback() { on_bridge(bridge, sockets).await } else { Some(ip) };
    Resolvers { host: Some(ip), bridge }
}

/// On the first loopback address that is free, and on the bridge. Without the right to port 53 there is
/// neither, and one complaint.
async fn anywhere(last: Option<IpAddr>, bridge: Option<IpAddr>, sockets: &mut Vec<Sockets>) -> Resolvers {
    let candidates = LOOPBACKS.map(|last| IpAddr::from(Ipv4Addr::new(127, 0, 1, last)));
    for ip in last.into_iter().chain(candidates) {
        match bind(ip).await {
            Ok(pair) => {
                sockets.push(pair);
                return Resolvers { host: Some(ip), bridge: on_bridge(bridge, sockets).await };
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                complain(ip, &error);
                return Resolvers::default();
            }
            Err(_) => {}
        }
    }
    warn!(
        "port 53 is taken on every address from 127.0.1.53 to 127.0.1.84: {LOSS}. Choose one with --resolver-ip"
    );
    Resolvers { host: None, bridge: on_bridge(bridge, sockets).await }
}

async fn on_bridge(bridge: Option<IpAddr>, sockets: &mut Vec<Sockets>) -> Option<IpAddr> {
    let ip = bridge?;
    match bind(ip).await {
        Ok(pair) => {
            sockets.push(pair);
            return Some(ip);
        }
        // The Engine runs in another network than we do, or has no bridge: nothing to mend here.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            info!(%ip, "Docker's bridge is not on this machine: containers behind it get the machine's resolvers");
        }
        Err(error) => {
            warn!(%ip, %error, "port 53 could not be opened on Docker's bridge: containers behind it get the machine's \
                resolvers and do not see names of the cluster; is another name server there?");
        }
    }
    None
}

async fn bind(ip: IpAddr) -> io::Result<Sockets> {
    Ok((UdpSocket::bind((ip, PORT)).await?, TcpListener::bind((ip, PORT)).await?))
}

const LOSS: &str = "tasks get the machine's own resolvers and do not see names of the cluster";

fn complain(ip: IpAddr, error: &io::Error) {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "run the agent as root, or allow it the port with `setcap cap_net_bind_service=+ep` on its program"
        }
        _ => "choose a free address with --resolver-ip",
    };
    warn!(%ip, %error, "port 53 could not be opened for tasks: {LOSS}. To mend it, {remedy}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn off_means_the_machines_own() {
        let resolver = start(ResolverChoice::Off, None, None, CancellationToken::new()).await;
        assert_eq!(resolver.addresses, Resolvers::default());
        resolver.learn(&[], "mesos");
    }

    /// Whether port 53 may be had depends on who runs this.
    #[tokio::test]
    async fn a_bridge_that_comes_late_is_served_unless_nothing_is() {
        let bridge: IpAddr = "127.9.8.7".parse().unwrap();
        let possible = bind(bridge).await.is_ok();
        let elsewhere: IpAddr = "127.9.8.8".parse().unwrap();
        let mut resolver = start(ResolverChoice::On(elsewhere), None, None, CancellationToken::new()).await;
        resolver.reach(None).await;
        assert_eq!(resolver.addresses.bridge, None);
        resolver.reach(Some(bridge)).await;
        assert_eq!(resolver.addresses.bridge, possible.then_some(bridge));
        let mut off = start(ResolverChoice::Off, None, None, CancellationToken::new()).await;
        off.reach(Some("127.9.8.9".parse().unwrap())).await;
        assert_eq!(off.addresses.bridge, None);
    }

    /// Binding needs privileges, or an address that is not there: either way the agent goes on.
    #[tokio::test]
    async fn an_address_that_cannot_be_had_is_no_failure() {
        let elsewhere: IpAddr = "192.0.2.1".parse().unwrap();
        let resolver = start(ResolverChoice::On(elsewhere), None, None, CancellationToken::new()).await;
        assert_eq!(resolver.addresses, Resolvers::default());
    }
}
