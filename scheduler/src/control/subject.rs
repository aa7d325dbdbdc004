//! One app under consideration: its definition, its tasks, and what may be done to it now.

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
    pub(super) tasks: Vec<&'a Arc<Task>>,
    pub(super) duty: Duty<'a>,
    /// The deployment that holds the app's lock and is at one of its actions now.
    pub(super) deployment: Option<&'a Arc<Deployment>>,
    pub(super) now: Timestamp,
    pub(super) settings: &'a Settings,
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
        let tasks = state.tasks_of(id).collect();
        let deployment = acting.map(|(deployment, _)| deployment);
        Self { state, id, entry, tasks, duty, deployment, now, settings }
    }
}

/// Is the task's instance wanted and not yet replaced? A task that is killed to be started anew keeps its
/// place until it has ended.
pub(super) fn holds_place(task: &Task) -> bool {
    task.goal != Goal::Decommissioned && task.condition != Condition::UnreachableInactive
}
