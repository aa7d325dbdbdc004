//! `cargo xtask bench pack`: how well placement packs a cluster that was recorded: how much of each resource is
//! reserved before the first task that does not fit, and of how many machines it can do without.

mod compact;
mod fill;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;

use scheduler::placement::Policy;
use trace::Gpus;

/// Options.
#[derive(clap::Args)]
pub struct Pack {
    /// Machines: a table with the columns cpu_milli, memory_mib, gpu, model.
    #[arg(long)]
    nodes: PathBuf,
    /// Tasks: a table with the columns cpu_milli, memory_mib, num_gpu, gpu_milli, gpu_spec.
    #[arg(long)]
    tasks: PathBuf,
    /// What counts as a GPU.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "whole,pooled,ignored")]
    gpus: Vec<Gpus>,
    /// Orders of the tasks, and of the machines that are removed.
    #[arg(long, default_value_t = 11)]
    seeds: u64,
    /// Leave out the removal of machines, which takes most of the time.
    #[arg(long)]
    no_compaction: bool,
}

/// Of a thousand tasks so many may stay behind: a few that are hard to please say nothing of the others.
const PICKY_OF_1000: usize = 2;

const POLICIES: [(&str, Policy); 3] =
    [("pack", Policy::Pack), ("spread", Policy::Spread), ("first fit", Policy::First)];

/// Runs the benchmark.
pub fn run(options: &Pack) -> anyhow::Result<ExitCode> {
    let nodes = trace::read(&options.nodes)?;
    let tasks = trace::read(&options.tasks)?;
    for gpus in &options.gpus {
        let work = fill::Work::of(&nodes, &tasks, *gpus)?;
        println!(
            "\nGPUs {gpus:?}: {} machines, {} tasks; asked for, of what there is: {}",
            nodes.len(),
            tasks.len(),
            work.asked()
        );
        fill::run(&work, options.seeds);
        if !options.no_compaction {
            compact::run(&work, options.seeds);
        }
    }
    Ok(ExitCode::SUCCESS)
}
