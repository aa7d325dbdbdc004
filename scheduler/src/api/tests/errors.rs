//! One test for each row of reference section 3 that applies, and for bad input.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use serde_json::json;

use super::{Bench, keys, options};
use crate::cluster::Cluster;
use crate::state::Command;

#[tokio::test]
async fn a_broken_rule_is_422_with_details() {
    let bench = Bench::new(0).await;
    let body = bench.post("/v2/apps", json!({"id": "/a", "cmd": "x y", "args": ["z"]})).await.expect(422);
    assert_eq!(body["message"], "Object is not valid");
    assert_eq!(body["details"][0]["path"], "/");
}

#[tokio::test]
async fn a_wrong_type_is_422_invalid_json() {
    let bench = Bench::new(0).await;
    let body = bench.post("/v2/apps", json!({"id": 3, "cmd": "true"})).await.expect(422);
    assert_eq!(body["message"], "Invalid JSON");
    assert_eq!(body["details"][0], json!({"path": "/id", "errors": ["error.expected.jsstring"]}));
    for body in [json!([]), json!("text"), json!(null)] {
        bench.post("/v2/apps", body).await.expect(422);
    }
    bench.put("/v2/apps", json!({"id": "/a"})).await.expect(422);
    bench.post("/v2/tasks/delete", json!({})).await.expect(422);
    bench.post("/v2/tasks/delete", json!({"ids": [1]})).await.expect(422);
}

#[tokio::test]
async fn no_json_is_400_with_a_text() {
    let bench = Bench::new(0).await;
    for text in [r#"{"id": "/a", "cmd"#, "nonsense", "{\"id\": \"/a\"} trailing", "\u{feff}{}"] {
        let body = bench.call("POST", "/v2/apps", text).await.expect(400);
        assert_eq!(body["message"], "Invalid JSON", "{text}");
        assert!(body["details"].is_string(), "{text}");
    }
    let not_utf8 = Body::from(Bytes::from_static(b"{\"id\": \"/\xff\"}"));
    bench.call("POST", "/v2/apps", not_utf8).await.expect(400);
}

#[tokio::test]
async fn no_body_is_400() {
    let bench = Bench::new(0).await;
    for (method, path) in [("POST", "/v2/apps"), ("PUT", "/v2/apps/a"), ("PATCH", "/v2/apps")] {
        let body = bench.call(method, path, "").await.expect(400);
        assert_eq!(body["message"], "Please specify data in JSON format", "{method} {path}");
    }
}

#[tokio::test]
async fn deep_nesting_is_400() {
    let bench = Bench::new(0).await;
    let deep = format!("{{\"id\": {}{}}}", "[".repeat(200), "]".repeat(200));
    bench.call("POST", "/v2/apps", deep).await.expect(400);
    // A hundred are read and refused for what they are.
    let deep = format!("{{\"id\": \"/a\", \"cmd\": {}{}}}", "[".repeat(100), "]".repeat(100));
    bench.call("POST", "/v2/apps", deep).await.expect(422);
}

#[tokio::test]
async fn a_bad_request_is_400() {
    let bench = Bench::new(0).await;
    bench.app("/a", json!({})).await;
    let both = bench.delete("/v2/apps/a/tasks?scale=true&wipe=true").await.expect(400);
    assert_eq!(both["message"], "You cannot use scale and wipe at the same time.");
    let id = bench.post("/v2/tasks/delete", json!({"ids": ["what"]})).await.expect(400);
    assert!(id["message"].as_str().unwrap().starts_with("Invalid task id 'what'."));
}

#[tokio::test]
async fn an_illegal_argument_is_422_without_details() {
    let bench = Bench::new(0).await;
    bench.app("/a", json!({})).await;
    let time = bench.get("/v2/apps/a/versions/yesterday").await.expect(422);
    let message = "Invalid timestamp provided 'yesterday'. Expecting ISO-8601 datetime string.";
    assert_eq!(time, json!({"message": message}));
    let selector = bench.get("/v2/apps?label===").await.expect(422);
    assert!(selector["message"].as_str().unwrap().starts_with("Can not parse label selector ==. Reason: "));
    let nameless = bench.put("/v2/apps", json!([{"cmd": "true"}])).await.expect(422);
    assert_eq!(nameless, json!({"message": "requirement failed: App Update must have app id set"}));
}

