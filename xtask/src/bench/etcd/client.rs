//! The least gRPC that etcd needs: unary calls over HTTP/2 with prior knowledge.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::header::HeaderMap;
use hyper::{Method, Request, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::wire::{self, Status};
use crate::bench::group::Client;

/// In front of a message: not compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// A connection, or a share of one.
#[derive(Clone)]
pub(in crate::bench) struct Grpc {
    sender: SendRequest<Full<Bytes>>,
    base: String,
}

impl Grpc {
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, base: format!("http://{address}") })
    }

    /// What the member says of itself.
    pub(super) async fn status(&mut self) -> anyhow::Result<Status> {
        let answer = self.call("/etcdserverpb.Maintenance/Status", &[]).await?;
        wire::status_response(&answer?).context("not a StatusResponse")
    }

    /// The answer's message; inside, the gRPC status when the call was answered but failed.
    async fn call(&mut self, method: &str, message: &[u8]) -> anyhow::Result<anyhow::Result<Bytes>> {
        let mut body = BytesMut::with_capacity(PREFIX_BYTES + message.len());
        body.put_u8(0);
        body.put_u32(u32::try_from(message.len())?);
        body.put_slice(message);
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{method}", self.base))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(Full::from(body.freeze()))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        ensure!(response.status().is_success(), "{method}: {}", response.status());
        let early = response.headers().get("grpc-status").is_some();
        let headers = if early { response.headers().clone() } else { HeaderMap::new() };
        let answer = response.into_body().collect().await?;
        let headers = answer.trailers().cloned().unwrap_or(headers);
        Ok(outcome(method, &headers, &answer.to_bytes()))
    }
}

fn outcome(method: &str, headers: &HeaderMap, answer: &Bytes) -> anyhow::Result<Bytes> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("?").to_owned();
    if text("grpc-status") != "0" {
        bail!("{method}: status {} ({})", text("grpc-status"), text("grpc-message"));
    }
    ensure!(answer.len() >= PREFIX_BYTES, "{method}: no message");
    Ok(answer.slice(PREFIX_BYTES..))
}

impl Client for Grpc {
    async fn connect(address: SocketAddr, clients: usize, share: usize) -> anyhow::Result<Vec<Self>> {
        let mut connected: Vec<Self> = Vec::with_capacity(clients);
        for client in 0..clients {
            let shared = (client % share != 0).then(|| connected.last().cloned()).flatten();
            connected.push(match shared {
                Some(shared) => shared,
                None => Self::open(address).await?,
            });
        }
        Ok(connected)
    }

    async fn write(&mut self, key: &str, document: String) -> anyhow::Result<bool> {
        let message = wire::put_request(key.as_bytes(), document.as_bytes());
        Ok(self.call("/etcdserverpb.KV/Put", &message).await?.is_ok())
    }
}
