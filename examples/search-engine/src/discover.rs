//! Finds a service by its name: SRV records for the ports, A and AAAA records for the addresses. Speaks DNS
//! itself, because a static binary has no NSS, and an image `FROM scratch` no files for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::SRV;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// A name server in the same cluster answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// The answer size that needs no fragments.
const SIZE: u16 = 1232;

/// Instances that are fed at most.
const SERVERS_MAX: usize = 16;

/// Where the service of this name answers: `searchengine.marathon.mesos` has its ports under
/// `_searchengine._tcp.marathon.mesos`.
pub(crate) async fn find(name: &str, resolver: Option<&str>) -> anyhow::Result<Vec<SocketAddr>> {
    let mut failure = anyhow::anyhow!("there is no name server in /etc/resolv.conf");
    for server in name_servers(resolver)? {
        match find_through(server, name).await {
            Ok(found) => return Ok(found),
            Err(error) => failure = error.context(format!("name server {server}")),
        }
    }
    Err(failure)
}

async fn find_through(server: SocketAddr, name: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let service = service_name(name).with_context(|| format!("`{name}` is no name of a service"))?;
    let answer = ask(server, &service, RecordType::SRV).await?;
    let mut found = Vec::new();
    for target in answer.answers.iter().filter_map(service_of).take(SERVERS_MAX) {
        let given = addresses(&answer.additionals, &target.target);
        let addresses = if given.is_empty() {
            let asked = ask(server, &target.target.to_string(), RecordType::A).await?;
            addresses(&asked.answers, &target.target)
        } else {
            given
        };
        found.extend(addresses.first().map(|ip| SocketAddr::new(*ip, target.port)));
    }
    if found.is_empty() {
        bail!("nothing runs as {name} ({service} has no SRV record)");
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn service_name(name: &str) -> Option<String> {
    let (first, rest) = name.trim_end_matches('.').split_once('.')?;
    Some(format!("_{first}._tcp.{rest}."))
}

fn service_of(record: &Record) -> Option<&SRV> {
    match &record.data {
        RData::SRV(service) => Some(service),
        _ => None,
    }
}

fn addresses(records: &[Record], name: &Name) -> Vec<IpAddr> {
    records.iter().filter(|record| record.name == *name).filter_map(|record| record.data.ip_addr()).collect()
}

/// `$RESOLVER`, or the lines of `/etc/resolv.conf`.
fn name_servers(resolver: Option<&str>) -> anyhow::Result<Vec<SocketAddr>> {
    if let Some(text) = resolver {
        let with_port = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 53)));
        return Ok(vec![with_port.with_context(|| format!("$RESOLVER is `{text}`, not IP or IP:PORT"))?]);
    }
    let text = std::fs::read_to_string("/etc/resolv.conf").context("cannot read /etc/resolv.conf")?;
    Ok(resolv_conf(&text))
}

fn resolv_conf(text: &str) -> Vec<SocketAddr> {
    let address =
        |line: &str| line.trim().strip_prefix("nameserver")?.split_whitespace().next()?.parse().ok();
    text.lines().filter_map(address).map(|ip: IpAddr| SocketAddr::new(ip, 53)).collect()
}

async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> anyhow::Result<Message> {
    let query = query(name, kind)?;
    let (id, bytes) = (query.metadata.id, query.to_vec()?);
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let exchange = async {
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(server).await?;
        socket.send(&bytes).await?;
        let mut buffer = vec![0; SIZE.into()];
        loop {
            let length = socket.recv(&mut buffer).await?;
            match Message::from_vec(&buffer[..length]) {
                Ok(answer) if is_answer(&answer, id) => return anyhow::Ok(answer),
                _ => {}
            }
        }
    };
    let answer = timeout(PATIENCE, exchange).await.with_context(|| format!("no answer for {name}"))??;
    match answer.metadata.response_code {
        ResponseCode::NoError => Ok(answer),
        ResponseCode::NXDomain => bail!("{name} does not exist (is it running?)"),
        code => bail!("{name}: {code}"),
    }
}

fn is_answer(message: &Message, id: u16) -> bool {
    message.metadata.message_type == MessageType::Response && message.metadata.id == id
}

fn query(name: &str, kind: RecordType) -> anyhow::Result<Message> {
    let name = Name::from_ascii(name).with_context(|| format!("`{name}` is no DNS name"))?;
    let mut message = Message::new(random_id(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    let mut edns = Edns::new();
    edns.set_max_payload(SIZE);
    message.edns = Some(edns);
    Ok(message)
}

/// The keys of std's hash maps are random: enough to tell answers of this second from others.
fn random_id() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(()) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::A;

    #[test]
    fn names_and_files_are_read() {
        assert_eq!(
            service_name("searchengine.marathon.mesos").as_deref(),
            Some("_searchengine._tcp.marathon.mesos.")
        );
        assert_eq!(service_name("localhost"), None);
        let conf = "# x\nnameserver 10.0.0.1\nsearch a\n nameserver ::1 # y\nnameserver\nnameserver x";
        assert_eq!(resolv_conf(conf), ["10.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
        assert_eq!(name_servers(Some("10.0.0.1")).unwrap(), ["10.0.0.1:53".parse().unwrap()]);
        assert_eq!(name_servers(Some("10.0.0.1:8053")).unwrap(), ["10.0.0.1:8053".parse().unwrap()]);
        assert!(name_servers(Some("x")).is_err());
    }

    /// A name server that knows two instances, one with its address in the additional section.
    async fn name_server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = vec![0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                // An answer to another question comes first, and must not be taken.
                let mut other = Message::from_vec(&buffer[..length]).unwrap();
                other.metadata.id ^= 1;
                other.metadata.message_type = MessageType::Response;
                socket.send_to(&other.to_vec().unwrap(), from).await.unwrap();
                socket.send_to(&answer(&buffer[..length]), from).await.unwrap();
            }
        });
        at
    }

    fn answer(query: &[u8]) -> Vec<u8> {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let a = |text: &str, n: u8| Record::from_rdata(name(text), 5, RData::A(A([10, 0, 0, n].into())));
        let mut message = Message::from_vec(query).unwrap();
        message.metadata.message_type = MessageType::Response;
        let asked = message.queries[0].name().clone();
        match asked.to_string().as_str() {
            "_searchengine._tcp.marathon.mesos." => {
                for (port, target) in [(31_000, "one.mesos."), (31_001, "two.mesos.")] {
                    let service = RData::SRV(SRV::new(0, 1, port, name(target)));
                    message.add_answer(Record::from_rdata(asked.clone(), 5, service));
                }
                message.add_additional(a("one.mesos.", 1));
            }
            "two.mesos." => {
                message.add_answer(a("two.mesos.", 2));
            }
            _ => message.metadata.response_code = ResponseCode::NXDomain,
        }
        message.to_vec().unwrap()
    }

    #[tokio::test]
    async fn every_instance_is_found_with_its_port() {
        let resolver = name_server().await.to_string();
        let found = find("searchengine.marathon.mesos", Some(&resolver)).await.unwrap();
        assert_eq!(found, ["10.0.0.1:31000".parse().unwrap(), "10.0.0.2:31001".parse().unwrap()]);
        let error = find("other.marathon.mesos", Some(&resolver)).await.unwrap_err();
        assert!(format!("{error:#}").contains("does not exist"), "{error:#}");
    }
}
