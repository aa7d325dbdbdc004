//! `cargo xtask bench churn`: simulated tasks fail at a rate, for a time. Each is to be started anew, and nothing may
//! grow: neither memory nor disk of any process, nor what waits. Says so in the end, and by its exit status.

mod growth;
mod report;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;
use tokio::task::LocalSet;

use super::clients::Clients;
use super::house::House;
use super::roll::Roll;
use super::watch::{self, Watch};
use super::{Million, check_interrupted};
use crate::bench::masters::{Masters, Rest};
use crate::bench::single_threaded;
use crate::cargo::{self, Profile};
use crate::stop;
use report::{Report, Sample};

/// Of all tasks so many percent run at once at least, before the clock starts: some are always being replaced.
const STARTED_PERCENT: usize = 95;
/// Longest time until each task was seen running after the clock has stopped.
const BACK_PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at every task.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Options.
#[derive(clap::Args)]
#[command(mut_arg("apps", |arg| arg.default_value("100")))]
pub struct Churn {
    #[command(flatten)]
    size: Million,
    /// Failures a second, of all tasks together.
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// For so many seconds.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Seconds between two lines.
    #[arg(long, default_value_t = 10)]
    every: u64,
    /// `backoffSeconds` of every app: the launch delay after its first failure. The delay is the app's, not the task's:
    /// with Marathon's defaults, 1 s that grow to 300, an app of a thousand such tasks would wait most of the time.
    #[arg(long, default_value_t = 0)]
    backoff_seconds: u32,
    /// `backoffFactor`: by how much each further failure of the app makes its delay longer.
    #[arg(long, default_value_t = 1.15)]
    backoff_factor: f64,
    /// `maxLaunchDelaySeconds`: the longest delay.
    #[arg(long, default_value_t = 300)]
    max_launch_delay_seconds: u32,
}

impl Churn {
    /// A task lives as long on average, however long it has lived already: the rate is even from the beginning.
    fn lifetime(&self) -> Duration {
        Duration::from_secs_f64(self.size.tasks() as f64 / self.rate)
    }

    fn size(&self) -> Million {
        let fields = json!({
            "backoffSeconds": self.backoff_seconds,
            "backoffFactor": self.backoff_factor,
            "maxLaunchDelaySeconds": self.max_launch_delay_seconds,
        });
        Million { lifetime: Some(self.lifetime()), fields, ..self.size.clone() }
    }
}

/// Runs the benchmark.
pub fn run(options: &Churn) -> anyhow::Result<ExitCode> {
    stop::catch();
    let is_ok = single_threaded(LocalSet::new().run_until(measure(options)))?;
    Ok(if is_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(options: &Churn) -> anyhow::Result<bool> {
    let (dir, programs) = (cargo::scratch("bench-churn")?, cargo::programs(Profile::Release));
    let size = options.size();
    println!(
        "{} tasks of {} apps on {} agents; {} failures a second for {} s; launch delay {} s, times {}, to {} s",
        size.tasks(),
        size.apps,
        size.agents,
        options.rate,
        options.seconds,
        options.backoff_seconds,
        options.backoff_factor,
        options.max_launch_delay_seconds
    );
    let masters = Masters::new(&programs, &dir, size.masters)?;
    let house = House::start(masters, &programs, &dir, &size).await?;
    let leader = house.leader().await?;
    begin(&size, leader).await?;
    let before = all(&size, leader).await?;
    let report = churn(options, &house, leader).await?;
    let back = back(&size, &house, &before).await?;
    let is_led = house.leader().await? == leader;
    report.print();
    Ok(report::verdict(&report.complaints(options.rate), &back, is_led))
}

/// Until nearly all run.
async fn begin(size: &Million, leader: SocketAddr) -> anyhow::Result<()> {
    watch::agents(leader, size.agents, size.patience()).await?;
    let creating = tokio::task::spawn_local(Clients::of(size, leader).create());
    let enough = size.tasks() * STARTED_PERCENT / 100;
    let mut watch = Watch::new(leader, Instant::now());
    watch.until(size.patience(), |counts| counts.running >= enough).await?;
    creating.await??;
    println!("started after {:.1} s", watch.elapsed().as_secs_f64());
    Ok(())
}

/// Looks on.
async fn churn(options: &Churn, house: &House, leader: SocketAddr) -> anyhow::Result<Report> {
    let mut rest = Rest::open(leader).await?;
    let began = Instant::now();
    let mut report = Report::begun(Sample::take(began, &mut rest, house).await?);
    while began.elapsed() < Duration::from_secs(options.seconds) {
        pause(Duration::from_secs(options.every)).await?;
        report.push(Sample::take(began, &mut rest, house).await?);
    }
    Ok(report)
}

/// Waits, and hears Ctrl-C meanwhile.
async fn pause(time: Duration) -> anyhow::Result<()> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        check_interrupted()?;
        tokio::time::sleep(Duration::from_millis(100).min(until - Instant::now())).await;
    }
    Ok(())
}

/// Every instance by name. One that waits for its next run is in no list: it is looked for again.
async fn all(size: &Million, leader: SocketAddr) -> anyhow::Result<BTreeSet<String>> {
    let (began, mut all) = (Instant::now(), BTreeSet::new());
    while all.len() < size.tasks() {
        ensure!(began.elapsed() < BACK_PATIENCE, "{} instances were seen of {}", all.len(), size.tasks());
        all.extend(Roll::call(leader, size).await?.instances());
        pause(LOOK_EVERY).await?;
    }
    Ok(all)
}

/// What became of the instances that there were before.
struct Back {
    before: usize,
    /// Not there before.
    new: usize,
    /// Never seen running since the clock was stopped.
    away: usize,
    took: Duration,
}

/// Tasks go on failing; each instance is to be seen running some time.
async fn back(size: &Million, house: &House, before: &BTreeSet<String>) -> anyhow::Result<Back> {
    let (began, mut away, mut new) = (Instant::now(), before.clone(), BTreeSet::new());
    loop {
        let roll = Roll::call(house.leader().await?, size).await?;
        let running = roll.running();
        away.retain(|instance| !running.contains(instance));
        new.extend(roll.instances().difference(before).cloned());
        if away.is_empty() || began.elapsed() > BACK_PATIENCE {
            let (before, new, away) = (before.len(), new.len(), away.len());
            return Ok(Back { before, new, away, took: began.elapsed() });
        }
        pause(LOOK_EVERY).await?;
    }
}
