//! Asks the resolver of `/etc/resolv.conf`, as any program of a task would.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::Context;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

/// What came back.
pub struct Answer {
    /// Who answered.
    pub server: SocketAddr,
    /// The first address, if there was one.
    pub address: Option<Ipv4Addr>,
    /// How it was said.
    pub code: ResponseCode,
}

/// The answer to a question for addresses. Fails when nothing comes within `patience`.
pub fn resolve(name: &str, patience: Duration) -> anyhow::Result<Answer> {
    let text = std::fs::read_to_string("/etc/resolv.conf").context("/etc/resolv.conf")?;
    let server = text.lines().find_map(|line| line.strip_prefix("nameserver ")).context("no nameserver")?;
    let server = SocketAddr::new(server.trim().parse()?, 53);
    let mut question = Message::new(7, MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(Name::from_ascii(format!("{name}."))?, RecordType::A));
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(patience))?;
    socket.send_to(&question.to_vec()?, server)?;
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).with_context(|| format!("{server} is silent"))?;
    let answer = Message::from_vec(&buffer[..length])?;
    let address = answer.answers.iter().find_map(|record| match &record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    });
    Ok(Answer { server, address, code: answer.metadata.response_code })
}
