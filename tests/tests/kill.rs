//! `kill -9` of the whole cluster, again and again, while apps are being created: what was acknowledged is
//! there afterwards, and the containers are the same ones.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use gantry_tests::{Bed, ProbeImage, containers, get, remove_all, wait_for, wait_until_running};
use serde_json::{Value, json};
use xtask::http;

/// How often the cluster is killed.
const KILLS: u32 = 50;
/// Apps of a round. The deployments of apps that wait never end, and at 100 of them nothing more is accepted, not
/// even the removal of the round's apps.
const LOAD_MAX: usize = 80;
/// Between two of them: so that most kills meet a cluster at work.
const PAUSE: Duration = Duration::from_millis(1);

fn app(id: &str, image: &str, instances: u32) -> Value {
    json!({
        "id": id, "cpus": 0.01, "mem": 16, "instances": instances, "args": ["sleep"],
        "container": {"type": "DOCKER", "docker": {"image": image}},
        "networks": [{"mode": "host"}], "portDefinitions": [{"port": 0}],
    })
}

/// An app that asks for more than there is: it is stored, and waits.
fn waiting_app(id: &str) -> Value {
    json!({"id": id, "cmd": "sleep 1000", "cpus": 1000, "mem": 16})
}

/// Posts apps one after another until told to stop; the ids that were acknowledged.
fn load(address: String, prefix: String, stop: Arc<AtomicBool>) -> JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut acknowledged = Vec::new();
        for number in 0.. {
            if stop.load(Ordering::Relaxed) || acknowledged.len() == LOAD_MAX {
                break;
            }
            let id = format!("/{prefix}/a{number}");
            let body = waiting_app(&id).to_string();
            let answer = http::tcp(&address, "POST", "/v2/apps?force=true", body.as_bytes());
            if answer.is_ok_and(|answer| answer.status == 201) {
                acknowledged.push(id);
            }
            std::thread::sleep(PAUSE);
        }
        acknowledged
    })
}

#[test]
fn fifty_kills_lose_nothing_and_restart_nothing() -> anyhow::Result<()> {
    let image = ProbeImage::new("kill")?;
    let mut bed = Bed::new("docker")?;
    let mut cluster = bed.start()?;
    let (status, answer) = gantry_tests::call(&cluster, "POST", "/v2/apps", &app("/steady", &image.0, 5))?;
    assert_eq!(status, 201, "{answer}");
    wait_until_running(&cluster, "/steady", 5)?;
    let before = containers(&image.0)?;
    assert_eq!(before.len(), 5, "{before:?}");

    for round in 0..KILLS {
        let stop = Arc::new(AtomicBool::new(false));
        let loader = load(cluster.http.to_string(), format!("r{round}"), stop.clone());
        // A different instant each time: in the middle of start-up work, of a batch, of an idle moment.
        std::thread::sleep(Duration::from_millis(u64::from(round * 7 % 150)));
        cluster.kill();
        stop.store(true, Ordering::Relaxed);
        let acknowledged = loader.join().expect("the loader does not panic");
        cluster = bed.start()?;
        let apps = get(&cluster, "/v2/apps")?;
        let known: BTreeSet<&str> =
            apps["apps"].as_array().into_iter().flatten().filter_map(|app| app["id"].as_str()).collect();
        for id in &acknowledged {
            assert!(known.contains(id.as_str()), "round {round}: acknowledged {id} is lost");
        }
        assert!(known.contains("/steady"), "round {round}");
        wait_until_running(&cluster, "/steady", 5)?;
        assert_eq!(containers(&image.0)?, before, "round {round}: containers were touched");
        // Make room below the limit of deployments for the next round.
        let path = format!("/v2/groups/r{round}?force=true");
        let (status, answer) = gantry_tests::call(&cluster, "DELETE", &path, &Value::Null)?;
        // Nobody had the time to add anything, and so there is no such group.
        assert!(status == 200 || acknowledged.is_empty(), "round {round}: {status} {answer}");
    }
    remove_all(&cluster)?;
    wait_for("the containers to be removed", || Ok(containers(&image.0)?.is_empty()))
}
