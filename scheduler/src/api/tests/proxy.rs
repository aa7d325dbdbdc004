//! A master that does not lead passes requests on as Marathon's standbys do (reference sections 0 and 5.10).

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request as Incoming;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use futures_util::StreamExt;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use spec::protocol::TaskState;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{Bench, follows, leads, soon};

/// A leader that others reach, and one that follows it; only the leader has an app `/there`.
pub(super) async fn pair() -> (Bench, Bench) {
    let leader = served(1).await;
    leader.app("/there", json!({"instances": 2})).await;
    let follower = Bench::at("m2:80", 0).await;
    follower.cluster.set_leadership(follows(1, Some(&leader.cluster.options.advertised_http)));
    (leader, follower)
}

/// One that leads and answers at the address that it advertises.
pub(super) async fn served(agents: usize) -> Bench {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bench = Bench::at(&listener.local_addr().unwrap().to_string(), agents).await;
    tokio::spawn(super::super::serve(listener, bench.cluster.clone(), CancellationToken::new()));
    bench
}

/// A server that says what it was asked.
async fn echo() -> SocketAddr {
    async fn answer(request: Incoming) -> Response {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let headers: Vec<Value> = parts
            .headers
            .iter()
            .map(|(name, value)| json!([name.as_str(), value.to_str().unwrap()]))
            .collect();
        let seen = json!({
            "method": parts.method.as_str(), "target": parts.uri.to_string(), "headers": headers, "bytes": body.len(),
        });
        Response::builder()
            .status(StatusCode::IM_A_TEAPOT)
            .header("x-marathon-leader", "http://leader:80")
            .header("cache-control", "no-cache, no-store, must-revalidate")
            .header("connection", "x-secret")
            .header("x-secret", "of this connection")
            .header("via", "1.1 cache")
            .body(Body::from(seen.to_string()))
            .unwrap()
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    address
}

#[tokio::test]
async fn a_request_is_passed_on_as_it_came() {
    let bench = Bench::at("m2:80", 0).await;
    bench.cluster.set_leadership(follows(1, Some(&echo().await.to_string())));
    let target = "/v2/apps/%2Fa%2fb?force=True&label=a%20in+(b)&x=%zz&x=2";
    let request = Request::builder()
        .method("PUT")
        .uri(target)
        .header("host", "m2:80")
        .header("origin", "http://m2:80")
        .header("content-type", "application/json")
        .header("x-custom", "1")
        .header("x-custom", "2")
        .header("connection", "keep-alive, X-Own")
        .header("x-own", "of this connection")
        .header("keep-alive", "timeout=5")
        .header("te", "trailers")
        .header("via", "1.0 cache")
        .header("x-forwarded-for", "10.1.1.1")
        .body(Body::from(vec![b'x'; 70_000]))
        .unwrap();
    let answer = bench.send(request).await;
    let seen = answer.expect(418);
    assert_eq!((&seen["method"], &seen["bytes"]), (&json!("PUT"), &json!(70_000)));
    assert_eq!(seen["target"], target);
    let headers = seen["headers"].as_array().unwrap();
    let all = |name: &str| -> Vec<&str> {
        headers.iter().filter(|header| header[0] == name).map(|header| header[1].as_str().unwrap()).collect()
    };
    assert_eq!((all("content-type"), all("x-custom")), (vec!["application/json"], vec!["1", "2"]));
    assert_eq!((all("x-marathon-via"), all("via")), (vec!["1.1 m2:80"], vec!["1.0 cache", "1.1 m2:80"]));
    assert_eq!(all("x-forwarded-for"), ["10.1.1.1,127.0.0.1"]);
    for gone in ["x-own", "keep-alive", "te", "origin"] {
        assert!(all(gone).is_empty(), "{gone}");
    }
    // And the answer: the leader's headers, none of our own.
    assert_eq!(answer.header("x-marathon-leader"), "http://leader:80");
    assert_eq!(answer.header("x-marathon-via"), "1.1 m2:80");
    let via: Vec<_> = answer.headers.get_all("via").iter().collect();
    assert_eq!(via, ["1.1 cache", "1.1 m2:80"]);
    assert_eq!((answer.header("x-secret"), answer.header("x-frame-options")), ("", ""));
    assert_eq!(answer.headers.get_all("cache-control").iter().count(), 1);
}

#[tokio::test]
async fn a_read_goes_without_the_body_that_some_clients_send() {
    let bench = Bench::at("m2:80", 0).await;
    bench.cluster.set_leadership(follows(1, Some(&echo().await.to_string())));
    let request =
        Request::builder().uri("/v2/apps").header("content-length", 2).body(Body::from("\"\"")).unwrap();
    let seen = bench.send(request).await.expect(418);
    assert_eq!(seen["bytes"], 0);
    assert!(seen["headers"].as_array().unwrap().iter().all(|header| header[0] != "content-length"));
}

#[tokio::test]
async fn any_master_answers_as_the_leader_does() {
    let (leader, follower) = pair().await;
    let at = &leader.cluster.options.advertised_http;
    let created = follower.post("/v2/apps", json!({"id": "/new", "cmd": "true"})).await;
    created.expect(201);
    assert_ne!(created.header("marathon-deployment-id"), "");
    assert_eq!(created.header("location"), format!("http://{at}/new"));
    assert_eq!(created.header("x-marathon-leader"), format!("http://{at}"));
    assert!(leader.cluster.state().app(&"/new".parse().unwrap()).is_some());
    for path in ["/v2/apps", "/v2/apps/there", "/v2/deployments", "/v2/groups", "/v2/apps/none", "/v2/agents"]
    {
        let (own, passed) = (leader.get(path).await, follower.get(path).await);
        assert_eq!((own.status, own.text), (passed.status, passed.text), "{path}");
    }
    follower.post("/v2/apps", json!({"id": "/there", "cmd": "true"})).await.expect(409);
    follower.post("/v2/apps", json!({"id": 3})).await.expect(422);
    follower.call("POST", "/v2/apps", vec![b' '; 2 << 20]).await.expect(413);
    let head = follower.call("HEAD", "/v2/apps", "").await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
    assert_eq!(head.header("content-type"), "application/json");
    // Of this master alone.
    assert_eq!(follower.get("/ping").await.text, "pong");
    assert_eq!(follower.get("/v2/info").await.expect(200)["elected"], false);
}

#[tokio::test]
async fn gzip_passes() {
    let (_leader, follower) = pair().await;
    let request = Request::builder().uri("/v2/apps").header("accept-encoding", "gzip").body(Body::empty());
    let response = follower.routes.clone().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.headers().get_all("content-encoding").iter().count(), 1);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body[..2], [0x1f, 0x8b], "compressed once");
    assert_ne!(body[10..12], [0x1f, 0x8b]);
}

