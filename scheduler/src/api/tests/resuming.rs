//! Event streams over a change of leader: they end, and go on where the client says.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use tower::ServiceExt;

use super::events::{Events, stream};
use super::{Bench, follows, leads, soon};

const CHANGES: &str = "/v2/events?ids=true&event_type=group_change_success&event_type=deployment_success";

async fn resume(bench: &Bench, path: &str, last: &str) -> Events {
    let request =
        Request::builder().uri(path).header("accept", "text/event-stream").header("last-event-id", last);
    let response = bench.routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    Events(response.into_body().into_data_stream())
}

/// The id and the type of the next frame.
async fn next(events: &mut Events) -> (String, String) {
    let frame = events.frame().await.expect("an event");
    let line =
        |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
    (line("id: "), line("event: "))
}

fn told(id: u64, kind: &str) -> (String, String) {
    (id.to_string(), kind.to_owned())
}

/// Two masters that applied the same entries, the first of which leads.
async fn two() -> (Bench, Bench) {
    let (first, second) = (Bench::at("m1:80", 0).await, Bench::at("m2:80", 0).await);
    for bench in [&first, &second] {
        // 2: its definition, 3: its last step.
        bench.app("/a", json!({})).await;
    }
    second.cluster.set_leadership(follows(1, Some("m1:80")));
    (first, second)
}

#[tokio::test]
async fn a_stream_ends_with_the_leadership() {
    let bench = Bench::new(0).await;
    let mut events = stream(&bench, "/v2/events").await;
    assert_eq!(events.next().await.0, "event_stream_attached");
    bench.cluster.set_leadership(follows(2, None));
    assert_eq!(events.frame().await, None);
}

#[tokio::test]
async fn the_next_leader_goes_on_where_the_client_stopped() {
    let (first, second) = two().await;
    let mut events = resume(&first, CHANGES, "1").await;
    assert_eq!(next(&mut events).await, told(2, "group_change_success"));
    first.cluster.set_leadership(follows(2, Some("m2:80")));
    while events.frame().await.is_some() {}
    second.cluster.set_leadership(leads(2, "m2:80"));
    let mut events = resume(&second, CHANGES, "2").await;
    assert_eq!(next(&mut events).await, told(3, "deployment_success"));
    // And then what is new, once.
    second.app("/b", json!({})).await;
    assert_eq!(next(&mut events).await, told(4, "group_change_success"));
    assert_eq!(next(&mut events).await, told(5, "deployment_success"));
}

#[tokio::test]
async fn an_entry_has_its_id_on_its_last_event() {
    let bench = Bench::new(0).await;
    bench.app("/a", json!({})).await;
    let mut events =
        resume(&bench, "/v2/events?event_type=group_change_success&event_type=deployment_info", "1").await;
    // All are of entry 2: who saw only the first of them has not seen the entry.
    assert_eq!(next(&mut events).await, (String::new(), "group_change_success".to_owned()));
    assert_eq!(next(&mut events).await, (String::new(), "deployment_info".to_owned()));
    assert_eq!(next(&mut events).await, told(2, "deployment_info"));
}

#[tokio::test]
async fn what_is_not_remembered_is_said() {
    let bench = Bench::new(0).await;
    bench.app("/a", json!({})).await;
    // Another API on the same master remembers nothing yet.
    let late = Bench { routes: super::super::router(bench.cluster.clone()), ..bench };
    late.app("/b", json!({})).await;
    let mut events = resume(&late, CHANGES, "2").await;
    let (kind, data) = events.next().await;
    assert_eq!(
        (kind.as_str(), &data["after"], &data["upTo"]),
        ("gantry_events_missed", &json!(2), &json!(3))
    );
    assert_eq!(next(&mut events).await, told(4, "group_change_success"));
    // Numbers of a log that went further than this one.
    let mut events = resume(&late, CHANGES, "99").await;
    assert_eq!(events.next().await.1["after"], 99);
    late.app("/c", json!({})).await;
    assert_eq!(next(&mut events).await, told(6, "group_change_success"));
    // Who does not resume is never told.
    let mut events = stream(&late, "/v2/events").await;
    assert_eq!(events.next().await.0, "event_stream_attached");
    late.app("/d", json!({})).await;
    assert_ne!(events.next().await.0, "gantry_events_missed");
}

#[tokio::test]
async fn more_than_the_queue_holds_is_resumed() {
    let bench = Bench::new(0).await;
    bench.app("/a", json!({"instances": 0})).await;
    for n in 0..700 {
        let labels = json!({"labels": {"n": n.to_string()}});
        bench.put("/v2/apps/a?force=true", labels).await.expect(200);
    }
    let tip = bench.cluster.state().index;
    let mut events = resume(&bench, "/v2/events?plan-format=light", "1").await;
    let mut last = 0;
    while last < tip {
        let (id, _) = soon(next(&mut events)).await;
        let id: u64 = if id.is_empty() { last } else { id.parse().unwrap() };
        assert!(id >= last);
        last = id;
    }
    assert_eq!(last, tip);
}
