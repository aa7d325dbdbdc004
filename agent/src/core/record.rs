//! What the agent keeps on disk about itself and about each task, so that a restart loses nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use spec::app::App;
use spec::ids::TaskId;
use spec::protocol::{Fence, TaskState};
use spec::time::Timestamp;

use super::choice::RuntimeKind;

/// About the agent; durable before anything that follows from it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Highest fence obeyed.
    pub fence: Fence,
    /// No report has a higher number.
    pub seq_ceiling: u64,
}

/// About one task. Written when it changes, deleted when the task is forgotten. It has to survive a
/// crash of the agent, not of the machine: after that the runtimes find nothing running anyway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The task.
    pub task: TaskId,
    /// Its definition; `None` for one that was adopted and never explained.
    pub app: Option<Arc<App>>,
    /// Allocated host ports.
    pub host_ports: Vec<u16>,
    /// Where it runs; `None` when nothing was ever started.
    pub runtime: Option<RuntimeKind>,
    /// Grace period of the kill that was asked for.
    pub kill_grace_millis: Option<u64>,
    /// How far it is.
    pub stage: Stage,
}

/// How far a task is, as far as it matters after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// To be started; whether that has begun is seen from what the runtime has.
    Accepted,
    /// It was up.
    Started(Timestamp),
    /// It ended, and the leader has not taken note yet.
    Ended(TaskState, String, Timestamp),
}
