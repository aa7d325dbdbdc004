//! The masters, the change of leader, and the backup.

use serde_json::json;
use uuid::Uuid;

use super::fake::master;
use super::{Bench, keys};
use crate::backup::Reader;
use crate::cluster::{AskError, MasterRole, MasterStatus, MastersError};
use crate::state::Command;

async fn three() -> Bench {
    let bench = Bench::new(0).await;
    *bench.fake.known.lock().unwrap() = vec![master(1, "m1"), master(2, "m2"), master(3, "m3")];
    bench
}

#[tokio::test]
async fn masters_are_listed_with_all_that_is_known() {
    let bench = three().await;
    let joining = MasterStatus {
        info: None,
        role: MasterRole::Learner,
        reachable: None,
        behind: None,
        ..master(4, "")
    };
    bench.fake.known.lock().unwrap().push(joining);
    bench.cluster.set_leadership(super::leads((3 << 32) + 5, "127.0.0.1:8080"));
    let list = bench.get("/v2/masters").await.expect(200);
    assert_eq!(keys(&list), ["clusterId", "epoch", "masters", "term"]);
    assert_eq!(list["clusterId"], Uuid::from_u128(7).to_string());
    assert_eq!((&list["epoch"], &list["term"]), (&json!(3), &json!((3_u64 << 32) + 5)));
    let second = json!({
        "id": 2, "name": "m2", "http": "127.0.0.2:8080", "rpc": "127.0.0.2:5050", "dns": "127.0.0.2:53",
        "version": "0.1.0", "role": "voter", "leader": false, "reachable": true, "behind": 1,
    });
    assert_eq!((&list["masters"][0]["leader"], &list["masters"][1]), (&json!(true), &second));
    let fourth = &list["masters"][3];
    assert_eq!(
        (&fourth["role"], &fourth["name"], &fourth["behind"]),
        (&json!("learner"), &json!(null), &json!(null))
    );
    assert_eq!(keys(fourth), keys(&second));
}

#[tokio::test]
async fn a_master_is_removed_by_id_or_name() {
    let bench = three().await;
    assert_eq!(bench.delete("/v2/masters/m2").await.expect(200), json!({"message": "Master m2 is removed"}));
    bench.delete("/v2/masters/3").await.expect(200);
    assert_eq!(*bench.fake.asked.lock().unwrap(), ["remove 2", "remove 3"]);
    let none = bench.delete("/v2/masters/m9").await.expect(404);
    assert_eq!(none["message"], "Master 'm9' does not exist");
    // A replacement beside the one that it replaces.
    bench.fake.known.lock().unwrap().push(master(4, "m2"));
    let both = bench.delete("/v2/masters/m2").await.expect(409);
    assert_eq!(both["message"], "Masters 2 and 4 are both called m2: say which by its id");
    *bench.fake.refusal.lock().unwrap() = Some(MastersError::Refused("it is the last voter".to_owned()));
    assert_eq!(bench.delete("/v2/masters/4").await.expect(409)["message"], "it is the last voter");
    *bench.fake.refusal.lock().unwrap() = Some(MastersError::Ask(AskError::TimedOut));
    let unknown = bench.delete("/v2/masters/4").await;
    unknown.expect(503);
    assert_eq!(unknown.header("retry-after"), "");
    bench.call("PUT", "/v2/masters/4", "").await.expect(405);
}

#[tokio::test]
async fn the_leader_abdicates() {
    let bench = three().await;
    let abdicated = json!({"message": "Leadership abdicated", "details": []});
    assert_eq!(bench.delete("/v2/leader").await.expect(200), abdicated);
    for to in ["m3", "2"] {
        bench.delete(&format!("/v2/leader?to={to}")).await.expect(200);
    }
    assert_eq!(*bench.fake.asked.lock().unwrap(), ["transfer to anyone", "transfer to 3", "transfer to 2"]);
    bench.fake.asked.lock().unwrap().clear();
    // It leads already.
    bench.delete("/v2/leader?to=m1").await.expect(200);
    bench.delete("/v2/leader?to=m9").await.expect(404);
    bench.delete("/v2/leader?backup=file:///x").await.expect(422);
    assert!(bench.fake.asked.lock().unwrap().is_empty());
    *bench.fake.refusal.lock().unwrap() = Some(MastersError::Refused("there is no other".to_owned()));
    assert_eq!(bench.delete("/v2/leader").await.expect(409)["message"], "there is no other");
    // Another one leads by now: done, and not to be done to that one.
    *bench.fake.refusal.lock().unwrap() = Some(MastersError::Ask(AskError::NotLeader));
    assert_eq!(bench.delete("/v2/leader").await.expect(200), abdicated);
}

#[tokio::test]
async fn metrics_tell_of_the_masters() {
    let bench = three().await;
    let text = bench.get("/metrics").await.text;
    for line in [
        "gantry_raft_term 1",
        "gantry_masters{role=\"voter\"} 3",
        "gantry_masters{role=\"learner\"} 0",
        "gantry_master_reachable{master=\"2\"} 1",
        "gantry_raft_entries_behind{master=\"1\"} 0",
        "gantry_raft_entries_behind{master=\"3\"} 2",
        "gantry_log_commits_total 8",
        "gantry_log_commit_seconds_total 1.25",
        "gantry_snapshots_total 2",
        "gantry_snapshot_hold_seconds_max 0.003",
        "gantry_log_turn_seconds_max{snapshot=\"none\"} 0.015",
        "gantry_log_turn_seconds_max{snapshot=\"writing\"} 0.012",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn a_backup_is_the_state_of_one_moment() {
    let bench = Bench::new(2).await;
    // Several pieces.
    for n in 0..4 {
        let labels = json!({"x": format!("{n}{}", "y".repeat(600_000))});
        bench.app(&format!("/a{n}"), json!({"labels": labels})).await;
    }
    let state = bench.cluster.state();
    let request = axum::http::Request::builder().uri("/v2/backup").body(axum::body::Body::empty()).unwrap();
    let response = tower::ServiceExt::oneshot(bench.routes.clone(), request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    // What happens while it is read is not in it.
    bench.ask(Command::LoseAgent { id: bench.agent(1) }).await;
    let bytes = axum::body::to_bytes(response.into_body(), 64 << 20).await.unwrap();
    let reader = Reader::open(&bytes[..]).unwrap();
    assert_eq!((reader.head().cluster_id, reader.head().term), (Uuid::from_u128(7), 1));
    assert_eq!(reader.head().index, state.index);
    assert_eq!(reader.state().unwrap(), *state);
}
