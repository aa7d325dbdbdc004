//! How quick a full cluster answers: REST, a deploy, DNS.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use hyper::Method;
use serde_json::Value;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::clients::app_id;
use super::mix::Shape;
use super::{Million, check_interrupted};
use crate::bench::Spread;
use crate::bench::masters::Rest;

/// Requests of each kind.
const REQUESTS: usize = 20;
/// Deploys.
const DEPLOYS: usize = 5;
/// Tasks of one deploy.
const DEPLOYED: usize = 100;
/// Between two looks at a deploy.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Time for a deploy to run, and for an answer of DNS.
const DEPLOY_PATIENCE: Duration = Duration::from_secs(60);
const DNS_PATIENCE: Duration = Duration::from_secs(5);

/// Prints all.
pub(super) async fn print(leader: SocketAddr, resolver: SocketAddr, options: &Million) -> anyhow::Result<()> {
    let mut rest = Rest::open(leader).await?;
    let app = app_id(options.apps / 2);
    let gets = [
        ("GET /v2/info", "/v2/info".to_owned()),
        ("GET one app", format!("/v2/apps{app}")),
        ("GET one app's tasks", format!("/v2/apps{app}/tasks")),
    ];
    for (name, path) in gets {
        let mut times = Vec::new();
        for _ in 0..REQUESTS {
            let began = Instant::now();
            let (status, _) = rest.send(Method::GET, &path, String::new()).await?;
            ensure!(status.is_success(), "{name}: {status}");
            times.push(began.elapsed());
        }
        line(name, times);
    }
    let mut times = Vec::new();
    for number in 0..DEPLOYS {
        times.push(deploy(&mut rest, number, options).await?);
    }
    line(&format!("deploy of {DEPLOYED} tasks, submit to all running"), times);
    let mut times = Vec::new();
    for _ in 0..REQUESTS {
        times.push(ask_dns(resolver, &app).await?);
    }
    line("DNS, SRV of one app", times);
    Ok(())
}

fn line(name: &str, times: Vec<Duration>) {
    let (count, spread) = (times.len(), Spread::of(times));
    let [min, p50, max] = [spread.min, spread.p50, spread.max].map(|time| time.as_secs_f64() * 1e3);
    println!("steady: {name}: p50 {p50:.2} ms ({min:.2}..{max:.2}, {count} times)");
}

async fn deploy(rest: &mut Rest, number: usize, options: &Million) -> anyhow::Result<Duration> {
    let id = format!("/bench/deploy-{number}");
    let document = Shape::of(number, options).of_tasks(DEPLOYED).document(&id, options);
    let began = Instant::now();
    let (status, answer) = rest.send(Method::POST, "/v2/apps", document).await?;
    ensure!(status.is_success(), "POST {id}: {status} {}", String::from_utf8_lossy(&answer));
    let path = format!("/v2/apps{id}?embed=app.counts");
    loop {
        let (_, body) = rest.send(Method::GET, &path, String::new()).await?;
        let app: Value = serde_json::from_slice(&body)?;
        if app["app"]["tasksRunning"].as_u64() == Some(DEPLOYED as u64) {
            break;
        }
        ensure!(began.elapsed() < DEPLOY_PATIENCE, "{id} does not run: {app}");
        check_interrupted()?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let took = began.elapsed();
    rest.send(Method::DELETE, &format!("/v2/apps{id}?force=true"), String::new()).await?;
    Ok(took)
}

/// One question over UDP, which a large answer cuts short.
async fn ask_dns(resolver: SocketAddr, app: &str) -> anyhow::Result<Duration> {
    let segments: Vec<&str> = app.trim_start_matches('/').split('/').rev().collect();
    let name = Name::from_ascii(format!("{}.marathon.mesos.", segments.join(".")))?;
    let mut question = Message::new(fastrand::u16(..), MessageType::Query, OpCode::Query);
    question.add_query(Query::query(name, RecordType::A));
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let (began, mut answer) = (Instant::now(), [0; 4096]);
    socket.send_to(&question.to_vec()?, resolver).await?;
    let (length, _) = timeout(DNS_PATIENCE, socket.recv_from(&mut answer)).await??;
    let took = began.elapsed();
    let answer = Message::from_vec(&answer[..length])?;
    ensure!(!answer.answers.is_empty() || answer.metadata.truncation, "DNS knows no {app}");
    Ok(took)
}
