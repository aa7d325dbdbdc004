//! One test for each rule of the clients in the field that concerns apps and tasks. Routing rules (1 to
//! 3) and query rules (4, 5) are tested beside `route`, `call` and `embed` too; event rules in `events`.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use spec::protocol::TaskState;

use super::{Bench, alive, assert_no_nulls, keys};

#[tokio::test]
async fn rule_1_a_trailing_slash_is_the_list() {
    let bench = Bench::new(0).await;
    bench.post("/v2/apps/", json!({"id": "/a", "cmd": "true"})).await.expect(201);
    let list = bench.get("/v2/apps/?embed=apps.tasks").await.expect(200);
    assert_eq!(list["apps"][0]["id"], "/a");
}

#[tokio::test]
async fn rules_2_and_3_ids_may_begin_with_a_slash_or_be_encoded() {
    let bench = Bench::new(0).await;
    bench.app("/shop/web", json!({})).await;
    for path in ["/v2/apps//shop/web", "/v2/apps/%2Fshop%2Fweb", "/v2/apps/shop/web/"] {
        assert_eq!(bench.get(path).await.expect(200)["app"]["id"], "/shop/web", "{path}");
    }
    bench.get("/v2/apps/%2Fshop%2Fweb/versions").await.expect(200);
    bench.get("/v2/apps/%2Fshop%2Fweb/tasks").await.expect(200);
    bench.post("/v2/apps/%2Fshop%2Fweb/restart", json!({})).await.expect(200);
    bench.get("/v2/groups//shop").await.expect(200);
    assert_eq!(bench.delete("/v2/queue//shop/web/delay").await.status, 204);
}

#[tokio::test]
async fn rule_4_booleans_in_any_case() {
    let bench = Bench::new(0).await;
    bench.post("/v2/apps", json!({"id": "/a", "cmd": "true"})).await.expect(201);
    bench.put("/v2/apps/a?force=False", json!({"instances": 2})).await.expect(409);
    bench.put("/v2/apps/a?force=True", json!({"instances": 2})).await.expect(200);
    bench.delete("/v2/apps/a/tasks?scale=TRUE&wipe=True").await.expect(400);
}

#[tokio::test]
async fn rule_5_embeds_repeat_and_a_single_app_has_tasks_unasked() {
    let mut bench = Bench::new(1).await;
    bench.app("/a", json!({})).await;
    let task = bench.task("/a", 1, TaskState::Running).await;
    let one = bench.get("/v2/apps/a").await.expect(200);
    assert_eq!(one["app"]["tasks"][0]["id"], task.to_string());
    assert_eq!(one["app"]["deployments"], json!([]));
    let list = bench.get("/v2/apps").await.expect(200);
    assert_eq!(list["apps"][0].get("tasks"), None);
    for prefix in ["app", "apps"] {
        let path = format!("/v2/apps?embed={prefix}.tasks&embed={prefix}.readiness&embed={prefix}.taskStats");
        let app = &bench.get(&path).await.expect(200)["apps"][0];
        assert_eq!(app["tasks"][0]["id"], task.to_string(), "{prefix}");
        assert_eq!(app["readinessCheckResults"], json!([]));
        assert_eq!(app["taskStats"]["totalSummary"]["stats"]["counts"]["running"], 1);
        assert_eq!(app["taskStats"], app["tasksStats"]);
    }
}

#[tokio::test]
async fn rule_6_chunked_bodies_bodies_on_get_and_restart_without_one() {
    let bench = Bench::new(0).await;
    let parts = ["{\"id\":\"/a\",", "\"cmd\":\"true\"}"].map(Ok::<_, std::io::Error>);
    let chunked = Body::from_stream(futures_util::stream::iter(parts));
    bench.call("POST", "/v2/apps", chunked).await.expect(201);
    bench.call("GET", "/v2/apps", "\"\"").await.expect(200);
    bench.settle().await;
    bench.call("POST", "/v2/apps/a/restart", "").await.expect(200);
    bench.settle().await;
    bench.call("POST", "/v2/apps/a/restart", "{}").await.expect(200);
}

#[tokio::test]
async fn rule_7_whole_floats_are_integers_and_null_is_absent() {
    let bench = Bench::new(0).await;
    let text = r#"{"id": "/a", "cmd": "true", "instances": 3.000000, "ports": null, "dependencies": null}"#;
    bench.call("POST", "/v2/apps", text).await.expect(201);
    let app = &bench.get("/v2/apps/a").await.expect(200)["app"];
    assert!(app["instances"].is_u64() && app["instances"] == 3);
}

