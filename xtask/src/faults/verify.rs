//! What must be so when nothing is wrong any more: the cluster is whole, says the same everywhere, and what it
//! says is what the machine has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::house::APPS;
use super::rest::{get, list};
use super::site::{Role, Site};
use super::tasks;
use crate::stop;

/// Time for anything that must become so; generous, since the machine may be busy with other things.
const SOON: Duration = Duration::from_secs(120);
/// What every master must say alike of its own state.
const VIEWS: [&str; 3] = ["/v2/apps?stale=true", "/v2/tasks?stale=true", "/v2/deployments?stale=true"];

/// Looks until it is so; at the end says why not.
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + SOON;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(error) if stop::asked() => return Err(error.context("asked to stop")),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("waited {} s: {what}", SOON.as_secs())));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// All masters vote, hear each other and know one leader; all agents are connected.
pub fn is_whole(site: &Site) -> anyhow::Result<()> {
    let https = site.https();
    for address in &https {
        let said = get(*address, "/v2/masters")?;
        let masters = list(&said, "masters")?;
        let voters = masters.iter().filter(|master| master["role"] == "voter").count();
        let leaders = masters.iter().filter(|master| master["leader"] == true).count();
        let away = masters.iter().any(|master| master["reachable"] == false);
        ensure!(
            (masters.len(), voters, leaders, away) == (https.len(), https.len(), 1, false),
            "{address} knows other masters: {said}"
        );
    }
    agents_are_connected(site, *https.first().context("no masters")?)
}

/// All agents are connected, as this master says.
pub fn agents_are_connected(site: &Site, address: SocketAddr) -> anyhow::Result<()> {
    let said = get(address, "/v2/agents")?;
    let connected = list(&said, "agents")?.iter().filter(|agent| agent["presence"] == "connected").count();
    let wanted = site.nodes(Role::Agent).len();
    ensure!(connected == wanted, "{connected} of {wanted} agents are connected: {said}");
    Ok(())
}

/// Every app has as many running tasks as it wants, and nothing is on its way.
pub fn is_settled(address: SocketAddr) -> anyhow::Result<()> {
    let apps = get(address, "/v2/apps")?;
    for app in list(&apps, "apps")? {
        let (wanted, running) = (&app["instances"], &app["tasksRunning"]);
        ensure!(wanted == running && app["tasksStaged"] == 0, "{}: {running} of {wanted} run", app["id"]);
    }
    let deployments = get(address, "/v2/deployments")?;
    ensure!(deployments.as_array().is_some_and(Vec::is_empty), "there are deployments: {deployments}");
    Ok(())
}

/// The tasks that the cluster says run, by app.
pub fn said_tasks(address: SocketAddr) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let said = get(address, "/v2/tasks")?;
    let mut tasks: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for task in list(&said, "tasks")? {
        ensure!(task["state"] == "TASK_RUNNING", "a task does not run: {task}");
        let [app, id] = ["appId", "id"].map(|key| task[key].as_str().unwrap_or_default().to_owned());
        tasks.entry(app).or_default().insert(id);
    }
    Ok(tasks)
}

/// The machine runs what the cluster says runs, each task once, and nothing else.
pub fn is_real(address: SocketAddr) -> anyhow::Result<()> {
    let said: BTreeSet<String> = said_tasks(address)?.into_values().flatten().collect();
    let real = tasks::running();
    let known: BTreeSet<String> = real.keys().cloned().collect();
    let (missing, orphans) = (said.difference(&known), known.difference(&said));
    let (missing, orphans): (Vec<_>, Vec<_>) = (missing.collect(), orphans.collect());
    ensure!(missing.is_empty(), "these run for the cluster and not in fact: {missing:?}");
    ensure!(orphans.is_empty(), "these run in fact and not for the cluster: {orphans:?}");
    let double: Vec<_> = real.iter().filter(|(_, pids)| pids.len() != 1).collect();
    ensure!(double.is_empty(), "these have several processes: {double:?}");
    Ok(())
}

/// All masters have the same state.
pub fn is_equal(site: &Site) -> anyhow::Result<()> {
    for view in VIEWS {
        let said = site.https().into_iter().map(|address| Ok((address, get(address, view)?)));
        let said: Vec<(SocketAddr, Value)> = said.collect::<anyhow::Result<_>>()?;
        if let Some(pair) = said.windows(2).find(|pair| pair[0].1 != pair[1].1) {
            bail!("{view} differs:\n{}: {}\n{}: {}", pair[0].0, pair[0].1, pair[1].0, pair[1].1);
        }
    }
    Ok(())
}

/// An app whose agent is never touched: ids, start times and processes of its tasks.
pub type Steady = BTreeMap<String, (String, Vec<u32>)>;

/// Looks at it.
pub fn steady(address: SocketAddr, app: &str) -> anyhow::Result<Steady> {
    let said = get(address, &format!("/v2/apps{app}/tasks"))?;
    let real = tasks::running();
    let mut steady = Steady::new();
    for task in list(&said, "tasks")? {
        let id = task["id"].as_str().unwrap_or_default().to_owned();
        let pids = real.get(&id).cloned().unwrap_or_default();
        ensure!(task["state"] == "TASK_RUNNING" && pids.len() == 1, "{task} has the processes {pids:?}");
        steady.insert(id, (task["startedAt"].to_string(), pids));
    }
    Ok(steady)
}

/// After all apps were removed: no task, no process of one, no control group.
pub fn is_empty(address: SocketAddr) -> anyhow::Result<()> {
    let said = said_tasks(address)?;
    ensure!(said.is_empty(), "there are still tasks: {said:?}");
    let real = tasks::running();
    ensure!(real.is_empty(), "there are still processes of tasks: {real:?}");
    let groups = control_groups();
    ensure!(groups.is_empty(), "there are still control groups: {groups:?}");
    Ok(())
}

fn control_groups() -> Vec<PathBuf> {
    let entries = |directory: PathBuf| {
        std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
    };
    let root = PathBuf::from("/sys/fs/cgroup");
    let roots = entries(root.clone()).chain([root]);
    let all = roots.flat_map(|root| entries(root.join("gantry")));
    all.filter(|group| group.file_name().is_some_and(|name| name.to_string_lossy().starts_with(APPS)))
        .collect()
}
