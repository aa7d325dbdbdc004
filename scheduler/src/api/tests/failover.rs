//! Requests in the middle of a change of leader: what was surely not done is done by the next one, what may
//! have been done is said to be so, and nothing hangs.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::proxy::served;
use super::{Bench, follows, leads};
use crate::cluster::AskError;

/// A leader that has gone: nobody listens there.
async fn gone() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A leader that hangs: takes requests and says nothing. Tells when it has one.
async fn hanging() -> (String, tokio::sync::mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (seen, requests) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    let _ = seen.send(()).await;
                }
            });
        }
    });
    (address, requests)
}

async fn follower(leader: Option<&str>) -> Bench {
    let bench = Bench::at("m9:80", 0).await;
    bench.cluster.set_leadership(follows(1, leader));
    bench
}

fn sleeper() -> serde_json::Value {
    json!({"id": "/a", "cmd": "true"})
}

#[tokio::test]
async fn without_a_leader_it_is_503_with_retry_after() {
    let bench = follower(None).await;
    let began = Instant::now();
    let answer = bench.post("/v2/apps", sleeper()).await;
    assert_eq!(answer.expect(503), json!({"message": "Could not determine the current leader"}));
    assert_eq!((answer.header("retry-after"), answer.header("content-type")), ("1", "application/json"));
    // By now there has been none for longer than an election takes.
    tokio::time::sleep_until(began + Duration::from_millis(1100)).await;
    let began = Instant::now();
    let at_once: Vec<_> = futures_util::future::join_all((0..20).map(|_| bench.get("/v2/apps"))).await;
    assert!(at_once.iter().all(|answer| answer.status == 503));
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_election_is_waited_for() {
    let (bench, leader) = (follower(None).await, served(0).await);
    let electing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.cluster.set_leadership(follows(2, Some(&leader.cluster.options.advertised_http)));
    };
    let (answer, ()) = tokio::join!(bench.post("/v2/apps", sleeper()), electing);
    answer.expect(201);
    // It may be this master that is elected.
    bench.cluster.set_leadership(follows(3, None));
    let electing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.cluster.set_leadership(follows(4, Some("m9:80")));
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.cluster.set_leadership(leads(4, "m9:80"));
    };
    let (answer, ()) = tokio::join!(bench.post("/v2/apps", sleeper()), electing);
    answer.expect(201);
    assert!(bench.cluster.state().app(&"/a".parse().unwrap()).is_some());
}

#[tokio::test]
async fn a_leader_that_cannot_be_reached_is_502_soon() {
    let bench = follower(Some(&gone().await)).await;
    for (method, body) in [("GET", ""), ("POST", r#"{"id": "/a", "cmd": "true"}"#)] {
        let began = Instant::now();
        let answer = bench.call(method, "/v2/apps", body).await;
        assert_eq!(answer.expect(502), json!({"message": "Connection to leader refused."}));
        assert_eq!(answer.header("retry-after"), "1", "nothing was done");
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn what_the_old_leader_never_saw_the_next_one_does() {
    let (bench, next) = (follower(Some(&gone().await)).await, served(0).await);
    let electing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.cluster.set_leadership(follows(2, None));
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.cluster.set_leadership(follows(2, Some(&next.cluster.options.advertised_http)));
    };
    let (answer, ()) = tokio::join!(bench.post("/v2/apps", sleeper()), electing);
    answer.expect(201);
    assert!(next.cluster.state().app(&"/a".parse().unwrap()).is_some());
}

#[tokio::test]
async fn a_leader_that_hangs_is_left_when_another_one_leads() {
    let ((hangs, mut requests), next) = (hanging().await, served(0).await);
    let bench = follower(Some(&hangs)).await;
    let at = next.cluster.options.advertised_http.clone();
    let electing = async {
        requests.recv().await;
        bench.cluster.set_leadership(follows(2, Some(&at)));
    };
    let (read, ()) = tokio::join!(bench.get("/v2/apps"), electing);
    assert_eq!(read.expect(200), json!({"apps": []}));

    // A change may have been made: it is not made again.
    bench.cluster.set_leadership(follows(3, Some(&hangs)));
    let electing = async {
        requests.recv().await;
        bench.cluster.set_leadership(follows(4, Some(&at)));
    };
    let began = Instant::now();
    let (change, ()) = tokio::join!(bench.post("/v2/apps", sleeper()), electing);
    let message = "Connection to leader timed out. The change may or may not have taken effect.";
    assert_eq!(change.expect(504), json!({"message": message}));
    assert_eq!(change.header("retry-after"), "");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert!(next.cluster.state().apps.is_empty());
}

#[tokio::test]
async fn a_leader_that_breaks_off_may_have_made_the_change() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bench = follower(Some(&listener.local_addr().unwrap().to_string())).await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
        }
    });
    let answer = bench.post("/v2/apps", sleeper()).await;
    let message = "Failed to successfully establish a connection to the leader. \
                   The change may or may not have taken effect.";
    assert_eq!(answer.expect(502), json!({"message": message}));
    assert_eq!(answer.header("retry-after"), "");
}

#[tokio::test]
async fn a_change_that_lost_its_leader_on_the_way_goes_to_the_next_one() {
    let (old, next) = (served(0).await, served(0).await);
    old.fake.fail(Some(AskError::NotLeader));
    let at = next.cluster.options.advertised_http.clone();
    for (method, body, status) in [("POST", r#"{"id": "/a", "cmd": "true"}"#, 201), ("GET", "", 200)] {
        old.cluster.set_leadership(leads(1, &old.cluster.options.advertised_http));
        let electing = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            old.cluster.set_leadership(follows(2, Some(&at)));
        };
        let (answer, ()) = tokio::join!(old.call(method, "/v2/apps", body), electing);
        answer.expect(status);
    }
    assert!(next.cluster.state().app(&"/a".parse().unwrap()).is_some());
    // Nobody is found: said at once to be undone.
    old.cluster.set_leadership(leads(3, &old.cluster.options.advertised_http));
    let answer = old.post("/v2/apps", json!({"id": "/b", "cmd": "true"})).await;
    assert_eq!(answer.expect(503), json!({"message": "this master does not lead"}));
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn who_does_not_lead_any_more_refuses_nothing() {
    let (old, next) = (served(0).await, served(0).await);
    // The old leader knows nothing of it yet, and would say that there is no such app.
    next.app("/late", json!({})).await;
    *next.fake.known.lock().unwrap() = vec![super::fake::master(2, "m2")];
    old.fake.fail(Some(AskError::NotLeader));
    for (method, target, body, status) in [
        ("PATCH", "/v2/apps/late", r#"{"cpus": 2}"#, 200),
        ("DELETE", "/v2/masters/m2", "", 200),
        ("DELETE", "/v2/leader?to=m2", "", 200),
    ] {
        old.cluster.set_leadership(leads(1, &old.cluster.options.advertised_http));
        let electing = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            old.cluster.set_leadership(follows(2, Some(&next.cluster.options.advertised_http)));
        };
        let (answer, ()) = tokio::join!(old.call(method, target, body), electing);
        answer.expect(status);
    }
}
