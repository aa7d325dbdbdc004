//! Benchmarks: figures and ratios of one run on one machine, never a verdict.

mod launch;

use std::process::ExitCode;
use std::time::Duration;

/// What to measure.
#[derive(clap::Subcommand)]
pub enum Bench {
    /// One app with N instances to N running containers, beside direct Docker API starts and Docker Swarm.
    Launch(launch::Launch),
}

/// Runs one.
pub fn run(bench: &Bench) -> anyhow::Result<ExitCode> {
    match bench {
        Bench::Launch(options) => launch::run(options),
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
    fn of(mut runs: Vec<Duration>) -> Self {
        runs.sort_unstable();
        let at = |index: usize| runs.get(index).copied().unwrap_or_default();
        Self { min: at(0), median: at(runs.len() / 2), max: at(runs.len().saturating_sub(1)) }
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = |time: Duration| time.as_secs_f64();
        write!(f, "{:8.3} {:8.3} {:8.3}", seconds(self.min), seconds(self.median), seconds(self.max))
    }
}
