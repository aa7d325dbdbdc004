//! The name server on real sockets: sizes, transports, forwarding, and packets of every kind.

use std::sync::Arc;

use gantry_dns::{Upstream, packet};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use crate::common::*;

#[tokio::test]
async fn names_begin_and_stop_with_their_tasks() {
    let zone = zone([]);
    let server = server(zone.clone(), Upstream::none()).await;
    let name = "web.marathon.mesos.";
    assert_eq!(ask(server.at, name, RecordType::A).await.metadata.response_code, ResponseCode::NXDomain);
    let mut next = (**zone.load()).clone();
    next.put(task("web", 1));
    zone.store(Arc::new(next));
    let answer = ask(server.at, "WEB.Marathon.mesos.", RecordType::A).await;
    assert!(answer.metadata.authoritative && answer.metadata.recursion_available && answer.edns.is_some());
    assert_eq!((first(&answer).as_str(), answer.answers[0].ttl), ("10.0.0.1", 5));
    assert_eq!(answer.queries[0].name().to_string(), "WEB.Marathon.mesos.");
    let mut next = (**zone.load()).clone();
    next.remove(&task("web", 1).task);
    zone.store(Arc::new(next));
    assert_eq!(ask(server.at, name, RecordType::A).await.metadata.response_code, ResponseCode::NXDomain);
    server.stop().await;
}

#[tokio::test]
async fn answers_have_the_size_that_the_asker_can_take() {
    let server = server(zone((1..=80).map(|n| task("web", n))), Upstream::none()).await;
    let name = "_web._tcp.marathon.mesos.";
    for (offer, most) in [(None, 512), (Some(512), 512), (Some(900), 900), (Some(4096), 1232)] {
        let bytes = udp_bytes(server.at, &query(name, RecordType::SRV, offer)).await;
        assert!(bytes.len() <= most && bytes.len() > most - 70, "{} of {most}", bytes.len());
        let answer = Message::from_vec(&bytes).unwrap();
        assert!(answer.metadata.truncation && answer.answers.len() > 3 && answer.additionals.is_empty());
        assert_eq!(answer.edns.is_some(), offer.is_some());
    }
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    write(&mut stream, &query(name, RecordType::SRV, None)).await;
    let whole = read(&mut stream).await;
    assert!(!whole.metadata.truncation);
    assert_eq!((whole.answers.len(), whole.additionals.len()), (80, 80));
    server.stop().await;
}

#[tokio::test]
async fn additional_records_go_before_answers_do() {
    let server = server(zone((1..=9).map(|n| task("web", n))), Upstream::none()).await;
    let bytes = udp_bytes(server.at, &query("_web._tcp.marathon.mesos.", RecordType::SRV, None)).await;
    let answer = Message::from_vec(&bytes).unwrap();
    assert_eq!((answer.answers.len(), answer.additionals.len(), answer.metadata.truncation), (9, 0, false));
}

