//! What agents do. I6: of a UNIQUE app one task runs on a machine. I3: what runs together fits, and no port is had twice. I8: a task comes up once. I9: no order of
//! an older fence is obeyed. I10: nothing is ended that the cluster wants to run.

use std::collections::BTreeMap;

use scheduler::state::{Condition, Goal};
use spec::app::Operator;
use spec::ids::{AgentId, TaskId};
use spec::protocol::Fence;
use spec::resources::Resources;

use super::Checks;
use crate::agent::{Container, State};
use crate::bus::Lifetime;
use crate::queue::Millis;

impl Checks {
    /// A machine was replaced: the new one has obeyed nobody.
    pub fn machine_replaced(&mut self, agent: usize) {
        self.fences.remove(&agent);
    }

    /// An agent obeys an order.
    pub fn obeys(&mut self, now: Millis, agent: usize, fence: Fence) {
        let before = self.fences.get(&agent).copied().unwrap_or_default();
        self.claim(fence >= before, now, "I9", || {
            format!("a{agent} obeys {}/{} after {}/{}", fence.term, fence.index, before.term, before.index)
        });
        self.fences.insert(agent, fence.max(before));
    }

    /// An agent begins a launch.
    pub fn launches(&mut self, now: Millis, agent: usize, boot: Lifetime, task: &TaskId) {
        let before = self.came_up.get(task).copied();
        let fresh = before.is_none_or(|place| place.0 == agent && place.1 != boot);
        self.claim(fresh, now, "I8", || {
            format!("a{agent} launches {task}, which came up before: {before:?}")
        });
    }

    /// A task comes up.
    pub fn came_up(&mut self, now: Millis, agent: usize, boot: Lifetime, task: &TaskId) {
        let before = self.came_up.insert(task.clone(), (agent, boot));
        let fresh = before.is_none_or(|place| place.0 == agent && place.1 != boot);
        self.claim(fresh, now, "I8", || format!("{task} comes up on a{agent}, and did before: {before:?}"));
    }

    /// A launch that was interrupted came up all the same, and was undone.
    pub fn withdrawn(&mut self, task: &TaskId) {
        self.came_up.remove(task);
    }

    /// An agent ends a task: the state from which its leader spoke must not want it there.
    pub fn ends(&mut self, now: Millis, agent: &AgentId, task: &TaskId, fence: Fence) {
        let Some(truth) = self.history.range(..=fence.index).next_back().map(|(_, truth)| &truth.after)
        else {
            return;
        };
        let wanted = truth.tasks.get(task).is_some_and(|known| {
            known.agent == *agent && known.goal == Goal::Running && known.condition != Condition::Killing
        });
        self.claim(!wanted, now, "I10", || {
            format!("{task} is ended on {agent}, and the state at index {} wants it to run", fence.index)
        });
    }

    /// Does the cluster know of this task, and has not given it up?
    fn is_known(&self, task: &TaskId) -> bool {
        let latest = self.history.last_key_value().and_then(|(_, truth)| truth.after.tasks.get(task));
        latest.is_some_and(|known| !known.is_unreachable())
    }

    /// What runs on a machine at the same time.
    pub fn run_together(
        &mut self,
        now: Millis,
        agent: usize,
        containers: &BTreeMap<TaskId, Container>,
        capacity: &Resources,
    ) {
        let (mut sum, mut ports, mut unique) = (Resources::default(), BTreeMap::new(), BTreeMap::new());
        for (task, container) in containers.iter().filter(|(_, container)| container.state == State::Running)
        {
            sum = sum.plus(&container.app.resources());
            let is_unique = container.app.constraints.iter().any(|rule| rule.operator == Operator::Unique);
            if is_unique && self.is_known(task) {
                let slot = (container.app.id.clone(), container.app.version);
                if let Some(other) = unique.insert(slot, task) {
                    self.fail(now, "I6", format!("{other} and {task} are UNIQUE and both run on a{agent}"));
                }
            }
            for port in &container.host_ports {
                if let Some(other) = ports.insert(*port, task) {
                    self.fail(now, "I3", format!("port {port} of a{agent} is had by {other} and {task}"));
                }
            }
        }
        self.claim(sum.fits(capacity), now, "I3", || format!("a{agent} runs more than it has: {sum:?}"));
    }
}