#[tokio::test]
async fn not_found_by_a_resource_has_empty_details() {
    let bench = Bench::new(0).await;
    bench.app("/a", json!({})).await;
    let task = "a.instance-67e55044-10b1-11ea-9a9f-362b9e155667._app.1";
    let unknown = "67e55044-10b1-11ea-9a9f-362b9e155667";
    for (method, path, message) in [
        ("GET", "/v2/apps/x".to_owned(), "App '/x' does not exist".to_owned()),
        ("GET", "/v2/apps/X_Y".to_owned(), "App '/X_Y' does not exist".to_owned()),
        ("GET", "/v2/apps/x/tasks".to_owned(), "App '/x' does not exist".to_owned()),
        ("GET", "/v2/apps/x/versions".to_owned(), "App '/x' does not exist".to_owned()),
        (
            "GET",
            "/v2/apps/a/versions/2001-01-01T00:00:00.000Z".to_owned(),
            "App '/a' does not exist in version 2001-01-01T00:00:00.000Z".to_owned(),
        ),
        ("GET", "/v2/groups/x".to_owned(), "Group '/x' does not exist".to_owned()),
        ("GET", "/v2/apps/x/*".to_owned(), "Group '/x' does not exist".to_owned()),
        ("DELETE", format!("/v2/apps/a/tasks/{task}"), format!("Task '{task}' does not exist")),
        ("DELETE", "/v2/apps/a/tasks/what".to_owned(), "Task 'what' does not exist".to_owned()),
        ("DELETE", format!("/v2/deployments/{unknown}"), format!("DeploymentPlan {unknown} does not exist")),
        ("DELETE", "/v2/deployments/what".to_owned(), "DeploymentPlan what does not exist".to_owned()),
        ("DELETE", "/v2/queue/x/delay".to_owned(), "Application /x not found in tasks queue.".to_owned()),
    ] {
        let body = bench.call(method, &path, "").await.expect(404);
        assert_eq!(body, json!({"message": message, "details": []}), "{method} {path}");
    }
}

#[tokio::test]
async fn not_found_by_a_change_has_no_details() {
    let bench = Bench::new(0).await;
    for (method, path, body) in [
        ("POST", "/v2/apps/x/restart", ""),
        ("DELETE", "/v2/apps/x", ""),
        ("PATCH", "/v2/apps/x", "{}"),
        ("PATCH", "/v2/apps", r#"[{"id": "x"}]"#),
    ] {
        let body = bench.call(method, path, body).await.expect(404);
        assert_eq!(body, json!({"message": "App '/x' does not exist"}), "{method} {path}");
    }
    let group = bench.delete("/v2/groups/x").await.expect(404);
    assert_eq!(group, json!({"message": "Group '/x' does not exist"}));
    bench.app("/a", json!({})).await;
    let version = json!({"version": "2001-01-01T00:00:00.000Z"});
    let body = bench.put("/v2/apps/a", version).await.expect(404);
    let message = "App '/a' does not exist in version 2001-01-01T00:00:00.000Z";
    assert_eq!(body, json!({"message": message}));
}

#[tokio::test]
async fn a_lock_is_409_and_force_overrides_it() {
    let bench = Bench::new(0).await;
    bench.post("/v2/apps", json!({"id": "/a", "cmd": "true"})).await.expect(201);
    let locked = bench.post("/v2/apps/a/restart", json!({})).await.expect(409);
    let message = "App is locked by one or more deployments. Override with the option '?force=true'. View \
                   details at '/v2/deployments/<DEPLOYMENT_ID>'.";
    assert_eq!(locked["message"], message);
    let running = bench.get("/v2/deployments").await.expect(200);
    assert_eq!(locked["deployments"], json!([{"id": running[0]["id"]}]));
    bench.post("/v2/apps/a/restart?force=true", json!({})).await.expect(200);
    // Removing forces unless told otherwise.
    bench.delete("/v2/apps/a?force=false").await.expect(409);
    bench.delete("/v2/apps/a").await.expect(200);
}

#[tokio::test]
async fn too_many_deployments_are_403() {
    let bench = Bench::new(0).await;
    for n in 0..100 {
        bench.post("/v2/apps", json!({"id": format!("/a{n}"), "cmd": "true"})).await.expect(201);
    }
    let app = json!({"id": "/more", "cmd": "true"});
    let body = bench.post("/v2/apps?force=true", app).await.expect(403);
    let message = body["message"].as_str().unwrap();
    assert!(
        message.starts_with("Max number (100) of running deployments is achieved. Wait for"),
        "{message}"
    );
    assert!(message.contains("cancel oneusing force=true"), "{message}");
}

#[tokio::test]
async fn a_wrong_method_is_405() {
    let bench = Bench::new(0).await;
    for (method, path) in [
        ("DELETE", "/v2/apps"),
        ("POST", "/v2/info"),
        ("PUT", "/v2/queue"),
        ("POST", "/v2/groups"),
        ("GET", "/v2/apps/a/restart"),
    ] {
        let body = bench.call(method, path, "").await.expect(405);
        assert_eq!(body, json!({"message": "Method Not Allowed"}), "{method} {path}");
    }
}

#[tokio::test]
async fn a_wrong_content_type_is_415() {
    let bench = Bench::new(0).await;
    let post = |kind: Option<&str>, id: &str| {
        let mut request = Request::builder().method("POST").uri("/v2/apps");
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let body = json!({"id": id, "cmd": "true"}).to_string();
        bench.send(request.body(Body::from(body)).unwrap())
    };
    let body = post(Some("application/x-www-form-urlencoded"), "/a").await.expect(415);
    assert_eq!(body, json!({"message": "Unsupported Media Type"}));
    post(Some("application/json; charset=utf-8"), "/b").await.expect(201);
    post(None, "/c").await.expect(201);
}

#[tokio::test]
async fn an_unknown_route_is_500() {
    let bench = Bench::new(0).await;
    for path in ["/v2/schemas", "/v3/apps", "/v2", "/v2/groups/a/versions"] {
        assert_eq!(bench.get(path).await.expect(500), json!({"message": "URI not found"}), "{path}");
    }
    assert_eq!(bench.get("/v2/pods").await.status, 500);
}

#[tokio::test]
async fn a_large_body_is_413_and_never_held() {
    let bench = Bench::new(0).await;
    let declared = Request::builder().method("POST").uri("/v2/apps").header("content-length", 10 << 20);
    let body = Body::from(vec![b' '; 10 << 20]);
    let body = bench.send(declared.body(body).unwrap()).await.expect(413);
    assert!(body["message"].is_string());
    // Without a declared length, in parts: given up as soon as it is too much.
    let parts = (0..160).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1 << 16])));
    let chunked = Body::from_stream(futures_util::stream::iter(parts));
    bench.call("POST", "/v2/apps", chunked).await.expect(413);
    // The largest that is taken.
    let mut app = json!({"id": "/a", "cmd": "true", "labels": {"x": ""}});
    app["labels"]["x"] = "y".repeat(super::super::body::BODY_BYTES_MAX - 100).into();
    bench.post("/v2/apps", app).await.expect(201);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_not_confirmed_is_503_and_says_so() {
    // Nobody takes the commands.
    let (cluster, inlets) = Cluster::new(options());
    cluster.set_leadership(super::leads(1, "127.0.0.1:8080"));
    let mut bench = Bench::new(0).await;
    bench.routes = super::super::router(cluster.clone());
    let began = tokio::time::Instant::now();
    let answer = bench.post("/v2/apps", json!({"id": "/a", "cmd": "true"})).await;
    let body = answer.expect(503);
    assert_eq!(keys(&body), ["message"]);
    assert!(body["message"].as_str().unwrap().ends_with("it may or may not have taken effect"), "{body}");
    assert_eq!(answer.header("retry-after"), "", "trying again may do it twice");
    assert!(began.elapsed() <= Duration::from_secs(10));
    drop(inlets);
    let answer = bench.post("/v2/apps", json!({"id": "/a", "cmd": "true"})).await;
    let message = "this master is shutting down. The change may or may not have taken effect.";
    assert_eq!(answer.expect(503)["message"], message);
    assert_eq!(answer.header("retry-after"), "");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_cannot_be_made_sure_is_503_with_retry_after() {
    // Nobody says that this master still leads.
    let (cluster, _inlets) = Cluster::new(options());
    cluster.set_leadership(super::leads(1, "127.0.0.1:8080"));
    let mut bench = Bench::new(0).await;
    bench.routes = super::super::router(cluster);
    let began = tokio::time::Instant::now();
    // A refusal that no log has a say in is a read as well.
    for (method, path) in [("GET", "/v2/apps"), ("DELETE", "/v2/apps/a/tasks")] {
        let answer = bench.call(method, path, "").await;
        let message = "This master could not make sure in time that it still leads";
        assert_eq!(answer.expect(503)["message"], message, "{method} {path}");
        assert_eq!(answer.header("retry-after"), "1");
    }
    let refused = bench.call("PATCH", "/v2/apps/none", "{}").await;
    refused.expect(503);
    assert!(began.elapsed() <= Duration::from_secs(20));
}

#[tokio::test]
async fn a_panic_is_500_without_a_word_about_it() {
    // Nothing known can make a handler panic from outside: ask the layer itself.
    async fn explode() -> &'static str {
        panic!("secret")
    }
    let routes = axum::Router::new().fallback(explode).layer(super::super::dispatch::panic_layer());
    let mut bench = Bench::new(0).await;
    bench.routes = routes.with_state(());
    let body = bench.get("/").await.expect(500);
    assert_eq!(body, json!({"message": "Internal Server Error"}));
}

