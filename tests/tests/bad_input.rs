//! What people and programs get wrong: each has a clear error or a visible reason for waiting, and the app
//! that runs beside it is not disturbed.

use gantry_tests::{Bed, ProbeImage, call, get, remove_all, wait_for, wait_until_running};
use serde_json::{Value, json};
use xtask::cluster::Cluster;
use xtask::http;

fn post(cluster: &Cluster, body: &[u8]) -> anyhow::Result<(u16, Value)> {
    let answer = http::tcp(&cluster.http.to_string(), "POST", "/v2/apps", body)?;
    Ok((answer.status, serde_json::from_str(&answer.body)?))
}

fn last_failure(cluster: &Cluster, app: &str) -> anyhow::Result<(String, String)> {
    let found = get(cluster, &format!("/v2/apps/{app}"))?;
    let failure = &found["app"]["lastTaskFailure"];
    let word = |field: &str| failure[field].as_str().unwrap_or_default().to_owned();
    Ok((word("state"), word("message")))
}

fn ids(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let tasks = get(cluster, "/v2/apps/steady/tasks")?;
    Ok(tasks["tasks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|t| t["id"].as_str().map(str::to_owned))
        .collect())
}

#[test]
fn bad_documents_change_nothing() -> anyhow::Result<()> {
    let mut bed = Bed::new("process")?;
    let cluster = bed.start()?;
    let steady = json!({"id": "/steady", "cmd": "sleep 100000", "cpus": 0.01, "mem": 16, "instances": 2});
    assert_eq!(call(&cluster, "POST", "/v2/apps", &steady)?.0, 201);
    wait_until_running(&cluster, "steady", 2)?;
    let before = ids(&cluster)?;

    let (status, answer) = post(&cluster, br#"{"id": "/a", "cmd": "#)?;
    assert_eq!((status, &answer["message"]), (400, &json!("Invalid JSON")), "truncated: {answer}");
    let (status, answer) = post(&cluster, b"")?;
    assert_eq!((status, &answer["message"]), (400, &json!("Please specify data in JSON format")), "{answer}");
    let nested =
        format!("{{\"id\":\"/a\",\"cmd\":\"x x\",\"labels\":{}{}}}", "[".repeat(100), "]".repeat(100));
    let (status, answer) = post(&cluster, nested.as_bytes())?;
    assert_eq!(status, 422, "a hundred nested arrays: {answer}");
    let (status, answer) = post(&cluster, "[".repeat(100_000).as_bytes())?;
    assert_eq!(status, 400, "endless nesting: {answer}");
    let (status, answer) = post(&cluster, br#"{"id": 7, "cmd": [], "cpus": "many", "instances": -1}"#)?;
    assert_eq!((status, &answer["message"]), (422, &json!("Invalid JSON")), "{answer}");
    let paths: Vec<_> =
        answer["details"].as_array().into_iter().flatten().map(|one| one["path"].clone()).collect();
    for path in ["/id", "/cmd", "/cpus", "/instances"] {
        assert!(paths.contains(&json!(path)), "{path} is named: {answer}");
    }
    let ports = json!({"id": "/a", "cmd": "x x", "portDefinitions": [{"port": 70000}]});
    let (status, answer) = call(&cluster, "POST", "/v2/apps", &ports)?;
    assert_eq!(status, 422, "a port out of range: {answer}");

    let apps = get(&cluster, "/v2/apps")?;
    assert_eq!(apps["apps"].as_array().map(Vec::len), Some(1), "nothing was stored");
    assert_eq!(ids(&cluster)?, before, "nothing else was disturbed");
    remove_all(&cluster)
}

#[test]
fn a_huge_body_is_refused_without_being_read() -> anyhow::Result<()> {
    let mut bed = Bed::new("process")?;
    let cluster = bed.start()?;
    let huge = vec![b' '; 10 << 20];
    // The server may answer and close before all of it is sent: both are a refusal.
    match http::tcp(&cluster.http.to_string(), "POST", "/v2/apps", &huge) {
        Ok(answer) => assert_eq!(answer.status, 413, "{}", answer.body),
        Err(error) => assert!(error.downcast_ref::<std::io::Error>().is_some(), "{error:#}"),
    }
    assert_eq!(get(&cluster, "/v2/apps")?["apps"], json!([]));
    Ok(())
}

#[test]
fn what_cannot_run_says_why() -> anyhow::Result<()> {
    let image = ProbeImage::new("bad-input")?;
    let mut bed = Bed::new("auto")?;
    let cluster = bed.start()?;
    let docker = |id: &str, image: &str, args: Value| {
        json!({"id": id, "cpus": 0.01, "mem": 16, "args": args,
            "container": {"type": "DOCKER", "docker": {"image": image}}})
    };
    let steady = docker("/steady", &image.0, json!(["sleep"]));
    assert_eq!(call(&cluster, "POST", "/v2/apps", &steady)?.0, 201);
    wait_until_running(&cluster, "steady", 1)?;
    let before = ids(&cluster)?;

    let missing = docker("/missing", "gantry-test/there-is-no-such-image:1", json!([]));
    assert_eq!(call(&cluster, "POST", "/v2/apps", &missing)?.0, 201);
    wait_for("the missing image to be named", || {
        let (state, message) = last_failure(&cluster, "missing")?;
        Ok(state == "TASK_FAILED" && message.contains("there-is-no-such-image"))
    })?;

    assert_eq!(call(&cluster, "POST", "/v2/apps", &docker("/ends", &image.0, json!(["exit", "3"])))?.0, 201);
    wait_for("the exit code to be named", || {
        let (state, message) = last_failure(&cluster, "ends")?;
        Ok(state == "TASK_FAILED" && message.contains('3'))
    })?;
    let output = cluster.clusterctl(&["logs", "/ends"]).output()?;
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("ending with 3"),
        "the log of a task that ended"
    );

    let port = json!({"id": "/port", "cmd": "sleep 1000", "cpus": 0.01, "mem": 16, "requirePorts": true,
        "portDefinitions": [{"port": 9999}]});
    assert_eq!(call(&cluster, "POST", "/v2/apps", &port)?.0, 201);
    let large = json!({"id": "/large", "cmd": "sleep 1000", "cpus": 1000, "mem": 16});
    assert_eq!(call(&cluster, "POST", "/v2/apps", &large)?.0, 201);
    wait_for("the queue to say why", || {
        let queue = get(&cluster, "/v2/queue")?;
        let declined = |app: &str, reason: &str| {
            let items = queue["queue"].as_array()?;
            let item = items.iter().find(|item| item["app"]["id"] == app)?;
            let all = item["processedOffersSummary"]["rejectSummaryLastOffers"].as_array()?;
            all.iter().find(|one| one["reason"] == reason)?["declined"].as_u64()
        };
        let port = declined("/port", "InsufficientPorts");
        Ok(port == Some(1) && declined("/large", "InsufficientCpus") == Some(1))
    })?;
    assert_eq!(ids(&cluster)?, before, "nothing else was disturbed");
    remove_all(&cluster)
}

#[test]
fn an_agent_without_docker_keeps_containers_waiting_and_says_so() -> anyhow::Result<()> {
    let mut bed = Bed::new("process")?;
    let cluster = bed.start()?;
    let app = json!({"id": "/box", "cpus": 0.01, "mem": 16,
        "container": {"type": "DOCKER", "docker": {"image": "scratch-it"}}});
    assert_eq!(call(&cluster, "POST", "/v2/apps", &app)?.0, 201);
    wait_for("the queue to name Docker", || {
        let queue = get(&cluster, "/v2/queue?embed=lastUnusedOffers")?;
        let item = &queue["queue"][0];
        Ok(item["app"]["id"] == "/box"
            && item["lastUnusedOffers"][0]["reason"].to_string().contains("UnfulfilledConstraint"))
    })?;
    let agents = get(&cluster, "/v2/agents")?;
    assert!(agents["agents"][0]["runtimes"]["dockerReason"].is_string(), "the agent says why not: {agents}");
    Ok(())
}
