//! How finely a plan spreads tasks. Each agent that a plan gives tasks to is a message, and the agent's answer is
//! another: with thousands of agents these cost more than the tasks. So where very many are placed at once, what a
//! plan puts on an agent does not count until it is a small share of it, and the next app begins where the one
//! before it did: the agents that were least used get a task each of several apps, and the next plan others.
//! Tasks of one app keep apart as ever, and who has few tasks sees them spread one by one.

use spec::resources::Resources;

use super::index::{BLOCK, Index, Slot};
use super::score::Policy;

/// A plan of fewer tasks spreads each of them.
const TASKS_MIN: u32 = 512;
/// About so many tasks of a plan go to one agent.
const TASKS_EACH: usize = 4;
/// So many times what a plan has put on an agent is not more than the whole of it: then it does not count.
const SMALL: u64 = 32;

/// The grain of a coarse plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grain {
    seed: u64,
    /// Tasks that the plan has placed.
    placed_count: usize,
    /// Of these, those that left an agent with more than a little.
    large_count: usize,
}

impl Grain {
    /// Of a plan for so many tasks; `None`: as fine as can be. Policies that do not spread put tasks together anyway.
    pub(super) fn of(policy: Policy, tasks_count: u32, seed: u64) -> Option<Self> {
        (policy == Policy::Spread && tasks_count >= TASKS_MIN).then_some(Self {
            seed,
            placed_count: 0,
            large_count: 0,
        })
    }

    /// The same for all apps of the plan.
    pub(super) fn seed(self) -> u64 {
        self.seed
    }

    /// The plan has put a task on this agent.
    pub(super) fn placed(&mut self, index: &Index, site: usize) {
        self.placed_count += 1;
        self.large_count += usize::from(small_before(index, site).is_none());
    }

    /// Where to begin among so many blocks of agents: near where the app before began, but no part of the cluster
    /// is given more than its share.
    pub(super) fn start(self, blocks_count: usize) -> usize {
        let blocks = blocks_count.max(1) as u64;
        let agents_count = self.large_count.max(self.placed_count / TASKS_EACH);
        let moved = (agents_count / BLOCK) as u64;
        usize::try_from((self.seed % blocks + moved) % blocks).unwrap_or_default()
    }
}

/// The agent before the running plan put tasks on it, if it has and that is little. GPUs are never little.
pub(super) fn small_before(index: &Index, site: usize) -> Option<&Slot> {
    let before = index.before(site)?;
    let Resources { cpus_milli, mem_mib, disk_mib, gpus } = before.free.minus(&index.slot(site).free);
    let is_small = |taken: u64, whole: u64| taken.saturating_mul(SMALL) <= whole;
    let is_little = gpus == 0
        && is_small(cpus_milli, before.capacity.cpus_milli)
        && is_small(mem_mib, before.capacity.mem_mib)
        && is_small(disk_mib, before.capacity.disk_mib);
    is_little.then_some(before)
}
