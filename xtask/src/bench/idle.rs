//! `cargo xtask bench idle`: what is used while nothing happens. A one-process cluster without tasks, then an agent
//! with tasks that wait and its master, once with processes and once with containers: memory, and processor time as a
//! share of a core.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hyper::Method;
use serde_json::{Value, json};
use tokio::task::LocalSet;

use super::group::{Group, Kind, cpu_of};
use super::masters::{Masters, Rest, get};
use super::memory::Memory;
use super::single_threaded;
use crate::cargo::{self, Profile};
use crate::cluster::{Cluster, Dev};
use crate::docker::{self, Engine};
use crate::{http, stop};

/// What was begun is finished before anything is measured.
const SETTLE: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Time for all tasks to run, and to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the containers are made of.
const IMAGE: &str = "gantry/bench-idle:latest";

/// Options.
#[derive(clap::Args)]
pub struct Idle {
    /// Tasks of the agent: each waits for what never comes.
    #[arg(long, default_value_t = 50)]
    tasks: usize,
    /// For so many seconds each is looked at.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// What the tasks are. Without it both, one after the other, where a Docker Engine answers.
    #[arg(long)]
    runtime: Option<Runtime>,
}

/// What an agent's tasks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Runtime {
    /// Processes that sleep.
    Process,
    /// Containers with a server that nobody asks.
    Docker,
}

impl Runtime {
    fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Docker => "docker",
        }
    }

    fn tasks(self) -> &'static str {
        match self {
            Self::Process => "processes",
            Self::Docker => "containers",
        }
    }

    /// What they run, as a definition of so many.
    fn app(self, instances: usize) -> Value {
        let mut app = match self {
            Self::Process => json!({"cmd": "exec sleep 1000000", "mem": 1}),
            Self::Docker => json!({"mem": 16, "portDefinitions": [{"port": 0, "protocol": "tcp"}],
                "container": {"type": "DOCKER", "docker": {"image": IMAGE, "network": "HOST"}}}),
        };
        for (field, value) in [
            ("id", json!("/idle")),
            ("cpus", json!(0.001)),
            ("disk", json!(0)),
            ("instances", json!(instances)),
        ] {
            app[field] = value;
        }
        app
    }
}

