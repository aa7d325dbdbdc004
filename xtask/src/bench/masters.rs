//! Our masters under measurement: separate processes with default settings, and a client of their REST API.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::group::{Client, Kind};
use super::loopback;

/// A member that is less behind than this is in good standing: writes go on while it is asked.
const BEHIND_MAX: u64 = 64;

/// Where each of them listens, and where their data is.
pub(super) struct Masters {
    clusterctl: PathBuf,
    dir: PathBuf,
    http: Vec<SocketAddr>,
    rpc: Vec<SocketAddr>,
    dns: Vec<SocketAddr>,
}

impl Masters {
    pub(super) fn new(programs: &Path, dir: &Path, count: usize) -> anyhow::Result<Self> {
        let mut ports = loopback(count * 3)?.into_iter();
        let mut some = || ports.by_ref().take(count).collect();
        Ok(Self {
            clusterctl: programs.join("clusterctl"),
            dir: dir.to_owned(),
            http: some(),
            rpc: some(),
            dns: some(),
        })
    }

    /// Where they take agents, as a list for the command line.
    pub(super) fn rpc_addresses(&self) -> String {
        self.rpc.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// Where one keeps its data.
    pub(super) fn data(&self, member: usize) -> PathBuf {
        self.dir.join(name(member))
    }

    /// Where one answers DNS.
    pub(super) fn dns(&self, member: usize) -> SocketAddr {
        self.dns[member]
    }
}

impl Kind for Masters {
    const NAME: &'static str = "gantry";
    type Client = Rest;

    fn command(&self, member: usize) -> Command {
        let mut command = Command::new(&self.clusterctl);
        command.arg("master").arg("--data-dir").arg(self.data(member)).args(["--name", &name(member)]);
        for (option, addresses) in [("--http", &self.http), ("--rpc", &self.rpc), ("--dns", &self.dns)] {
            command.args([option, &addresses[member].to_string()]);
        }
        if member == 0 {
            command.arg("--bootstrap");
        } else {
            command.args(["--join", &self.rpc[0].to_string()]);
        }
        command.env("GANTRY_LOG", "warn");
        command
    }

    fn address(&self, member: usize) -> SocketAddr {
        self.http[member]
    }

    async fn leader(&self) -> Option<usize> {
        for address in &self.http {
            let Ok(told) = get(*address, "/v2/leader").await else { continue };
            let leader = told["leader"].as_str().and_then(|leader| leader.parse::<SocketAddr>().ok());
            if let Some(leader) = leader {
                return self.http.iter().position(|address| *address == leader);
            }
        }
        None
    }

    async fn is_whole(&self) -> bool {
        let Some(leader) = self.leader().await else { return false };
        let Ok(told) = get(self.http[leader], "/v2/masters").await else { return false };
        let masters = told["masters"].as_array().map_or(&[][..], Vec::as_slice);
        let well = masters.iter().filter(|master| is_well(master)).count();
        masters.len() == self.http.len() && well == masters.len()
    }
}

fn name(member: usize) -> String {
    format!("m{}", member + 1)
}

fn is_well(master: &Value) -> bool {
    let near = master["leader"] == true
        || master["reachable"] == true && master["behind"].as_u64().is_some_and(|behind| behind < BEHIND_MAX);
    master["role"] == "voter" && near
}

/// The JSON of a GET that succeeds.
pub(super) async fn get(address: SocketAddr, path: &str) -> anyhow::Result<Value> {
    let mut client = Rest::open(address).await?;
    let (status, body) = client.send(Method::GET, path, String::new()).await?;
    anyhow::ensure!(status.is_success(), "GET {path}: {status}");
    Ok(serde_json::from_slice(&body)?)
}

/// One kept connection to a master's REST API.
pub(super) struct Rest {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Rest {
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string() })
    }

    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: String,
    ) -> anyhow::Result<(hyper::StatusCode, Bytes)> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await.context("the answer ended early")?;
        Ok((status, body.to_bytes()))
    }
}

impl Client for Rest {
    async fn connect(address: SocketAddr, clients: usize, _share: usize) -> anyhow::Result<Vec<Self>> {
        let mut connected = Vec::with_capacity(clients);
        for _ in 0..clients {
            connected.push(Self::open(address).await?);
        }
        Ok(connected)
    }

    async fn write(&mut self, key: &str, document: String) -> anyhow::Result<bool> {
        let path = format!("/v2/apps{key}");
        let (status, _) = self.send(Method::PUT, &path, document).await?;
        Ok(status.is_success())
    }
}
