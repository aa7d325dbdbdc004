//! What the tests of whole clusters share: the built programs, an image of the probe, and waiting for a
//! level (never for an edge). The tests themselves are in `tests/`.

pub mod question;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use xtask::cluster::{self, Cluster, Dev};
use xtask::faults::house;
use xtask::{docker, http};

/// Longest wait for anything that should happen soon; generous, since CI machines are small and shared.
pub const SOON: Duration = Duration::from_secs(60);

/// Directory of the programs that `cargo xtask test` has built.
pub fn programs() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    // Tests lie in `<profile>/deps`.
    let dir = own.parent().and_then(|deps| deps.parent()).context("where are the programs?")?;
    if !dir.join("clusterctl").is_file() {
        bail!("{} holds no clusterctl: run the tests with `cargo xtask test`", dir.display());
    }
    Ok(dir.to_owned())
}

/// An image that holds the probe, removed when dropped. Without Docker the test fails and says why.
pub struct ProbeImage(pub String);

impl ProbeImage {
    /// Makes it; `name` keeps tests apart.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        if let Err(why) = docker::answers() {
            bail!(
                "no Docker Engine answers ({why}): run the tests with `cargo xtask test`, which starts one"
            );
        }
        let image = format!("gantry-test/{name}:latest");
        docker::image(&image, &programs()?.join("probe"))?;
        Ok(Self(image))
    }
}

impl Drop for ProbeImage {
    /// The last net: what the end of a [`Bed`] could not remove goes with the image.
    fn drop(&mut self) {
        for container in containers(&self.0).unwrap_or_default().into_values() {
            let path = format!("/containers/{container}?force=true&v=true");
            let _ = http::unix(&docker::socket(), "DELETE", &path, "text/plain", &[]);
        }
        docker::remove_image(&self.0);
    }
}

/// Ids of the containers of an image, by task; also of those that have ended.
pub fn containers(image: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let answer = http::unix(&docker::socket(), "GET", "/containers/json?all=true", "text/plain", &[])?;
    let all: Value = serde_json::from_str(&answer.body)?;
    let ours = all.as_array().into_iter().flatten().filter(|one| one["Image"] == image);
    Ok(ours
        .filter_map(|one| {
            let task = one["Labels"]["MESOS_TASK_ID"].as_str()?.to_owned();
            Some((task, one["Id"].as_str()?.to_owned()))
        })
        .collect())
}

/// A scratch directory and a cluster in it that can be killed and started again. Declared before the cluster, so that
/// it goes after it.
pub struct Bed {
    /// Removed when dropped.
    pub dir: tempfile::TempDir,
    /// How the cluster is started.
    pub dev: Dev,
}

impl Bed {
    /// A bed whose cluster keeps its data.
    pub fn new(runtime: &'static str) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("gantry-test-").tempdir()?;
        let data_dir = Some(dir.path().join("data"));
        Ok(Self { dir, dev: Dev { runtime, data_dir, ..Dev::default() } })
    }

    /// Starts the cluster, where it was before if it ran already.
    pub fn start(&mut self) -> anyhow::Result<Cluster> {
        let cluster = Cluster::start(&programs()?, self.dir.path(), &self.dev)?;
        (self.dev.http, self.dev.dns) = (cluster.http.port(), cluster.dns.port());
        Ok(cluster)
    }
}

impl Drop for Bed {
    /// A cluster that keeps its data leaves its tasks as they are when it ends, and a test may have failed half way,
    /// or seen that a task has ended before its agent has removed the container.
    fn drop(&mut self) {
        let Some(data) = self.dev.data_dir.as_ref().filter(|dir| dir.exists()) else { return };
        let removed = programs().and_then(|programs| cluster::remove(&programs, data));
        if let Err(error) = removed {
            eprintln!("tasks of a test cluster may be left: {error:#}");
        }
    }
}

/// One request; status and JSON body (null when it is none).
pub fn call(cluster: &Cluster, method: &str, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let answer = http::tcp(&cluster.http.to_string(), method, path, &bytes)?;
    Ok((answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::Null)))
}

/// A GET that must succeed.
pub fn get(cluster: &Cluster, path: &str) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&cluster.get(path)?)?)
}

/// Runs the body of the test of this name in a house of its own (see [`house`]): the test runs itself once more
/// inside. The body gets a scratch directory.
pub fn in_a_house(test: &str, body: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if let Some(scratch) = house::inside() {
        house::settle_in()?;
        return body(&scratch);
    }
    let status = house::enter(&[test.into(), "--exact".into(), "--nocapture".into()])?;
    anyhow::ensure!(status.success(), "it failed inside: {status}");
    Ok(())
}

/// Removes every app and waits until their tasks are gone.
pub fn remove_all(cluster: &Cluster) -> anyhow::Result<()> {
    let (status, answer) = call(cluster, "DELETE", "/v2/groups?force=true", &Value::Null)?;
    anyhow::ensure!(status == 200, "the apps are not removed: {status} {answer}");
    wait_for("all tasks to end", || {
        let tasks = get(cluster, "/v2/agents")?;
        let left: u64 =
            tasks["agents"].as_array().into_iter().flatten().filter_map(|a| a["taskCount"].as_u64()).sum();
        Ok(left == 0)
    })
}

/// Looks until it is so, or fails after [`SOON`]. An error counts as "not yet", and is named at the end.
pub fn wait_for(what: &str, mut look: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + SOON;
    loop {
        let seen = look();
        if matches!(seen, Ok(true)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            seen?;
            bail!("waited {} s for {what}", SOON.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until an app has as many running tasks as it wants.
pub fn wait_until_running(cluster: &Cluster, app: &str, count: u64) -> anyhow::Result<()> {
    wait_for(&format!("{count} running tasks of {app}"), || {
        let found = get(cluster, &format!("/v2/apps/{app}"))?;
        Ok(found["app"]["tasksRunning"].as_u64() == Some(count) && found["app"]["tasksStaged"] == json!(0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_a_cluster_that_was_killed_with_its_tasks() -> anyhow::Result<()> {
        let image = ProbeImage::new("bed")?;
        let mut bed = Bed::new("docker")?;
        let cluster = bed.start()?;
        let docker = json!({"type": "DOCKER", "docker": {"image": image.0}});
        let app = json!({"id": "/left", "cpus": 0.01, "mem": 16, "instances": 2, "args": ["sleep"], "container": docker});
        assert_eq!(call(&cluster, "POST", "/v2/apps", &app)?.0, 201);
        wait_until_running(&cluster, "/left", 2)?;
        cluster.kill();
        // One goes on running, the other has ended and nobody has removed it.
        let left = containers(&image.0)?;
        let path = format!("/containers/{}/kill", left.values().next().context("no containers")?);
        http::unix(&docker::socket(), "POST", &path, "text/plain", &[])?;
        wait_for("it to end", || {
            let running = http::unix(&docker::socket(), "GET", "/containers/json", "text/plain", &[])?;
            Ok(left.values().filter(|id| running.body.contains(*id)).count() == 1)
        })?;
        assert_eq!(containers(&image.0)?, left);
        drop(bed);
        assert_eq!(containers(&image.0)?, BTreeMap::new());
        Ok(())
    }
}
