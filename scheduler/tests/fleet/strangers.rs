//! Who connects and is no agent of this cluster, or not the only one.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::SinkExt;
use spec::protocol::{AgentMessage, Hello, MAGIC, MasterMessage, VERSION};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::NEVER;
use crate::peer::{PATIENCE, Peer, connect, hear, hello, hello_again, master};

#[tokio::test]
async fn who_does_not_belong_here_is_told_why() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    let (member, _) = Peer::join_whole(&master, hello()).await;
    let known = || hello_again(&member.welcome, vec![]);
    let mut ahead = known();
    ahead.fence.index += 1_000;
    let mut nameless = known();
    nameless.info.hostname.clear();
    for (hello, word) in [
        (Hello { protocol: VERSION + 1, ..known() }, "masters first"),
        (Hello { cluster_id: Some(Uuid::from_u128(9)), ..known() }, "belongs to cluster"),
        (ahead, "set back"),
        (nameless, "host name"),
    ] {
        match Peer::knock(&master, hello).await {
            Err(Some(MasterMessage::Refused { reason })) => assert!(reason.contains(word), "{reason}"),
            other => panic!("{word}: {:?}", other.err()),
        }
    }
    assert_eq!(master.cluster().state().agents.len(), 1);
    master.stop().await;
}

/// Sends bytes and waits until the master closes the connection.
async fn closes(address: std::net::SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    // A reset closes it as well.
    let _ = read.expect("it is not closed");
    assert!(rest.is_empty(), "nothing is said to strangers");
}

#[tokio::test]
async fn nonsense_and_silence_end_the_connection_and_disturb_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    let address = master.cluster().options.rpc;
    let huge = [&MAGIC[..], &u32::MAX.to_be_bytes()].concat();
    let unreadable = [&MAGIC[..], &3u32.to_be_bytes(), &[0xff; 3]].concat();
    let out_of_turn =
        [&MAGIC[..], &1u32.to_be_bytes(), &postcard::to_allocvec(&AgentMessage::Beat).unwrap()].concat();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &huge, &unreadable, &out_of_turn] {
        closes(address, bytes).await;
    }
    // More than are let in at once, all silent: they are shown the door, and then an agent gets in.
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let (mut agent, _) = Peer::join_whole(&master, hello()).await;
    closes(address, b"").await;
    // One that is in, and then says what it must not.
    agent.say(AgentMessage::Hello(Box::new(hello()))).await;
    agent.closed().await;
    let mut agent = connect(&master).await;
    let hello = AgentMessage::Hello(Box::new(hello()));
    agent.send(Bytes::from(postcard::to_allocvec(&hello).unwrap())).await.unwrap();
    assert!(matches!(hear(&mut agent).await, Some(MasterMessage::Welcome(_))));
    agent.get_mut().write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    while hear(&mut agent).await.is_some() {}
    master.stop().await;
}

#[tokio::test]
async fn of_two_agents_with_one_id_the_first_stays_and_the_other_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    let (first, _) = Peer::join_whole(&master, hello()).await;
    let again = hello_again(&first.welcome, vec![]);
    let living = first.live();
    let mut answers = Vec::new();
    while answers.len() < 4 {
        answers.push(Peer::knock(&master, again.clone()).await.err().expect("it has no place"));
    }
    let Some(Some(MasterMessage::Refused { reason })) = answers.pop() else { panic!("it was not told") };
    assert!(reason.contains("data directory copied"), "{reason}");
    assert_eq!(answers, [None, None, None]);
    // The first one's machine goes away without a word: its place is free as soon as it is silent.
    drop(living);
    Peer::join_whole(&master, again).await;
    master.stop().await;
}

#[tokio::test]
async fn a_session_that_is_only_silent_gives_way() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    let (mut silent, _) = Peer::join_whole(&master, hello()).await;
    let again = hello_again(&silent.welcome, vec![]);
    let began = Instant::now();
    let (_agent, _) = Peer::join_whole(&master, again).await;
    assert!(began.elapsed() < Duration::from_secs(8), "not only when its silence is at an end");
    silent.closed().await;
    assert_eq!(master.cluster().state().agents.len(), 1);
    master.stop().await;
}
