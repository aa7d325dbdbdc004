//! `cargo xtask demo`: a cluster, the search-engine demo on it, and what to try.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::cargo::{self, Profile, must};
use crate::cluster::{self, Cluster, Dev};
use crate::{docker, http, name, stop};

/// Options.
#[derive(clap::Args)]
pub struct Demo {
    /// Check that it works, clean up, and exit with 0 or 1.
    #[arg(long)]
    once: bool,
    /// What runs the tasks: Docker where an engine answers, else processes.
    #[arg(long, value_enum)]
    runtime: Option<Runtime>,
    /// Which build to run.
    #[arg(long, value_enum, default_value_t = Profile::Dev)]
    profile: Profile,
}

/// What runs the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtime {
    /// Containers.
    Docker,
    /// Processes.
    Process,
}

/// The demo's image.
const IMAGE: &str = "gantry/search-engine:demo";
/// Time for the indexer to have fed something.
const FEED_TIMEOUT: Duration = Duration::from_secs(60);
/// Something that the corpus holds.
const QUERY: &str = "whale";

/// Runs the demo.
pub fn run(demo: &Demo) -> anyhow::Result<ExitCode> {
    stop::catch();
    let runtime = demo.runtime.unwrap_or_else(choose);
    println!("building clusterctl and the search engine (the first time takes some minutes)");
    let programs = cargo::build(&["clusterctl", "search-engine"], demo.profile)?;
    let scratch = cargo::root().join("target/xtask/demo");
    let data = scratch.join("data");
    cluster::remove(&programs, &data).context("an earlier demo still runs, or could not be removed")?;
    let scratch = cargo::scratch("demo")?;
    if runtime == Runtime::Docker {
        println!("putting the search engine into an image, {IMAGE}");
        docker::image(IMAGE, &programs.join("search-engine"))?;
    }
    let shown = Show { demo, runtime, programs: &programs, scratch: &scratch, data: &data }.run();
    println!("ending the tasks and removing what the demo made");
    let removed = cluster::remove(&programs, &data);
    if runtime == Runtime::Docker {
        docker::remove_image(IMAGE);
    }
    removed?;
    if stop::asked() {
        // How it is meant to end, unless the check was cut short.
        return Ok(if demo.once { ExitCode::from(130) } else { ExitCode::SUCCESS });
    }
    shown?;
    if demo.once {
        println!("demo: ok");
    }
    Ok(ExitCode::SUCCESS)
}

fn choose() -> Runtime {
    match docker::answers() {
        Ok(()) => Runtime::Docker,
        Err(why) => {
            println!("no Docker Engine answers ({why}): the demo runs the same apps as processes");
            Runtime::Process
        }
    }
}

/// What there is to show, and with what.
struct Show<'a> {
    demo: &'a Demo,
    runtime: Runtime,
    programs: &'a Path,
    scratch: &'a Path,
    data: &'a Path,
}

impl Show<'_> {
    /// The cluster is ended when this returns; its tasks go on.
    fn run(&self) -> anyhow::Result<()> {
        let runtime = if self.runtime == Runtime::Docker { "docker" } else { "process" };
        println!("starting a cluster of one");
        let dev =
            Dev { runtime, http: 8080, dns: 8053, data_dir: Some(self.data.to_owned()), ..Dev::default() };
        let mut cluster = Cluster::start(self.programs, self.scratch, &dev)?;
        println!("it is up, REST at http://{}; deploying the search engine", cluster.http);
        let document = self.scratch.join("search-engine.json");
        let apps = apps(self.runtime, self.programs, &cluster)?;
        std::fs::write(&document, serde_json::to_string_pretty(&apps)?)?;
        let file = document.to_str().context("the path is text")?;
        must(&mut cluster.clusterctl(&["deploy", file]))?;
        println!("asking for it by name, and waiting until it finds {QUERY:?}");
        let check = check(&cluster)?;
        print_tour(self.programs, &cluster, &check);
        if self.demo.once { Ok(()) } else { stay(&mut cluster) }
    }
}

/// Until Ctrl-C, or until the cluster ends by itself.
fn stay(cluster: &mut Cluster) -> anyhow::Result<()> {
    println!("\nCtrl-C ends it and removes everything that it started.");
    while !stop::asked() {
        if let Some(status) = cluster.ended() {
            bail!(
                "the cluster has ended, which it was not asked to ({status}). Its last words:\n{}",
                cluster.last_lines()
            );
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    println!();
    Ok(())
}

/// The two app documents, with the image or the program filled in.
fn apps(runtime: Runtime, programs: &Path, cluster: &Cluster) -> anyhow::Result<Value> {
    let folder = cargo::root().join("examples/search-engine");
    let mut apps = Vec::new();
    for app in ["searchengine", "indexer"] {
        let file = match runtime {
            Runtime::Docker => folder.join(format!("{app}.json")),
            Runtime::Process => folder.join(format!("{app}.process.json")),
        };
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut document: Value = serde_json::from_str(&text)?;
        match runtime {
            Runtime::Docker => document["container"]["docker"]["image"] = json!(IMAGE),
            Runtime::Process => document["env"]["SEARCH_ENGINE_BIN"] = json!(programs.join("search-engine")),
        }
        // Without root no task gets a resolver of its own on port 53: it is told where to ask.
        if !docker::is_root() {
            document["env"]["RESOLVER"] = json!(cluster.dns.to_string());
        }
        apps.push(document);
    }
    Ok(Value::Array(apps))
}

/// What the demo found out by asking as a user would.
struct Check {
    url: String,
    results: u64,
}

/// Finds the server by its name, and waits until it finds something itself.
fn check(cluster: &Cluster) -> anyhow::Result<Check> {
    let ip = name::address(cluster.dns, "searchengine.marathon.mesos")?;
    let port = name::port(cluster.dns, "_searchengine._tcp.marathon.mesos")?;
    let address = format!("{ip}:{port}");
    let deadline = Instant::now() + FEED_TIMEOUT;
    loop {
        let answer = http::tcp(&address, "GET", &format!("/search?q={QUERY}"), &[])?;
        let results =
            serde_json::from_str::<Value>(&answer.body).ok().and_then(|body| body["total"].as_u64());
        if let Some(results) = results.filter(|count| *count > 0) {
            return Ok(Check { url: format!("http://{address}"), results });
        }
        if Instant::now() > deadline || stop::asked() {
            bail!(
                "the indexer has fed nothing about {QUERY:?}; see `clusterctl logs /indexer`\n{}",
                answer.body
            );
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

fn print_tour(programs: &Path, cluster: &Cluster, check: &Check) {
    println!(
        "found by name: searchengine.marathon.mesos is {}; matches for {QUERY:?}: {}\n",
        check.url, check.results
    );
    println!("  search page   {}/", check.url);
    println!("  search API    curl '{}/search?q={QUERY}'", check.url);
    println!("  REST          curl http://{}/v2/apps", cluster.http);
    println!(
        "  DNS           dig @{} -p {} searchengine.marathon.mesos",
        cluster.dns.ip(),
        cluster.dns.port()
    );
    println!(
        "  CLI           {} --master http://{} tasks",
        programs.join("clusterctl").display(),
        cluster.http
    );
}
