//! The check of the checks: deliberate bugs, each of which must be noticed within a stated number of seeds.

use agent::mutants::Mutant as AgentMutant;
use scheduler::mutants::Mutant as MasterMutant;

use crate::{Report, run_with};

/// Which bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Disks say that they have synced, and have not.
    LyingDisks,
    /// One of the masters.
    Master(MasterMutant),
    /// One of the agents.
    Agent(AgentMutant),
}

/// Every bug, and the most seeds that it may take to notice it.
pub const ALL: [(Bug, u64); 22] = [
    (Bug::LyingDisks, 10),
    (Bug::Master(MasterMutant::PromiseBeforeSync), 60),
    (Bug::Master(MasterMutant::DroppedIsRefused), 30),
    (Bug::Master(MasterMutant::KeepPorts), 5),
    (Bug::Master(MasterMutant::DoubleFree), 5),
    (Bug::Master(MasterMutant::OwnClock), 5),
    (Bug::Master(MasterMutant::LeaveOut), 5),
    (Bug::Master(MasterMutant::KeepNames), 30),
    (Bug::Master(MasterMutant::NeverExpunge), 30),
    (Bug::Master(MasterMutant::KeepEnded), 5),
    (Bug::Master(MasterMutant::KeepRemoved), 10),
    (Bug::Master(MasterMutant::DropFitCheck), 60),
    (Bug::Master(MasterMutant::DropWantedCheck), 60),
    (Bug::Master(MasterMutant::BatchAppend), 30),
    (Bug::Master(MasterMutant::CommitAlone), 60),
    (Bug::Master(MasterMutant::SwapEntries), 60),
    (Bug::Master(MasterMutant::StaleReads), 60),
    (Bug::Master(MasterMutant::IgnoreMinimum), 60),
    (Bug::Agent(AgentMutant::OldFences), 30),
    (Bug::Agent(AgentMutant::LaunchTwice), 5),
    (Bug::Agent(AgentMutant::IgnoreKill), 5),
    (Bug::Agent(AgentMutant::ForgetEnding), 10),
];

/// How a bug was noticed.
#[derive(Debug)]
pub struct Caught {
    /// Seeds that it took.
    pub seeds: u64,
    /// The last of them.
    pub report: Report,
}

/// Looks for a bug, in at most so many seeds.
pub fn hunt(bug: Bug, seeds: u64) -> Option<Caught> {
    (0..seeds).find_map(|seed| {
        let report = run_with(seed, false, Some(bug));
        report.failure.is_some().then_some(Caught { seeds: seed + 1, report })
    })
}

/// Turns a bug on in this thread until dropped.
#[derive(Debug)]
pub struct On(());

impl On {
    /// From now on; `None` turns all off.
    pub fn new(bug: Option<Bug>) -> Self {
        let (master, agent) = match bug {
            Some(Bug::Master(mutant)) => (Some(mutant), None),
            Some(Bug::Agent(mutant)) => (None, Some(mutant)),
            Some(Bug::LyingDisks) | None => (None, None),
        };
        scheduler::mutants::set(master);
        agent::mutants::set(agent);
        Self(())
    }
}

impl Drop for On {
    fn drop(&mut self) {
        scheduler::mutants::set(None);
        agent::mutants::set(None);
    }
}
