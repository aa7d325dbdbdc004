//! What `apply` says has happened. Events are numbered by log index; they carry what their readers need,
//! so that nobody has to look at a state that has moved on. Shapes for clients are the API's business.

#![allow(missing_docs, reason = "the fields of events say what they are")]

use std::sync::Arc;

use spec::app::App;
use spec::ids::{AgentId, AppId, DeploymentId, TaskId};
use spec::time::Timestamp;

use super::{Agent, Deployment, KillReason, Task};
use spec::protocol::TaskState;

/// Everything one log entry caused, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// Index of the entry.
    pub index: u64,
    /// Index of the entry that was applied before it: readers see when they missed some.
    pub after: u64,
    /// The time it carried.
    pub at: Timestamp,
    /// What happened.
    pub events: Vec<Event>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A definition was stored (new or changed).
    AppPut { app: Arc<App>, created: bool },
    /// An app was removed; its tasks may still be ending.
    AppRemoved { app: Arc<App> },
    /// The last task of a removed app has ended, the entry is gone.
    AppGone { id: AppId },
    /// The root version moved.
    GroupChanged { version: Timestamp },
    /// An app's launch delay began, grew or ended.
    DelayChanged { app: AppId },

    /// A task was placed: the leader tells its agent.
    TaskPlaced { task: Arc<Task> },
    /// A task is to end: the leader tells its agent.
    TaskKill { task: Arc<Task>, reason: KillReason },
    /// Its condition changed.
    TaskChanged { task: Arc<Task>, message: String },
    /// A health or readiness result changed.
    TaskHealth { task: Arc<Task>, before: Arc<Task> },
    /// It has ended and is gone from the state; `task` is its last form.
    TaskEnded { task: Arc<Task>, state: TaskState, message: String, at: Timestamp },
    /// It was unreachable for too long and was forgotten.
    TaskExpunged { task: Arc<Task> },
    /// An agent reports a task that the state does not know: the leader has it killed.
    TaskUnknown { task: TaskId, agent: AgentId },
    /// A task that the state does not know has ended, by its agent's word.
    TaskUnknownEnded { task: TaskId, state: TaskState },

    /// An agent registered.
    AgentJoined { agent: Arc<Agent> },
    /// An agent was given up.
    AgentLost { agent: Arc<Agent> },
    /// An agent was forgotten.
    AgentForgotten { id: AgentId },

    /// A master was added or removed, or is reached elsewhere.
    MastersChanged,

    /// A deployment was accepted.
    DeploymentStarted { deployment: Arc<Deployment> },
    /// Its current step begins.
    StepStarted { deployment: Arc<Deployment> },
    /// Its current step is complete.
    StepDone { deployment: Arc<Deployment> },
    /// All steps are complete; it is gone from the state.
    DeploymentDone { deployment: Arc<Deployment> },
    /// It was cancelled.
    DeploymentCancelled { deployment: Arc<Deployment>, by: Option<DeploymentId> },
}