/// Runs the benchmark.
pub fn run(options: &Idle) -> anyhow::Result<ExitCode> {
    stop::catch();
    let (dir, programs) = (cargo::scratch("bench-idle")?, cargo::programs(Profile::Release));
    one_process(options, &dir, &programs)?;
    if options.runtime != Some(Runtime::Docker) {
        single_threaded(LocalSet::new().run_until(agent(Runtime::Process, options, &dir, &programs)))?;
    }
    match (options.runtime, docker::answers()) {
        (Some(Runtime::Process), _) => {}
        (None, Err(why)) => println!("nothing with containers: no Docker Engine answers ({why})"),
        (Some(Runtime::Docker), _) | (None, Ok(())) => {
            let _engine = Engine::ensure()?;
            let _image = Image::make(&programs)?;
            single_threaded(LocalSet::new().run_until(agent(Runtime::Docker, options, &dir, &programs)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn one_process(options: &Idle, dir: &Path, programs: &Path) -> anyhow::Result<()> {
    let dev = Dev { runtime: "process", data_dir: Some(dir.join("dev")), ..Dev::default() };
    let cluster = Cluster::start(programs, dir, &dev)?;
    std::thread::sleep(SETTLE);
    let (before, began) = (cpu_of(cluster.process()), Instant::now());
    std::thread::sleep(Duration::from_secs(options.seconds));
    line("one-process cluster, no tasks", cluster.process(), before, began)
}

/// An agent on its own with tasks, and the master that it has.
async fn agent(runtime: Runtime, options: &Idle, dir: &Path, programs: &Path) -> anyhow::Result<()> {
    let dir = dir.join(runtime.name());
    std::fs::create_dir(&dir)?;
    let masters = Masters::new(programs, &dir, 1)?;
    let rpc = masters.rpc_addresses();
    let masters = Group::start(masters, &dir, 1).await?;
    let leader = masters.kind.address(0);
    let agent = Agent::start(runtime, programs, &dir, &rpc)?;
    let mut rest = Rest::open(leader).await?;
    let app = runtime.app(options.tasks).to_string();
    let (status, answer) = rest.send(Method::POST, "/v2/apps", app).await?;
    ensure!(status.is_success(), "POST /v2/apps: {status} {}", String::from_utf8_lossy(&answer));
    until("all tasks run", async || {
        let app = get(leader, "/v2/apps/idle?embed=app.counts").await?;
        Ok(app["app"]["tasksRunning"].as_u64() == Some(options.tasks as u64))
    })
    .await?;
    tokio::time::sleep(SETTLE).await;
    let master = masters.processes().next().context("no master")?.1;
    let (before, began) = ([agent.process(), master].map(cpu_of), Instant::now());
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let with = format!("with {} {}", options.tasks, runtime.tasks());
    line(&format!("agent {with}"), agent.process(), before[0], began)?;
    line("its master", master, before[1], began)?;
    // The master has closed the one before: nothing was said for long.
    let mut rest = Rest::open(leader).await?;
    let (status, _) = rest.send(Method::DELETE, "/v2/apps/idle?force=true", String::new()).await?;
    ensure!(status.is_success(), "DELETE /v2/apps/idle: {status}");
    until("no task is left", async || {
        let tasks = get(leader, "/v2/tasks").await?;
        Ok(tasks["tasks"].as_array().is_some_and(Vec::is_empty))
    })
    .await
}

async fn until(what: &str, is_so: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !is_so().await? {
        if stop::asked() || began.elapsed() > PATIENCE {
            bail!("not within {} s: {what}", PATIENCE.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

fn line(who: &str, process: u32, before: Duration, began: Instant) -> anyhow::Result<()> {
    let used = cpu_of(process).saturating_sub(before).as_secs_f64() / began.elapsed().as_secs_f64();
    println!("{who}: {}, {:.2} % of a core", Memory::of(process)?, used * 100.0);
    Ok(())
}

/// An agent as a child process.
struct Agent(Child);

impl Agent {
    fn start(runtime: Runtime, programs: &Path, dir: &Path, masters: &str) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(dir.join("agent.log"))?;
        let mut command = Command::new(programs.join("clusterctl"));
        command.args(["agent", "--runtime", runtime.name(), "--ip", "127.0.0.1", "--masters", masters]);
        command.arg("--data-dir").arg(dir.join("agent"));
        // Ctrl-C is for us: we end it.
        command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Self(command.spawn().context("cannot run clusterctl")?))
    }

    fn process(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The image of the containers. When dropped it goes, and what containers of it are left: the agent ends with the
/// master, and may not have removed them all.
struct Image;

impl Image {
    fn make(programs: &Path) -> anyhow::Result<Self> {
        docker::image(IMAGE, &programs.join("hello"))?;
        Ok(Self)
    }

    /// The ids of its containers.
    fn containers() -> anyhow::Result<Vec<String>> {
        let filters = format!("%7B%22ancestor%22%3A%5B%22{IMAGE}%22%5D%7D");
        let path = format!("/containers/json?all=true&filters={filters}");
        let answer = http::unix(&docker::socket(), "GET", &path, "text/plain", &[])?;
        let found: Vec<Value> = serde_json::from_str(&answer.body)?;
        Ok(found.iter().filter_map(|one| one["Id"].as_str().map(str::to_owned)).collect())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        for id in Self::containers().unwrap_or_default() {
            let path = format!("/containers/{id}?force=true&v=true");
            let _ = http::unix(&docker::socket(), "DELETE", &path, "text/plain", &[]);
        }
        docker::remove_image(IMAGE);
    }
}
