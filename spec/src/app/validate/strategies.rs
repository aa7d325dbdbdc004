//! Rules about upgrades, unreachable agents, apps with their own volumes, and labels that mean something
//! (reference sections 2.1, 2.11 and 2.12).

use super::{Findings, Subject, double};
use crate::app::model::*;

pub(super) fn strategies(subject: Subject<'_>, found: &mut Findings) {
    residency(subject, found);
    single_instance(subject, found);
    migration(subject, found);
    if let Some(UnreachableStrategy::Enabled {
        inactive_after_seconds: inactive,
        expunge_after_seconds: expunge,
    }) = subject.app.unreachable_strategy
    {
        let message = format!(
            "inactiveAfterSeconds ({inactive}) must be less or equal to expungeAfterSeconds, \
             which is {expunge}"
        );
        found.need(inactive <= expunge, "/unreachableStrategy/inactiveAfterSeconds", message);
    }
}

fn residency(subject: Subject<'_>, found: &mut Findings) {
    let app = subject.app;
    let declared = app.residency.is_some();
    let message = "App must contain persistent volumes and define residency";
    found.need(declared == app.has_persistent_volumes(), "/", message);
    if declared {
        let disabled = app.unreachable_strategy == Some(UnreachableStrategy::Disabled);
        found.need(disabled, "/", "unreachableStrategy must be disabled for resident tasks");
        resident_upgrade(subject, found);
    }
}

/// Two tasks cannot share one volume, not even during an upgrade.
pub(super) fn resident_upgrade(subject: Subject<'_>, found: &mut Findings) {
    let over = subject.app.upgrade_strategy.map_or(0.0, |strategy| strategy.maximum_over_capacity);
    let message = format!("got {}, expected 0.0", double(over));
    found.need(over == 0.0, "/upgradeStrategy/maximumOverCapacity", message);
}

fn label<'a>(subject: Subject<'a>, name: &str) -> Option<&'a str> {
    let value = subject.app.labels.as_ref()?.get(name)?;
    Some(value.as_str()).filter(|value| !value.is_empty())
}

fn single_instance(subject: Subject<'_>, found: &mut Findings) {
    if label(subject, "MARATHON_SINGLE_INSTANCE_APP") != Some("true") {
        return;
    }
    let one = subject.app.instances.unwrap_or(1) <= 1;
    found.need(one, "/", "Single instance app may only have one instance");
    let Some(strategy) = subject.app.upgrade_strategy else {
        return;
    };
    let capacities = [
        ("minimumHealthCapacity", strategy.minimum_health_capacity),
        ("maximumOverCapacity", strategy.maximum_over_capacity),
    ];
    for (name, capacity) in capacities {
        let message = format!("got {}, expected 0.0", double(capacity));
        found.need(capacity == 0.0, format!("/upgradeStrategy/{name}"), message);
    }
}

fn migration(subject: Subject<'_>, found: &mut Findings) {
    let Some(version) = label(subject, "DCOS_MIGRATION_API_VERSION") else {
        return;
    };
    let named = label(subject, "DCOS_PACKAGE_FRAMEWORK_NAME").is_some();
    let path = label(subject, "DCOS_MIGRATION_API_PATH").is_some();
    let message = "DCOS_PACKAGE_FRAMEWORK_NAME and DCOS_MIGRATION_API_PATH must be defined when using \
                   DCOS_MIGRATION_API_VERSION";
    found.need(version == "v1" && named && path, "/", message);
}
