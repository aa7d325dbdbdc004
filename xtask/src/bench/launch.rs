//! `cargo xtask bench launch`: from the request to N running containers, three ways on the same engine:
//! `POST /v2/apps` to a one-process cluster, the Docker API called directly with the same concurrency, and
//! `docker service create`. The three take turns, so that a machine that slows down slows all of them.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::Figure;
use crate::cargo::{self, Profile, must};
use crate::cluster::{Cluster, Dev};
use crate::docker::{self, Engine};
use crate::{http, stop};

/// Options.
#[derive(clap::Args)]
pub struct Launch {
    /// Containers a run.
    #[arg(long, default_value_t = 50)]
    instances: usize,
    /// Starts at once in the direct runs: as many as an agent starts.
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    /// Rounds of all three.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Leave Docker Swarm out.
    #[arg(long)]
    no_swarm: bool,
}

const IMAGE: &str = "gantry/bench-hello:latest";
/// Longest wait for one run.
const TIMEOUT: Duration = Duration::from_secs(180);
/// Pause between looks at what runs.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Runs the benchmark.
pub fn run(options: &Launch) -> anyhow::Result<ExitCode> {
    stop::catch();
    let _engine = Engine::ensure()?;
    let programs = cargo::build(&["clusterctl", "hello"], Profile::Release)?;
    docker::image(IMAGE, &programs.join("hello"))?;
    let swarm = if options.no_swarm { None } else { Some(Swarm::start()?) };
    let (mut ours, mut direct, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=options.rounds {
        // The first round warms up the engine and is not counted.
        let counted = round > 0;
        let keep = |figures: &mut Vec<Duration>, took: Duration| figures.extend(counted.then_some(took));
        keep(&mut direct, direct_starts(options)?);
        keep(&mut ours, one_app(options, &programs)?);
        if swarm.is_some() {
            keep(&mut theirs, service(options)?);
        }
        if stop::asked() {
            bail!("interrupted");
        }
    }
    drop(swarm);
    docker::remove_image(IMAGE);
    print(options, ours, direct, theirs);
    Ok(ExitCode::SUCCESS)
}

fn print(options: &Launch, ours: Vec<Duration>, direct: Vec<Duration>, theirs: Vec<Duration>) {
    let (ours, direct) = (Figure::of(ours), Figure::of(direct));
    println!(
        "{} containers, {} rounds, seconds:       min   median      max",
        options.instances, options.rounds
    );
    println!("  Docker API, {} at once           {direct}", options.concurrency);
    println!("  POST /v2/apps                    {ours}");
    let ratio = |one: &Figure, other: &Figure| one.median.as_secs_f64() / other.median.as_secs_f64();
    if theirs.is_empty() {
        println!("ratio of medians: ours/direct {:.2}", ratio(&ours, &direct));
        return;
    }
    let theirs = Figure::of(theirs);
    println!("  docker service create            {theirs}");
    println!(
        "ratio of medians: ours/direct {:.2}, swarm/direct {:.2}, ours/swarm {:.2}",
        ratio(&ours, &direct),
        ratio(&theirs, &direct),
        ratio(&ours, &theirs)
    );
}

/// POST of one app until every instance is reported running. The cluster is up before the clock starts.
fn one_app(options: &Launch, programs: &Path) -> anyhow::Result<Duration> {
    let scratch = cargo::scratch("bench-launch")?;
    let cluster = Cluster::start(programs, &scratch, &Dev { runtime: "docker", ..Dev::default() })?;
    let app = json!({
        "id": "/bench", "instances": options.instances, "cpus": 0.01, "mem": 16,
        "container": {"type": "DOCKER", "docker": {"image": IMAGE, "network": "HOST"}},
        "portDefinitions": [{"port": 0, "protocol": "tcp"}],
    });
    let address = cluster.http.to_string();
    let started = Instant::now();
    let answer = http::tcp(&address, "POST", "/v2/apps", app.to_string().as_bytes())?;
    if answer.status != 201 {
        bail!("POST /v2/apps: {} {}", answer.status, answer.body);
    }
    wait_until(started, || {
        let app: Value = serde_json::from_str(&cluster.get("/v2/apps//bench?embed=app.counts")?)?;
        Ok(app["app"]["tasksRunning"].as_u64() == Some(options.instances as u64))
    })
    .with_context(|| cluster.last_lines())
}

/// Create and start of every container through the Docker API.
fn direct_starts(options: &Launch) -> anyhow::Result<Duration> {
    let socket = docker::socket();
    let next = Mutex::new(0);
    let made = Mutex::new(Vec::new());
    let body = |port: usize| {
        json!({"Image": IMAGE, "Env": [format!("PORT={port}")], "Labels": {"gantry-bench": "direct"},
            "HostConfig": {"NetworkMode": "host", "CpuShares": 10, "Memory": 16 << 20,
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}}})
        .to_string()
    };
    let one = |number: usize| -> anyhow::Result<()> {
        let body = body(30_000 + number);
        let answer = http::unix(&socket, "POST", "/containers/create", "application/json", body.as_bytes())?;
        let id = serde_json::from_str::<Value>(&answer.body)?["Id"].as_str().context("no id")?.to_owned();
        let answer =
            http::unix(&socket, "POST", &format!("/containers/{id}/start"), "application/json", &[])?;
        lock(&made).push(id);
        if answer.status >= 300 {
            bail!("start: {} {}", answer.status, answer.body);
        }
        Ok(())
    };
    let worker = || -> anyhow::Result<()> {
        loop {
            let number = {
                let mut next = lock(&next);
                *next += 1;
                *next
            };
            if number > options.instances {
                return Ok(());
            }
            one(number)?;
        }
    };
    let started = Instant::now();
    let done: anyhow::Result<()> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.concurrency).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a worker panicked")))
    });
    let took = started.elapsed();
    for id in lock(&made).iter() {
        http::unix(&socket, "DELETE", &format!("/containers/{id}?force=true&v=true"), "text/plain", &[])?;
    }
    done.map(|()| took)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// `docker service create` until every task is running.
