//! What the state is asked by the paths of URLs, which may name anything.

use std::sync::Arc;

use spec::ids::AppId;

use super::failure::Failure;
use crate::state::{AppEntry, State};

/// The app that a path names; removed ones are not seen, and what is no id names nothing.
pub(super) fn app<'s>(state: &'s State, path: &str) -> Option<&'s Arc<AppEntry>> {
    state.app(&AppId::parse(path).ok()?)
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
    if group == "/" {
        return Some(apps(state).collect());
    }
    // Collected by key: the iterator borrows the path as long as the state.
    let below: Vec<AppId> = state.apps_below(&group).map(|entry| entry.app.id.clone()).collect();
    let below: Vec<_> = below.iter().filter_map(|id| state.app(id)).collect();
    (!below.is_empty()).then_some(below)
}
