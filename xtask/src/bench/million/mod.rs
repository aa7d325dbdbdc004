//! `cargo xtask bench million`: very many tasks on very many simulated agents. Three masters with durable logs and
//! one process with all agents; clients create apps over REST until everything runs, then the steady state is
//! looked at, the leader is killed, and everything is removed. Every size is a flag.

pub mod churn;
mod clients;
mod house;
mod looks;
mod mix;
mod pauses;
mod roll;
mod watch;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::task::LocalSet;

use super::group::Kind;
use super::masters::Masters;
use super::single_threaded;
use crate::cargo::{self, Profile};
use crate::stop;
use clients::{Clients, probe};
use house::House;
use mix::{Range, Shape};
use roll::Roll;
use watch::{Counts, Watch};

/// Options.
#[derive(Clone, clap::Args)]
pub struct Million {
    /// Simulated agents, all in one process.
    #[arg(long, default_value_t = 5000)]
    agents: u32,
    /// Apps.
    #[arg(long, default_value_t = 1000)]
    apps: usize,
    /// Tasks of each app. A range (1..2000) gives each app another number, by the seed; so do those below.
    #[arg(long, value_name = "N[..M]", default_value = "1000")]
    instances: Range<usize>,
    /// Clients that create and remove apps, one request after another each.
    #[arg(long, default_value_t = 50)]
    clients: usize,
    /// Masters.
    #[arg(long, default_value_t = 3)]
    masters: usize,
    /// Cores of a task.
    #[arg(long, value_name = "N[..M]", default_value = "0.1")]
    cpus: Range<f64>,
    /// Memory of a task in MiB.
    #[arg(long, value_name = "N[..M]", default_value = "32")]
    mem: Range<f64>,
    /// Host ports of a task.
    #[arg(long, value_name = "N[..M]", default_value = "0")]
    ports: Range<usize>,
    /// What draws from the ranges.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Cores of an agent; enough for all tasks with a tenth to spare when not given.
    #[arg(long)]
    agent_cpus: Option<f64>,
    /// Memory of an agent in MiB, likewise.
    #[arg(long)]
    agent_mem: Option<u64>,
    /// A constraint of every app, as Marathon writes it: hostname:UNIQUE, rack:GROUP_BY. Given more than once, the
    /// apps have them by turns.
    #[arg(long, value_name = "FIELD:OPERATOR[:VALUE]")]
    constraint: Vec<String>,
    /// Racks that the agents are in.
    #[arg(long, default_value_t = 40)]
    racks: u32,
    /// Longest time that a simulated task takes to start.
    #[arg(long, default_value = "0s")]
    start_delay: String,
    /// Time between two measurements of use by an agent.
    #[arg(long, default_value = "5s")]
    usage_interval: String,
    /// Seconds for which the steady state is looked at.
    #[arg(long, default_value_t = 10)]
    steady: u64,
    /// Longest time for any phase, in seconds.
    #[arg(long, default_value_t = 900)]
    patience: u64,
    /// Stop after everything runs, without steady state, kill and removal.
    #[arg(long)]
    only_start: bool,
    /// How long a task lives on average, then it fails; for ever when absent.
    #[arg(skip)]
    lifetime: Option<Duration>,
    /// Further fields of every app.
    #[arg(skip)]
    fields: Value,
}

impl Million {
    fn tasks(&self) -> usize {
        Shape::all(self).map(|shape| shape.instances).sum()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }
}

