//! Benchmarks: figures and ratios of one run on one machine, never a verdict.

mod etcd;
mod failover;
mod group;
mod idle;
mod launch;
mod masters;
mod memory;
mod million;
mod pack;
pub mod place;
mod writes;

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context;

use crate::cargo::{self, Profile};
use crate::cluster::free_port;

/// What to measure.
#[derive(clap::Subcommand)]
pub enum Bench {
    /// One app with N instances to N running containers, beside direct Docker API starts and Docker Swarm.
    Launch(launch::Launch),
    /// Kills the leader of three masters over and over: time to the next accepted write, beside etcd.
    Failover(failover::Failover),
    /// Placement alone, on one core, in clusters of several sizes and with several shapes of work; with
    /// criterion.
    Place(place::Place),
    /// How well placement packs a recorded cluster, from tables of its machines and tasks.
    Pack(pack::Pack),
    /// Small changes of apps a second that three masters acknowledge, beside etcd.
    Writes(writes::Writes),
    /// Very many tasks on very many simulated agents: start, steady state, loss of the leader, removal.
    Million(million::Million),
    /// What is used while nothing happens: a one-process cluster, an agent with tasks, its master.
    Idle(idle::Idle),
    /// Simulated tasks fail at a rate for a time: each comes back, nothing grows.
    Churn(million::churn::Churn),
}

/// Runs one.
pub fn run(bench: &Bench) -> anyhow::Result<ExitCode> {
    match bench {
        Bench::Launch(options) => launch::run(options),
        Bench::Place(options) => place::run(options),
        _ if cfg!(debug_assertions) => optimized(),
        Bench::Failover(options) => failover::run(options),
        Bench::Pack(options) => pack::run(options),
        Bench::Writes(options) => writes::run(options),
        Bench::Million(options) => million::run(options),
        Bench::Churn(options) => million::churn::run(options),
        Bench::Idle(options) => idle::run(options),
    }
}

/// Builds the servers, a task and ourselves for speed, and becomes that: a slow client would measure itself.
fn optimized() -> anyhow::Result<ExitCode> {
    let programs = cargo::build(&["clusterctl", "xtask", "hello"], Profile::Release)?;
    let mut command = Command::new(programs.join("xtask"));
    Err(command.args(std::env::args_os().skip(1)).exec()).context("cannot run the optimized xtask")
}

/// Runs what measures on one thread: it takes the least from those that are measured.
fn single_threaded<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// So many loopback addresses that nobody uses.
fn loopback(count: usize) -> anyhow::Result<Vec<SocketAddr>> {
    let mut ports = std::collections::BTreeSet::new();
    while ports.len() < count {
        ports.insert(free_port()?);
    }
    Ok(ports.into_iter().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).collect())
}

/// How some times are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spread {
    min: Duration,
    p50: Duration,
    p90: Duration,
    p99: Duration,
    max: Duration,
}

impl Spread {
    /// By nearest rank. All zero when there are no times.
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let rank = |percent: usize| (times.len() * percent).div_ceil(100).saturating_sub(1);
        let at = |percent| times.get(rank(percent)).copied().unwrap_or_default();
        Self { min: at(0), p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}

/// Minimum, median and maximum of some runs.
struct Figure {
    min: Duration,
    median: Duration,
    max: Duration,
}

impl Figure {
    /// Of at least one run.
    fn of(runs: Vec<Duration>) -> Self {
        let Spread { min, p50, max, .. } = Spread::of(runs);
        Self { min, median: p50, max }
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = |time: Duration| time.as_secs_f64();
        write!(f, "{:8.3} {:8.3} {:8.3}", seconds(self.min), seconds(self.median), seconds(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let millis = Duration::from_millis;
        let spread = Spread::of((1..=200).rev().map(millis).collect());
        let Spread { min, p50, p90, p99, max } = spread;
        assert_eq!([min, p50, p90, p99, max], [1, 100, 180, 198, 200].map(millis));
        let one = Spread::of(vec![millis(7)]);
        assert!([one.min, one.p50, one.p99, one.max].iter().all(|time| *time == millis(7)));
        assert_eq!(Spread::of(Vec::new()).max, Duration::ZERO);
    }
}
