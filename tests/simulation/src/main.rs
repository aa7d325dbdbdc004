//! Runs simulated clusters from the command line; `cargo xtask sim` builds and calls it.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use simulation::{Failure, Figures};

/// Whole clusters in one thread each, on a virtual clock.
#[derive(Parser)]
struct Options {
    /// How many seeds to run.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this one.
    #[arg(long)]
    seed: Option<u64>,
    /// Print everything that happens; with --seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Look for every deliberate bug, or for those of this name, and print what noticed it.
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    mutants: Option<String>,
    /// Runs at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// What the threads share.
struct Shared {
    next: AtomicU64,
    stop: AtomicBool,
    sums: Mutex<(u64, Figures)>,
    failure: Mutex<Option<(u64, Failure)>>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(name) = &options.mutants {
        return mutants(name);
    }
    match options.seed {
        Some(seed) => one(seed, options.trace),
        None => many(&options),
    }
}

fn one(seed: u64, trace: bool) -> ExitCode {
    let report = simulation::run(seed, trace);
    report.lines.iter().for_each(|line| println!("{line}"));
    println!("{}", report.figures);
    println!("seed {seed}: hash {:016x}", report.hash);
    match report.failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            tell(seed, &failure);
            ExitCode::FAILURE
        }
    }
}

/// The table of deliberate bugs.
fn mutants(name: &str) -> ExitCode {
    // Some bugs make the product panic; that is reported like everything else.
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = false;
    println!("{:<34} {:<10} {:>6} {:>6}  what was seen", "bug", "noticed by", "seeds", "most");
    let of_name = |bug: &simulation::mutants::Bug| format!("{bug:?}").contains(name);
    for (bug, most) in simulation::mutants::ALL.into_iter().filter(|(bug, _)| of_name(bug)) {
        match simulation::mutants::hunt(bug, most) {
            Some(caught) => {
                let Failure { invariant, text, .. } = caught.report.failure.unwrap_or_else(no_failure);
                let text: String = text.chars().take(90).collect();
                println!("{:<34} {invariant:<10} {:>6} {most:>6}  {text}", format!("{bug:?}"), caught.seeds);
            }
            None => {
                missed = true;
                println!("{:<34} {:<10} {:>6} {most:>6}", format!("{bug:?}"), "NOBODY", "-");
            }
        }
    }
    if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn no_failure() -> Failure {
    Failure { at: 0, invariant: "none", text: String::new() }
}

fn tell(seed: u64, failure: &Failure) {
    let Failure { at, invariant, text } = failure;
    eprintln!("seed {seed} breaks {invariant} at {:.3} s: {text}", *at as f64 / 1000.0);
    eprintln!("again, with everything that happens: cargo xtask sim --seed {seed} --trace");
}

fn many(options: &Options) -> ExitCode {
    let begin = Instant::now();
    let shared = Shared {
        next: AtomicU64::new(options.from),
        stop: AtomicBool::new(false),
        sums: Mutex::default(),
        failure: Mutex::default(),
    };
    let end = options.from + options.seeds;
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| work(&shared, end));
        }
        progress(&shared, options.seeds);
    });
    let (seeds, figures) = shared.sums.into_inner().unwrap_or_default();
    let seconds = begin.elapsed().as_secs_f64();
    println!("{figures}");
    println!(
        "{seeds} seeds in {seconds:.1} s: {:.1} ms each on {} threads, {:.0} virtual seconds a second",
        seconds * 1000.0 * options.jobs as f64 / seeds.max(1) as f64,
        options.jobs,
        figures.virtual_millis as f64 / 1000.0 / seconds
    );
    match shared.failure.into_inner().unwrap_or_default() {
        None => ExitCode::SUCCESS,
        Some((seed, failure)) => {
            tell(seed, &failure);
            ExitCode::FAILURE
        }
    }
}

fn work(shared: &Shared, end: u64) {
    while !shared.stop.load(Ordering::Relaxed) {
        let seed = shared.next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            break;
        }
        let report = simulation::run(seed, false);
        if let Some(failure) = report.failure {
            shared.stop.store(true, Ordering::Relaxed);
            if let Ok(mut first) = shared.failure.lock() {
                first.get_or_insert((seed, failure));
            }
        }
        if let Ok(mut sums) = shared.sums.lock() {
            sums.0 += 1;
            sums.1 += &report.figures;
        }
    }
}

/// A line now and then, until all seeds are done.
fn progress(shared: &Shared, seeds: u64) {
    let mut told = Instant::now();
    loop {
        let done = shared.sums.lock().map_or(0, |sums| sums.0);
        if done >= seeds || shared.stop.load(Ordering::Relaxed) {
            return;
        }
        if told.elapsed() > Duration::from_secs(5) {
            eprintln!("{done} of {seeds}");
            told = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
