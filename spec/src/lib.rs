//! What travels between the parts of Gantry: app documents, ids, resources, constraints, ports, and
//! the protocol between masters and agents.
//!
//! Everything here is pure: no I/O, no clock, no randomness, no tasks, no locks. A document enters as
//! JSON through [`app::create`] or [`app::update`], where it is read, brought to its one canonical form
//! and judged, and leaves as Marathon's JSON through `serde`. Where Marathon's published documents and
//! its code disagree, the code wins.

pub mod app;
pub mod features;
pub mod ids;
pub mod protocol;
pub mod resources;
pub mod time;
pub mod violation;

pub use app::App;
pub use ids::{AgentId, AppId, DeploymentId, InstanceId, TaskId};
pub use resources::Resources;
pub use time::Timestamp;
pub use violation::{Violation, Violations};
