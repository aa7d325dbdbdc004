//! `cargo xtask bench churn`: simulated tasks end by themselves at a rate, for a time. Each is to be started anew,
//! and nothing may grow.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use super::clients::Clients;
use super::house::House;
use super::watch::{self, Counts, Watch};
use super::{Million, check_interrupted};
use crate::bench::masters::{Masters, Rest};
use crate::bench::single_threaded;
use crate::cargo::{self, Profile};
use crate::stop;

/// Between two lines.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Of all tasks so many percent run at once at least, before the clock starts: some are always being replaced.
const STARTED_PERCENT: usize = 90;

/// Options.
#[derive(clap::Args)]
pub struct Churn {
    #[command(flatten)]
    size: Million,
    /// Failures a second, of all tasks together.
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// For so many seconds.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
}

/// Runs the benchmark.
pub fn run(options: &Churn) -> anyhow::Result<ExitCode> {
    stop::catch();
    single_threaded(LocalSet::new().run_until(measure(options)))?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(options: &Churn) -> anyhow::Result<()> {
    let (dir, programs) = (cargo::scratch("bench-churn")?, cargo::programs(Profile::Release));
    let tasks = options.size.tasks();
    // A task lives as long on average; its agent draws from half to one and a half of it.
    let size = Million { lifetime: Some(tasks as f64 / options.rate), ..options.size.clone() };
    println!("{tasks} tasks on {} agents, {} failures a second", size.agents, options.rate);
    let masters = Masters::new(&programs, &dir, size.masters)?;
    let house = House::start(masters, &programs, &dir, &size).await?;
    let leader = house.leader().await?;
    watch::agents(leader, size.agents, size.patience()).await?;
    let creating = tokio::task::spawn_local(Clients::of(&size, leader).create());
    let enough = tasks * STARTED_PERCENT / 100;
    Watch::new(leader, Instant::now()).until(size.patience(), |counts| counts.running >= enough).await?;
    creating.await??;
    house.print_memory("started")?;
    let (mut rest, mut cpu, began) = (Rest::open(leader).await?, house.cpu(), Instant::now());
    let mut before = watch::look(&mut rest).await?;
    while began.elapsed() < Duration::from_secs(options.seconds) {
        let looked = Instant::now();
        tokio::time::sleep(LOOK_EVERY).await;
        check_interrupted()?;
        let now = watch::look(&mut rest).await?;
        line(began.elapsed(), looked.elapsed(), &before, &now);
        house.print_load("  churn", &cpu, looked.elapsed());
        house.print_memory("  churn")?;
        (before, cpu) = (now, house.cpu());
    }
    Ok(())
}

fn line(at: Duration, took: Duration, before: &Counts, now: &Counts) {
    let rate = |before: usize, now: usize| now.saturating_sub(before) as f64 / took.as_secs_f64();
    println!(
        "{:5.0} s: {:.0} failures and {:.0} starts a second; {} tasks, {} of them running",
        at.as_secs_f64(),
        rate(before.failed, now.failed),
        rate(before.started, now.started),
        now.all,
        now.running
    );
}