#[tokio::test]
async fn a_large_answer_is_passed_on_whole() {
    let (leader, follower) = pair().await;
    for n in 0..5 {
        leader.app(&format!("/big{n}"), json!({"labels": {"x": "y".repeat(900_000)}})).await;
    }
    let (own, passed) = (leader.get("/v2/apps").await.text, follower.get("/v2/apps").await.text);
    assert!(own.len() > 4 << 20 && own == passed, "{} and {}", own.len(), passed.len());
}

#[tokio::test]
async fn a_log_is_passed_on_as_it_grows() {
    let mut leader = served(1).await;
    let follower = Bench::at("m2:80", 0).await;
    follower.cluster.set_leadership(follows(1, Some(&leader.cluster.options.advertised_http)));
    leader.app("/a", json!({})).await;
    let task = leader.task("/a", 1, TaskState::Running).await;
    let request = Request::builder().uri(format!("/v1/logs/{task}?follow=true")).body(Body::empty()).unwrap();
    let asking = tokio::spawn(follower.routes.clone().oneshot(request));
    let log = soon(leader.logs.recv()).await.unwrap();
    for line in ["one\n", "two\n"] {
        log.parts.send(Ok(line.into())).await.unwrap();
    }
    let mut body = soon(asking).await.unwrap().unwrap().into_body().into_data_stream();
    let mut seen = vec![];
    while seen != b"one\ntwo\n" {
        seen.extend(soon(body.next()).await.unwrap().unwrap());
    }
    log.parts.send(Ok(b"three\n".to_vec())).await.unwrap();
    assert_eq!(&soon(body.next()).await.unwrap().unwrap()[..], b"three\n");
    // When the client goes, the leader hears of it.
    drop(body);
    soon(log.parts.closed()).await;
}

