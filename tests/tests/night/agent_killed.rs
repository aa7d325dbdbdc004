//! `kill -9` of the agent in every phase of a task: nothing doubled, lost or left, endings told once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gantry_tests::wait_for;
use serde_json::{Value, json};

use crate::image::ActorImage;
use crate::site::{Daemon, Site, pids, seconds};

/// How long after a change the agent dies: in the middle of creating, starting, running, ending.
const DELAYS_MILLIS: [u64; 9] = [0, 4, 8, 15, 30, 60, 100, 160, 250];
const STEP: usize = 3;

/// A kind of task: how to define it and how many of them really run.
struct Kind<'a> {
    runtime: &'static str,
    app: Value,
    count: &'a dyn Fn() -> anyhow::Result<usize>,
}

#[test]
fn processes() -> anyhow::Result<()> {
    let site = Site::new()?;
    let sleep = seconds(1);
    // Slow to end, so that there is a phase of ending to be hit.
    let cmd = format!("trap 'sleep 0.1; exit 0' TERM; while true; do sleep {sleep} & wait $!; done");
    let kind = Kind {
        runtime: "process",
        app: json!({"id": "/steady", "cmd": cmd, "cpus": 0.01, "mem": 16}),
        count: &|| Ok(pids(&format!("sleep {sleep}")).len()),
    };
    run(&site, &kind)?;
    let left: Vec<_> = std::fs::read_dir(site.path("a1/process"))?.collect();
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

#[test]
fn containers() -> anyhow::Result<()> {
    let image = ActorImage::new("killed")?;
    let site = Site::new()?;
    let kind = Kind {
        runtime: "docker",
        app: json!({"id": "/steady", "args": ["serve"], "cpus": 0.01, "mem": 16, "taskKillGracePeriodSeconds": 1,
            "container": {"type": "DOCKER", "docker": {"image": image.0}}, "networks": [{"mode": "host"}]}),
        count: &|| Ok(site.containers(&image.0)?.iter().filter(|(_, _, state)| state == "running").count()),
    };
    run(&site, &kind)?;
    assert_eq!(site.containers(&image.0)?, BTreeSet::new());
    Ok(())
}

fn run(site: &Site, kind: &Kind<'_>) -> anyhow::Result<()> {
    let _master = site.master()?;
    let _events = site.record_events()?;
    let mut agent = site.agent("a1", kind.runtime)?;
    site.wait_for_agents(1)?;
    let mut app = kind.app.clone();
    app["instances"] = json!(STEP);
    site.post(&app)?;
    let mut tasks = site.wait_for_tasks(STEP)?;
    for delay in DELAYS_MILLIS {
        scale(site, 2 * STEP)?;
        agent = restart(site, kind, agent, delay)?;
        let more = site.wait_for_tasks(2 * STEP)?;
        assert!(more.is_superset(&tasks), "after {delay} ms: a task was lost");
        wait_for("as many real ones", || Ok((kind.count)()? == 2 * STEP))?;
        scale(site, STEP)?;
        agent = restart(site, kind, agent, delay)?;
        tasks = site.wait_for_tasks(STEP)?;
        assert!(tasks.is_subset(&more), "after {delay} ms: a task was started for no reason");
        wait_for("as many real ones", || Ok((kind.count)()? == STEP))?;
    }
    let _agent = endings(site, kind, agent)?;
    site.remove_all()?;
    wait_for("nothing real to be left", || Ok((kind.count)()? == 0))?;
    told_once(site);
    wait_for("the records to be removed", || Ok(std::fs::read_dir(site.path("a1/tasks"))?.count() == 0))
}

/// Tasks that end while no agent is there to see it, and just before it dies.
fn endings(site: &Site, kind: &Kind<'_>, mut agent: Daemon) -> anyhow::Result<Daemon> {
    let mut app = kind.app.clone();
    app["id"] = json!("/brief");
    app["instances"] = json!(STEP);
    app["backoffSeconds"] = json!(1);
    app["maxLaunchDelaySeconds"] = json!(1);
    match kind.runtime {
        "process" => app["cmd"] = json!("sleep 0.3; exit 7"),
        _ => app["args"] = json!(["exit", "7"]),
    }
    site.post(&app)?;
    for delay in DELAYS_MILLIS {
        agent = restart(site, kind, agent, 3 * delay)?;
        std::thread::sleep(Duration::from_millis(600));
    }
    wait_for("some endings", || {
        Ok(site
            .events()
            .iter()
            .filter(|(task, state)| task.starts_with("brief") && state == "TASK_FAILED")
            .count()
            > 5)
    })?;
    for (task, state) in site.events().iter().filter(|(task, _)| task.starts_with("brief")) {
        assert!(!["TASK_GONE", "TASK_LOST", "TASK_DROPPED"].contains(&state.as_str()), "{task} {state}");
    }
    site.call("DELETE", "/v2/apps/brief?force=true", &Value::Null)?;
    Ok(agent)
}

/// Every task has ended once, and was never up again afterwards.
fn told_once(site: &Site) {
    let mut by_task: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (task, state) in site.events() {
        by_task.entry(task).or_default().push(state);
    }
    let ends = [
        "TASK_FINISHED",
        "TASK_FAILED",
        "TASK_KILLED",
        "TASK_GONE",
        "TASK_LOST",
        "TASK_DROPPED",
        "TASK_ERROR",
    ];
    for (task, states) in by_task {
        let ended: Vec<usize> =
            (0..states.len()).filter(|place| ends.contains(&states[*place].as_str())).collect();
        assert_eq!(ended, [states.len() - 1], "{task}: {states:?}");
    }
}

fn scale(site: &Site, instances: usize) -> anyhow::Result<()> {
    site.call("PUT", "/v2/apps/steady?force=true", &json!({"instances": instances})).map(drop)
}

fn restart(site: &Site, kind: &Kind<'_>, agent: Daemon, delay: u64) -> anyhow::Result<Daemon> {
    std::thread::sleep(Duration::from_millis(delay));
    drop(agent);
    site.agent("a1", kind.runtime)
}
