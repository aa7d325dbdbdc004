//! `cargo xtask`: what a developer or a first-time user runs. Small dependencies only, so that it is
//! built in seconds; everything heavy happens in the programs that it starts.

mod bench;
mod cargo;
mod cluster;
mod demo;
mod docker;
mod examples;
mod http;
mod name;
mod stop;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    let done = match Xtask::parse().task {
        Task::Demo(demo) => demo::run(&demo),
        Task::Test(test) => test::run(&test),
        Task::Bench(bench) => bench::run(&bench),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
