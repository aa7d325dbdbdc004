//! What tasks use, and what an agent itself uses while nothing happens.

use std::time::Duration;

use gantry_tests::{programs, wait_for};
use serde_json::json;

use crate::image::ActorImage;
use crate::site::{Site, seconds};

#[test]
fn busy_tasks_are_seen() -> anyhow::Result<()> {
    let image = ActorImage::new("busy")?;
    let site = Site::new()?;
    let _master = site.master()?;
    let _agent = site.agent("a1", "auto")?;
    site.wait_for_agents(1)?;
    let actor = programs()?.join("actor").display().to_string();
    site.post(&json!({"id": "/process", "cmd": format!("exec {actor} burn"), "cpus": 0.1, "mem": 64}))?;
    site.post(
        &json!({"id": "/container", "args": ["burn"], "cpus": 0.1, "mem": 64, "taskKillGracePeriodSeconds": 1,
        "container": {"type": "DOCKER", "docker": {"image": image.0}}, "networks": [{"mode": "host"}]}),
    )?;
    site.wait_for_tasks(2)?;
    wait_for("plausible measures", || {
        let agents = site.get("/v2/agents?embed=tasks")?;
        let tasks = agents["agents"][0]["tasks"].as_array().cloned().unwrap_or_default();
        for task in &tasks {
            let (cpus, mem) = (task["used"]["cpus"].as_f64(), task["used"]["memBytes"].as_u64());
            let plausible = cpus.is_some_and(|cpus| cpus > 0.05 && cpus < 1.2)
                && mem.is_some_and(|bytes| bytes > 0 && bytes < 64 * 1024 * 1024);
            anyhow::ensure!(plausible, "{task}");
        }
        Ok(tasks.len() == 2)
    })?;
    site.remove_all()
}

fn cpu_millis(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let (_, rest) = stat.rsplit_once(") ").unwrap_or_default();
    let ticks = rest.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
    ticks.sum::<u64>() * 10
}

/// The most that an agent with twenty quiet tasks may use, in thousandths of a core; built without
/// optimization it takes a tenth of that.
const IDLE_MAX: u64 = 30;

#[test]
fn an_agent_with_quiet_tasks_is_quiet_and_leaves_nothing() -> anyhow::Result<()> {
    let image = ActorImage::new("quiet")?;
    let site = Site::new()?;
    let _master = site.master()?;
    let agent = site.agent("a1", "auto")?;
    site.wait_for_agents(1)?;
    let sleep = seconds(61);
    site.post(&json!({"id": "/process", "cmd": format!("exec sleep {sleep}"), "cpus": 0.01, "mem": 16, "instances": 10}))?;
    site.post(&json!({"id": "/container", "args": ["sleep"], "cpus": 0.01, "mem": 16, "instances": 10,
        "taskKillGracePeriodSeconds": 1,
        "container": {"type": "DOCKER", "docker": {"image": image.0}}, "networks": [{"mode": "host"}]}))?;
    let tasks = site.wait_for_tasks(20)?;
    std::thread::sleep(Duration::from_secs(2));
    let before = cpu_millis(agent.pid());
    std::thread::sleep(Duration::from_secs(10));
    let used = (cpu_millis(agent.pid()) - before) / 10;
    assert!(used <= IDLE_MAX, "{used} thousandths of a core");
    site.remove_all()?;
    wait_for("no containers", || Ok(site.containers(&image.0)?.is_empty()))?;
    wait_for("no records", || Ok(std::fs::read_dir(site.path("a1/tasks"))?.count() == 0))?;
    wait_for("no control groups", || Ok(groups(&tasks).is_empty()))?;
    assert_eq!(children(agent.pid()), Vec::<String>::new(), "an agent has no children, dead or alive");
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    assert!(!mounts.contains(&site.dir.path().display().to_string()), "{mounts}");
    Ok(())
}

fn groups(tasks: &std::collections::BTreeSet<String>) -> Vec<String> {
    let roots = [
        "/sys/fs/cgroup/memory/gantry",
        "/sys/fs/cgroup/cpu/gantry",
        "/sys/fs/cgroup/freezer/gantry",
        "/sys/fs/cgroup/gantry",
    ];
    let entries = roots.iter().filter_map(|root| std::fs::read_dir(root).ok()).flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| tasks.contains(name)).collect()
}

fn children(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let texts = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    texts.flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}
