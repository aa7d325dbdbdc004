//! Hands questions about the rest of the world to the machine's own resolvers, and their answers back, byte
//! for byte. Keeps nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_proto::op::ResponseCode;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::exchange::{self, Patience};
use crate::packet::{self, Via};

/// glibc asks again after five seconds: two resolvers can be tried before that.
const PATIENCE: Patience = Patience { resend: Duration::from_millis(900), limit: Duration::from_secs(2) };

/// Resolvers that are tried; the rest of a longer list would only be reached after the asker has given up.
const RESOLVERS_MAX: usize = 3;

/// How often the file is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A resolv.conf is some lines; what is larger than this is something else.
const FILE_MAX: usize = 64 * 1024;

/// Who answers what the zone does not contain. Clones share what they read.
#[derive(Clone, Debug)]
pub struct Upstream(Source);

#[derive(Clone, Debug)]
enum Source {
    Fixed(Arc<[SocketAddr]>),
    File(Arc<File>),
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    own: Vec<SocketAddr>,
    read: Mutex<Option<Read>>,
}

#[derive(Clone, Debug)]
struct Read {
    looked: Instant,
    changed: Option<SystemTime>,
    resolvers: Arc<[SocketAddr]>,
}

impl Upstream {
    /// The resolvers of `/etc/resolv.conf`, read again when it changes. `own` are the addresses on which we
    /// answer ourselves: asking those would go round in circles.
    pub fn system(own: Vec<SocketAddr>) -> Self {
        Self::file("/etc/resolv.conf", own)
    }

    /// The resolvers of another file in the format of `resolv.conf(5)`.
    pub fn file(path: impl Into<PathBuf>, own: Vec<SocketAddr>) -> Self {
        Self(Source::File(Arc::new(File { path: path.into(), own, read: Mutex::new(None) })))
    }

    /// These resolvers and no others.
    pub fn fixed(resolvers: impl Into<Arc<[SocketAddr]>>) -> Self {
        Self(Source::Fixed(resolvers.into()))
    }

    /// Nobody: names outside of the zone are refused.
    pub fn none() -> Self {
        Self::fixed([])
    }

    /// Who is asked now.
    pub async fn resolvers(&self) -> Arc<[SocketAddr]> {
        match &self.0 {
            Source::Fixed(resolvers) => resolvers.clone(),
            Source::File(file) => file.resolvers(Instant::now()).await,
        }
    }

    /// The answer to a query: of the first resolver that gives one. A failure that a resolver reports counts
    /// as none, but is better than silence. REFUSED without resolvers, SERVFAIL when none answers.
    pub async fn answer(&self, query: &[u8], via: Via) -> Vec<u8> {
        let resolvers = self.resolvers().await;
        if resolvers.is_empty() {
            return packet::error(query, ResponseCode::Refused);
        }
        let mut failure = None;
        for resolver in resolvers.iter().take(RESOLVERS_MAX) {
            match ask(*resolver, query, via, PATIENCE).await {
                Ok(reply) if is_failure(&reply) => failure = Some(reply),
                Ok(reply) => return reply,
                Err(error) => tracing::debug!(%resolver, %error, "a resolver did not answer"),
            }
        }
        failure.unwrap_or_else(|| packet::error(query, ResponseCode::ServFail))
    }
}

/// Does the answer only say that this server has none?
pub(crate) fn is_failure(reply: &[u8]) -> bool {
    matches!(packet::code(reply), ResponseCode::ServFail | ResponseCode::Refused | ResponseCode::NotImp)
}

/// UDP stays UDP, where a cut answer sends the asker itself to TCP; TCP asks by UDP first, as every stub
/// does, and again by TCP if the answer was cut.
pub(crate) async fn ask(
    server: SocketAddr,
    query: &[u8],
    via: Via,
    patience: Patience,
) -> io::Result<Vec<u8>> {
    let reply = exchange::ask(server, query, Via::Udp, patience).await?;
    if via == Via::Tcp && packet::is_truncated(&reply) {
        return exchange::ask(server, query, Via::Tcp, patience).await;
    }
    Ok(packet::fitting(reply, query, via))
}

