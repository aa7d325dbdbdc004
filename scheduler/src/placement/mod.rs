//! Where a task goes. Pure: a function of the state, the demand, the time and a seed.
//!
//! [`check`] is the one feasibility function: placement decides with it and `apply` verifies with it, so
//! the two can never disagree for ever. [`place`] puts a batch of tasks: earlier placements of the
//! batch count for later ones, and the cost of a task does not grow with what is placed already.
//!
//! `needs` says what a task needs of an agent, `rules` holds constraints and `crowds` what they count, by numbers in
//! `heads`,
//! `ports` chooses host ports. `index` keeps agents in columns and `fields` what they say of themselves;
//! `ground` is where an app may go at all, `score` ranks agents, `candidates` keeps them in order,
//! `grain` says how finely they are told apart, `plan` places, `explain` says why a task waits.

mod candidates;
mod crowds;
mod explain;
mod fields;
#[cfg(test)]
pub(crate) mod fixture;
mod grain;
mod ground;
mod heads;
mod index;
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

pub(crate) use crowds::Crowds;
pub use explain::Look;
pub use index::Index;
pub use plan::{Demand, Plan, Terms, place};
pub use report::*;
pub(crate) use rules::field_value;
pub use score::Policy;

use spec::app::App;

use crate::state::{Agent, State};

use needs::{Needs, PortsAsked};
use site::Site;

/// May one more task of `app` be put on `agent` with these host ports? Everything that placement
/// considers is considered: presence, runtime, role, constraints, resources, ports. `host_ports` must
/// hold one port for each declared port that gets one, in order. Counts the app's tasks one by one: the
/// slow and obvious way.
pub fn check(state: &State, app: &App, agent: &Agent, host_ports: &[u16]) -> Result<(), Reason> {
    Checker::of(app).check(agent, &Crowds::count(state, app), host_ports)
}

/// [`check`] for many tasks of one app, where somebody keeps count of them.
#[derive(Clone, Debug)]
pub(crate) struct Checker(Needs);

impl Checker {
    /// For tasks of `app`.
    pub(crate) fn of(app: &App) -> Self {
        Self(Needs::of(app))
    }

    /// See [`check()`].
    pub(crate) fn check(&self, agent: &Agent, crowds: &Crowds, host_ports: &[u16]) -> Result<(), Reason> {
        let site = Site::of(agent);
        let mut reasons = self.0.reasons(&site, crowds, PortsAsked::Given(host_ports));
        reasons.next().map_or(Ok(()), Err)
    }
}
