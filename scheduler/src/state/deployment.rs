//! A deployment: data in the state, not a process in a leader's memory. Its steps are fixed when it is
//! accepted; only `current` moves. What an action still waits for is derived from apps and tasks.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use spec::app::App;
use spec::ids::{AppId, DeploymentId, TaskId};
use spec::time::Timestamp;

/// More running deployments than this are refused, forced or not (reference section 3).
pub const DEPLOYMENTS_MAX: usize = 100;

/// Apps and what they were before a change. Shared, as the steps are: what changes is how far a deployment is.
pub type Originals = Arc<[(AppId, Option<Arc<App>>)]>;

/// A change on its way from accepted to done (reference section 5.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Version of the change.
    pub version: Timestamp,
    /// In order; a step begins when the one before is complete.
    pub steps: Arc<[Step]>,
    /// Index of the running step; `steps.len()` when done (and then the deployment is removed).
    pub current: usize,
    /// Definitions before the change, for a revert: `None` means the app did not exist.
    pub originals: Originals,
    /// Victims that a "kill and scale" named.
    pub kill: Vec<TaskId>,
}

/// Actions that run side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Never empty.
    pub actions: Vec<Action>,
}

/// What happens to one app in one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What.
    pub kind: ActionKind,
    /// To which app.
    pub app: AppId,
}

/// Marathon's action names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActionKind {
    /// A no-op kept for compatibility: the app exists since the change was accepted.
    StartApplication,
    /// End every task.
    StopApplication,
    /// Bring the number of tasks to `instances`.
    ScaleApplication,
    /// Replace every outdated task within the bounds of `upgradeStrategy`.
    RestartApplication,
}

impl Deployment {
    /// Does it hold the lock of `app`?
    pub fn locks(&self, app: &AppId) -> bool {
        self.actions().any(|action| action.app == *app)
    }

    /// Every action of every step.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.steps.iter().flat_map(|step| &step.actions)
    }

    /// The actions of the running step.
    pub fn current_actions(&self) -> &[Action] {
        self.steps.get(self.current).map_or(&[], |step| &step.actions)
    }
}