impl File {
    async fn resolvers(&self, now: Instant) -> Arc<[SocketAddr]> {
        let mut read = self.read.lock().await;
        if let Some(read) = read.as_ref().filter(|read| now < read.looked + LOOK_AGAIN) {
            return read.resolvers.clone();
        }
        let changed = tokio::fs::metadata(&self.path).await.and_then(|about| about.modified()).ok();
        let resolvers = match read.as_ref().filter(|read| changed.is_some() && read.changed == changed) {
            Some(read) => read.resolvers.clone(),
            None => self.read_again().await,
        };
        *read = Some(Read { looked: now, changed, resolvers: resolvers.clone() });
        resolvers
    }

    async fn read_again(&self) -> Arc<[SocketAddr]> {
        let text = tokio::fs::read(&self.path).await.unwrap_or_else(|error| {
            tracing::warn!(path = %self.path.display(), %error, "cannot read the list of resolvers");
            Vec::new()
        });
        let text = String::from_utf8_lossy(&text[..text.len().min(FILE_MAX)]);
        let resolvers: Arc<[SocketAddr]> =
            name_servers(&text).filter(|resolver| !is_own(*resolver, &self.own)).collect();
        if resolvers.is_empty() {
            let path = self.path.display();
            tracing::warn!(%path, "no resolver: names outside of the cluster are refused");
        }
        resolvers
    }
}

/// The `nameserver` lines of a resolv.conf.
fn name_servers(text: &str) -> impl Iterator<Item = SocketAddr> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        // A zone (`fe80::1%eth0`) is not in the type of std; such resolvers are rare enough to leave out.
        address.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, 53))
    })
}

/// Would a question to this resolver come to ourselves? So it would at any address of this machine if we
/// listen on all of them.
fn is_own(resolver: SocketAddr, own: &[SocketAddr]) -> bool {
    own.iter().any(|own| {
        let everywhere = own.ip().is_unspecified() && own.port() == resolver.port();
        *own == resolver || (everywhere && is_of_this_machine(resolver.ip()))
    })
}

/// Only an address of this machine can be bound.
fn is_of_this_machine(ip: IpAddr) -> bool {
    std::net::UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn resolv_conf_is_read_as_the_manual_says() {
        let text = "# nameserver 1.1.1.1\nsearch a b\nnameserver 10.0.0.1\n nameserver\t::1 # x\n;x\n\
                    nameserver\nnameserver x\nnameservers 9.9.9.9";
        assert_eq!(name_servers(text).collect::<Vec<_>>(), [at("10.0.0.1:53"), at("[::1]:53")]);
    }

    #[test]
    fn we_do_not_ask_ourselves() {
        let own = |list: &[&str]| list.iter().map(|text| at(text)).collect::<Vec<_>>();
        assert!(is_own(at("127.0.0.2:53"), &own(&["127.0.0.2:53"])));
        assert!(!is_own(at("127.0.0.2:53"), &own(&["127.0.0.2:8053"])));
        assert!(is_own(at("127.0.0.1:53"), &own(&["0.0.0.0:53"])));
        assert!(
            !is_own(at("192.0.2.1:53"), &own(&["0.0.0.0:53"])),
            "an address for documentation is not ours"
        );
        assert!(!is_own(at("127.0.0.1:53"), &own(&["0.0.0.0:8053"])));
    }

    #[tokio::test]
    async fn a_changed_file_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        std::fs::write(&path, "nameserver 10.0.0.1\nnameserver 127.0.0.9\n").unwrap();
        let file = File { path: path.clone(), own: vec![at("127.0.0.9:53")], read: Mutex::new(None) };
        let start = Instant::now();
        assert_eq!(*file.resolvers(start).await, [at("10.0.0.1:53")]);
        std::fs::write(&path, "nameserver 10.0.0.2\n").unwrap();
        let later = SystemTime::now() + Duration::from_secs(3);
        std::fs::File::open(&path).unwrap().set_modified(later).unwrap();
        assert_eq!(
            *file.resolvers(start + LOOK_AGAIN / 2).await,
            [at("10.0.0.1:53")],
            "not looked at again yet"
        );
        assert_eq!(*file.resolvers(start + LOOK_AGAIN).await, [at("10.0.0.2:53")]);
        std::fs::remove_file(&path).unwrap();
        assert!(file.resolvers(start + 2 * LOOK_AGAIN).await.is_empty());
    }
}
