//! Marathon's `GroupInfo` (reference section 1.4), derived from the ids of apps.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use spec::ids::AppId;
use spec::time::Timestamp;

use super::app_info::AppInfo;
use crate::api::embed::GroupParts;
use crate::state::{AppEntry, State};

/// A group: its apps and sub-groups. The arrays are always there, empty when not asked for.
#[derive(Debug, Serialize)]
pub(in crate::api) struct GroupInfo<'s> {
    id: String,
    apps: Vec<AppInfo<'s>>,
    pods: [(); 0],
    groups: Vec<GroupInfo<'s>>,
    dependencies: [(); 0],
    version: Timestamp,
}

impl<'s> GroupInfo<'s> {
    /// The group `id` (canonical), given every app below it.
    pub fn of(
        state: &'s State,
        id: String,
        below: &[&'s Arc<AppEntry>],
        parts: GroupParts,
        now: Timestamp,
    ) -> Self {
        let mut apps = Vec::new();
        let mut children: BTreeMap<String, Vec<&'s Arc<AppEntry>>> = BTreeMap::new();
        for entry in below {
            match child_group(&id, &entry.app.id) {
                Some(child) => children.entry(child).or_default().push(entry),
                None if parts.apps => apps.push(AppInfo::of(state, entry, parts.app_parts, now)),
                None => {}
            }
        }
        let groups = children.into_iter().filter(|_| parts.groups);
        let groups = groups.map(|(id, below)| Self::of(state, id, &below, parts, now)).collect();
        Self { id, apps, pods: [], groups, dependencies: [], version: state.root_version }
    }
}

/// The sub-group of `group` that holds `app`; `None` when `app` is directly in `group`.
fn child_group(group: &str, app: &AppId) -> Option<String> {
    let prefix = if group == "/" { "/" } else { &format!("{group}/") };
    let (child, _) = app.as_str().strip_prefix(prefix)?.split_once('/')?;
    Some(format!("{prefix}{child}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_group_on_the_way_to_an_app() {
        let child = |group, app| child_group(group, &AppId::parse(app).unwrap());
        assert_eq!(child("/", "/a"), None);
        assert_eq!(child("/", "/a/b/c").as_deref(), Some("/a"));
        assert_eq!(child("/a", "/a/b/c").as_deref(), Some("/a/b"));
        assert_eq!(child("/a/b", "/a/b/c"), None);
    }
}
