//! Questions about the state that the resources share, in the API's terms: what a reader may see.

use std::sync::Arc;

use spec::ids::{AppId, InstanceId, TaskId};
use uuid::Uuid;

use super::failure::Failure;
use crate::state::{AppEntry, Condition, State, Task};

/// The app that a path names; retired ones are not seen, and what is no id names nothing.
pub(super) fn app<'s>(state: &'s State, path: &str) -> Option<&'s Arc<AppEntry>> {
    let id = AppId::parse(path).ok()?;
    state.apps.get(&id).filter(|entry| !entry.retired)
}

/// The same, or Marathon's 404.
pub(super) fn app_or_404<'s>(state: &'s State, path: &str) -> Result<&'s Arc<AppEntry>, Failure> {
    app(state, path).ok_or_else(|| Failure::no_app(path))
}

/// Every app that can be seen, in order of id.
pub(super) fn apps(state: &State) -> impl Iterator<Item = &Arc<AppEntry>> {
    state.apps.values().filter(|entry| !entry.retired)
}

/// Every app below a group; `None` when there is none and the group is not the root.
pub(super) fn apps_below<'s>(state: &'s State, group: &str) -> Option<Vec<&'s Arc<AppEntry>>> {
    let group = spec::ids::canonical_path(group).ok()?;
    let below: Vec<_> = apps(state)
        .filter(|entry| entry.app.id.is_below(&group))
        .collect();
    (group == "/" || !below.is_empty()).then_some(below)
}

/// The tasks of an app, those still ending among them.
pub(super) fn tasks_of<'s>(
    state: &'s State,
    app: &AppId,
) -> impl Iterator<Item = &'s Arc<Task>> + use<'s> {
    let end = |uuid, incarnation| TaskId {
        instance: InstanceId {
            app: app.clone(),
            uuid,
        },
        incarnation,
    };
    state
        .tasks
        .range(end(Uuid::nil(), 0)..=end(Uuid::max(), u32::MAX))
        .map(|(_, task)| task)
}

/// Instances that wait for an agent, or whose agent has not confirmed them (Marathon's queue `count`).
pub(super) fn queue_count(state: &State, entry: &AppEntry) -> usize {
    if entry.retired {
        return 0;
    }
    let held = tasks_of(state, &entry.app.id)
        .filter(|task| task.counts() && task.condition != Condition::Provisioned)
        .count();
    (entry.app.instances as usize).saturating_sub(held)
}
