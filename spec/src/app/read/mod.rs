//! JSON to [`RawApp`]: the shape of every field, and nothing but the shape. All faults are reported
//! together ("Invalid JSON", reference sections 2.1 and 3). Unknown fields are ignored, null is absent.

mod checks;
mod container;
pub(super) mod grammar;
mod network;
pub(super) mod node;
mod volume;

use serde_json::Value;

use super::model::*;
use super::raw::{RawApp, RawLimit, RawLimits};
use crate::time::Timestamp;
use crate::violation::Violations;
use grammar::*;
use node::{Faults, Node, Object};

/// Reads a complete definition: only `id` must be there.
pub(super) fn app(document: &Value) -> Result<RawApp, Violations> {
    read(document, |object| object.required("id", path_id))
}

/// Reads an update: nothing must be there.
pub(super) fn update(document: &Value) -> Result<RawApp, Violations> {
    read(document, |object| object.optional("id", path_id))
}

fn read(document: &Value, id: impl Fn(&Object<'_>) -> Option<String>) -> Result<RawApp, Violations> {
    let faults = Faults::default();
    let raw = Node::root(document, &faults).object().map(|object| {
        let id = id(&object);
        RawApp { id, ..fields(&object) }
    });
    match (raw, faults.into_list()) {
        (Some(raw), faults) if faults.is_empty() => Ok(raw),
        (_, faults) => Err(Violations::malformed(faults)),
    }
}

fn fields(app: &Object<'_>) -> RawApp {
    RawApp {
        id: None,
        accepted_resource_roles: app.optional("acceptedResourceRoles", |node| node.set(Node::text)),
        args: app.optional("args", texts),
        backoff_factor: app.optional("backoffFactor", |node| node.number(1.0, f64::MAX)),
        backoff_seconds: app.optional("backoffSeconds", count),
        check: app.optional("check", checks::check),
        cmd: app.optional("cmd", non_empty),
        constraints: app.optional("constraints", |node| node.set(texts)),
        container: app.optional("container", container::container),
        cpus: app.optional("cpus", amount),
        dependencies: app.optional("dependencies", |node| node.set(path_id)),
        disk: app.optional("disk", amount),
        env: app.optional("env", |node| node.map(env_value)),
        executor: app.optional("executor", executor),
        executor_resources: app.optional("executorResources", executor_resources),
        fetch: app.optional("fetch", |node| node.list(artifact)),
        gpus: app.optional("gpus", count),
        health_checks: app.optional("healthChecks", |node| node.set(checks::health_check)),
        instances: app.optional("instances", count),
        ip_address: app.optional("ipAddress", network::ip_address),
        kill_selection: app.optional("killSelection", |node| node.choice(KILL_SELECTIONS)),
        labels: app.optional("labels", labels),
        max_launch_delay_seconds: app.optional("maxLaunchDelaySeconds", count),
        mem: app.optional("mem", amount),
        networks: app.optional("networks", |node| node.list(network::network)),
        port_definitions: app.optional("portDefinitions", |node| node.list(network::port_definition)),
        ports: app.optional("ports", |node| node.list(port)),
        readiness_checks: app.optional("readinessChecks", |node| node.list(checks::readiness_check)),
        require_ports: app.optional("requirePorts", Node::flag),
        residency: app.optional("residency", residency),
        resource_limits: app.optional("resourceLimits", limits),
        role: app.optional("role", non_empty),
        secrets: app.optional("secrets", |node| node.map(secret)),
        task_kill_grace_period_seconds: app.optional("taskKillGracePeriodSeconds", count),
        tty: app.optional("tty", Node::flag),
        unreachable_strategy: app.optional("unreachableStrategy", unreachable),
        upgrade_strategy: app.optional("upgradeStrategy", upgrade),
        uris: app.optional("uris", |node| node.list(short)),
        user: app.optional("user", Node::text),
        version: app.optional("version", timestamp),
    }
}

const KILL_SELECTIONS: &[(&str, KillSelection)] =
    &[("YOUNGEST_FIRST", KillSelection::YoungestFirst), ("OLDEST_FIRST", KillSelection::OldestFirst)];
const LOST_BEHAVIORS: &[(&str, TaskLostBehavior)] = &[
    ("WAIT_FOREVER", TaskLostBehavior::WaitForever),
    ("RELAUNCH_AFTER_TIMEOUT", TaskLostBehavior::RelaunchAfterTimeout),
];

fn env_value(node: Node<'_>) -> Option<EnvValue> {
    if let Value::String(text) = node.value() {
        return Some(EnvValue::Plain(text.clone()));
    }
    let secret = node.object()?.required("secret", non_empty)?;
    Some(EnvValue::Secret { secret })
}

fn secret(node: Node<'_>) -> Option<Secret> {
    Some(Secret { source: node.object()?.required("source", non_empty)? })
}

fn executor_resources(node: Node<'_>) -> Option<ExecutorResources> {
    let object = node.object()?;
    Some(ExecutorResources {
        cpus: object.optional("cpus", amount).unwrap_or(0.1),
        mem: object.optional("mem", |node| node.number(32.0, f64::MAX)).unwrap_or(32.0),
        disk: object.optional("disk", |node| node.number(10.0, f64::MAX)).unwrap_or(10.0),
    })
}

fn limits(node: Node<'_>) -> Option<RawLimits> {
    let object = node.object()?;
    Some(RawLimits { cpus: object.optional("cpus", limit), mem: object.optional("mem", limit) })
}

fn limit(node: Node<'_>) -> Option<RawLimit> {
    match node.value().as_f64() {
        Some(amount) => Some(RawLimit::Amount(amount)),
        None => node.text().map(RawLimit::Text),
    }
}

fn artifact(node: Node<'_>) -> Option<Artifact> {
    let object = node.object()?;
    let uri = object.required("uri", short);
    let extract = object.optional("extract", Node::flag).unwrap_or(true);
    let executable = object.optional("executable", Node::flag).unwrap_or(false);
    let cache = object.optional("cache", Node::flag).unwrap_or(false);
    let dest_path = object.optional("destPath", short);
    Some(Artifact { uri: uri?, extract, executable, cache, dest_path })
}

fn residency(node: Node<'_>) -> Option<Residency> {
    let object = node.object()?;
    let timeout = object.optional("relaunchEscalationTimeoutSeconds", Node::long);
    let lost = object.optional("taskLostBehavior", |node| node.choice(LOST_BEHAVIORS));
    Some(Residency {
        relaunch_escalation_timeout_seconds: timeout.unwrap_or(3600),
        task_lost_behavior: lost.unwrap_or(TaskLostBehavior::WaitForever),
    })
}

/// Any text means disabled (reference section 2.1).
fn unreachable(node: Node<'_>) -> Option<UnreachableStrategy> {
    if node.value().is_string() {
        return Some(UnreachableStrategy::Disabled);
    }
    let object = node.object()?;
    Some(UnreachableStrategy::Enabled {
        inactive_after_seconds: object.optional("inactiveAfterSeconds", Node::long).unwrap_or(0),
        expunge_after_seconds: object.optional("expungeAfterSeconds", Node::long).unwrap_or(0),
    })
}

/// Both numbers are required once the object is there (reference section 2.1).
fn upgrade(node: Node<'_>) -> Option<UpgradeStrategy> {
    let object = node.object()?;
    let over = object.required("maximumOverCapacity", fraction);
    let healthy = object.required("minimumHealthCapacity", fraction);
    Some(UpgradeStrategy { maximum_over_capacity: over?, minimum_health_capacity: healthy? })
}

fn timestamp(node: Node<'_>) -> Option<Timestamp> {
    let time = node.value().as_str().and_then(|text| text.parse().ok());
    time.or_else(|| node.fault("error.expected.date.isoformat"))
}