#[tokio::test]
async fn rule_8_pods_are_not_supported_yet() {
    let bench = Bench::new(0).await;
    assert_eq!(bench.call("HEAD", "/v2/pods", "").await.status, 404);
}

#[tokio::test]
async fn rule_9_the_answer_has_the_leading_slash() {
    let bench = Bench::new(0).await;
    let created = bench.post("/v2/apps", json!({"id": "shop/web", "cmd": "true"})).await.expect(201);
    assert_eq!(created["id"], "/shop/web");
}

#[tokio::test]
async fn rule_10_created_is_201_and_changes_answer_version_and_deployment() {
    let bench = Bench::new(0).await;
    let created = bench.post("/v2/apps", json!({"id": "/a", "cmd": "true"})).await;
    assert_eq!(created.status, 201);
    bench.settle().await;
    for (method, path, body) in [
        ("PUT", "/v2/apps/a", r#"{"cpus": 2}"#),
        ("PATCH", "/v2/apps/a", r#"{"cpus": 3}"#),
        ("PUT", "/v2/apps", r#"[{"id": "/a", "cpus": 4}]"#),
        ("PATCH", "/v2/apps", r#"[{"id": "/a", "cpus": 5}]"#),
        ("POST", "/v2/apps/a/restart", ""),
        ("DELETE", "/v2/apps/a/tasks?scale=true", ""),
        ("DELETE", "/v2/apps/a", ""),
        ("DELETE", "/v2/groups", ""),
    ] {
        let answer = bench.call(method, path, body).await;
        let result = answer.expect(200);
        assert_eq!(keys(&result), ["deploymentId", "version"], "{method} {path}");
        assert_eq!(result["deploymentId"], answer.header("marathon-deployment-id"));
        bench.settle().await;
    }
}

/// The keys that Marathon 1.11 may send, from the definitions behind its documents.
const APP_KEYS: &str = "acceptedResourceRoles args backoffFactor backoffSeconds check cmd constraints \
    container cpus dependencies deployments disk env executor executorResources fetch gpus healthChecks id \
    instances killSelection labels lastTaskFailure maxLaunchDelaySeconds mem networks portDefinitions \
    readinessCheckResults readinessChecks requirePorts residency resourceLimits role secrets \
    taskKillGracePeriodSeconds tasks tasksHealthy tasksRunning tasksStaged tasksUnhealthy tty \
    unreachableStrategy upgradeStrategy user version versionInfo";
const TASK_KEYS: &str = "appId checkResult healthCheckResults host id ipAddresses localVolumes ports region \
    role servicePorts slaveId stagedAt startedAt state version zone";

fn assert_only(value: &Value, known: &str) {
    let known: Vec<&str> = known.split_whitespace().collect();
    for key in keys(value) {
        assert!(known.contains(&key), "unknown key {key}");
    }
}

async fn busy_bench() -> Bench {
    let mut bench = Bench::new(1).await;
    let checks = json!([{"protocol": "HTTP", "portIndex": 0, "path": "/"}]);
    bench.app("/a", json!({"instances": 3, "healthChecks": checks})).await;
    let task = bench.task("/a", 1, TaskState::Running).await;
    bench.report_health(&task, TaskState::Running, vec![alive(true)]).await;
    let failing = bench.task("/a", 1, TaskState::Running).await;
    bench.report(&failing, TaskState::Failed).await;
    bench
}

#[tokio::test]
async fn rule_11_no_keys_but_marathons_and_integers_are_integers() {
    let bench = busy_bench().await;
    let app = &bench.get("/v2/apps/a").await.expect(200)["app"];
    assert_only(app, APP_KEYS);
    for key in ["tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy", "instances"] {
        assert!(app[key].is_u64(), "{key}");
    }
    assert_eq!((&app["tasksRunning"], &app["tasksHealthy"]), (&json!(1), &json!(1)));
    assert_only(&app["tasks"][0], TASK_KEYS);
    assert_eq!(app["tasks"][0]["ports"], json!([31_000]));
    let failure_keys = ["appId", "host", "message", "slaveId", "state", "taskId", "timestamp", "version"];
    assert_eq!(keys(&app["lastTaskFailure"]), failure_keys);
    let tasks = bench.get("/v2/tasks").await.expect(200);
    assert_only(&tasks["tasks"][0], TASK_KEYS);
    assert_eq!(tasks["tasks"][0]["servicePorts"], json!([10_000]));
    let item = &bench.get("/v2/queue").await.expect(200)["queue"][0];
    assert_only(item, "app count delay lastUnusedOffers processedOffersSummary role since");
    assert!(item["count"].is_u64() && item["delay"]["timeLeftSeconds"].is_u64());
    assert_only(&item["app"], APP_KEYS);
}

#[tokio::test]
async fn rule_11_the_deployments_of_an_app_hold_texts_only() {
    let bench = Bench::new(0).await;
    let created = bench.post("/v2/apps", json!({"id": "/a", "cmd": "true"})).await.expect(201);
    let shown = bench.get("/v2/apps/a").await.expect(200);
    assert_eq!(shown["app"]["deployments"], created["deployments"]);
    assert_eq!(keys(&shown["app"]["deployments"][0]), ["id"]);
    assert!(shown["app"]["deployments"][0]["id"].is_string());
    let deployment = &bench.get("/v2/deployments").await.expect(200)[0];
    assert_only(
        deployment,
        "affectedApps affectedPods currentActions currentStep id steps totalSteps version",
    );
}

#[tokio::test]
async fn rule_12_absent_optionals_are_left_out() {
    let bench = busy_bench().await;
    for path in [
        "/v2/apps?embed=apps.failures&embed=apps.taskStats",
        "/v2/apps/a",
        "/v2/apps/a/tasks",
        "/v2/tasks",
        "/v2/queue?embed=lastUnusedOffers",
        "/v2/deployments",
        "/v2/groups",
        "/v2/agents?embed=tasks",
    ] {
        assert_no_nulls(&bench.get(path).await.expect(200));
    }
    let app = &bench.get("/v2/apps/a").await.expect(200)["app"];
    for key in ["check", "tty", "executorResources", "resourceLimits", "container"] {
        assert_eq!(app.get(key), None, "{key}");
    }
}

#[tokio::test]
async fn rule_13_times_have_three_digits_and_a_z() {
    let bench = busy_bench().await;
    let app = &bench.get("/v2/apps/a").await.expect(200)["app"];
    for time in [
        &app["version"],
        &app["versionInfo"]["lastScalingAt"],
        &app["tasks"][0]["stagedAt"],
        &app["tasks"][0]["startedAt"],
        &app["lastTaskFailure"]["timestamp"],
    ] {
        let text = time.as_str().unwrap();
        assert!(text.len() == 24 && text.ends_with('Z') && &text[19..20] == ".", "{text}");
    }
}

#[tokio::test]
async fn rule_14_errors_tell_a_lock_from_a_taken_id() {
    let bench = Bench::new(0).await;
    bench.post("/v2/apps", json!({"id": "/a", "cmd": "true"})).await.expect(201);
    let locked = bench.put("/v2/apps/a", json!({"cpus": 2})).await.expect(409);
    assert_eq!(keys(&locked), ["deployments", "message"]);
    assert!(locked["deployments"][0]["id"].is_string());
    let taken = bench.post("/v2/apps", json!({"id": "/a", "cmd": "true"})).await.expect(409);
    assert_eq!(taken, json!({"message": "An app with id [/a] already exists."}));
    let invalid = bench.post("/v2/apps", json!({"id": "/b"})).await.expect(422);
    assert_eq!(keys(&invalid["details"][0]), ["errors", "path"]);
    assert!(invalid["details"][0]["errors"].is_array());
}

#[tokio::test]
async fn rule_15_errors_are_json() {
    let bench = Bench::new(0).await;
    for (method, path, body) in [
        ("GET", "/v2/apps/none", ""),
        ("GET", "/nowhere", ""),
        ("POST", "/v2/info", ""),
        ("POST", "/v2/apps", "{"),
        ("POST", "/v2/apps", "{}"),
        ("GET", "/v2/events", ""),
    ] {
        let answer = bench.call(method, path, body).await;
        assert!(answer.status.as_u16() >= 400, "{method} {path}");
        assert_eq!(answer.header("content-type"), "application/json", "{method} {path}");
        assert!(answer.json()["message"].is_string());
    }
}

#[tokio::test]
async fn prometheus_asks_for_apps_with_a_slash_and_their_tasks() {
    let bench = busy_bench().await;
    let request = Request::builder().uri("/v2/apps/?embed=apps.tasks").body(Body::empty()).unwrap();
    let list = bench.send(request).await.expect(200);
    let app = &list["apps"][0];
    assert!(app["labels"].is_object() && app["tasksRunning"].is_u64());
    let task = &app["tasks"][0];
    assert_eq!((&task["host"], &task["slaveId"]), (&json!("node-1"), &json!(bench.agent(1))));
    assert_eq!(task["ipAddresses"], json!([{"ipAddress": "10.0.0.1", "protocol": "IPv4"}]));
    assert_eq!(task["healthCheckResults"][0]["alive"], true);
}
