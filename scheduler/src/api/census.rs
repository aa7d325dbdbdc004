//! What `/metrics` counts in the state when it is asked: apps, their groups, and instances that wait. Pure. Goes
//! through the apps and never through their tasks, which the state counts as they come and go.

use std::collections::BTreeSet;

use super::lookup;
use crate::state::State;

/// The counts of one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub apps: u32,
    pub groups: usize,
    /// Apps with instances that wait, and those instances.
    pub queued_apps: u32,
    pub queued: usize,
}

impl Counts {
    /// Of a state.
    pub fn of(state: &State) -> Self {
        let mut groups = BTreeSet::from(["/"]);
        let mut counts = Self::default();
        for entry in lookup::apps(state) {
            let id = entry.app.id.as_str();
            groups.extend(id.match_indices('/').skip(1).map(|(end, _)| &id[..end]));
            let queued = state.queue_count(&entry.app.id);
            counts.apps += 1;
            counts.queued_apps += u32::from(queued > 0);
            counts.queued += queued;
        }
        counts.groups = groups.len();
        counts
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use spec::ids::AgentId;

    use super::*;
    use crate::placement::fixture;

    #[test]
    fn apps_groups_and_who_waits() {
        let mut state = fixture::cluster(&[("a", "")]);
        assert_eq!(Counts::of(&state), Counts { groups: 1, ..Counts::default() });
        let web = fixture::put(&mut state, fixture::app("/shop/web", json!({"instances": 3})));
        fixture::put(&mut state, fixture::app("/shop/db/main", json!({"instances": 0})));
        fixture::run(&mut state, &web, &AgentId::new("a"), &[]);
        // The root, /shop and /shop/db.
        assert_eq!(Counts::of(&state), Counts { apps: 2, groups: 3, queued_apps: 1, queued: 2 });
    }
}
