//! `cargo xtask bench pack`: how well placement packs a cluster, recorded or made up: how much of each resource is
//! reserved before the first task that does not fit, and of how many machines it can do without. Beside it, what others
//! publish of how they choose.

mod compact;
mod fill;
mod method;
mod mix;
mod others;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;

use scheduler::placement::Policy;

use method::Method;
use mix::Mix;
use others::Other;
use trace::{Gpus, Node, Task};

/// Options.
#[derive(clap::Args)]
pub struct Pack {
    /// Machines: a table with the columns cpu_milli, memory_mib, gpu, model.
    #[arg(long, required_unless_present = "machines")]
    nodes: Option<PathBuf>,
    /// Tasks: a table with the columns cpu_milli, memory_mib, num_gpu, gpu_milli, gpu_spec.
    #[arg(long, required_unless_present = "mix")]
    tasks: Option<PathBuf>,
    /// So many machines of several kinds that are made up, instead of a table.
    #[arg(long, value_name = "COUNT", conflicts_with = "nodes")]
    machines: Option<usize>,
    /// Tasks that are made up, instead of a table: kinds with their shares, as `cpu-heavy=2,memory-heavy=1`; also even
    /// and large.
    #[arg(long, value_name = "KIND=SHARE,..", conflicts_with = "tasks")]
    mix: Option<Mix>,
    /// What tasks that are made up ask for, of all there is, in per cent.
    #[arg(long, default_value_t = 110, value_name = "PERCENT")]
    load: u64,
    /// Where what is made up is drawn from.
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    mix_seed: u64,
    /// What counts as a GPU.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "whole,pooled,ignored")]
    gpus: Vec<Gpus>,
    /// Whom to pack against: all, where nobody is named.
    #[arg(long, value_enum, value_delimiter = ',')]
    against: Vec<Other>,
    /// Orders of the tasks, and of the machines that are removed.
    #[arg(long, default_value_t = 11)]
    seeds: u64,
    /// Leave out the removal of machines, which takes most of the time.
    #[arg(long)]
    no_compaction: bool,
}

/// Of a thousand tasks so many may stay behind: a few that are hard to please say nothing of the others.
const PICKY_OF_1000: usize = 2;

const OURS: [Policy; 3] = [Policy::Pack, Policy::Spread, Policy::First];

/// Runs the benchmark.
pub fn run(options: &Pack) -> anyhow::Result<ExitCode> {
    let (nodes, tasks) = tables(options)?;
    let against =
        if options.against.is_empty() { clap::ValueEnum::value_variants() } else { &options.against[..] };
    let others = against.iter().copied().map(Method::Other);
    let methods: Vec<_> = OURS.into_iter().map(Method::Gantry).chain(others).collect();
    for gpus in &options.gpus {
        let work = fill::Work::of(&nodes, &tasks, *gpus)?;
        println!(
            "\nGPUs {gpus:?}: {} machines, {} tasks; asked for, of what there is: {}",
            nodes.len(),
            tasks.len(),
            work.asked()
        );
        println!("{}", fill::HEADING);
        for method in &methods {
            println!("{}", fill::run(&work, *method, options.seeds));
        }
        if !options.no_compaction {
            compact::run(&work, &methods, options.seeds);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tables(options: &Pack) -> anyhow::Result<(Vec<Node>, Vec<Task>)> {
    let nodes = match &options.nodes {
        Some(path) => trace::read(path)?,
        None => mix::machines(options.machines.unwrap_or_default(), options.mix_seed),
    };
    let tasks = match (&options.tasks, &options.mix) {
        (Some(path), _) => trace::read(path)?,
        (None, Some(mix)) => mix.tasks(&nodes, options.load, options.mix_seed),
        (None, None) => Vec::new(),
    };
    Ok((nodes, tasks))
}

/// What each seed gives, in order; one thread each, as they have nothing to do with each other.
fn of_each_seed<T: Send>(seeds: u64, what: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let what = &what;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=seeds).map(|seed| scope.spawn(move || what(seed))).collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}
