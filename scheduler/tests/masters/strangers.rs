//! Who dials a master as a master and is none of its cluster.

use std::time::Duration;

use gantry_scheduler::master::{Master, Setup, Start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{Masters, options, until};

#[tokio::test]
async fn nonsense_ends_a_connection_and_disturbs_nobody() {
    let masters = Masters::three().await;
    let address = masters[0].cluster().options.rpc;
    let opening = [&b"GNTM"[..], &9u32.to_be_bytes(), &[1, 0, 1, 0, 99, 0, 0, 0, 0]].concat();
    let huge = [&b"GNTM"[..], &u32::MAX.to_be_bytes()].concat();
    for bytes in [&b"GNTMGNTMGNTM"[..], &opening, &huge, &[&b"GNTM"[..], &[0; 4]].concat()] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let mut said = Vec::new();
        let _ = until("it is closed", stream.read_to_end(&mut said)).await;
        assert!(said.is_empty(), "{bytes:?}: {said:?}");
    }
    // Another version is told so.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let old = [&b"GNTM"[..], &4u32.to_be_bytes(), &[0, 0, 0, 0]].concat();
    stream.write_all(&old).await.unwrap();
    let mut said = Vec::new();
    until("it is closed", stream.read_to_end(&mut said)).await.unwrap();
    assert!(!said.is_empty());
    let leader = masters.leader().await;
    masters.write(leader, "/one").await;
    masters.stop().await;
}

#[tokio::test]
async fn a_master_of_another_cluster_stays_what_it_is() {
    let masters = Masters::three().await;
    let dir = tempfile::tempdir().unwrap();
    let own =
        |start| Setup { options: options("m1"), data_dir: dir.path().to_owned(), start, at_rest: || {} };
    let other = Master::start(own(Start::Bootstrap)).await.unwrap();
    until("it leads", other.cluster().leadership().wait_for(|now| now.leading)).await.unwrap();
    let named = async {
        while other.cluster().state().cluster_id.is_nil() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until("it has a name", named).await;
    let cluster_id = other.cluster().state().cluster_id;
    other.stop().await;
    // It has a log: it goes on with it, the others do not take it in, and that is the end of it.
    let other = Master::start(own(masters.join())).await.unwrap();
    let reason = until("it is told", other.failed()).await;
    assert!(reason.contains("another cluster") && reason.contains("--join"), "{reason}");
    until("it has its state", other.cluster().leadership().wait_for(|now| now.leading)).await.unwrap();
    assert_eq!(other.cluster().state().cluster_id, cluster_id);
    let list = masters.settled(|list| list.len() == 3).await;
    assert!(
        list.iter()
            .all(|master| master.info.as_ref().is_some_and(|info| info.rpc != other.cluster().options.rpc))
    );
    other.stop().await;
    masters.stop().await;
}
