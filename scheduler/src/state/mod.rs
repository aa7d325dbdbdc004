//! The replicated state: the one truth of the cluster, equal on every master at equal log index.
//!
//! [`State`] is a value: cloning it is O(1) (persistent maps), so readers, snapshots, placement and the
//! simulator take one and never block `apply`. It changes only through `apply` (see `apply.rs`),
//! which is total and deterministic: time and seeds come with the command. Indexes beside the primary
//! tables are derived and rebuilt on load.

mod agent;
mod app;
mod apply;
mod batch;
mod census;
mod command;
mod deployment;
mod event;
mod form;
mod invariants;
mod master;
mod queries;
mod restless;
mod snapshot;
mod task;
#[cfg(test)]
pub(crate) mod tests;
mod versions;

use std::sync::Arc;

use imbl::OrdMap;
use spec::ids::{AgentId, AppId, DeploymentId, MasterId, TaskId};
use spec::time::Timestamp;
use uuid::Uuid;

pub use agent::*;
pub use app::*;
pub use batch::{BatchError, Encoded, FRAME_BYTES, Mark};
pub use census::Conditions;
pub use command::*;
pub use deployment::*;
pub use event::*;
pub use form::Form;
pub use invariants::{violations, violations_after};
pub use master::*;
pub(crate) use queries::tasks_range;
pub use queries::{Tally, max_capacity, min_healthy};
pub use restless::Restless;
pub use snapshot::{CHUNK_BYTES_MAX, Chunks, SnapshotError};
pub use task::*;
pub use versions::Versions;

/// Everything the masters agree on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Index of the last log entry applied.
    pub index: u64,
    /// The time that the last command carried; never goes back.
    pub now: Timestamp,
    /// Who this cluster is; nil until its first command.
    pub cluster_id: Uuid,
    /// Version of the last accepted change of any app (Marathon's root group version).
    pub root_version: Timestamp,
    /// Number of the next agent to register.
    pub next_agent: u64,
    /// Number of the last master that was added; numbers are never used again.
    pub last_master: u64,
    /// Every master that was added and not removed.
    pub masters: OrdMap<MasterId, Arc<MasterEntry>>,
    /// Every app with a definition or with tasks still ending.
    pub apps: OrdMap<AppId, Arc<AppEntry>>,
    /// Every task that may exist on an agent. A terminal task is removed in the step that learns of it.
    pub tasks: OrdMap<TaskId, Arc<Task>>,
    /// Every agent that ever registered and was not forgotten.
    pub agents: OrdMap<AgentId, Arc<Agent>>,
    /// Running deployments. Locks are derived from them.
    pub deployments: OrdMap<DeploymentId, Arc<Deployment>>,
    /// Derived: service ports of the apps that exist, and how many apps have each.
    pub service_ports: OrdMap<u16, u32>,
    /// Derived: how many tasks there are in each condition.
    pub conditions: Conditions,
}
