//! Deployments, queue, groups, info, agents, logs and metrics.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use spec::protocol::{LogFile, Measured, TaskState, Usage};
use spec::time::Timestamp;

use super::{Bench, keys, options, soon};
use crate::cluster::Cluster;
use crate::placement::{Reason, Rejects, Unfit, Waiting};
use crate::state::Command;
use crate::usage::{Telling, Told};

#[tokio::test]
async fn a_deployment_tells_its_steps() {
    let bench = Bench::new(0).await;
    let created = bench.post("/v2/apps", json!({"id": "/a", "cmd": "true"})).await;
    let id = created.header("marathon-deployment-id");
    let list = bench.get("/v2/deployments").await.expect(200);
    let deployment = &list[0];
    assert_eq!(deployment["id"], id);
    assert_eq!(deployment["affectedApps"], json!(["/a"]));
    assert_eq!(deployment["affectedPods"], json!([]));
    assert_eq!(deployment["steps"][0]["actions"], json!([{"action": "StartApplication", "app": "/a"}]));
    assert_eq!(deployment["steps"][1]["actions"], json!([{"action": "ScaleApplication", "app": "/a"}]));
    let (step, total) = (&deployment["currentStep"], &deployment["totalSteps"]);
    assert!(step.as_u64().is_some_and(|step| step >= 1) && total == 2);
    let current = &deployment["currentActions"][0];
    assert_eq!(keys(current), ["action", "app", "readinessCheckResults"]);
}

#[tokio::test]
async fn a_deployment_is_reverted_or_stopped() {
    let bench = Bench::new(0).await;
    let created = bench.post("/v2/apps", json!({"id": "/a", "cmd": "true"})).await;
    let path = format!("/v2/deployments/{}", created.header("marathon-deployment-id"));
    let reverted = bench.delete(&path).await;
    assert_eq!(keys(&reverted.expect(200)), ["deploymentId", "version"]);
    bench.get("/v2/apps/a").await.expect(404);
    bench.settle().await;

    let created = bench.post("/v2/apps", json!({"id": "/b", "cmd": "true"})).await;
    let path = format!("/v2/deployments/{}?force=true", created.header("marathon-deployment-id"));
    let stopped = bench.delete(&path).await;
    assert_eq!((stopped.status.as_u16(), stopped.text.as_str()), (202, ""));
    assert_eq!(bench.get("/v2/deployments").await.expect(200), json!([]));
    bench.get("/v2/apps/b").await.expect(200);
}

#[tokio::test]
async fn the_queue_says_why_tasks_wait() {
    let mut bench = Bench::new(1).await;
    bench.app("/a", json!({"instances": 3, "cpus": 4})).await;
    bench.task("/a", 1, TaskState::Running).await;
    let mut rejects = Rejects { processed: 5, ..Rejects::default() };
    rejects.declined[4] = 5;
    let unfit = Unfit {
        agent: bench.agent(1),
        reasons: vec![Reason::InsufficientCpus],
        detail: "needs 4.0 cpus".to_owned(),
    };
    let waiting = Waiting {
        since: Timestamp::from_millis(1_577_836_800_000),
        processed: 9,
        unused: 8,
        last_unused_at: Some(Timestamp::from_millis(1_577_836_801_000)),
        last_agents: rejects,
        launch_attempt: rejects,
        sample: vec![unfit],
        ..Waiting::default()
    };
    let all = [("/a".parse().unwrap(), Arc::new(waiting))].into_iter().collect();
    bench.cluster.waiting.store(Arc::new(all));
    let queue = bench.get("/v2/queue").await.expect(200);
    let item = &queue["queue"][0];
    assert_eq!((&item["count"], &item["role"], &item["app"]["id"]), (&json!(2), &json!("*"), &json!("/a")));
    assert_eq!(item["delay"], json!({"timeLeftSeconds": 0, "overdue": true}));
    assert_eq!(item["since"], "2020-01-01T00:00:00.000Z");
    let summary = &item["processedOffersSummary"];
    assert_eq!((&summary["processedOffersCount"], &summary["unusedOffersCount"]), (&json!(9), &json!(8)));
    assert_eq!(summary["lastUnusedOfferAt"], "2020-01-01T00:00:01.000Z");
    assert_eq!(summary.get("lastUsedOfferAt"), None);
    let reasons = summary["rejectSummaryLastOffers"].as_array().unwrap();
    assert_eq!(reasons.len(), 10);
    assert_eq!(reasons[4], json!({"reason": "InsufficientCpus", "declined": 5, "processed": 5}));
    assert_eq!(reasons[5]["processed"], 0);
    assert_eq!(item.get("lastUnusedOffers"), None);
    let queue = bench.get("/v2/queue?embed=lastUnusedOffers").await.expect(200);
    let unused = &queue["queue"][0]["lastUnusedOffers"][0];
    assert_eq!(unused["reason"], json!(["InsufficientCpus"]));
    assert_eq!(unused["offer"]["hostname"], "node-1");
    assert_eq!(unused.get("detail"), None, "only who asks for more than Marathon has gets it");
    assert_eq!(keys(&unused["offer"]), ["agentId", "attributes", "hostname", "id", "resources"]);
    let path = "/v2/queue?embed=lastUnusedOffers&embed=lastUnusedOffers.detail";
    let queue = bench.get(path).await.expect(200);
    assert_eq!(queue["queue"][0]["lastUnusedOffers"][0]["detail"], "needs 4.0 cpus");
}

