//! `cargo xtask test`: every test, with the Docker Engine that they need.

use std::process::{Command, ExitCode};

use crate::cargo::{self, Profile, cargo, must};
use crate::docker::Engine;
use crate::{clients, examples};

/// What to run.
#[derive(clap::Args)]
pub struct Test {
    /// Only this part; everything when not given.
    #[arg(value_enum)]
    part: Option<Part>,
    /// Passed on to `cargo nextest run` (or `cargo test`).
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Parts that can be run alone.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The Rust tests.
    Rust,
    /// The examples, and what was written for Marathon, run for real.
    Examples,
    /// Only the programs that were written for Marathon.
    Clients,
}

/// The simulator compiles deliberate bugs into what it runs (the feature `mutants`); built together with the
/// others they would be in the programs that those test, asleep.
const PACKAGES: [&[&str]; 2] = [&["--workspace", "--exclude", "simulation"], &["--package", "simulation"]];

/// Runs the tests.
pub fn run(test: &Test) -> anyhow::Result<ExitCode> {
    let _engine = Engine::ensure()?;
    // The tests of whole clusters run these programs.
    cargo::build(&["clusterctl", "search-engine", "hello"], Profile::Dev)?;
    if test.part != Some(Part::Rust) {
        clients::run(&cargo::programs(Profile::Dev))?;
    }
    if matches!(test.part, None | Some(Part::Examples)) {
        examples::run()?;
    }
    if matches!(test.part, None | Some(Part::Rust)) {
        rust(&test.rest)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// With nextest where it is there: it runs each test in a process of its own.
fn rust(rest: &[String]) -> anyhow::Result<()> {
    let mut probe = Command::new("cargo-nextest");
    let nextest = probe.args(["nextest", "--version"]).output().is_ok_and(|found| found.status.success());
    for packages in PACKAGES {
        let mut command = cargo();
        if nextest {
            // A filter may well name tests of one of them only.
            command.args(["nextest", "run", "--no-fail-fast", "--no-tests=pass"]).args(packages).args(rest);
        } else {
            // Tests that share one Docker Engine and fixed addresses run one after another.
            command
                .args(["test", "--no-fail-fast"])
                .args(packages)
                .args(rest)
                .args(["--", "--test-threads=2"]);
        }
        must(&mut command)?;
    }
    Ok(())
}
