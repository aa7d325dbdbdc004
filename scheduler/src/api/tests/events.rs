//! The event stream: the rules of clients that concern it, and its limits.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, Response};
use futures_util::StreamExt;
use serde_json::{Value, json};
use spec::protocol::TaskState;
use tower::ServiceExt;

use super::{Bench, soon};

pub(super) async fn open(bench: &Bench, path: &str, accept: &str) -> Response<Body> {
    let request = Request::builder().uri(path).header("accept", accept).body(Body::empty()).unwrap();
    bench.routes.clone().oneshot(request).await.unwrap()
}

pub(super) async fn stream(bench: &Bench, path: &str) -> Events {
    let response = open(bench, path, "text/event-stream").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream;charset=utf-8");
    Events(response.into_body().into_data_stream())
}

pub(super) struct Events(pub(super) BodyDataStream);

impl Events {
    pub(super) async fn frame(&mut self) -> Option<String> {
        let frame = soon(self.0.next()).await?;
        Some(String::from_utf8(frame.unwrap().to_vec()).unwrap())
    }

    /// The next event: its type and its data.
    pub(super) async fn next(&mut self) -> (String, Value) {
        let frame = self.frame().await.expect("an event");
        let lines: Vec<&str> = frame.split("\r\n").collect();
        let [event, data, "", ""] = lines[..] else { panic!("a strange frame: {frame:?}") };
        let kind = event.strip_prefix("event: ").unwrap().to_owned();
        (kind, serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap())
    }

    /// Types up to and including `last`.
    async fn until(&mut self, last: &str) -> Vec<String> {
        let mut kinds = vec![];
        while kinds.last().is_none_or(|kind| kind != last) {
            kinds.push(self.next().await.0);
        }
        kinds
    }
}

#[tokio::test]
async fn only_the_exact_accept_opens_a_stream() {
    let bench = Bench::new(0).await;
    for accept in ["*/*", "text/event-stream, */*", "text/event-stream;q=1", "application/json"] {
        assert_eq!(open(&bench, "/v2/events", accept).await.status(), 405, "{accept}");
    }
    assert_eq!(bench.get("/v2/events").await.status, 405);
}

#[tokio::test]
async fn rule_16_event_then_data_with_a_space_on_one_line() {
    let bench = Bench::new(0).await;
    let mut events = stream(&bench, "/v2/events").await;
    let frame = events.frame().await.unwrap();
    assert!(frame.starts_with("event: event_stream_attached\r\ndata: {"), "{frame:?}");
    assert!(frame.ends_with("}\r\n\r\n"), "{frame:?}");
    // A definition with line breaks is still one line.
    bench.app("/a", json!({"cmd": "true\nfalse\r\n"})).await;
    let posted = loop {
        let (kind, data) = events.next().await;
        if kind == "api_post_event" {
            break data;
        }
    };
    assert_eq!(posted["appDefinition"]["cmd"], "true\nfalse\r\n");
}

#[tokio::test(start_paused = true)]
async fn rule_17_an_empty_line_every_ten_seconds() {
    let bench = Bench::new(0).await;
    let mut events = stream(&bench, "/v2/events").await;
    events.next().await;
    for _ in 0..3 {
        let began = tokio::time::Instant::now();
        let frame = tokio::time::timeout(Duration::from_secs(11), events.0.next()).await;
        assert_eq!(&frame.unwrap().unwrap().unwrap()[..], b"\r\n");
        assert!(began.elapsed() <= Duration::from_secs(10));
    }
}

#[tokio::test]
async fn rule_18_types_can_be_chosen_and_a_light_plan_asked_for() {
    let bench = Bench::new(0).await;
    let path = "/v2/events?plan-format=light&event_type=group_change_success&event_type=deployment_success";
    let mut events = stream(&bench, path).await;
    bench.app("/a", json!({})).await;
    assert_eq!(events.next().await.0, "group_change_success");
    let (kind, data) = events.next().await;
    assert_eq!(kind, "deployment_success");
    assert_eq!(super::keys(&data["plan"]), ["id", "steps", "version"]);
}

#[tokio::test]
async fn a_plan_shows_before_and_after_unless_light() {
    let bench = Bench::new(0).await;
    bench.app("/a", json!({"cpus": 1})).await;
    let mut events = stream(&bench, "/v2/events?event_type=deployment_info").await;
    bench.put("/v2/apps/a", json!({"cpus": 2})).await.expect(200);
    let plan = &events.next().await.1["plan"];
    assert_eq!(super::keys(plan), ["id", "original", "steps", "target", "version"]);
    assert_eq!(
        (&plan["original"]["apps"][0]["cpus"], &plan["target"]["apps"][0]["cpus"]),
        (&json!(1), &json!(2))
    );
}

/// What marathon-python 0.13 knows; it dies on anything else.
const KNOWN: [&str; 18] = [
    "api_post_event",
    "status_update_event",
    "add_health_check_event",
    "remove_health_check_event",
    "failed_health_check_event",
    "health_status_changed_event",
    "unhealthy_instance_kill_event",
    "group_change_success",
    "deployment_success",
    "deployment_failed",
    "deployment_info",
    "deployment_step_success",
    "event_stream_attached",
    "event_stream_detached",
    "app_terminated_event",
    "instance_changed_event",
    "unknown_instance_terminated_event",
    "instance_health_changed_event",
];

