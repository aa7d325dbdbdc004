//! Programs that were written for Marathon, against a cluster with real tasks.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::cargo::{must, root, scratch};
use crate::cluster::{Cluster, Dev};
use crate::docker::which;
use crate::http;
use crate::python::{self, Environment};
use crate::stop;

/// It was written for Python before 3.10, so the script that uses it mends what it imports.
const MARATHON: Environment = Environment {
    name: "marathon-client",
    packages: &["marathon==0.13.0"],
    probe: "import collections, collections.abc as abc; collections.Iterable = abc.Iterable; import marathon",
};

/// Time for Prometheus to start and to find what runs.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs each; the first that fails ends it.
pub fn run(programs: &Path) -> anyhow::Result<()> {
    marathon_python(programs).context("tests/clients/marathon_python.py")?;
    prometheus(programs).context("Prometheus' discovery")
}

/// Everything that Marathon's own Python client can do.
fn marathon_python(programs: &Path) -> anyhow::Result<()> {
    println!("clients: Marathon's Python client");
    let python = python::interpreter_of(&MARATHON)?;
    let scratch = scratch("marathon-client-run")?;
    let cluster = Cluster::start(programs, &scratch, &Dev { runtime: "process", ..Dev::default() })?;
    let script = root().join("tests/clients/marathon_python.py");
    let walked = must(Command::new(python).arg(script).arg(format!("http://{}", cluster.http)));
    walked.with_context(|| format!("the end of the cluster's log:\n{}", cluster.last_lines()))
}

/// Prometheus finds each port of each task where it is, with the labels of the app and the port.
fn prometheus(programs: &Path) -> anyhow::Result<()> {
    println!("clients: Prometheus' discovery of Marathon's apps");
    let program = prometheus_program()?;
    let scratch = scratch("prometheus-run")?;
    let cluster = Cluster::start(programs, &scratch, &Dev { runtime: "process", ..Dev::default() })?;
    let document = scratch.join("app.json");
    let port = |name: &str| json!({"port": 0, "name": name, "labels": {"is": name}});
    let app = json!({
        "id": "/shop/web", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16, "instances": 2,
        "labels": {"team": "shop"}, "portDefinitions": [port("http"), port("admin")],
    });
    std::fs::write(&document, app.to_string())?;
    must(&mut cluster.clusterctl(&["deploy", document.to_str().context("the path is text")?]))?;
    let wanted = wanted_targets(&cluster)?;
    if wanted.len() != 4 {
        bail!("two tasks with two ports each are not {wanted:?}");
    }
    let prometheus = Prometheus::start(&program, &scratch, &cluster)?;
    let deadline = Instant::now() + DISCOVERY_TIMEOUT;
    loop {
        let found = prometheus.targets().unwrap_or_default();
        if found == wanted {
            println!("found all {} ports", found.len());
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("Prometheus found {found:?} and not {wanted:?}; its log is {}", prometheus.log.display());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Address, task, app, label of the app, label of the port.
type Target = [String; 5];

fn wanted_targets(cluster: &Cluster) -> anyhow::Result<BTreeSet<Target>> {
    let listed: Value = serde_json::from_str(&cluster.get("/v2/tasks")?)?;
    let mut targets = BTreeSet::new();
    for task in listed["tasks"].as_array().into_iter().flatten() {
        let ports = task["ports"].as_array().into_iter().flatten();
        for (port, name) in ports.zip(["http", "admin"]) {
            let address = format!("{}:{port}", text(&task["host"]));
            targets.insert([address, text(&task["id"]), text(&task["appId"]), "shop".into(), name.into()]);
        }
    }
    Ok(targets)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A running Prometheus.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Prometheus {
    fn start(program: &Path, scratch: &Path, cluster: &Cluster) -> anyhow::Result<Self> {
        let config = json!({
            "scrape_configs": [{
                "job_name": "apps",
                "marathon_sd_configs": [{
                    "servers": [format!("http://{}", cluster.http)], "refresh_interval": "1s",
                }],
            }],
        });
        // YAML holds JSON.
        let file = scratch.join("prometheus.yml");
        std::fs::write(&file, config.to_string())?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = scratch.join("prometheus.log");
        let output = std::fs::File::create(&log)?;
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", scratch.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        Ok(Self { child, address, log })
    }

    /// What it has found so far.
    fn targets(&self) -> anyhow::Result<BTreeSet<Target>> {
        let answer = http::tcp(&self.address.to_string(), "GET", "/api/v1/targets?state=active", &[])?;
        let answer: Value = serde_json::from_str(&answer.body)?;
        let active = answer["data"]["activeTargets"].as_array().into_iter().flatten();
        let target = |found: &Value| {
            let label = |name: &str| text(&found["discoveredLabels"][name]);
            [
                label("__address__"),
                label("__meta_marathon_task"),
                label("__meta_marathon_app"),
                label("__meta_marathon_app_label_team"),
                label("__meta_marathon_port_definition_label_is"),
            ]
        };
        Ok(active.map(target).collect())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        stop::signal(self.child.id(), libc::SIGTERM);
        let _ = self.child.wait();
    }
}

/// Prometheus, or Debian's package of it unpacked below `target`: nothing is installed, no service started.
fn prometheus_program() -> anyhow::Result<PathBuf> {
    let folder = root().join("target").join("xtask").join("prometheus");
    let unpacked = folder.join("usr/bin/prometheus");
    if let Some(program) = which("prometheus").or_else(|| unpacked.is_file().then_some(unpacked.clone())) {
        return Ok(program);
    }
    if which("apt-get").is_none() || which("dpkg").is_none() {
        bail!("there is no `prometheus` and no apt-get to fetch it with: install Prometheus 2");
    }
    println!("fetching Prometheus from Debian's packages into {}", folder.display());
    std::fs::create_dir_all(&folder)?;
    let download =
        || must(Command::new("apt-get").args(["download", "-qq", "prometheus"]).current_dir(&folder));
    if download().is_err() {
        must(Command::new("apt-get").args(["update", "-qq"]))?;
        download()?;
    }
    for file in std::fs::read_dir(&folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|ending| ending == "deb") {
            must(Command::new("dpkg").arg("-x").arg(&path).arg(&folder))?;
            std::fs::remove_file(&path)?;
        }
    }
    Ok(unpacked)
}
