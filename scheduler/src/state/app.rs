//! An app in the replicated state: its definition, its history, and what its failures cost it.

use std::sync::Arc;

use imbl::Vector;
use spec::app::App;
use spec::ids::TaskId;
use spec::protocol::TaskState;
use spec::time::Timestamp;
use uuid::Uuid;

use super::{Restless, Tally, Versions};
use crate::placement::Crowds;

/// How many old definitions of an app are kept (Marathon's `--zk_max_versions`).
pub const VERSIONS_MAX: usize = 50;

/// One app.
#[derive(Clone, Debug, PartialEq)]
pub struct AppEntry {
    /// The current definition. Tasks may still run older ones: see `versions`.
    pub app: Arc<App>,
    /// True once removed: readers do not see it, and the entry goes when its last task has ended.
    pub retired: bool,
    /// Definitions by version, the current one among them: the newest [`VERSIONS_MAX`] and any that a
    /// task still runs.
    pub versions: Versions,
    /// Delay before the next launch, after failures.
    pub delay: Option<LaunchDelay>,
    /// Instances whose task ended while they were still wanted: their next task keeps the instance id.
    pub vacant: Vector<Vacant>,
    /// The last task that failed.
    pub last_failure: Option<Arc<TaskFailure>>,
    /// Derived: its tasks by what they are.
    pub tally: Tally,
    /// Derived: where the tasks are that its constraints count.
    pub(crate) crowds: Crowds,
    /// Derived: its tasks that are not at rest; the others are counted in `tally`.
    pub restless: Restless,
}

impl AppEntry {
    /// An app without tasks, history (its definition is not among `versions` yet) and failures.
    pub fn new(app: Arc<App>) -> Self {
        Self {
            crowds: Crowds::of(&app),
            versions: Versions::default(),
            app,
            retired: false,
            delay: None,
            vacant: Vector::new(),
            last_failure: None,
            tally: Tally::default(),
            restless: Restless::default(),
        }
    }
}

/// An instance without a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vacant {
    /// The instance.
    pub uuid: Uuid,
    /// Incarnation of its next task.
    pub incarnation: u32,
}

/// Exponential back-off of an app (reference section 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaunchDelay {
    /// Length of the current delay.
    pub millis: u64,
    /// What it is measured from: the failure, or the launch since.
    pub since: Timestamp,
}

impl LaunchDelay {
    /// No launch before this.
    pub fn until(&self) -> Timestamp {
        self.since.plus_millis(self.millis)
    }
}

/// Marathon's `lastTaskFailure`.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskFailure {
    /// The task.
    pub task: TaskId,
    /// Host name of its agent.
    pub host: String,
    /// Id of its agent.
    pub agent: spec::AgentId,
    /// Why.
    pub message: String,
    /// How it ended.
    pub state: TaskState,
    /// When.
    pub at: Timestamp,
    /// Version of the definition it ran.
    pub version: Timestamp,
}
