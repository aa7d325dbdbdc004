//! A task for tests: says what it was given. Without arguments it prints its environment, resolves
//! `DMLC_PS_ROOT_URI` through the resolver of `/etc/resolv.conf`, prints the answer, and sleeps. `exit N`
//! ends at once; `sleep` just sleeps.

use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, code] = args.as_slice()
        && verb == "exit"
    {
        println!("ending with {code}");
        return ExitCode::from(code.parse::<u8>().unwrap_or(1));
    }
    for (name, value) in std::env::vars() {
        println!("{name}={value}");
    }
    if let Ok(name) = std::env::var("DMLC_PS_ROOT_URI") {
        resolve_until_found(&name);
    }
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn resolve_until_found(name: &str) {
    loop {
        match resolve(name) {
            Ok(address) => return println!("resolved {name} to {address}"),
            Err(error) => println!("not yet: {error:#}"),
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn resolve(name: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/etc/resolv.conf").context("/etc/resolv.conf")?;
    let server = text.lines().find_map(|line| line.strip_prefix("nameserver ")).context("no nameserver")?;
    let server = SocketAddr::new(server.trim().parse()?, 53);
    let mut question = Message::new(7, MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(Name::from_ascii(format!("{name}."))?, RecordType::A));
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send_to(&question.to_vec()?, server)?;
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).with_context(|| format!("{server} is silent"))?;
    let answer = Message::from_vec(&buffer[..length])?;
    let address = answer.answers.iter().find_map(|record| match &record.data {
        RData::A(address) => Some(address.0.to_string()),
        _ => None,
    });
    match address {
        Some(address) => Ok(format!("{address} by {server}")),
        None => bail!("{server} answers {}", answer.metadata.response_code),
    }
}
