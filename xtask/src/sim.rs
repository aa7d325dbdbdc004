//! `cargo xtask sim`: simulated clusters, many seeds or one. What they do is in `tests/simulation`.

use std::process::{Command, ExitCode};

use crate::cargo::{self, Profile};

/// What to run; everything is passed on.
#[derive(clap::Args)]
pub struct Sim {
    /// `--seeds N [--from S] [--jobs J]`, `--seed S [--trace]`, or `--help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// Builds the simulator with optimisation and runs it.
pub fn run(sim: &Sim) -> anyhow::Result<ExitCode> {
    let program = cargo::build(&["simulation"], Profile::Release)?.join("simulation");
    let status = Command::new(&program).args(&sim.options).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
