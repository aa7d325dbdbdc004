//! Tasks are told to end, or counted out because nobody can tell them anything.

use spec::ids::TaskId;

use super::Change;
use crate::state::{Condition, Event, Goal, KillReason, Outcome, Refusal};

impl Change<'_> {
    /// A user's kill (reference section 5.3). Tasks that have ended meanwhile are none the worse for it.
    pub(super) fn kill_tasks(
        &mut self,
        tasks: &[TaskId],
        wipe: bool,
        reason: KillReason,
    ) -> Result<Outcome, Refusal> {
        if let Some(first) =
            tasks.first().filter(|_| !tasks.iter().any(|id| self.state.tasks.contains_key(id)))
        {
            return Err(Refusal::NoTask(first.clone()));
        }
        let goal = if wipe { Goal::Decommissioned } else { Goal::Restarting };
        tasks.iter().for_each(|id| self.end(id, goal, reason));
        Ok(Outcome::Done)
    }

    pub(super) fn decommission(&mut self, tasks: &[TaskId], reason: KillReason) -> Outcome {
        tasks.iter().for_each(|id| self.end(id, Goal::Decommissioned, reason));
        Outcome::Done
    }

    /// Sets a task's goal and has it told. A goal never goes back from decommissioned; a task that is
    /// ending already is told again only when its goal changes.
    fn end(&mut self, id: &TaskId, goal: Goal, reason: KillReason) {
        let now = self.state.now;
        let Some(task) = self.state.tasks.get(id) else {
            return;
        };
        let was = task.goal;
        // Nobody knows when an unreachable task ends, so its instance is not kept waiting for it.
        let goal = if task.is_unreachable() { Goal::Decommissioned } else { goal };
        if was == goal || was == Goal::Decommissioned {
            return;
        }
        let changed = self.state.change(id, |task| {
            task.goal = goal;
            if !task.is_unreachable() && task.condition != Condition::Killing {
                (task.condition, task.since) = (Condition::Killing, now);
            }
        });
        let Some((_, task)) = changed else {
            return;
        };
        if reason == KillReason::Unhealthy && was == Goal::Running {
            self.fail_unhealthy(&task);
        }
        self.event(Event::TaskKill { task, reason });
    }

    pub(super) fn mark_inactive(&mut self, tasks: &[TaskId]) -> Outcome {
        for id in tasks {
            let unreachable = self.state.tasks.get(id).map(|task| task.condition);
            if unreachable == Some(Condition::Unreachable) {
                self.set_condition(id, Condition::UnreachableInactive, "Unreachable for too long: replaced");
            }
        }
        Outcome::Done
    }

    /// Changes a task's condition and says so.
    pub(super) fn set_condition(&mut self, id: &TaskId, condition: Condition, message: &str) {
        let now = self.state.now;
        let changed = self.state.change(id, |task| (task.condition, task.since) = (condition, now));
        if let Some((_, task)) = changed {
            self.event(Event::TaskChanged { task, message: message.to_owned() });
        }
    }
}