fn service(options: &Launch) -> anyhow::Result<Duration> {
    let name = "gantry-bench";
    let replicas = options.instances.to_string();
    let started = Instant::now();
    // `{{.Task.Slot}}` gives each a port of its own, as ours has.
    must(Command::new("docker").stdout(Stdio::null()).stderr(Stdio::null()).args([
        "service",
        "create",
        "--detach",
        "--quiet",
        "--no-resolve-image",
        "--name",
        name,
        "--replicas",
        &replicas,
        "--network",
        "host",
        "--limit-memory",
        "16m",
        "--env",
        "PORT=3{{.Task.Slot}}",
        "--restart-condition",
        "none",
        IMAGE,
    ]))?;
    let filters = "%7B%22service%22%3A%5B%22gantry-bench%22%5D%7D";
    let took = wait_until(started, || {
        let answer =
            http::unix(&docker::socket(), "GET", &format!("/tasks?filters={filters}"), "text/plain", &[])?;
        let tasks: Value = serde_json::from_str(&answer.body)?;
        let running = |task: &&Value| task["Status"]["State"] == "running";
        Ok(tasks.as_array().is_some_and(|all| all.iter().filter(running).count() == options.instances))
    });
    must(Command::new("docker").args(["service", "rm", name]).stdout(Stdio::null()))?;
    let gone = Instant::now();
    wait_until(gone, || {
        let path = "/containers/json?all=true&filters=%7B%22label%22%3A%5B%22com.docker.swarm.service.name%3Dgantry-bench%22%5D%7D";
        let answer = http::unix(&docker::socket(), "GET", path, "text/plain", &[])?;
        Ok(answer.body.trim() == "[]")
    })?;
    took
}

fn wait_until(started: Instant, mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<Duration> {
    loop {
        if done()? {
            return Ok(started.elapsed());
        }
        if started.elapsed() > TIMEOUT || stop::asked() {
            bail!("not done after {} s", started.elapsed().as_secs());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A swarm of one that we made; left when dropped. One that was there before is used and stays.
struct Swarm {
    made: bool,
}

impl Swarm {
    fn start() -> anyhow::Result<Self> {
        let info = http::unix(&docker::socket(), "GET", "/info", "text/plain", &[])?;
        let info: Value = serde_json::from_str(&info.body)?;
        if info["Swarm"]["LocalNodeState"] == "active" {
            return Ok(Self { made: false });
        }
        let init = ["swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:0"];
        must(Command::new("docker").args(init).stdout(Stdio::null()))
            .context("Docker Swarm (--no-swarm leaves it out)")?;
        Ok(Self { made: true })
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        if self.made {
            let _ = must(Command::new("docker").args(["swarm", "leave", "--force"]).stdout(Stdio::null()));
        }
    }
}
