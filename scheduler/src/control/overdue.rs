//! Tasks that take too long to start are started anew (reference section 5.7). Pulling the image counts.

use super::subject::Subject;
use super::work::Todo;
use crate::state::{Condition, Goal, KillReason, Task};

/// Finds what is overdue, and when the next task will be.
pub(super) fn watch(subject: &Subject<'_>, todo: &mut Todo) {
    for task in subject.watched.iter().filter(|task| is_starting(task)) {
        let due = task.staged_at.plus_millis(subject.settings.launch_timeout_millis);
        if due <= subject.now {
            todo.replace.push((task.id.clone(), KillReason::Overdue));
        } else {
            todo.due_at(due);
        }
    }
}

fn is_starting(task: &Task) -> bool {
    let starting = [Condition::Provisioned, Condition::Staging, Condition::Starting];
    task.goal == Goal::Running && starting.contains(&task.condition)
}
