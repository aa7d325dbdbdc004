//! An agent in the replicated state: what it offers and what is reserved on it. Measured use is soft
//! and not here.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};
use spec::ids::{AgentId, TaskId};
use spec::protocol::AgentInfo;
use spec::resources::Resources;
use spec::time::Timestamp;

/// One agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// What it said of itself when it last registered. Shared: it seldom changes, and the agent often does.
    pub info: Arc<AgentInfo>,
    /// Is it there?
    pub presence: Presence,
    /// When `presence` last changed.
    pub since: Timestamp,
    /// Derived: sum of what its tasks reserve.
    pub reserved: Resources,
    /// Derived: ports given to its tasks, and to which.
    pub ports: OrdMap<u16, TaskId>,
    /// Derived: its tasks.
    pub tasks: OrdSet<TaskId>,
}

/// Whether an agent can be told anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Presence {
    /// Has a session.
    Connected,
    /// Away for longer than the leader waits: its tasks are unreachable, nothing is placed on it.
    Lost,
}

impl Agent {
    /// What is left to reserve.
    pub fn free(&self) -> Resources {
        self.info.capacity.minus(&self.reserved)
    }
}
