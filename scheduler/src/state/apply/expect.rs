//! What a change presumes, and the rules that need the whole cluster to be judged. The rules that one
//! definition can break by itself were checked before it was proposed.

use std::collections::BTreeSet;

use spec::ids::AppId;
use spec::{Violation, Violations};

use super::graph::Target;
use crate::state::{Deploy, Expect, PutApp, Refusal, State};

/// Is the state still what the change was computed from?
pub(super) fn check_expectations(state: &State, deploy: &Deploy) -> Result<(), Refusal> {
    deploy.put.iter().try_for_each(|put| check_put(state, put))?;
    let mut others = deploy.remove.iter().chain(&deploy.restart);
    others.try_for_each(|id| check_exists(state, id))?;
    check_once(deploy)
}

fn check_put(state: &State, put: &PutApp) -> Result<(), Refusal> {
    let id = &put.app.0.id;
    match (put.expect, state.app(id)) {
        (Expect::Absent, Some(_)) => Err(Refusal::AppExists(id.clone())),
        (Expect::Version(_), None) => Err(Refusal::NoApp(id.clone())),
        (Expect::Version(version), Some(entry)) if entry.app.version != version => {
            Err(Refusal::Changed(id.clone()))
        }
        _ => Ok(()),
    }
}

fn check_exists(state: &State, id: &AppId) -> Result<(), Refusal> {
    state.app(id).map(|_| ()).ok_or_else(|| Refusal::NoApp(id.clone()))
}

/// One change says one thing of an app.
fn check_once(deploy: &Deploy) -> Result<(), Refusal> {
    if deploy.put.len() + deploy.remove.len() + deploy.restart.len() == 1 {
        return Ok(());
    }
    let put = deploy.put.iter().map(|put| &put.app.0.id);
    let mut seen = BTreeSet::new();
    match put.chain(&deploy.remove).chain(&deploy.restart).find(|id| !seen.insert(*id)) {
        Some(id) => Err(invalid(format!("App '{id}' is changed more than once"))),
        None => Ok(()),
    }
}

/// No app may have the id of a group, that is, of the path to another app (reference section 2c).
pub(super) fn check_ids<'a>(
    target: &Target<'_>,
    put: impl Iterator<Item = &'a AppId>,
) -> Result<(), Refusal> {
    for id in put {
        if target.below(id.as_str()).next().is_some() || id.groups().any(|group| target.app(group).is_some())
        {
            return Err(invalid("Groups and Applications may not have the same identifier."));
        }
    }
    Ok(())
}

pub(super) fn cyclic() -> Refusal {
    invalid("Dependency graph has cyclic dependencies.")
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::Invalid(Violations::invalid(vec![Violation::new("/", message)]))
}
