//! The server on a real socket: keep-alive, slow clients, and its end.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Bench, soon};

async fn serve(bench: &Bench) -> (SocketAddr, CancellationToken, JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let serving = tokio::spawn(super::super::serve(listener, bench.cluster.clone(), shutdown.clone()));
    (address, shutdown, serving)
}

async fn until(stream: &mut TcpStream, text: &str) -> String {
    let mut seen = String::new();
    let mut buffer = [0; 4096];
    while !seen.contains(text) {
        let read = soon(stream.read(&mut buffer)).await.unwrap();
        assert!(read > 0, "ended after {seen:?}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    seen
}

#[tokio::test]
async fn requests_share_a_connection() {
    let bench = Bench::new(0).await;
    let (address, _shutdown, _serving) = serve(&bench).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(until(&mut stream, "pong").await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn head_is_answered_without_a_body() {
    let bench = Bench::new(0).await;
    let (address, _shutdown, _serving) = serve(&bench).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"HEAD /v2/apps HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_shutdown_ends_streams_at_once() {
    let bench = Bench::new(0).await;
    let (address, shutdown, serving) = serve(&bench).await;
    let mut events = TcpStream::connect(address).await.unwrap();
    let request = b"GET /v2/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n";
    events.write_all(request).await.unwrap();
    until(&mut events, "event_stream_attached").await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    until(&mut idle, "pong").await;
    shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(2), serving).await;
    ended.expect("promptly").unwrap().unwrap();
    let mut rest = vec![];
    soon(events.read_to_end(&mut rest)).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_large_body_gets_its_413_over_a_socket() {
    let bench = Bench::new(0).await;
    let (address, _shutdown, _serving) = serve(&bench).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let size = 10 << 20;
    let head = format!("POST /v2/apps HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // A client that writes everything before it reads.
    soon(stream.write_all(&vec![b' '; size])).await.unwrap();
    assert!(until(&mut stream, "}").await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn others_are_served_while_a_client_says_nothing() {
    let bench = Bench::new(0).await;
    let (address, _shutdown, _serving) = serve(&bench).await;
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"POST /v2/apps HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{").await.unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /v2/apps HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(until(&mut stream, "apps").await.contains(&json!({"apps": []}).to_string()));
}