#[tokio::test]
async fn a_log_that_is_followed_ends_when_another_one_leads() {
    let mut leader = served(1).await;
    let follower = Bench::at("m2:80", 0).await;
    follower.cluster.set_leadership(follows(1, Some(&leader.cluster.options.advertised_http)));
    leader.app("/a", json!({})).await;
    let task = leader.task("/a", 1, TaskState::Running).await;
    let request = Request::builder().uri(format!("/v1/logs/{task}?follow=true")).body(Body::empty()).unwrap();
    let asking = tokio::spawn(follower.routes.clone().oneshot(request));
    let log = soon(leader.logs.recv()).await.unwrap();
    log.parts.send(Ok(b"one\n".to_vec())).await.unwrap();
    let mut body = soon(asking).await.unwrap().unwrap().into_body().into_data_stream();
    assert_eq!(&soon(body.next()).await.unwrap().unwrap()[..], b"one\n");
    follower.cluster.set_leadership(follows(2, Some("m3:80")));
    assert!(soon(body.next()).await.unwrap().is_err(), "cut short, not ended");
}

#[tokio::test]
async fn a_request_that_comes_back_is_502() {
    let bench = Bench::at("m2:80", 0).await;
    bench.cluster.set_leadership(follows(1, Some("m1:80")));
    let request = Request::builder().method("POST").uri("/v2/apps").header("x-marathon-via", "1.1 m2:80");
    let answer = bench.send(request.body(Body::from("{}")).unwrap()).await;
    assert_eq!(answer.expect(502), json!({"message": "Detected proxying loop."}));
}

#[tokio::test]
async fn masters_that_take_each_other_for_the_leader_do_not_go_round() {
    let (first, second) = (served(0).await, served(0).await);
    first.cluster.set_leadership(follows(1, Some(&second.cluster.options.advertised_http)));
    second.cluster.set_leadership(follows(1, Some(&first.cluster.options.advertised_http)));
    // Asked by a master, it says so at once.
    let request =
        Request::builder().uri("/v2/apps").header("x-marathon-via", "1.1 m9:80").body(Body::empty());
    let answer = second.send(request.unwrap()).await;
    assert_eq!(answer.expect(503), json!({"message": "This master does not lead"}));
    assert_eq!((answer.header("x-gantry-not-leading"), answer.header("retry-after")), ("true", "1"));
    // And the one that asked looks again: meanwhile the second has been elected.
    let leader = second.cluster.options.advertised_http.clone();
    let asking = first.post("/v2/apps", json!({"id": "/a", "cmd": "true"}));
    let electing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        second.cluster.set_leadership(leads(2, &leader));
        first.cluster.set_leadership(follows(2, Some(&leader)));
    };
    let (answer, ()) = tokio::join!(asking, electing);
    answer.expect(201);
    assert!(second.cluster.state().app(&"/a".parse().unwrap()).is_some());
}

#[tokio::test]
async fn a_stale_read_is_answered_by_whoever_is_asked() {
    let (leader, follower) = pair().await;
    let stale = follower.get("/v2/apps?stale=true").await;
    assert_eq!(stale.expect(200), json!({"apps": []}), "the follower's own");
    assert_eq!(stale.header("x-gantry-index"), follower.cluster.state().index.to_string());
    assert_eq!(stale.header("x-marathon-leader"), "");
    assert_eq!(follower.get("/v2/masters?stale=true").await.status, 200);
    let fresh = follower.get("/v2/apps?stale=false").await;
    assert_eq!(fresh.header("x-gantry-index"), "");
    assert_eq!(fresh.expect(200)["apps"][0]["id"], "/there");
    follower.cluster.set_leadership(follows(2, None));
    follower.get("/v2/apps?stale=true").await.expect(200);
    assert_ne!(leader.get("/v2/apps?stale=true").await.header("x-gantry-index"), "");
}

#[tokio::test]
async fn writes_of_other_sites_are_refused_where_they_come_in() {
    let (_leader, follower) = pair().await;
    let delete = |origin: &str| {
        let request = Request::builder().method("DELETE").uri("/v2/apps/there").header("host", "m2:80");
        follower.send(request.header("origin", origin).body(Body::empty()).unwrap())
    };
    delete("http://evil.example").await.expect(403);
    delete("http://m2:80").await.expect(200);
}
