//! Our own `/v2/agents`: what an agent offers, what is reserved, what is measured.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use spec::ids::{AgentId, AppId, TaskId};
use spec::protocol::{Measured, Runtimes};
use spec::resources::Resources;
use spec::time::Timestamp;

use super::task::mesos_state;
use crate::state::{Agent, Presence, State};
use crate::usage::Told;

/// One agent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct AgentShape<'s> {
    id: &'s AgentId,
    hostname: &'s str,
    ip: IpAddr,
    presence: &'static str,
    since: Timestamp,
    capacity: Amounts,
    reserved: Amounts,
    free: Amounts,
    /// Measured use; absent until the agent has reported it to this leader.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<UsedShape>,
    ports: Vec<PortRange>,
    attributes: &'s BTreeMap<String, String>,
    runtimes: RuntimesShape<'s>,
    task_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<Vec<AgentTask<'s>>>,
    version: &'s str,
}

#[derive(Debug, Serialize)]
struct Amounts {
    cpus: f64,
    mem: u64,
    disk: u64,
    gpus: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UsedShape {
    cpus: f64,
    mem_bytes: u64,
    at: Timestamp,
}

#[derive(Debug, Serialize)]
struct PortRange {
    begin: u16,
    end: u16,
}

/// Whether each kind of task can run; the reason beside what cannot.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RuntimesShape<'s> {
    docker: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    docker_reason: Option<&'s str>,
    process: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    process_reason: Option<&'s str>,
    hollow: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AgentTask<'s> {
    id: &'s TaskId,
    app_id: &'s AppId,
    state: &'static str,
    reserved: Amounts,
    ports: &'s [u16],
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<UsedShape>,
}

impl<'s> AgentShape<'s> {
    /// `usage` is what it measured last; `with_tasks`: list its tasks and their measured use.
    pub fn of(state: &'s State, agent: &'s Agent, usage: Option<&Told>, with_tasks: bool) -> Self {
        Self {
            id: &agent.id,
            hostname: &agent.info.hostname,
            ip: agent.info.ip,
            presence: match agent.presence {
                Presence::Connected => "connected",
                Presence::Lost => "lost",
            },
            since: agent.since,
            capacity: amounts(&agent.info.capacity),
            reserved: amounts(&agent.reserved),
            free: amounts(&agent.free()),
            used: usage.map(|usage| used(usage.machine, usage.at)),
            ports: agent.info.ports.iter().map(|&(begin, end)| PortRange { begin, end }).collect(),
            attributes: &agent.info.attributes,
            runtimes: runtimes(&agent.info.runtimes),
            task_count: agent.tasks.len(),
            tasks: with_tasks.then(|| tasks(state, agent, usage)),
            version: &agent.info.version,
        }
    }
}

fn amounts(resources: &Resources) -> Amounts {
    Amounts {
        cpus: resources.cpus_milli as f64 / 1000.0,
        mem: resources.mem_mib,
        disk: resources.disk_mib,
        gpus: resources.gpus,
    }
}

fn used(measured: Measured, at: Timestamp) -> UsedShape {
    UsedShape { cpus: measured.cpus_milli as f64 / 1000.0, mem_bytes: measured.mem_bytes, at }
}

fn runtimes(runtimes: &Runtimes) -> RuntimesShape<'_> {
    RuntimesShape {
        docker: runtimes.docker.is_none(),
        docker_reason: runtimes.docker.as_deref(),
        process: runtimes.process.is_none(),
        process_reason: runtimes.process.as_deref(),
        hollow: runtimes.hollow,
    }
}

fn tasks<'s>(state: &'s State, agent: &'s Agent, usage: Option<&Told>) -> Vec<AgentTask<'s>> {
    let measured: BTreeMap<TaskId, UsedShape> = usage.map_or_else(BTreeMap::new, |usage| {
        usage.tasks().into_iter().map(|(id, measured)| (id, used(measured, usage.at))).collect()
    });
    let known = agent.tasks.iter().filter_map(|id| state.tasks.get(id));
    known
        .map(|task| AgentTask {
            id: &task.id,
            app_id: task.id.app(),
            state: mesos_state(task.condition),
            reserved: amounts(&task.app.resources()),
            ports: &task.host_ports,
            used: measured.get(&task.id).copied(),
        })
        .collect()
}