#[tokio::test]
async fn one_connection_takes_many_questions() {
    let slow = resolver(|_| None).await;
    let server = server(zone([task("web", 1)]), Upstream::fixed([slow.at])).await;
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    write(&mut stream, &query("example.org.", RecordType::A, None)).await;
    for n in 0..300_u16 {
        let mut packet = query("web.marathon.mesos.", RecordType::A, None);
        packet::set_id(&mut packet, n);
        write(&mut stream, &packet).await;
        let answer = read(&mut stream).await;
        assert_eq!(
            (answer.metadata.id, first(&answer).as_str()),
            (n, "10.0.0.1"),
            "not held up by a slow forward"
        );
    }
    assert_eq!(read(&mut stream).await.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn what_is_no_question_for_us_is_told_so() {
    let server = server(zone([task("web", 1)]), Upstream::none()).await;
    let good = query("web.marathon.mesos.", RecordType::A, None);
    let mut notify = good.clone();
    notify[2] = 4 << 3;
    let mut two = good.clone();
    two[5] = 2;
    for (packet, code) in [
        (notify, ResponseCode::NotImp),
        (two, ResponseCode::FormErr),
        (query("example.org.", RecordType::A, None), ResponseCode::Refused),
        (query("mesos.", RecordType::AXFR, None), ResponseCode::Refused),
    ] {
        let answer = Message::from_vec(&udp_bytes(server.at, &packet).await).unwrap();
        assert_eq!((answer.metadata.response_code, answer.metadata.id), (code, 0x4711));
    }
}

#[tokio::test]
async fn other_names_are_forwarded_byte_for_byte() {
    let dead = resolver(|_| None).await;
    let failing = resolver(|query| Some(packet::error(query, ResponseCode::ServFail))).await;
    let forged = |query: &[u8]| {
        let mut other = reply(query, 9, 60);
        packet::set_id(&mut other, packet::id(query).unwrap() ^ 1);
        Some(other)
    };
    let (forger, good) = (resolver(forged).await, resolver(|query| Some(reply(query, 2, 60))).await);
    let through = |resolvers: Vec<_>| async { server(zone([]), Upstream::fixed(resolvers)).await };

    let server = through(vec![failing.at, good.at]).await;
    let packet = query("Example.org.", RecordType::A, Some(1400));
    assert_eq!(udp_bytes(server.at, &packet).await, reply(&packet, 2, 60));
    assert_eq!((failing.asked(), good.asked()), (1, 1));

    let server = through(vec![dead.at, good.at]).await;
    let start = Instant::now();
    assert_eq!(ask(server.at, "example.org.", RecordType::A).await.answers.len(), 2);
    assert!(start.elapsed().as_secs() < 4 && dead.asked() >= 2, "asked again before it was given up");

    let server = through(vec![forger.at, failing.at]).await;
    let answer = ask(server.at, "example.org.", RecordType::A).await;
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::ServFail, 0));
}

#[tokio::test]
async fn cut_answers_are_asked_for_again_by_tcp_if_the_asker_came_by_tcp() {
    let (at, udp, tcp) = sockets().await;
    tokio::spawn(big_resolver(udp, tcp));
    let server = server(zone([]), Upstream::fixed([at])).await;
    let packet = query("example.org.", RecordType::A, None);
    let short = Message::from_vec(&udp_bytes(server.at, &packet).await).unwrap();
    assert!(short.metadata.truncation);
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    write(&mut stream, &packet).await;
    assert_eq!(read(&mut stream).await.answers.len(), 100);
}

/// Cuts everything on UDP, and has a hundred addresses on TCP.
async fn big_resolver(udp: UdpSocket, tcp: TcpListener) {
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            udp.send_to(&packet::truncated(&buffer[..length]), from).await.unwrap();
        }
    });
    while let Ok((mut stream, _)) = tcp.accept().await {
        let question = read(&mut stream).await.to_vec().unwrap();
        write(&mut stream, &reply(&question, 100, 60)).await;
    }
}

#[tokio::test]
async fn ten_thousand_odd_packets_do_no_harm() {
    let server = server(zone([task("web", 1)]), Upstream::none()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.at).await.unwrap();
    let mut random = fastrand::Rng::with_seed(53);
    let good = query("_http._web._tcp.marathon.mesos.", RecordType::SRV, Some(4096));
    let mut buffer = vec![0; 65_535];
    for round in 0..10_000 {
        let mut packet = good.clone();
        if round % 2 == 0 {
            packet = (0..random.usize(0..600)).map(|_| random.u8(..)).collect();
        } else {
            (0..random.usize(1..6)).for_each(|_| packet[random.usize(0..good.len())] = random.u8(..));
            packet.truncate(random.usize(0..=good.len()));
        }
        socket.send(&packet).await.unwrap();
        while socket.try_recv(&mut buffer).is_ok() {}
        if round % 100 == 0 {
            tokio::task::yield_now().await;
            assert_eq!(first(&ask(server.at, "web.marathon.mesos.", RecordType::A).await), "10.0.0.1");
        }
    }
    for _ in 0..200 {
        let mut stream = TcpStream::connect(server.at).await.unwrap();
        let junk: Vec<u8> = (0..random.usize(0..300)).map(|_| random.u8(..)).collect();
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &junk).await;
    }
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    write(&mut stream, &query("web.marathon.mesos.", RecordType::A, None)).await;
    assert_eq!(first(&timeout(SOON, read(&mut stream)).await.unwrap()), "10.0.0.1");
    server.stop().await;
}