/// Runs the benchmark.
pub fn run(options: &Million) -> anyhow::Result<ExitCode> {
    stop::catch();
    single_threaded(LocalSet::new().run_until(measure(options)))?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(options: &Million) -> anyhow::Result<()> {
    let dir = cargo::scratch("bench-million")?;
    let programs = cargo::programs(Profile::Release);
    println!(
        "{} tasks of {} apps, {} agents, {} masters, {} clients",
        options.tasks(),
        options.apps,
        options.agents,
        options.masters,
        options.clients
    );
    let masters = Masters::new(&programs, &dir, options.masters)?;
    let mut house = House::start(masters, &programs, &dir, options).await?;
    let leader = house.leader().await?;
    let took = watch::agents(leader, options.agents, options.patience()).await?;
    println!("agents: all have a session after {:.1} s", took.as_secs_f64());
    house.print_memory("with agents")?;
    start(options, &house, leader).await?;
    if options.only_start {
        return Ok(());
    }
    steady(options, &house, leader).await?;
    let before = Roll::call(leader, options).await?;
    kill(options, &mut house, &before).await?;
    remove(options, &house).await
}

/// Creates the apps and waits until every task runs.
async fn start(options: &Million, house: &House, leader: std::net::SocketAddr) -> anyhow::Result<()> {
    let cpu = house.cpu();
    let began = Instant::now();
    let creating = tokio::task::spawn_local(Clients::of(options, leader).create());
    let wanted = options.tasks();
    let mut watch = Watch::new(leader, began);
    watch.until(options.patience(), |counts: &Counts| counts.running >= wanted).await?;
    let took = watch.elapsed();
    let created = creating.await??;
    println!(
        "start: all {wanted} running after {:.2} s, {:.0} a second ({} requests refused as too many deployments, {} repeated)",
        took.as_secs_f64(),
        wanted as f64 / took.as_secs_f64(),
        created.refused,
        created.repeated
    );
    let (first, last) = (watch.rate(0, wanted / 10), watch.rate(wanted - wanted / 10, wanted));
    println!("start: the first tenth {first:.0} a second, the last {last:.0}, ratio {:.2}", last / first);
    house.print_cpu("start", &cpu, wanted);
    pauses::print("start", house.addresses()).await?;
    house.print_memory_a_task(wanted)?;
    house.print_memory("all running")
}

/// What it costs to keep that up, and how quick it answers.
async fn steady(options: &Million, house: &House, leader: std::net::SocketAddr) -> anyhow::Result<()> {
    // What was begun is finished first.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (cpu, began) = (house.cpu(), Instant::now());
    tokio::time::sleep(Duration::from_secs(options.steady)).await;
    house.print_load("steady", &cpu, began.elapsed());
    let resolver = house.masters.kind.dns(house.leader_number().await?);
    looks::print(leader, resolver, options).await
}

/// Kills the leader and waits for everything to be as before.
async fn kill(options: &Million, house: &mut House, before: &Roll) -> anyhow::Result<()> {
    let leader = house.leader_number().await?;
    let others: Vec<_> =
        (0..options.masters).filter(|n| *n != leader).map(|n| house.masters.kind.address(n)).collect();
    if others.is_empty() {
        println!("kill: nobody would take over");
        return Ok(());
    }
    let (sent, _) = house.masters.kill(leader)?;
    probe(&others, options.patience()).await.context("no write was accepted after the leader was killed")?;
    println!("kill: the first write accepted after {:.2} s", sent.elapsed().as_secs_f64());
    let now = house.leader().await?;
    watch::agents(now, options.agents, options.patience()).await?;
    println!("kill: all agents have a session again after {:.2} s", sent.elapsed().as_secs_f64());
    house.print_memory("after the kill")?;
    let after = Roll::call(now, options).await?;
    println!("kill: {}", before.compare(&after));
    house.masters.spawn(leader)?;
    house.masters.wait_until_whole().await?;
    println!("kill: the killed one is back in good standing after {:.2} s", sent.elapsed().as_secs_f64());
    Ok(())
}

/// Removes everything.
async fn remove(options: &Million, house: &House) -> anyhow::Result<()> {
    let leader = house.leader().await?;
    let (cpu, began) = (house.cpu(), Instant::now());
    let removing = tokio::task::spawn_local(Clients::of(options, leader).remove());
    let mut watch = Watch::new(leader, began);
    watch.until(options.patience(), |counts: &Counts| counts.all == 0).await?;
    removing.await??;
    println!("removal: nothing left after {:.2} s", began.elapsed().as_secs_f64());
    house.print_cpu("removal", &cpu, options.tasks());
    pauses::print("removal", house.addresses()).await?;
    house.print_memory("all removed")?;
    tokio::time::sleep(Duration::from_secs(options.steady)).await;
    house.print_memory("a while later")
}

fn check_interrupted() -> anyhow::Result<()> {
    if stop::asked() {
        bail!("interrupted");
    }
    Ok(())
}
