//! One DNS question to one server, to show that a name answers.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, bail};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};

/// Asks `server` for an address of `name`.
pub fn address(server: SocketAddr, name: &str) -> anyhow::Result<IpAddr> {
    let answers = ask(server, name, RecordType::A)?;
    let found = answers.into_iter().find_map(|data| match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        _ => None,
    });
    found.with_context(|| format!("{server} has no address for {name}"))
}

/// Asks `server` for a port of the service `name`.
pub fn port(server: SocketAddr, name: &str) -> anyhow::Result<u16> {
    let answers = ask(server, name, RecordType::SRV)?;
    let found = answers.into_iter().find_map(|data| match data {
        RData::SRV(service) => Some(service.port),
        _ => None,
    });
    found.with_context(|| format!("{server} has no service {name}"))
}

fn ask(server: SocketAddr, name: &str, kind: RecordType) -> anyhow::Result<Vec<RData>> {
    let mut question = Message::new(1, MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(Name::from_ascii(format!("{name}."))?, kind));
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send_to(&question.to_vec()?, server)?;
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).with_context(|| format!("{server} does not answer"))?;
    let answer = Message::from_vec(&buffer[..length])?;
    if answer.answers.is_empty() {
        bail!("{server} answers {} for {name}", answer.metadata.response_code);
    }
    Ok(answer.answers.into_iter().map(|record| record.data).collect())
}
