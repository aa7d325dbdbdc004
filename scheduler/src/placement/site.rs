//! An agent as placement sees it: its state and, on top, what the running plan has put there already.

use std::collections::BTreeSet;

use spec::resources::Resources;

use crate::state::Agent;

/// One agent and what the plan has taken of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    /// As the state has it.
    pub(super) agent: &'a Agent,
    /// What is left to reserve.
    pub(super) free: Resources,
    /// Ports given away by the plan.
    taken: Option<&'a BTreeSet<u16>>,
}

impl<'a> Site<'a> {
    /// Before the plan has put anything there.
    pub(super) fn of(agent: &'a Agent) -> Self {
        Self { agent, free: agent.free(), taken: None }
    }

    /// With what a plan has put there.
    pub(super) fn in_plan(agent: &'a Agent, free: Resources, taken: Option<&'a BTreeSet<u16>>) -> Self {
        Self { agent, free, taken }
    }

    /// May `port` be given to a task: in the agent's ranges and nobody's?
    pub(super) fn is_port_free(&self, port: u16) -> bool {
        let in_range = self.agent.info.ports.iter().any(|(first, last)| (*first..=*last).contains(&port));
        in_range
            && !self.agent.ports.contains_key(&port)
            && self.taken.is_none_or(|taken| !taken.contains(&port))
    }

    /// Numbers in the agent's ranges.
    pub(super) fn ports_count(&self) -> usize {
        self.agent.info.ports.iter().map(|range| width(*range)).sum()
    }

    /// The `n`th number of the agent's ranges.
    pub(super) fn port_at(&self, n: usize) -> Option<u16> {
        let mut n = n;
        for range in &self.agent.info.ports {
            if n < width(*range) {
                return u16::try_from(usize::from(range.0) + n).ok();
            }
            n -= width(*range);
        }
        None
    }

    /// Ports that may still be given to tasks.
    pub(super) fn ports_free(&self) -> usize {
        let agent = self.agent;
        let all = |(first, last): &(u16, u16)| agent.ports.range(*first..=*last).count();
        // Those of tasks that came before the ranges were changed may lie outside.
        let booked: usize = match (agent.info.ports.as_slice(), agent.ports.get_min(), agent.ports.get_max())
        {
            (_, None, _) => 0,
            ([(first, last)], Some((lowest, _)), Some((highest, _)))
                if first <= lowest && highest <= last =>
            {
                agent.ports.len()
            }
            (ranges, ..) => ranges.iter().map(all).sum(),
        };
        self.ports_count() - booked - self.taken.map_or(0, BTreeSet::len)
    }
}

fn width((first, last): (u16, u16)) -> usize {
    (usize::from(last) + 1).saturating_sub(first.into())
}
