//! From what changes to the steps of a deployment (reference section 5.1, "Plan").

use std::collections::BTreeMap;

use spec::ids::AppId;

use super::change::{Changed, Kind};
use crate::state::{Action, ActionKind, Step};

/// Stop what is removed, start what is new, then one step for each height, lowest first. Steps without
/// actions are left out.
pub(super) fn steps(changed: &[Changed], removed: &[AppId], heights: &BTreeMap<AppId, usize>) -> Vec<Step> {
    let action = |kind| move |app: &AppId| Action { kind, app: app.clone() };
    let stop = removed.iter().map(action(ActionKind::StopApplication)).collect();
    let created = changed.iter().filter(|changed| changed.kind == Kind::Created);
    let start = created.map(|changed| &changed.app.id).map(action(ActionKind::StartApplication)).collect();
    let mut levels: BTreeMap<usize, Vec<Action>> = BTreeMap::new();
    for changed in changed {
        let height = heights.get(&changed.app.id).copied().unwrap_or_default();
        let actions = kind_of(changed).map(|kind| action(kind)(&changed.app.id));
        levels.entry(height).or_default().extend(actions);
    }
    let all = [stop, start].into_iter().chain(levels.into_values());
    all.filter(|actions| !actions.is_empty()).map(|actions| Step { actions }).collect()
}

fn kind_of(changed: &Changed) -> Option<ActionKind> {
    match changed.kind {
        Kind::Unchanged => None,
        Kind::Created | Kind::Scaled => Some(ActionKind::ScaleApplication),
        _ if changed.app.instances == 0 => Some(ActionKind::ScaleApplication),
        Kind::Upgraded | Kind::Restarted => Some(ActionKind::RestartApplication),
    }
}
