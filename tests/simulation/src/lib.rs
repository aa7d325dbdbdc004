//! Whole clusters in one thread: the real raft nodes, state, control loop and placement of the masters, the real
//! core of the agents, and between them a network, disks, clocks, machines and containers that are simulated, on a
//! virtual clock. Everything that happens is drawn from one seed, so that a run can be repeated to the byte.
//!
//! A run has a phase with faults (`nemesis`) and a quiet one, in which everything must come to be as it should.
//! After every step `checks` says what does not hold. `world` routes events to `master`, `agent` and `client`;
//! `bus` is what they share. Decisions of the product are never made here: the shells that would make them are
//! the product's own pure functions, called in the product's order.

pub mod agent;
pub mod bus;
pub mod checks;
pub mod client;
pub mod figures;
pub mod master;
pub mod mutants;
pub mod nemesis;
pub mod net;
pub mod queue;
pub mod seats;
pub mod trace;
pub mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use checks::Failure;
pub use figures::Figures;
use world::World;

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Sum of its whole trace.
    pub hash: u64,
    /// What it consisted of.
    pub figures: Figures,
    /// What did not hold, if anything.
    pub failure: Option<Failure>,
    /// Its trace, if it was kept.
    pub lines: Vec<String>,
}

/// Runs a seed. A panic of the product is a failure like any other.
pub fn run(seed: u64, keep_trace: bool) -> Report {
    run_with(seed, keep_trace, None)
}

/// The same with a deliberate bug.
pub fn run_with(seed: u64, keep_trace: bool, bug: Option<mutants::Bug>) -> Report {
    let _on = mutants::On::new(bug);
    let mut world = World::new(seed, keep_trace);
    if bug == Some(mutants::Bug::LyingDisks) {
        world.masters.values().for_each(|master| master.disk.lie(true));
    }
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    if let Err(panic) = ended {
        let now = world.bus.now;
        world.bus.checks.fail(now, "panic", words(&*panic).to_owned());
    }
    let failure = world.bus.checks.failure().cloned();
    let bus = world.bus;
    Report { seed, hash: bus.trace.hash(), figures: bus.figures, failure, lines: bus.trace.into_lines() }
}

fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    let string = panic.downcast_ref::<String>().map(String::as_str);
    string.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic")
}
