//! Where a task goes. Pure: a function of the state, the demand, the time and a seed.
//!
//! [`check`] is the one feasibility function: placement decides with it and `apply` verifies with it, so
//! the two can never disagree for ever. [`place`] puts a batch of tasks: earlier placements of the
//! batch count for later ones, and the cost of a task does not grow with what is placed already.
//!
//! `needs` says what a task needs of an agent, `rules` holds constraints, `ports` chooses host ports,
//! `score` ranks agents, `candidates` keeps them in order, `explain` says why a task waits.

mod candidates;
mod explain;
#[cfg(test)]
pub(crate) mod fixture;
mod needs;
mod plan;
mod ports;
mod report;
mod rules;
mod score;
mod seed;
mod site;
#[cfg(test)]
mod tests;

pub use explain::Look;
pub use plan::{Demand, Plan, place};
pub use report::*;
pub(crate) use rules::field_value;

use spec::app::App;

use crate::state::{Agent, State};

use needs::{Needs, PortsAsked};
use rules::Tallies;
use site::Site;

/// May one more task of `app` be put on `agent` with these host ports? Everything that placement
/// considers is considered: presence, runtime, role, constraints, resources, ports. `host_ports` must
/// hold one port for each declared port that gets one, in order.
pub fn check(state: &State, app: &App, agent: &Agent, host_ports: &[u16]) -> Result<(), Reason> {
    Checker::new(state, app).check(agent, host_ports)
}

/// [`check`] for many tasks of one app: what depends on the app alone is worked out once, and its tasks
/// are counted once.
#[derive(Clone, Debug)]
pub struct Checker {
    needs: Needs,
    tallies: Tallies,
}

impl Checker {
    /// For more tasks of `app` as the state is now.
    pub fn new(state: &State, app: &App) -> Self {
        let needs = Needs::of(app);
        let tallies = Tallies::count(state, app, &needs.rules);
        Self { needs, tallies }
    }

    /// See [`check`].
    pub fn check(&self, agent: &Agent, host_ports: &[u16]) -> Result<(), Reason> {
        let site = Site::of(agent);
        let mut reasons = self.needs.reasons(&site, &self.tallies, PortsAsked::Given(host_ports));
        reasons.next().map_or(Ok(()), Err)
    }

    /// A task of the app was put there.
    pub fn count(&mut self, agent: &Agent) {
        self.tallies.add(agent, &self.needs.rules);
    }
}
