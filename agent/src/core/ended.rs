//! Tasks that have ended since the last order: one that crossed the ending must not start them anew.
//!
//! Which orders can that be? The leader says in order what its log says, and names a task to be run when it is placed,
//! in a complete set or an explanation: out of states in which it has not ended. It acknowledges an ending after what
//! it had to say until then; and whoever leads after that knows of the ending. So after the acknowledgement only what
//! bears the fence that is obeyed by then, or a lower one, can still name the task; and what is lower is refused. The
//! next order of a higher fence lets all of them be forgotten, and there are hardly ever more than tasks end between
//! two orders.

use std::collections::BTreeSet;

use spec::ids::TaskId;
use uuid::Uuid;

/// An instance has its number to itself, whatever its app.
type Number = (Uuid, u32);

/// The tasks that have ended under the fence that is obeyed.
#[derive(Debug, Default)]
pub(super) struct Ended(BTreeSet<Number>);

impl Ended {
    /// Is it one of them?
    pub(super) fn contains(&self, task: &TaskId) -> bool {
        self.0.contains(&number(task))
    }

    /// It has ended. No more than `most` are remembered; only a leader that says everything under one fence gets there.
    pub(super) fn remember(&mut self, task: &TaskId, most: usize) {
        if self.0.len() < most {
            self.0.insert(number(task));
        }
    }

    /// An order of a higher fence is obeyed.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

fn number(task: &TaskId) -> Number {
    (task.instance.uuid, task.incarnation)
}