#[tokio::test]
async fn a_delay_is_seen_and_reset() {
    let mut bench = Bench::new(1).await;
    let slow = json!({"backoffSeconds": 1_000_000_000, "maxLaunchDelaySeconds": 1_000_000_000});
    bench.app("/a", slow).await;
    let task = bench.task("/a", 1, TaskState::Running).await;
    bench.report(&task, TaskState::Failed).await;
    let delay = &bench.get("/v2/queue").await.expect(200)["queue"][0]["delay"];
    assert!(delay["timeLeftSeconds"].as_u64().unwrap() > 0 && delay["overdue"] == false);
    let answer = bench.delete("/v2/queue/a/delay").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
    let delay = &bench.get("/v2/queue").await.expect(200)["queue"][0]["delay"];
    assert_eq!(*delay, json!({"timeLeftSeconds": 0, "overdue": true}));
    bench.task("/a", 1, TaskState::Running).await;
    bench.delete("/v2/queue/a/delay").await.expect(404);
}

#[tokio::test]
async fn groups_are_derived_from_apps() {
    let bench = Bench::new(0).await;
    let root = bench.get("/v2/groups").await.expect(200);
    assert_eq!(keys(&root), ["apps", "dependencies", "groups", "id", "pods", "version"]);
    assert_eq!((&root["id"], &root["apps"]), (&json!("/"), &json!([])));
    for id in ["/top", "/shop/web", "/shop/deep/db"] {
        bench.app(id, json!({})).await;
    }
    let root = bench.get("/v2/groups").await.expect(200);
    assert_eq!(root["apps"][0]["id"], "/top");
    assert_eq!(root["apps"][0].get("tasksRunning"), None);
    assert_eq!(root["groups"][0]["id"], "/shop");
    assert_eq!(root["groups"][0]["groups"][0]["apps"][0]["id"], "/shop/deep/db");
    let embed = "/v2/groups/shop?embed=group.apps&embed=group.apps.counts";
    let shop = bench.get(embed).await.expect(200);
    assert_eq!((&shop["groups"], &shop["apps"][0]["tasksRunning"]), (&json!([]), &json!(0)));
    let apps = bench.get("/v2/groups/shop/apps").await.expect(200);
    assert_eq!(apps.as_array().unwrap().len(), 2);
    assert_eq!(bench.get("/v2/groups/none/apps").await.expect(200), json!([]));
}

#[tokio::test]
async fn removing_a_group_removes_all_below_it() {
    let bench = Bench::new(0).await;
    for id in ["/top", "/shop/web", "/shop/deep/db"] {
        bench.app(id, json!({})).await;
    }
    bench.delete("/v2/groups/shop").await.expect(200);
    bench.settle().await;
    let list = bench.get("/v2/apps").await.expect(200);
    assert_eq!(list["apps"].as_array().unwrap().len(), 1);
    bench.get("/v2/groups/shop").await.expect(404);
    bench.delete("/v2/groups/?force=true").await.expect(200);
    assert_eq!(bench.get("/v2/apps").await.expect(200), json!({"apps": []}));
    // Nothing left to remove is no error at the root.
    bench.delete("/v2/groups/?force=true").await.expect(200);
}

#[tokio::test]
async fn info_has_every_key() {
    let bench = Bench::new(0).await;
    let info = bench.get("/v2/info").await.expect(200);
    let top = [
        "buildref",
        "elected",
        "frameworkId",
        "http_config",
        "leader",
        "marathon_config",
        "name",
        "version",
        "zookeeper_config",
    ];
    assert_eq!(keys(&info), top);
    assert_eq!((&info["elected"], &info["leader"]), (&json!(true), &json!("127.0.0.1:8080")));
    assert_eq!(keys(&info["marathon_config"]).len(), 41);
    assert_eq!(keys(&info["zookeeper_config"]).len(), 8);
    assert_eq!(info["http_config"], json!({"http_port": 8080, "https_port": null}));
    assert_eq!(info["frameworkId"], "00000000-0000-0000-0000-000000000007-0000");
}

