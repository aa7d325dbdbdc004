//! Tasks cease to be: what they held is freed, their instance waits for its next task, and what their
//! ending says of the app is kept.

use std::sync::Arc;

use spec::ids::{AppId, TaskId};
use spec::protocol::TaskState;
use spec::time::Timestamp;

use super::Change;
use crate::mutants::{self, Mutant};
use crate::state::{Condition, Event, Goal, Outcome, Task, TaskFailure, Vacant};

/// How a task ended.
pub(super) struct Ending {
    pub(super) state: TaskState,
    pub(super) message: String,
    pub(super) at: Timestamp,
    /// Its agent ended it because of a health check.
    pub(super) unhealthy: bool,
}

impl Change<'_> {
    /// Takes a task that has ended out of the state.
    pub(super) fn end_task(&mut self, id: &TaskId, ending: Ending) {
        if mutants::is(Mutant::KeepEnded) {
            return;
        }
        let Some(task) = self.state.leave(id) else {
            return;
        };
        self.vacate(&task);
        if task.goal == Goal::Running {
            self.judge_ending(&task, &ending);
        }
        let Ending { state, message, at, .. } = ending;
        self.event(Event::TaskEnded { task: task.clone(), state, message, at });
        self.drop_if_over(task.id.app());
    }

    pub(super) fn expunge(&mut self, tasks: &[TaskId]) -> Outcome {
        for id in tasks {
            if self.state.tasks.get(id).is_none_or(|task| !task.is_unreachable()) {
                continue;
            }
            let Some(task) = self.state.leave(id) else {
                continue;
            };
            self.vacate(&task);
            self.event(Event::TaskExpunged { task });
            self.drop_if_over(id.app());
        }
        Outcome::Done
    }

    /// Keeps the instance of a task for its next one, if it is still wanted. That of an inactive task is
    /// not: another instance was started in its stead.
    fn vacate(&mut self, task: &Task) {
        let wanted = task.goal != Goal::Decommissioned && task.condition != Condition::UnreachableInactive;
        let Some(incarnation) = task.id.incarnation.checked_add(1).filter(|_| wanted) else {
            return;
        };
        let Some(entry) = self.entry_mut(task.id.app()).filter(|entry| !entry.retired) else {
            return;
        };
        if entry.vacant.len() < entry.app.instances as usize {
            entry.vacant.push_back(Vacant { uuid: task.id.instance.uuid, incarnation });
        }
    }

    /// An ending that nobody asked for: does it count as a failure (reference section 5.5)? A kill for a
    /// failed health check is shown as one, but Killed is no reason for a delay: the replacement starts
    /// right away (section 5.4; Marathon's documents say otherwise, its code does this).
    fn judge_ending(&mut self, task: &Task, ending: &Ending) {
        if ending.unhealthy {
            let message = unhealthy_message(task, &ending.message);
            return self.note_failure(task, TaskState::Killed, message, ending.at);
        }
        let failed = matches!(
            ending.state,
            TaskState::Failed | TaskState::Error | TaskState::Dropped | TaskState::Gone
        );
        if failed {
            self.note_failure(task, ending.state, ending.message.clone(), ending.at);
        }
        if failed || ending.state == TaskState::Finished {
            self.grow_delay(task);
        }
    }

    /// A kill for a failed health check, decided here: shown when it is told to end.
    pub(super) fn fail_unhealthy(&mut self, task: &Task) {
        self.note_failure(task, TaskState::Killed, unhealthy_message(task, ""), self.state.now);
    }

    fn note_failure(&mut self, task: &Task, state: TaskState, message: String, at: Timestamp) {
        let host = self.state.agents.get(&task.agent).map(|agent| agent.info.hostname.clone());
        let failure = Arc::new(TaskFailure {
            task: task.id.clone(),
            host: host.unwrap_or_default(),
            agent: task.agent.clone(),
            message,
            state,
            at,
            version: task.app.version,
        });
        if let Some(entry) = self.entry_mut(task.id.app()) {
            entry.last_failure = Some(failure);
        }
    }

    /// Forgets a removed app whose last task is gone.
    pub(super) fn drop_if_over(&mut self, app: &AppId) {
        let retired = self.state.apps.get(app).is_some_and(|entry| entry.retired);
        if retired && self.state.tasks_of(app).next().is_none() {
            self.state.apps.remove(app);
            self.event(Event::AppGone { id: app.clone() });
        }
    }
}

/// Marathon's words; the cause is the agent's message, or what the failing check said last.
fn unhealthy_message(task: &Task, message: &str) -> String {
    let failing = task.health.iter().filter(|health| !health.alive);
    let cause = failing.filter_map(|health| health.last_failure_cause.as_deref()).next();
    let reason = if message.is_empty() { cause.unwrap_or("unknown") } else { message };
    format!("Task was killed since health check failed. Reason: {reason}")
}
