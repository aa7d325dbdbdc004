//! What a master does before it takes part: while it joins, and with what an earlier release left on its disk.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use gantry_scheduler::cluster::{MasterRole, MasterStatus};
use gantry_scheduler::master::{Master, Setup, Start};
use gantry_scheduler::state::{Command, MasterInfo};
use spec::ids::AgentId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::cluster::{Masters, options, until};

/// A port that was free a moment ago.
async fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// What REST answers, as text.
async fn get(address: SocketAddr, target: &str) -> String {
    let mut stream = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let request = format!("GET {target} HTTP/1.1\r\nHost: gantry\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_master_that_waits_to_be_let_in_says_that_there_is_no_leader() {
    let (http, nobody) = (free_port().await, free_port().await);
    let dir = tempfile::tempdir().unwrap();
    let mut options = options("m1");
    (options.http, options.advertised_http) = (http, http.to_string());
    let setup =
        Setup { options, data_dir: dir.path().to_owned(), start: Start::Join(vec![nobody]), at_rest: || {} };
    let asked = async {
        let answer = get(http, "/v2/apps").await.to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 503") && answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
        // It has no state, so there is nothing stale to be had either.
        let stale = get(http, "/v2/apps?stale=true").await;
        assert!(stale.starts_with("HTTP/1.1 503"), "{stale}");
    };
    tokio::select! {
        _ = Master::start(setup) => panic!("there is nobody to join"),
        () = until("it answers", asked) => {}
    }
}

#[tokio::test]
async fn the_disk_of_a_release_that_knew_one_master_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/master-v1/raft.redb");
    std::fs::copy(fixture, dir.path().join("raft.redb")).unwrap();
    let mut masters = Masters::of(3);
    masters.start(0, dir, Start::Existing).await;
    let own = masters[0].cluster().options.rpc;
    let says_where_it_is = |info: &MasterInfo| info.name == "m1" && info.rpc == own;
    let list = masters.settled(|list| list.iter().all(|master| master.info.is_some())).await;
    assert_eq!(list.len(), 1, "{list:?}");
    assert!(list[0].info.as_ref().is_some_and(says_where_it_is), "{list:?}");
    let cluster_id = masters[0].cluster().state().cluster_id;
    assert_eq!(cluster_id.to_string(), "cce630a6-31fa-42b7-9b21-f63fee0aa2ef");
    for index in 1..3 {
        let join = masters.join();
        masters.start(index, tempfile::tempdir().unwrap(), join).await;
    }
    let voters =
        |list: &[MasterStatus]| list.iter().filter(|master| master.role == MasterRole::Voter).count();
    masters.settled(|list| voters(list) == 3).await;
    // The first one goes: what it brought stays, and more comes.
    masters.crash(0);
    let leader = masters.leader().await;
    masters.write(leader, "/new").await;
    for index in 1..3 {
        assert_eq!(masters[index].cluster().state().cluster_id, cluster_id);
        masters.knows(index, "/new").await;
        for number in 0..12 {
            masters.knows(index, &format!("/old/{number}")).await;
        }
    }
    masters.stop().await;
}

#[tokio::test]
async fn a_voter_that_fell_far_behind_gets_a_snapshot() {
    let mut masters = Masters::three().await;
    let leader = masters.leader().await;
    let behind = (leader + 1) % 3;
    masters.write(leader, "/one").await;
    masters.knows(behind, "/one").await;
    let dir = masters.crash(behind);
    masters.write(leader, "/two#large").await;
    // Enough for a snapshot, and more than is kept of the log before one. None of it leaves a trace. Large
    // entries may take a leader its breath: then there is another one.
    for _ in 0..90 {
        let command = Command::ForgetAgent { id: AgentId::new("x".repeat(900_000)) };
        while masters[masters.leader().await].cluster().ask(command.clone()).await.is_err() {}
    }
    masters.start(behind, dir, Start::Existing).await;
    // Once when it read its own disk, and once more.
    let mut restored = masters[behind].cluster().restored();
    assert!(until("it gets a snapshot", restored.wait_for(|count| *count >= 2)).await.is_ok());
    masters.knows(behind, "/two#large").await;
    let applied = masters[masters.leader().await].cluster().state().index;
    let caught_up = async {
        while masters[behind].cluster().state().index < applied {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until("it follows the log again", caught_up).await;
    masters.stop().await;
}

/// Asks for the address of `leader.mesos`; resolves when there is any answer.
async fn resolve(server: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let header = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let question = [&header[..], b"\x06leader\x05mesos\x00", &[0, 1, 0, 1]].concat();
    socket.send_to(&question, server).await.unwrap();
    let mut answer = [0; 512];
    let (length, _) = socket.recv_from(&mut answer).await.unwrap();
    assert!(length >= header.len() && answer[1] == 7);
}

#[tokio::test]
async fn a_master_that_was_away_answers_for_names_when_it_has_caught_up() {
    let mut masters = Masters::three().await;
    let leader = masters.leader().await;
    let (late, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let late_dir = masters.crash(late);
    masters.write(leader, "/missed").await;
    masters.knows(other, "/missed").await;
    let dirs = [(leader, masters.crash(leader)), (other, masters.crash(other))];
    // Alone it knows nothing for certain. The question waits.
    masters.start(late, late_dir, Start::Existing).await;
    let cluster = masters[late].cluster().clone();
    let asked = tokio::spawn(async move {
        resolve(cluster.options.dns).await;
        cluster.state().app(&"/missed".parse().unwrap()).is_some()
    });
    // They tell each other where they are now.
    let join = masters.join();
    for (index, dir) in dirs {
        masters.start(index, dir, join.clone()).await;
    }
    assert!(until("names are answered for", asked).await.unwrap(), "it spoke before it knew");
    masters.stop().await;
}