#[tokio::test]
async fn the_leader_is_named_or_missing() {
    let mut bench = Bench::new(0).await;
    assert_eq!(bench.get("/v2/leader").await.expect(200), json!({"leader": "127.0.0.1:8080"}));
    let (cluster, _inlets) = Cluster::new(options());
    bench.routes = super::super::router(cluster);
    let none = json!({"message": "There is no leader", "details": []});
    assert_eq!(bench.get("/v2/leader").await.expect(404), none);
    bench.delete("/v2/leader").await.expect(503);
    assert_eq!(bench.get("/v2/apps").await.header("x-marathon-leader"), "");
}

#[tokio::test]
async fn every_master_says_who_leads() {
    let bench = Bench::new(0).await;
    bench.cluster.set_leadership(super::follows(7, Some("10.0.0.9:8080")));
    let info = bench.get("/v2/info").await.expect(200);
    assert_eq!((&info["elected"], &info["leader"]), (&json!(false), &json!("10.0.0.9:8080")));
    assert_eq!(bench.get("/v2/leader").await.expect(200), json!({"leader": "10.0.0.9:8080"}));
    let metrics = bench.get("/metrics").await.text;
    assert!(metrics.contains("gantry_leading 0\n") && metrics.contains("gantry_raft_term 7\n"), "{metrics}");
    bench.cluster.set_leadership(super::follows(8, None));
    assert_eq!(bench.get("/v2/info").await.expect(200)["leader"], json!(null));
}

#[tokio::test]
async fn ping_answers_in_the_type_asked_for() {
    let bench = Bench::new(0).await;
    for (accept, status, kind, body) in [
        ("*/*", 200, "text/plain", "pong"),
        ("text/html,text/plain", 200, "text/html", "pong"),
        ("application/json", 200, "application/json", "\"pong\""),
        ("image/png", 204, "", ""),
    ] {
        let request = Request::builder().uri("/ping").header("accept", accept).body(Body::empty());
        let answer = bench.send(request.unwrap()).await;
        let got = (answer.status.as_u16(), answer.header("content-type"), answer.text.as_str());
        assert_eq!(got, (status, kind, body), "{accept}");
    }
    assert_eq!(bench.get("/ping").await.text, "pong");
}

#[tokio::test]
async fn agents_tell_capacity_reservations_and_measured_use() {
    let mut bench = Bench::new(2).await;
    bench.app("/a", json!({"cpus": 1.5, "mem": 100})).await;
    let task = bench.task("/a", 1, TaskState::Running).await;
    let machine = Measured { cpus_milli: 2500, mem_bytes: 1 << 30 };
    let measured = Measured { cpus_milli: 250, mem_bytes: 1 << 20 };
    let usage =
        Usage { at: Timestamp::from_millis(1_577_836_800_000), machine, tasks: vec![(task, measured)] };
    bench.cluster.take_usage(&bench.agent(1), Telling::Everything(Told::from(&usage)));
    let list = bench.get("/v2/agents").await.expect(200);
    assert_eq!(list["agents"].as_array().unwrap().len(), 2);
    let id = bench.agent(1);
    let agent = bench.get(&format!("/v2/agents/{id}?embed=tasks")).await.expect(200)["agent"].clone();
    assert_eq!((&agent["hostname"], &agent["presence"]), (&json!("node-1"), &json!("connected")));
    assert_eq!(agent["capacity"], json!({"cpus": 10.0, "mem": 8192, "disk": 0, "gpus": 0}));
    assert_eq!(agent["reserved"]["cpus"], 1.5);
    assert_eq!(agent["free"]["mem"], 8092);
    assert_eq!(agent["ports"], json!([{"begin": 31_000, "end": 32_000}]));
    assert_eq!(agent["taskCount"], 1);
    assert_eq!((&agent["used"]["cpus"], &agent["used"]["memBytes"]), (&json!(2.5), &json!(1 << 30)));
    assert_eq!(agent["tasks"][0]["used"]["cpus"], 0.25);
    assert_eq!(agent["runtimes"], json!({"docker": true, "process": true, "hollow": false}));
    assert_eq!(list["agents"][1].get("used"), None);
    bench.get("/v2/agents/none").await.expect(404);
}

#[tokio::test]
async fn an_agent_is_forgotten_when_it_is_lost_and_empty() {
    let bench = Bench::new(1).await;
    let path = format!("/v2/agents/{}", bench.agent(1));
    bench.delete(&path).await.expect(409);
    bench.ask(Command::LoseAgent { id: bench.agent(1) }).await;
    assert_eq!(bench.delete(&path).await.status, 204);
    bench.get(&path).await.expect(404);
    bench.delete(&path).await.expect(404);
}

