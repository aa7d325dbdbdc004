//! What must hold, after every step. The checks see everything at once (every log, every agent), which nobody in
//! the cluster does. Names of invariants are those of `docs/testing.md`.
//!
//! `log` compares replicas and guards what was acknowledged (I1, I2); `entries` judges each applied entry by the
//! states before and after it (I3, I4, I7, I8, I14); `machines` judges what agents do (I3, I9, I10); `quiet` says
//! what is still missing once the faults have ended (I13, I14).

mod decisions;
mod entries;
mod log;
mod machines;
mod names;
pub mod quiet;

use std::collections::{BTreeMap, BTreeSet};

use scheduler::state::State;
use spec::ids::{AppId, DeploymentId, TaskId};
use spec::protocol::Fence;
use spec::time::Timestamp;

use crate::bus::Lifetime;
use crate::queue::Millis;

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When.
    pub at: Millis,
    /// Which, as `I4`.
    pub invariant: &'static str,
    /// What was seen.
    pub text: String,
}

/// What is at an index of the log, for all times.
#[derive(Debug)]
struct Truth {
    bytes: Vec<u8>,
    after: State,
}

/// Everything that was seen of the truth.
#[derive(Debug, Default)]
pub struct Checks {
    failure: Option<Failure>,
    history: BTreeMap<u64, Truth>,
    /// Accepted changes: where in the log, and as what version.
    accepted: BTreeMap<DeploymentId, (u64, Timestamp)>,
    /// The latest acknowledged entry of each term.
    acknowledged: BTreeMap<u64, u64>,
    /// The latest state that a reader has seen.
    seen: u64,
    /// Changes of which somebody was told that they are surely not made.
    refused: BTreeSet<DeploymentId>,
    /// Who led in each term.
    leaders: BTreeMap<u64, u64>,
    reigning: BTreeMap<u64, u64>,
    /// Definitions as accepted changes left them.
    expected: BTreeMap<AppId, (String, u32)>,
    /// Tasks that were in the state and are not any more.
    gone: BTreeSet<TaskId>,
    /// Highest fence that each agent obeyed.
    fences: BTreeMap<usize, Fence>,
    /// Where each task came up, and in which life of that machine.
    came_up: BTreeMap<TaskId, (usize, Lifetime)>,
}

impl Checks {
    /// Notes a failure, unless there was one before.
    pub fn fail(&mut self, at: Millis, invariant: &'static str, text: String) {
        self.failure.get_or_insert(Failure { at, invariant, text });
    }

    /// The first failure.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    fn claim(
        &mut self,
        holds: bool,
        at: Millis,
        invariant: &'static str,
        otherwise: impl FnOnce() -> String,
    ) {
        if !holds {
            self.fail(at, invariant, otherwise());
        }
    }

    /// I15: nothing grows without a bound.
    pub fn bound(&mut self, at: Millis, what: &str, count: usize, most: usize) {
        self.claim(count <= most, at, "I15", || format!("{what}: {count}, more than {most}"));
    }

    /// No agent is ever sent away for good: nobody is there to do something about it.
    pub fn refused_agent(&mut self, at: Millis, reason: &str) {
        self.fail(at, "I13", format!("an agent is refused: {reason}"));
    }
}
