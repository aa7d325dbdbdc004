//! Apps: what creating, updating, filtering and reading them answers.

use serde_json::{Value, json};
use spec::protocol::TaskState;

use super::Bench;

fn ids(list: &Value) -> Vec<&str> {
    list["apps"].as_array().unwrap().iter().map(|app| app["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn post_answers_the_app_as_it_was_taken_in() {
    let bench = Bench::new(0).await;
    let answer = bench.post("/v2/apps", json!({"id": "shop/web", "cmd": "true"})).await;
    let body = answer.expect(201);
    assert_eq!(answer.header("location"), "http://127.0.0.1:8080/shop/web");
    assert_eq!(body["deployments"], json!([{"id": answer.header("marathon-deployment-id")}]));
    for key in ["tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy"] {
        assert_eq!(body[key], 0, "{key}");
    }
    assert!(body.get("tasks").is_none() && body.get("versionInfo").is_none());
    // Service ports are assigned after the answer was made, but can be read at once.
    assert_eq!(body["portDefinitions"][0]["port"], 0);
    let stored = &bench.get("/v2/apps/shop/web").await.expect(200)["app"];
    assert_eq!(stored["portDefinitions"][0]["port"], 10_000);
    assert_eq!(stored["version"], body["version"]);
    assert!(stored["versionInfo"].is_object());
}

/// An app that says as much as one can without features.
fn rich() -> Value {
    json!({
        "id": "/rich", "args": ["a", "b"], "instances": 2, "cpus": 0.5, "mem": 64.5, "disk": 1, "user": "nobody",
        "env": {"A": "b"}, "labels": {"l": "m"}, "constraints": [["hostname", "UNIQUE"]], "executor": "//cmd",
        "acceptedResourceRoles": ["*"], "backoffSeconds": 3, "backoffFactor": 1.5, "maxLaunchDelaySeconds": 9,
        "container": {
            "type": "DOCKER", "docker": {"image": "i", "parameters": [{"key": "k", "value": "v"}]},
            "volumes": [{"containerPath": "/c", "hostPath": "/h", "mode": "RO"}],
            "portMappings": [{"containerPort": 80, "hostPort": 0, "name": "http", "labels": {"x": "y"}}],
        },
        "networks": [{"mode": "container/bridge"}], "dependencies": ["/other"],
        "fetch": [{"uri": "http://x/y.tgz", "destPath": "z"}], "taskKillGracePeriodSeconds": 4, "tty": true,
        "healthChecks": [{"protocol": "HTTP", "path": "/h", "portIndex": 0}],
        "readinessChecks": [{"portName": "http", "intervalSeconds": 30}],
        "resourceLimits": {"cpus": 2, "mem": "unlimited"}, "killSelection": "OLDEST_FIRST",
        "unreachableStrategy": {"inactiveAfterSeconds": 1, "expungeAfterSeconds": 2},
        "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0},
    })
}

#[tokio::test]
async fn what_post_answers_is_what_get_shows() {
    for document in [json!({"id": "/plain", "cmd": "true"}), rich()] {
        let bench = Bench::new(0).await;
        let mut posted = bench.post("/v2/apps", document.clone()).await.expect(201);
        let id = document["id"].as_str().unwrap();
        let mut shown = bench.get(&format!("/v2/apps{id}")).await.expect(200)["app"].clone();
        // Only once it is stored does an app have these, and service ports.
        let later = shown.as_object_mut().unwrap();
        assert!(later.remove("tasks").is_some() && later.remove("versionInfo").is_some());
        for app in [&mut posted, &mut shown] {
            for port in ["/portDefinitions/0/port", "/container/portMappings/0/servicePort"] {
                app.pointer_mut(port).into_iter().for_each(|port| *port = json!(0));
            }
        }
        assert_eq!(posted, shown);
        for (field, value) in document.as_object().unwrap() {
            assert!(contains(&shown[field], value), "{field}: {}", shown[field]);
        }
    }
}

/// Does `shown` say what was said, and perhaps more?
fn contains(shown: &Value, said: &Value) -> bool {
    match (shown, said) {
        (Value::Object(shown), Value::Object(said)) => {
            said.iter().all(|(key, value)| shown.get(key).is_some_and(|shown| contains(shown, value)))
        }
        (Value::Array(shown), Value::Array(said)) => {
            shown.len() == said.len() && shown.iter().zip(said).all(|(shown, said)| contains(shown, said))
        }
        _ => shown == said,
    }
}

#[tokio::test]
async fn every_answer_has_the_common_headers() {
    let bench = Bench::new(0).await;
    for path in ["/v2/apps", "/v2/apps/none", "/nowhere"] {
        let answer = bench.get(path).await;
        assert_eq!(answer.header("cache-control"), "no-cache, no-store, must-revalidate");
        assert_eq!((answer.header("pragma"), answer.header("expires")), ("no-cache", "0"));
        assert_eq!(answer.header("x-marathon-leader"), "http://127.0.0.1:8080");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("x-xss-protection"), "1; mode=block");
    }
}

#[tokio::test]
async fn put_creates_merges_replaces_and_rolls_back() {
    let bench = Bench::new(0).await;
    let created = bench.put("/v2/apps/a", json!({"id": "/other", "cmd": "true", "cpus": 2})).await;
    created.expect(201);
    assert_eq!(created.header("location"), "http://127.0.0.1:8080/a");
    bench.settle().await;
    let first = bench.get("/v2/apps/a").await.expect(200)["app"]["version"].clone();

    bench.put("/v2/apps/a", json!({"mem": 64})).await.expect(200);
    bench.settle().await;
    let merged = bench.get("/v2/apps/a").await.expect(200);
    assert_eq!((&merged["app"]["cpus"], &merged["app"]["mem"]), (&json!(2), &json!(64)));

    bench.put("/v2/apps/a?partialUpdate=false", json!({"cmd": "false"})).await.expect(200);
    bench.settle().await;
    let replaced = bench.get("/v2/apps/a").await.expect(200);
    assert_eq!((&replaced["app"]["cpus"], &replaced["app"]["cmd"]), (&json!(1), &json!("false")));

    bench.put("/v2/apps/a", json!({"version": first})).await.expect(200);
    bench.settle().await;
    let back = bench.get("/v2/apps/a").await.expect(200);
    assert_eq!((&back["app"]["cpus"], &back["app"]["cmd"]), (&json!(2), &json!("true")));
    assert_ne!(back["app"]["version"], first);

    let versions = bench.get("/v2/apps/a/versions").await.expect(200);
    let versions = versions["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 4);
    assert_eq!((&versions[0], &versions[3]), (&back["app"]["version"], &first));
    let path = format!("/v2/apps/a/versions/{}", first.as_str().unwrap());
    let old = bench.get(&path).await.expect(200);
    assert_eq!((&old["version"], &old["mem"]), (&first, &json!(128)));
    assert!(old.get("tasksRunning").is_none());
}

#[tokio::test]
async fn an_array_is_one_deployment_for_all() {
    let bench = Bench::new(0).await;
    bench.app("/a", json!({"cpus": 2})).await;
    let array = json!([{"id": "/a", "mem": 64}, {"id": "b", "cmd": "true"}, {"id": "/a", "disk": 1}]);
    bench.put("/v2/apps", array).await.expect(200);
    let deployments = bench.get("/v2/deployments").await.expect(200);
    assert_eq!(deployments.as_array().unwrap().len(), 1);
    assert_eq!(deployments[0]["affectedApps"], json!(["/a", "/b"]));
    bench.settle().await;
    let app = &bench.get("/v2/apps/a").await.expect(200)["app"];
    assert_eq!((&app["cpus"], &app["mem"], &app["disk"]), (&json!(2), &json!(64), &json!(1)));
    // One unknown app: nothing changes.
    bench.call("PATCH", "/v2/apps", r#"[{"id": "/a", "mem": 1}, {"id": "/c"}]"#).await.expect(404);
    assert_eq!(bench.get("/v2/apps/a").await.expect(200)["app"]["mem"], 64);
}

#[tokio::test]
async fn a_change_of_nothing_is_200() {
    let bench = Bench::new(0).await;
    bench.app("/a", json!({})).await;
    let before = bench.get("/v2/apps/a").await.expect(200)["app"]["version"].clone();
    bench.put("/v2/apps/a", json!({})).await.expect(200);
    assert_eq!(bench.get("/v2/apps/a").await.expect(200)["app"]["version"], before);
    // What GET shows may be sent back: what is only shown is ignored.
    let shown = bench.get("/v2/apps/a").await.expect(200)["app"].clone();
    bench.put("/v2/apps/a?partialUpdate=false", shown.clone()).await.expect(200);
    assert_eq!(bench.get("/v2/apps/a").await.expect(200)["app"], shown);
    // Laid over the app, a version asks to go back to it, and for nothing else.
    let mixed = bench.put("/v2/apps/a", shown).await.expect(422);
    assert_eq!(
        mixed["details"][0]["errors"][0],
        "The 'version' field may only be combined with the 'id' field."
    );
    assert_eq!(bench.get("/v2/deployments").await.expect(200), json!([]));
}

#[tokio::test]
async fn lists_are_filtered_by_command_id_and_labels() {
    let bench = Bench::new(0).await;
    bench.app("/shop/web", json!({"labels": {"tier": "web", "env": "prod"}})).await;
    bench.app("/shop/db", json!({"labels": {"tier": "db"}, "cmd": "Postgres -x"})).await;
    bench.app("/plain", json!({})).await;
    for (query, expected) in [
        ("", vec!["/plain", "/shop/db", "/shop/web"]),
        ("?id=SHOP", vec!["/shop/db", "/shop/web"]),
        ("?cmd=postgres", vec!["/shop/db"]),
        ("?id=shop&cmd=sleep", vec!["/shop/web"]),
        ("?label=tier", vec!["/shop/db", "/shop/web"]),
        ("?label=tier==web,env==prod", vec!["/shop/web"]),
        ("?label=tier!=web", vec!["/shop/db"]),
        ("?label=tier%20in%20(db,web)", vec!["/shop/db", "/shop/web"]),
        ("?label=", vec!["/plain", "/shop/db", "/shop/web"]),
    ] {
        let list = bench.get(&format!("/v2/apps{query}")).await.expect(200);
        assert_eq!(ids(&list), expected, "{query}");
    }
}

#[tokio::test]
async fn a_star_is_everything_below_a_group() {
    let mut bench = Bench::new(1).await;
    bench.app("/shop/web", json!({})).await;
    bench.app("/shop/deep/db", json!({})).await;
    bench.app("/shopping", json!({})).await;
    let task = bench.task("/shop/web", 1, TaskState::Running).await;
    let below = bench.get("/v2/apps/shop/*").await.expect(200);
    let below = below["*"].as_array().unwrap();
    assert_eq!(below.len(), 2);
    assert_eq!((&below[0]["id"], &below[1]["id"]), (&json!("/shop/deep/db"), &json!("/shop/web")));
    assert_eq!(below[1]["tasks"][0]["id"], task.to_string());
    assert_eq!(bench.get("/v2/apps/*").await.expect(200)["*"].as_array().unwrap().len(), 3);
    let tasks = bench.get("/v2/apps/shop/*/tasks").await.expect(200);
    assert_eq!(tasks["tasks"][0]["appId"], "/shop/web");
}

#[tokio::test]
async fn counts_follow_the_tasks() {
    let mut bench = Bench::new(1).await;
    bench.app("/a", json!({"instances": 4})).await;
    bench.task("/a", 1, TaskState::Staging).await;
    bench.task("/a", 1, TaskState::Running).await;
    bench.task("/a", 1, TaskState::Starting).await;
    let app = &bench.get("/v2/apps/a").await.expect(200)["app"];
    assert_eq!((&app["tasksStaged"], &app["tasksRunning"]), (&json!(1), &json!(1)));
    assert_eq!((&app["tasksHealthy"], &app["tasksUnhealthy"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn a_removed_app_is_not_seen_while_its_tasks_end() {
    let mut bench = Bench::new(1).await;
    bench.app("/a", json!({})).await;
    bench.task("/a", 1, TaskState::Running).await;
    bench.delete("/v2/apps/a").await.expect(200);
    bench.get("/v2/apps/a").await.expect(404);
    assert_eq!(ids(&bench.get("/v2/apps").await.expect(200)), Vec::<&str>::new());
    bench.delete("/v2/apps/a").await.expect(404);
}

#[tokio::test]
async fn the_seed_documents_are_accepted_as_they_stand() {
    let bench = Bench::new(0).await;
    for document in [
        include_str!("../../../../tests/seeds/sw2vscheduler.json"),
        include_str!("../../../../tests/seeds/sw2vserver.json"),
        include_str!("../../../../tests/seeds/sw2vworker.json"),
    ] {
        bench.call("POST", "/v2/apps", document).await.expect(201);
    }
}
