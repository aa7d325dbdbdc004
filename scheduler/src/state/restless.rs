//! Which tasks of an app are not at rest: those that one has to look at to know what is to be done for the app.
//! Derived, and kept up task by task as they come, change and go (`census.rs`), on every master; a task at rest
//! costs nothing here. What is to be done with them is not said here but in `control`.

use std::sync::Arc;

use imbl::OrdSet;
use spec::ids::{AppId, InstanceId, TaskId};
use uuid::Uuid;

use super::{State, Task};

/// Of more than one in so many tasks that are not at rest all are found sooner by a walk along all of the app's
/// than by a search for each.
const WALK_FROM: usize = 16;

/// The tasks of an app that are not at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restless(
    /// What tells them apart within their app: every task that starts passes through here on every master, and
    /// comparing the app each time would cost more than the rest.
    OrdSet<(Uuid, u32)>,
);

impl Restless {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Are all at rest?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The task has become what it is.
    pub(super) fn note(&mut self, task: &Task) {
        if task.is_at_rest() {
            self.forget(task);
        } else {
            self.0.insert(key(task));
        }
    }

    /// The task is no more.
    pub(super) fn forget(&mut self, task: &Task) {
        self.0.remove(&key(task));
    }
}

fn key(task: &Task) -> (Uuid, u32) {
    (task.id.instance.uuid, task.id.incarnation)
}

impl State {
    /// Tasks of an app that are not at rest, in order of their ids. Costs what they are, not what the app is.
    pub fn restless_of(&self, app: &AppId) -> Vec<&Arc<Task>> {
        let Some(entry) = self.apps.get(app).filter(|entry| !entry.restless.is_empty()) else {
            return Vec::new();
        };
        let (restless, resting) = (&entry.restless, entry.tally.resting as usize);
        if restless.len() > resting / WALK_FROM {
            return self.tasks_of(app).filter(|task| !task.is_at_rest()).collect();
        }
        let id = |(uuid, incarnation): &(Uuid, u32)| TaskId {
            instance: InstanceId { app: entry.app.id.clone(), uuid: *uuid },
            incarnation: *incarnation,
        };
        restless.0.iter().filter_map(|key| self.tasks.get(&id(key))).collect()
    }
}
