//! What the control loop decides, by the state that it saw. I5: a rolling replacement leaves enough healthy tasks.

use std::collections::{BTreeMap, BTreeSet};

use scheduler::state::{Command, Condition, Goal, KillReason, State, Task, min_healthy};
use spec::ids::{AppId, TaskId};

use super::Checks;
use crate::queue::Millis;

impl Checks {
    /// The leader is about to propose these commands.
    pub fn decides(&mut self, now: Millis, state: &State, commands: &[Command]) {
        let mut replaced: BTreeMap<&AppId, BTreeSet<&TaskId>> = BTreeMap::new();
        for command in commands {
            if let Command::Decommission { tasks, reason: KillReason::Outdated } = command {
                tasks.iter().for_each(|task| replaced.entry(task.app()).or_default().extend([task]));
            }
        }
        for (id, ended) in replaced {
            let Some(entry) = state.app(id) else { continue };
            let healthy: Vec<_> = state.tasks_of(id).filter(|task| is_up(task)).collect();
            let left = healthy.iter().filter(|task| !ended.contains(&task.id)).count();
            let (had, minimum) = (healthy.len(), min_healthy(&entry.app) as usize);
            self.claim(left == had || left >= minimum, now, "I5", || {
                format!("{id}: of {had} healthy tasks a replacement leaves {left}, not {minimum}")
            });
        }
    }
}

fn is_up(task: &Task) -> bool {
    task.goal == Goal::Running && task.condition == Condition::Running && task.is_healthy()
}
