//! `cargo xtask`: the command line of the chores; what they do is in the library beside it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{bench, demo, faults, sim, test};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Demo, tests and benchmarks of Gantry.")]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build, start a one-process cluster, run the search-engine demo and stay up until Ctrl-C.
    Demo(demo::Demo),
    /// Run every test; installs and starts Docker where that is possible. `test examples`: only the examples.
    Test(test::Test),
    /// Measure; prints figures and ratios of one run.
    #[command(subcommand)]
    Bench(Box<bench::Bench>),
    /// Kill, stop, cut off and restart masters and agents under load, and check that nothing is lost. Root only.
    Faults(faults::Faults),
    /// Simulate whole clusters with faults, from seeds; each run can be repeated to the byte.
    Sim(sim::Sim),
}

fn main() -> ExitCode {
    let done = match Xtask::parse().task {
        Task::Demo(demo) => demo::run(&demo),
        Task::Test(test) => test::run(&test),
        Task::Bench(bench) => bench::run(&bench),
        Task::Faults(faults) => faults::run(&faults),
        Task::Sim(sim) => sim::run(&sim),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
