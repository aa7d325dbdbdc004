//! Tasks that fall ill, upgrades that wait for readiness, agents that are lost and come back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use gantry_tests::{programs, wait_for};
use serde_json::{Value, json};
use xtask::http;

use crate::site::{Site, pids, seconds};

fn web(instances: u32, version: &str) -> anyhow::Result<Value> {
    let actor = programs()?.join("actor").display().to_string();
    Ok(
        json!({"id": "/web", "cmd": format!("exec {actor} serve"), "cpus": 0.01, "mem": 16, "instances": instances,
        "env": {"READY_AFTER_MILLIS": "1500", "VERSION": version}, "backoffSeconds": 0, "maxLaunchDelaySeconds": 1,
        "portDefinitions": [{"port": 0, "name": "http"}], "taskKillGracePeriodSeconds": 1,
        "upgradeStrategy": {"minimumHealthCapacity": 0.75, "maximumOverCapacity": 0.25},
        "readinessChecks": [{"name": "ready", "path": "/ready", "portName": "http", "intervalSeconds": 2, "timeoutSeconds": 1}],
        "healthChecks": [{"protocol": "HTTP", "path": "/health", "intervalSeconds": 1, "timeoutSeconds": 1,
            "gracePeriodSeconds": 30, "maxConsecutiveFailures": 2}]}),
    )
}

fn healthy(site: &Site) -> anyhow::Result<u64> {
    Ok(site.app("/web")?["tasksHealthy"].as_u64().unwrap_or(0))
}

#[test]
fn ill_tasks_are_replaced_and_upgrades_keep_their_capacity() -> anyhow::Result<()> {
    let site = Site::new()?;
    let _master = site.master()?;
    let _agent = site.agent("a1", "process")?;
    site.wait_for_agents(1)?;
    site.post(&web(4, "1")?)?;
    wait_for("all to be healthy", || Ok(healthy(&site)? == 4))?;
    wait_for("the deployment", || Ok(site.get("/v2/deployments")?.as_array().is_some_and(Vec::is_empty)))?;

    let ill = site.tasks()?.remove(0);
    http::tcp(&format!("127.0.0.1:{}", ill["ports"][0]), "GET", "/sick", &[])?;
    wait_for("the ill one to be replaced", || {
        Ok(site.tasks()?.iter().all(|task| task["id"] != ill["id"]) && healthy(&site)? == 4)
    })?;
    let failure = site.failure("/web")?;
    assert_eq!(failure["taskId"], ill["id"], "{failure}");

    let old: BTreeSet<String> = site.wait_for_tasks(4)?;
    site.call("PUT", "/v2/apps/web", &web(4, "2")?)?;
    let (deadline, mut least) = (Instant::now() + Duration::from_secs(60), 4);
    loop {
        least = least.min(healthy(&site)?);
        assert!(site.tasks()?.len() <= 5, "more than the strategy allows");
        if site.get("/v2/deployments")?.as_array().is_some_and(Vec::is_empty) {
            break;
        }
        assert!(Instant::now() < deadline, "the upgrade does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(least >= 3, "only {least} healthy ones during the upgrade");
    assert!(site.wait_for_tasks(4)?.is_disjoint(&old));
    site.remove_all()
}

#[test]
fn tasks_of_a_lost_agent_are_replaced_and_the_surplus_goes_when_it_is_back() -> anyhow::Result<()> {
    let mut site = Site::new()?;
    site.master_args = vec!["--agent-timeout", "2s"];
    let _master = site.master()?;
    let first = site.agent("a1", "process")?;
    site.wait_for_agents(1)?;
    let sleep = seconds(41);
    let app = json!({"id": "/steady", "cmd": format!("exec sleep {sleep}"), "cpus": 0.01, "mem": 16, "instances": 2,
        "unreachableStrategy": {"inactiveAfterSeconds": 1, "expungeAfterSeconds": 600}});
    site.post(&app)?;
    let before = site.wait_for_tasks(2)?;
    drop(first);
    let _second = site.agent("a2", "process")?;
    wait_for("the tasks to be unreachable", || {
        Ok(site.tasks()?.iter().filter(|task| task["state"] == "TASK_UNREACHABLE").count() == 2)
    })?;
    wait_for("replacements", || Ok(site.running()?.len() == 2 && site.running()?.is_disjoint(&before)))?;
    assert_eq!(pids(&format!("sleep {sleep}")).len(), 4, "an agent's end ends no task");
    let _first = site.agent("a1", "process")?;
    site.wait_for_tasks(2)?;
    wait_for("the surplus to be ended", || Ok(pids(&format!("sleep {sleep}")).len() == 2))?;
    site.remove_all()
}
