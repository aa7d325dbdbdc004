//! Agents come, go away and are forgotten; what they have given out is booked here.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use spec::ids::AgentId;
use spec::protocol::AgentInfo;
use spec::resources::Resources;

use super::Change;
use crate::mutants::{self, Mutant};
use crate::state::{Agent, Condition, Event, Goal, Outcome, Presence, Refusal, Task};

impl Agent {
    /// An agent without tasks.
    pub(in crate::state) fn new(id: AgentId, info: Arc<AgentInfo>, since: spec::Timestamp) -> Self {
        Self {
            id,
            info,
            presence: Presence::Connected,
            since,
            reserved: Resources::default(),
            ports: OrdMap::new(),
            tasks: OrdSet::new(),
        }
    }

    /// Books what a task takes.
    pub(in crate::state) fn book(&mut self, task: &Task) {
        self.reserved = self.reserved.plus(&task.app.resources());
        self.ports.extend(task.host_ports.iter().map(|port| (*port, task.id.clone())));
        self.tasks.insert(task.id.clone());
    }

    /// Frees what a task took.
    pub(in crate::state) fn release(&mut self, task: &Task) {
        self.reserved = self.reserved.minus(&task.app.resources());
        if mutants::is(Mutant::DoubleFree) {
            self.reserved = self.reserved.minus(&task.app.resources());
        }
        if !mutants::is(Mutant::KeepPorts) {
            task.host_ports.iter().for_each(|port| drop(self.ports.remove(port)));
        }
        self.tasks.remove(&task.id);
    }
}

impl Change<'_> {
    /// A known agent comes back under its id; anyone else gets a new one, also one that was forgotten.
    pub(super) fn register_agent(&mut self, id: Option<&AgentId>, info: &AgentInfo) -> Outcome {
        let now = self.state.now;
        let known = id.and_then(|id| self.state.agents.get(id)).cloned();
        let agent = match known {
            Some(known) => {
                self.state.move_crowds(&known.id, &known.info, info);
                Agent {
                    info: Arc::new(info.clone()),
                    presence: Presence::Connected,
                    since: if known.presence == Presence::Connected { known.since } else { now },
                    ..Agent::clone(&known)
                }
            }
            None => Agent::new(self.new_agent_id(), Arc::new(info.clone()), now),
        };
        let (id, agent) = (agent.id.clone(), Arc::new(agent));
        self.state.agents.insert(id.clone(), agent.clone());
        self.event(Event::AgentJoined { agent });
        Outcome::Registered { id }
    }

    fn new_agent_id(&mut self) -> AgentId {
        let number = self.state.next_agent;
        self.state.next_agent += 1;
        AgentId::new(format!("{}-S{number}", self.state.cluster_id))
    }

    /// Gives an agent up: nothing is placed on it and nobody knows what its tasks do.
    pub(super) fn lose_agent(&mut self, id: &AgentId) -> Result<Outcome, Refusal> {
        let now = self.state.now;
        let agent = self.agent_mut(id)?;
        if agent.presence == Presence::Lost {
            return Ok(Outcome::Done);
        }
        (agent.presence, agent.since) = (Presence::Lost, now);
        let agent = Arc::new(agent.clone());
        self.event(Event::AgentLost { agent: agent.clone() });
        for task in &agent.tasks {
            self.state.change(task, |task| {
                if task.goal == Goal::Restarting {
                    // Its instance is not kept waiting for an end that nobody will hear of.
                    task.goal = Goal::Decommissioned;
                }
            });
            if self.state.tasks.get(task).is_some_and(|task| !task.is_unreachable()) {
                self.set_condition(task, Condition::Unreachable, "Agent is away");
            }
        }
        Ok(Outcome::Done)
    }

    pub(super) fn forget_agent(&mut self, id: &AgentId) -> Result<Outcome, Refusal> {
        let agent = self.agent_mut(id)?;
        if agent.presence == Presence::Connected || !agent.tasks.is_empty() {
            return Err(Refusal::AgentBusy(id.clone()));
        }
        self.state.agents.remove(id);
        self.event(Event::AgentForgotten { id: id.clone() });
        Ok(Outcome::Done)
    }
}
