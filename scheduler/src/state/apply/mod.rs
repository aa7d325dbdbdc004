//! The only way in which the state changes. Total and deterministic: the same batches in the same order
//! yield the same state, outcomes and events on every master. Time and seeds come with the batch; no
//! clock, no randomness, no map whose order is not its keys'.

mod agents;
mod backoff;
mod change;
mod deploy;
mod deployments;
mod endings;
mod expect;
mod graph;
mod instance_ids;
mod kills;
mod masters;
mod placements;
mod plan;
mod reports;
mod resident;
mod service_ports;

pub(super) use service_ports::service_ports;

use std::sync::Arc;

use spec::ids::{AgentId, AppId};
use spec::time::Timestamp;

use self::instance_ids::InstanceIds;
use super::{Agent, AppEntry, Applied, Batch, Command, Event, Outcome, Refusal, State};
use crate::mutants::{self, Mutant};

/// The end of the year 9998: a clock that says more is broken, and could not be written as text.
const LATEST: Timestamp = Timestamp::from_millis(253_370_764_799_999);

impl State {
    /// Applies one log entry. One outcome for each command, in order.
    pub fn apply(&mut self, index: u64, batch: Batch) -> (Vec<Outcome>, Applied) {
        let after = std::mem::replace(&mut self.index, index);
        self.now = self.now.max(batch.at.min(LATEST));
        if mutants::is(Mutant::OwnClock) {
            self.now = self.now.plus_millis(mutants::noise());
        }
        let ids = InstanceIds::new(self.now, batch.seed, index);
        let mut change = Change { state: self, events: Vec::new(), ids };
        let outcomes = batch.commands.into_iter().map(|command| change.command(command)).collect();
        let events = change.events;
        (outcomes, Applied { index, after, at: self.now, events })
    }
}

/// A batch on its way into the state.
struct Change<'a> {
    state: &'a mut State,
    events: Vec<Event>,
    ids: InstanceIds,
}

impl Change<'_> {
    fn command(&mut self, command: Command) -> Outcome {
        let result = match command {
            Command::Found { cluster_id } => {
                if self.state.cluster_id.is_nil() {
                    self.state.cluster_id = cluster_id;
                }
                Ok(Outcome::Done)
            }
            Command::Deploy(deploy) => self.deploy(deploy),
            Command::CancelDeployment { id } => self.cancel_deployment(&id),
            Command::RevertDeployment { id, deployment } => self.revert_deployment(&id, deployment),
            Command::KillTasks { tasks, wipe, reason } => self.kill_tasks(&tasks, wipe, reason),
            Command::ResetDelay { app } => self.reset_delay_of(&app),
            Command::Place(placements) => Ok(self.place(&placements)),
            Command::Decommission { tasks, reason } => Ok(self.decommission(&tasks, reason)),
            Command::CompleteStep { id, step } => Ok(self.complete_step(&id, step)),
            Command::MarkInactive { tasks } => Ok(self.mark_inactive(&tasks)),
            Command::Expunge { tasks } => Ok(self.expunge(&tasks)),
            Command::RegisterAgent { id, info } => Ok(self.register_agent(id.as_ref(), &info)),
            Command::LoseAgent { id } => self.lose_agent(&id),
            Command::ForgetAgent { id } => self.forget_agent(&id),
            Command::Report { agent, complete, reports } => self.report(&agent, complete, &reports),
            Command::AddMaster { info, ticket } => self.add_master(&info, ticket),
            Command::SetMaster { id, info } => Ok(self.set_master(id, &info)),
            Command::RemoveMaster { id } => self.remove_master(id),
        };
        result.unwrap_or_else(Outcome::Refused)
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    fn entry_mut(&mut self, app: &AppId) -> Option<&mut AppEntry> {
        self.state.apps.get_mut(app).map(Arc::make_mut)
    }

    fn agent_mut(&mut self, agent: &AgentId) -> Result<&mut Agent, Refusal> {
        let found = self.state.agents.get_mut(agent).map(Arc::make_mut);
        found.ok_or_else(|| Refusal::NoAgent(agent.clone()))
    }
}
