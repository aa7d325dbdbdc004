//! `cargo xtask bench place`: placement alone, on one core, in clusters of several sizes and with several shapes of
//! work. What is placed, and where, is here; `benches/place.rs` measures it with criterion.

pub mod course;
pub mod shapes;
pub mod world;

use std::process::ExitCode;

use scheduler::placement::Policy;

use crate::cargo::{cargo, must};
use shapes::Shape;

/// Options.
#[derive(clap::Args)]
pub struct Place {
    /// Sizes of clusters.
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,10000,50000")]
    pub agents: Vec<usize>,
    /// Only these shapes of work.
    #[arg(long, value_delimiter = ',', value_name = "SHAPE")]
    pub only: Vec<Shape>,
    /// Tasks that every agent holds in a full cluster; none, and each shape is placed into an empty one alone.
    #[arg(long, default_value_t = 20)]
    pub held: usize,
    /// Most tasks in one plan; the control loop asks for 1,000.
    #[arg(long, default_value_t = 1_000)]
    pub batch: usize,
    /// Which agents are good ones: spread, pack or first.
    #[arg(long, default_value = "spread")]
    pub policy: Policy,
    /// Measure `apply` of what was placed instead of placing.
    #[arg(long)]
    pub apply: bool,
    /// Seconds for which each shape is measured.
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Keep the figures under this name.
    #[arg(long, value_name = "NAME", conflicts_with = "against")]
    pub save: Option<String>,
    /// Compare with the figures of that name, instead of those of the last run.
    #[arg(long, value_name = "NAME")]
    pub against: Option<String>,
}

/// Builds the benchmark and hands over what it was asked for.
pub fn run(_: &Place) -> anyhow::Result<ExitCode> {
    // They have been read without an error; they are read again over there.
    let given = std::env::args_os().skip_while(|arg| arg != "place").skip(1);
    // With what other benchmarks build: the same libraries do for all.
    let packages = ["--package", "clusterctl", "--package", "xtask"];
    must(cargo().arg("bench").args(packages).args(["--bench", "place", "--"]).args(given))?;
    Ok(ExitCode::SUCCESS)
}
