//! The forwarder of an agent on real sockets: masters that go and come back, and the rest of the world.

use std::net::SocketAddr;
use std::sync::Arc;

use gantry_dns::{Upstream, packet, resolver as forwarder};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::common::*;

const WEB: &str = "web.marathon.mesos.";

async fn agent(masters: Vec<SocketAddr>, upstream: Upstream) -> (Running, watch::Sender<Vec<SocketAddr>>) {
    let (at, udp, tcp) = sockets().await;
    let (send, masters) = watch::channel(masters);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let serve = async move { forwarder::serve(vec![(udp, tcp)], masters, "mesos", upstream, stopped).await };
    (Running { at, stop, task: tokio::spawn(serve) }, send)
}

async fn code(at: SocketAddr, name: &str) -> ResponseCode {
    ask(at, name, RecordType::A).await.metadata.response_code
}

#[tokio::test]
async fn cluster_names_are_fresh_every_time() {
    let zone = zone([task("web", 1)]);
    let master = server(zone.clone(), Upstream::none()).await;
    let (agent, _masters) = agent(vec![master.at], Upstream::none()).await;
    assert_eq!(first(&ask(agent.at, WEB, RecordType::A).await), "10.0.0.1");
    let mut next = (**zone.load()).clone();
    next.remove(&task("web", 1).task);
    zone.store(Arc::new(next));
    assert_eq!(code(agent.at, WEB).await, ResponseCode::NXDomain, "no second of what was");
    agent.stop().await;
}

#[tokio::test]
async fn masters_may_go_and_come_back() {
    let (one, two) = (zone([task("web", 1)]), zone([task("web", 2)]));
    let (first_master, second) =
        (server(one, Upstream::none()).await, server(two.clone(), Upstream::none()).await);
    let (agent, masters) = agent(vec![first_master.at, second.at], Upstream::none()).await;
    assert_eq!(first(&ask(agent.at, WEB, RecordType::A).await), "10.0.0.1");

    first_master.stop().await;
    assert_eq!(first(&ask(agent.at, WEB, RecordType::A).await), "10.0.0.2", "the next master is asked");
    second.stop().await;
    for _ in 0..3 {
        let stale = ask(agent.at, WEB, RecordType::A).await;
        assert_eq!((first(&stale).as_str(), stale.answers[0].ttl), ("10.0.0.2", 1), "what it knew last");
    }
    let start = Instant::now();
    for _ in 0..50 {
        ask(agent.at, WEB, RecordType::A).await;
    }
    assert!(start.elapsed().as_secs() < 3, "without masters nobody waits for each question");
    assert_eq!(code(agent.at, "other.marathon.mesos.").await, ResponseCode::ServFail);

    let third = server(two, Upstream::none()).await;
    masters.send(vec![third.at]).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(code(agent.at, "other.marathon.mesos.").await, ResponseCode::NXDomain);
    assert_eq!(ask(agent.at, WEB, RecordType::A).await.answers[0].ttl, 5);
}

#[tokio::test]
async fn a_silent_master_costs_half_a_second_once() {
    let silent = resolver(|_| None).await;
    let master = server(zone([task("web", 1)]), Upstream::none()).await;
    let (agent, _masters) = agent(vec![silent.at, master.at], Upstream::none()).await;
    assert_eq!(first(&ask(agent.at, WEB, RecordType::A).await), "10.0.0.1");
    let asked = silent.asked();
    for _ in 0..20 {
        assert_eq!(first(&ask(agent.at, WEB, RecordType::A).await), "10.0.0.1");
    }
    assert_eq!(silent.asked(), asked, "the one that answered is asked first from then on");
}

#[tokio::test]
async fn the_rest_of_the_world_is_kept_for_its_time() {
    let world = resolver(|query| Some(reply(query, 2, 1))).await;
    let (agent, _masters) = agent(vec![], Upstream::fixed([world.at])).await;
    for _ in 0..10 {
        assert_eq!(ask(agent.at, "Example.org.", RecordType::A).await.answers.len(), 2);
        assert_eq!(ask(agent.at, "exAMPLE.org.", RecordType::A).await.answers.len(), 2);
    }
    assert!(world.asked() <= 2, "asked {} times", world.asked());
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let before = world.asked();
    ask(agent.at, "example.org.", RecordType::A).await;
    assert_eq!(world.asked(), before + 1);
}

#[tokio::test]
async fn failures_are_not_kept() {
    let world = resolver(|query| Some(packet::error(query, ResponseCode::ServFail))).await;
    let (agent, _masters) = agent(vec![], Upstream::fixed([world.at])).await;
    for n in 1..4 {
        assert_eq!(code(agent.at, "example.org.").await, ResponseCode::ServFail);
        assert_eq!(world.asked(), n);
    }
}

#[tokio::test]
async fn large_answers_come_by_tcp_and_are_never_given_to_udp_whole() {
    let master = server(zone((1..=80).map(|n| task("web", n))), Upstream::none()).await;
    let (agent, _masters) = agent(vec![master.at], Upstream::none()).await;
    let packet = query("_web._tcp.marathon.mesos.", RecordType::SRV, None);
    let short = Message::from_vec(&udp_bytes(agent.at, &packet).await).unwrap();
    assert!(short.metadata.truncation && !short.answers.is_empty());
    let mut stream = TcpStream::connect(agent.at).await.unwrap();
    write(&mut stream, &packet).await;
    assert_eq!(read(&mut stream).await.answers.len(), 80);

    let middling = query(WEB, RecordType::A, None);
    write(&mut stream, &middling).await;
    assert_eq!(read(&mut stream).await.answers.len(), 80);
    master.stop().await;
    write(&mut stream, &middling).await;
    assert_eq!(read(&mut stream).await.answers.len(), 80, "known from before");
    let bytes = udp_bytes(agent.at, &middling).await;
    assert!(bytes.len() <= 512 && packet::is_truncated(&bytes));
}

#[tokio::test]
async fn a_domain_that_is_none_is_refused() {
    let (_, masters) = watch::channel(vec![]);
    let long = "x".repeat(64);
    let error = forwarder::serve(vec![], masters, &long, Upstream::none(), CancellationToken::new()).await;
    assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}
