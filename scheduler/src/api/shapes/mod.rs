//! Marathon's JSON objects, one file each: exactly its fields, absent optionals left out, whole numbers
//! as integers (clients.md rules 11 to 13). Pure: made from the state, serialized, forgotten.

pub(super) mod agent;
pub(super) mod app_info;
pub(super) mod deployment;
pub(super) mod group;
pub(super) mod info;
pub(super) mod masters;
pub(super) mod metrics;
pub(super) mod queue;
pub(super) mod task;
pub(super) mod task_stats;
