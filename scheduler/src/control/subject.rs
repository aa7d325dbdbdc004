//! One app under consideration: its definition, its tasks, and what may be done to it now. Tasks at rest are counted
//! and not looked at, so that a look costs what is not at rest. Only who chooses among all of them walks along them.

use std::sync::Arc;

use spec::app::App;
use spec::ids::AppId;
use spec::time::Timestamp;

use super::Settings;
use crate::state::{ActionKind, AppEntry, Condition, Deployment, Goal, State, Task};

/// One app, as one step sees it.
pub(super) struct Subject<'a> {
    pub(super) state: &'a State,
    pub(super) id: &'a AppId,
    pub(super) entry: Option<&'a Arc<AppEntry>>,
    /// Tasks to be looked at one by one, in order of their ids.
    pub(super) watched: Vec<&'a Arc<Task>>,
    /// All others.
    pub(super) resting: Resting,
    pub(super) duty: Duty<'a>,
    /// The deployment that holds the app's lock and is at one of its actions now.
    pub(super) deployment: Option<&'a Arc<Deployment>>,
    pub(super) now: Timestamp,
    pub(super) settings: &'a Settings,
}

/// Tasks that are known to be at rest ([`Task::is_at_rest`]): up, as they are wanted, with nothing to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Resting {
    /// How many there are.
    pub(super) count: usize,
    /// Of these, outdated ones.
    pub(super) outdated: usize,
}

/// Who decides about the number of an app's tasks.
#[derive(Clone, Copy)]
pub(super) enum Duty<'a> {
    /// The app is removed: no task of it stays.
    Remove,
    /// Nobody else: as many as `instances` says.
    Keep(&'a Arc<App>),
    /// A deployment that has not come to this app yet, or has gone past it.
    Leave,
    /// A deployment that is at this app.
    Act { kind: ActionKind, app: &'a Arc<App>, deployment: &'a Arc<Deployment> },
}

/// The lock of an app: the deployment that holds it, and its action for the app in the running step.
pub(super) type Lock<'a> = Option<(&'a Arc<Deployment>, Option<ActionKind>)>;

impl<'a> Subject<'a> {
    pub(super) fn of(
        state: &'a State,
        id: &'a AppId,
        lock: Lock<'a>,
        now: Timestamp,
        settings: &'a Settings,
    ) -> Self {
        let entry = state.apps.get(id);
        let acting = lock.and_then(|(deployment, kind)| Some((deployment, kind?)));
        let duty = match (entry.filter(|entry| !entry.retired), lock, acting) {
            (None, _, _) => Duty::Remove,
            (Some(entry), None, _) => Duty::Keep(&entry.app),
            (Some(_), Some(_), None) => Duty::Leave,
            (Some(entry), Some(_), Some((deployment, kind))) => {
                Duty::Act { kind, app: &entry.app, deployment }
            }
        };
        let resting = entry.map_or_else(Resting::default, |entry| Resting {
            count: entry.tally.resting as usize,
            outdated: entry.tally.resting_outdated as usize,
        });
        let (watched, deployment) = (state.restless_of(id), acting.map(|(deployment, _)| deployment));
        Self { state, id, entry, watched, resting, duty, deployment, now, settings }
    }

    /// All tasks, in order of their ids: a walk along those at rest, for who chooses among them.
    pub(super) fn all(&self) -> Vec<&'a Arc<Task>> {
        if self.resting.count == 0 { self.watched.clone() } else { self.state.tasks_of(self.id).collect() }
    }
}

/// Is the task's instance wanted and not yet replaced? A task that is killed to be started anew keeps its
/// place until it has ended.
pub(super) fn holds_place(task: &Task) -> bool {
    task.goal != Goal::Decommissioned && task.condition != Condition::UnreachableInactive
}
