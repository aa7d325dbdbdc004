//! An agent as placement sees it: its state and, on top, what the running plan has put there already.

use std::collections::BTreeSet;

use spec::resources::Resources;

use crate::state::Agent;

/// One agent and what the plan has taken of it.
#[derive(Clone, Debug)]
pub(super) struct Site<'a> {
    /// As the state has it.
    pub(super) agent: &'a Agent,
    /// What is left to reserve.
    pub(super) free: Resources,
    /// Ports given away by the plan.
    taken: BTreeSet<u16>,
}

impl<'a> Site<'a> {
    /// Before the plan has put anything there.
    pub(super) fn of(agent: &'a Agent) -> Self {
        Self { agent, free: agent.free(), taken: BTreeSet::new() }
    }

    /// Puts a task there.
    pub(super) fn take(&mut self, resources: &Resources, ports: &[u16]) {
        self.free = self.free.minus(resources);
        self.taken.extend(ports);
    }

    /// May `port` be given to a task: in the agent's ranges and nobody's?
    pub(super) fn is_port_free(&self, port: u16) -> bool {
        let in_range = self.agent.info.ports.iter().any(|(first, last)| (*first..=*last).contains(&port));
        in_range && !self.agent.ports.contains_key(&port) && !self.taken.contains(&port)
    }

    /// Numbers in the agent's ranges.
    pub(super) fn ports_count(&self) -> usize {
        self.agent
            .info
            .ports
            .iter()
            .map(|range| (usize::from(range.1) + 1).saturating_sub(range.0.into()))
            .sum()
    }

    /// At most this many of the ranges' numbers are taken (some may lie outside of the ranges).
    pub(super) fn ports_taken_max(&self) -> usize {
        self.agent.ports.len() + self.taken.len()
    }
}