#[tokio::test]
async fn rule_19_every_event_is_known_typed_and_timed() {
    let mut bench = Bench::new(1).await;
    let mut events = stream(&bench, "/v2/events").await;
    let checks = json!([{"protocol": "HTTP", "portIndex": 0, "path": "/"}]);
    bench.app("/a", json!({"healthChecks": checks})).await;
    let task = bench.task("/a", 1, TaskState::Running).await;
    for result in [true, false] {
        bench.report_health(&task, TaskState::Running, vec![super::alive(result)]).await;
    }
    bench.report(&task, TaskState::Failed).await;
    bench.delete("/v2/apps/a").await.expect(200);
    bench.settle().await;
    bench.ask(crate::state::Command::LoseAgent { id: bench.agent(1) }).await;
    bench.app("/end", json!({})).await;
    let mut seen = vec![];
    loop {
        let (kind, data) = events.next().await;
        assert!(KNOWN.contains(&kind.as_str()), "{kind}");
        assert_eq!(data["eventType"], kind.as_str());
        let time = data["timestamp"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
        let last = kind == "api_post_event" && data["appDefinition"]["id"] == "/end";
        seen.push(kind);
        if last {
            break;
        }
    }
    for kind in [
        "add_health_check_event",
        "health_status_changed_event",
        "failed_health_check_event",
        "app_terminated_event",
    ] {
        assert!(seen.iter().any(|seen| seen == kind), "{kind} in {seen:?}");
    }
}

#[tokio::test]
async fn rule_20_who_does_not_lead_redirects() {
    let bench = Bench::new(0).await;
    bench.cluster.set_leadership(super::follows(2, Some("10.0.0.9:8080")));
    let response = open(&bench, "/v2/events?event_type=x", "text/event-stream").await;
    assert_eq!(response.status(), 302);
    assert_eq!(response.headers()["location"], "http://10.0.0.9:8080/v2/events?event_type=x");
}

#[tokio::test]
async fn a_deploy_is_told_from_beginning_to_end() {
    let mut bench = Bench::new(1).await;
    let path = "/v2/events?event_type=group_change_success&event_type=deployment_info\
                &event_type=deployment_step_success&event_type=deployment_success\
                &event_type=status_update_event&event_type=instance_changed_event";
    let mut events = stream(&bench, path).await;
    bench.post("/v2/apps", json!({"id": "/a", "cmd": "true"})).await.expect(201);
    bench.task("/a", 1, TaskState::Running).await;
    bench.settle().await;
    let kinds = events.until("deployment_success").await;
    assert_eq!(kinds[0], "group_change_success");
    let count = |kind: &str| kinds.iter().filter(|seen| *seen == kind).count();
    assert_eq!((count("deployment_info"), count("deployment_step_success")), (2, 2));
    assert_eq!((count("instance_changed_event"), count("status_update_event")), (2, 1));
}

#[tokio::test]
async fn single_apps_announce_who_posted_them() {
    let bench = Bench::new(0).await;
    let mut events = stream(&bench, "/v2/events?event_type=api_post_event").await;
    bench.app("/a", json!({})).await;
    let (_, data) = events.next().await;
    assert_eq!((&data["clientIp"], &data["uri"]), (&json!("127.0.0.1"), &json!("/v2/apps")));
    assert_eq!(data["appDefinition"]["id"], "/a");
    bench.put("/v2/apps/a", json!({"cpus": 2})).await.expect(200);
    assert_eq!(events.next().await.1["uri"], "/v2/apps/a");
    bench.settle().await;
    bench.put("/v2/apps", json!([{"id": "/a", "cpus": 3}])).await.expect(200);
    bench.delete("/v2/apps/a").await.expect(200);
    bench.app("/b", json!({})).await;
    // Neither the array nor the removal was announced.
    assert_eq!(events.next().await.1["appDefinition"]["id"], "/b");
}

#[tokio::test]
async fn others_hear_of_streams_that_come_and_go() {
    let bench = Bench::new(0).await;
    let mut first = stream(&bench, "/v2/events").await;
    assert_eq!(first.next().await.0, "event_stream_attached");
    let second = stream(&bench, "/v2/events").await;
    assert_eq!(first.next().await.0, "event_stream_attached");
    drop(second);
    assert_eq!(first.next().await.0, "event_stream_detached");
}

#[tokio::test]
async fn ids_are_log_indexes_and_only_sent_when_asked_for() {
    let bench = Bench::new(0).await;
    let mut events = stream(&bench, "/v2/events?ids=true&event_type=group_change_success").await;
    // Should the master die before anything happens, its client can go on from here elsewhere.
    assert_eq!(events.frame().await.as_deref(), Some("id: 1\r\n\r\n"));
    let mut all = stream(&bench, "/v2/events?ids=true").await;
    let frame = all.frame().await.unwrap();
    assert!(frame.starts_with("id: 1\r\nevent: event_stream_attached\r\n"), "{frame:?}");
    bench.app("/a", json!({})).await;
    let frame = events.frame().await.unwrap();
    assert!(frame.starts_with("id: 2\r\nevent: group_change_success\r\n"), "{frame:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let bench = Bench::new(0).await;
    let peer = super::super::server::Peer::local();
    let request = Request::builder().uri("/v2/events").header("accept", "text/event-stream");
    let request = request.extension(peer.clone()).body(Body::empty()).unwrap();
    let response = bench.routes.clone().oneshot(request).await.unwrap();
    bench.app("/a", json!({"instances": 0})).await;
    for n in 0..600 {
        let labels = json!({"labels": {"n": n.to_string()}});
        bench.put("/v2/apps/a?force=true", labels).await.expect(200);
    }
    soon(peer.hangup.cancelled()).await;
    let mut events = Events(response.into_body().into_data_stream());
    let mut received = 0;
    while events.frame().await.is_some() {
        received += 1;
    }
    assert!(received <= 1024, "{received}");
}