#[tokio::test]
async fn a_log_is_streamed_from_the_agent() {
    let mut bench = Bench::new(1).await;
    bench.app("/a", json!({})).await;
    let task = bench.task("/a", 1, TaskState::Running).await;
    let path = format!("/v1/logs/{task}?file=stderr&tail=5&follow=true");
    let asking = tokio::spawn({
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let routes = bench.routes.clone();
        async move { tower::ServiceExt::oneshot(routes, request).await.unwrap() }
    });
    let request = soon(bench.logs.recv()).await.unwrap();
    assert_eq!((&request.task, &request.agent), (&task, &bench.agent(1)));
    assert_eq!((request.file, request.tail_lines, request.follow), (LogFile::Stderr, Some(5), true));
    request.parts.send(Ok(b"one\n".to_vec())).await.unwrap();
    let response = soon(asking).await.unwrap();
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    request.parts.send(Ok(b"two\n".to_vec())).await.unwrap();
    drop(request);
    let body = axum::body::to_bytes(response.into_body(), 1024).await.unwrap();
    assert_eq!(&body[..], b"one\ntwo\n");
}

#[tokio::test]
async fn logs_of_tasks_that_have_ended_and_of_unknown_ones() {
    let mut bench = Bench::new(1).await;
    bench.app("/a", json!({})).await;
    let task = bench.task("/a", 1, TaskState::Running).await;
    bench.report(&task, TaskState::Failed).await;
    let answers = {
        let mut logs = std::mem::replace(&mut bench.logs, tokio::sync::mpsc::channel(1).1);
        tokio::spawn(async move {
            while let Some(request) = logs.recv().await {
                let gone = request.tail_lines == Some(1);
                let part = if gone { Err("no such log".to_owned()) } else { Ok(b"last words".to_vec()) };
                let _ = request.parts.send(part).await;
            }
        })
    };
    assert_eq!(bench.get(&format!("/v1/logs/{task}")).await.text, "last words");
    let body = bench.get(&format!("/v1/logs/{task}?tail=1")).await.expect(404);
    assert_eq!(body["message"], "no such log");
    let other = "a.instance-67e55044-10b1-11ea-9a9f-362b9e155667._app.1";
    bench.get(&format!("/v1/logs/{other}")).await.expect(404);
    bench.get(&format!("/v1/logs/{other}?agent=none")).await.expect(404);
    let path = format!("/v1/logs/{other}?agent={}", bench.agent(1));
    assert_eq!(bench.get(&path).await.text, "last words");
    bench.get("/v1/logs/what").await.expect(404);
    bench.get(&format!("/v1/logs/{task}?file=core")).await.expect(422);
    bench.get(&format!("/v1/logs/{task}?tail=many")).await.expect(422);
    bench.ask(Command::LoseAgent { id: bench.agent(1) }).await;
    bench.get(&format!("/v1/logs/{task}")).await.expect(503);
    answers.abort();
}

#[tokio::test]
async fn metrics_have_marathons_names_and_ours() {
    let mut bench = Bench::new(2).await;
    bench.app("/shop/web", json!({"instances": 3, "cpus": 1.5})).await;
    bench.task("/shop/web", 1, TaskState::Running).await;
    bench.get("/nowhere").await.expect(500);
    bench.cluster.held_back.store(7, Relaxed);
    let answer = bench.get("/metrics").await;
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    for line in [
        "marathon_apps_active_gauge 1",
        "marathon_groups_active_gauge 2",
        "marathon_deployments_active_gauge 0",
        "marathon_instances_running_gauge 1",
        "gantry_tasks{condition=\"Running\"} 1",
        "gantry_agents{presence=\"connected\"} 2",
        "gantry_agents_held_back 7",
        "gantry_cpus{kind=\"capacity\"} 20",
        "gantry_cpus{kind=\"reserved\"} 1.5",
        "gantry_queue_instances 2",
        "gantry_leading 1",
        "gantry_http_requests_total{method=\"post\"} 1",
        "gantry_http_responses_total{status=\"5xx\"} 1",
    ] {
        assert!(answer.text.lines().any(|found| found == line), "{line} in\n{}", answer.text);
    }
    for line in answer.text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(!name.is_empty() && value.parse::<f64>().is_ok(), "{line}");
    }
    let index = format!("gantry_raft_applied_index {}", bench.cluster.state().index);
    assert!(answer.text.lines().any(|line| line == index), "{index}");
    assert_eq!(bench.get("/metrics/prometheus").await.status, 200);
    let asked = Request::builder().uri("/metrics").header("accept", "application/json");
    let json = bench.send(asked.body(Body::empty()).unwrap()).await.expect(200);
    assert_eq!(json["gauges"]["marathon.instances.running.gauge"], json!({"value": 1.0}));
    assert_eq!(json["counters"]["marathon.tasks.launched.counter"], json!({"count": 1}));
}
