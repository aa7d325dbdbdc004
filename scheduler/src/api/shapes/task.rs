//! Marathon's `Task` (reference section 1.2), and the names of conditions and states.

use std::net::IpAddr;

use serde::Serialize;
use spec::ids::{AgentId, AppId, InstanceId, TaskId};
use spec::protocol::{HealthReport, TaskState};
use spec::time::Timestamp;

use crate::state::{Agent, Condition, State, Task};

/// One task. `startedAt`, `stagedAt`, `version` and the ports are only there while it is active.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct TaskShape<'s> {
    app_id: &'s AppId,
    health_check_results: Vec<HealthResult<'s>>,
    host: &'s str,
    id: &'s TaskId,
    ip_addresses: Vec<IpAddress>,
    local_volumes: [(); 0],
    ports: &'s [u16],
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'s str>,
    role: &'s str,
    service_ports: Vec<u16>,
    slave_id: &'s AgentId,
    #[serde(skip_serializing_if = "Option::is_none")]
    staged_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'s str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthResult<'s> {
    alive: bool,
    consecutive_failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_success: Option<Timestamp>,
    instance_id: &'s InstanceId,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure_cause: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success: Option<Timestamp>,
}

/// An address with its family.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct IpAddress {
    ip_address: IpAddr,
    protocol: &'static str,
}

impl<'s> TaskShape<'s> {
    /// Without service ports, as everywhere but in `/v2/tasks`.
    pub fn of(state: &'s State, task: &'s Task) -> Self {
        let agent = state.agents.get(&task.agent).map(AsRef::as_ref);
        let active = task.condition != Condition::UnreachableInactive;
        Self {
            app_id: task.id.app(),
            health_check_results: task.health.iter().map(|report| health(task, report)).collect(),
            host: host(agent, &task.agent),
            id: &task.id,
            ip_addresses: ip_addresses(task, agent),
            local_volumes: [],
            ports: if active { &task.host_ports } else { &[] },
            region: attribute(agent, "region"),
            role: &task.app.role,
            service_ports: Vec::new(),
            slave_id: &task.agent,
            staged_at: active.then_some(task.staged_at),
            started_at: task.started_at.filter(|_| active),
            state: mesos_state(task.condition),
            version: active.then_some(task.app.version),
            zone: attribute(agent, "zone"),
        }
    }

    /// With service ports.
    pub fn with_service_ports(state: &'s State, task: &'s Task) -> Self {
        let service_ports = task.app.ports().iter().map(|port| port.service_port).collect();
        Self { service_ports, ..Self::of(state, task) }
    }
}

fn health<'s>(task: &'s Task, report: &'s HealthReport) -> HealthResult<'s> {
    HealthResult {
        alive: report.alive,
        consecutive_failures: report.consecutive_failures,
        first_success: report.first_success,
        instance_id: &task.id.instance,
        last_failure: report.last_failure,
        last_failure_cause: report.last_failure_cause.as_deref(),
        last_success: report.last_success,
    }
}

/// Host name of an agent; its id when it is not known any more.
pub(in crate::api) fn host<'s>(agent: Option<&'s Agent>, id: &'s AgentId) -> &'s str {
    agent.map_or(id.as_str(), |agent| &agent.info.hostname)
}

/// The fault domain, as far as attributes tell it.
fn attribute<'s>(agent: Option<&'s Agent>, name: &str) -> Option<&'s str> {
    agent?.info.attributes.get(name).map(String::as_str)
}

/// A task's own addresses, or its agent's.
pub(in crate::api) fn ip_addresses(task: &Task, agent: Option<&Agent>) -> Vec<IpAddress> {
    let own = task.addresses.iter().copied();
    let agents = agent.map(|agent| agent.info.ip).filter(|_| task.addresses.is_empty());
    let protocol = |ip: &IpAddr| if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    own.chain(agents).map(|ip| IpAddress { ip_address: ip, protocol: protocol(&ip) }).collect()
}

/// What Mesos would call it. What no agent has confirmed is staging; `TASK_LOST` is never said.
pub(in crate::api) fn mesos_state(condition: Condition) -> &'static str {
    match condition {
        Condition::Provisioned | Condition::Staging => "TASK_STAGING",
        Condition::Starting => "TASK_STARTING",
        Condition::Running => "TASK_RUNNING",
        Condition::Killing => "TASK_KILLING",
        Condition::Unreachable | Condition::UnreachableInactive => "TASK_UNREACHABLE",
    }
}

/// Marathon's name of a condition (reference section 1.9).
pub(in crate::api) fn condition_name(condition: Condition) -> &'static str {
    match condition {
        Condition::Provisioned => "Provisioned",
        Condition::Staging => "Staging",
        Condition::Starting => "Starting",
        Condition::Running => "Running",
        Condition::Killing => "Killing",
        Condition::Unreachable => "Unreachable",
        Condition::UnreachableInactive => "UnreachableInactive",
    }
}

/// Mesos' name and Marathon's condition for what an agent reports.
pub(in crate::api) fn reported_names(state: TaskState) -> (&'static str, &'static str) {
    match state {
        TaskState::Staging => ("TASK_STAGING", "Staging"),
        TaskState::Starting => ("TASK_STARTING", "Starting"),
        TaskState::Running => ("TASK_RUNNING", "Running"),
        TaskState::Killing => ("TASK_KILLING", "Killing"),
        TaskState::Finished => ("TASK_FINISHED", "Finished"),
        TaskState::Failed => ("TASK_FAILED", "Failed"),
        TaskState::Killed => ("TASK_KILLED", "Killed"),
        TaskState::Error => ("TASK_ERROR", "Error"),
        TaskState::Gone => ("TASK_GONE", "Gone"),
        TaskState::Dropped => ("TASK_DROPPED", "Dropped"),
    }
}