#[tokio::test]
async fn writes_of_other_sites_are_403() {
    let bench = Bench::new(0).await;
    bench.app("/a", json!({})).await;
    let delete = |origin: &str| {
        let request = Request::builder().method("DELETE").uri("/v2/apps/a").header("host", "127.0.0.1:8080");
        bench.send(request.header("origin", origin).body(Body::empty()).unwrap())
    };
    delete("http://evil.example").await.expect(403);
    bench.get("/v2/apps/a").await.expect(200);
    delete("http://127.0.0.1:8080").await.expect(200);
}

#[tokio::test]
async fn a_plan_that_is_overtaken_is_made_anew() {
    let bench = Arc::new(Bench::new(0).await);
    bench.app("/a", json!({"instances": 0})).await;
    let updates = (0..20).map(|n| {
        let bench = bench.clone();
        tokio::spawn(async move {
            let labels = json!({"labels": {format!("l{n}"): "x"}});
            bench.put("/v2/apps/a?force=true", labels).await.status.as_u16()
        })
    });
    for update in updates.collect::<Vec<_>>() {
        let status = update.await.unwrap();
        assert!(status == 200 || status == 503, "{status}");
    }
    assert_eq!(
        bench.ask(Command::ResetDelay { app: "/a".parse().unwrap() }).await,
        crate::state::Outcome::Done
    );
}
