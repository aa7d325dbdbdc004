//! From what `apply` says has happened to Marathon's events (reference section 1.9). Pure.
//!
//! No type that Marathon does not know is made of an entry: its Python client dies on one (clients.md rule 19).
//! What has no counterpart (agents that join, delays, expunged tasks) makes no event.

use serde_json::{Value, json};
use spec::app::App;
use spec::ids::{AgentId, TaskId};
use spec::protocol::{HealthReport, TaskState};
use spec::time::Timestamp;

use super::shapes::deployment::{plan_json, step_json};
use super::shapes::task::{condition_name, host, ip_addresses, mesos_state, reported_names};
use crate::state::{Agent, Applied, Condition, Deployment, Event, KillReason, State, Task};

/// One event, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventShape {
    /// `eventType`.
    pub kind: &'static str,
    /// The object, on one line.
    pub data: String,
}

impl EventShape {
    fn new(kind: &'static str, at: Timestamp, mut fields: Value) -> Self {
        fields["eventType"] = kind.into();
        fields["timestamp"] = at.to_string().into();
        Self { kind, data: fields.to_string() }
    }

    /// Somebody changed a single app over the API.
    pub fn api_post(client_ip: &str, uri: &str, app: &App, at: Timestamp) -> Self {
        let fields = json!({"clientIp": client_ip, "uri": uri, "appDefinition": app});
        Self::new("api_post_event", at, fields)
    }

    /// A stream began or ended.
    pub fn stream(attached: bool, remote_address: &str, at: Timestamp) -> Self {
        let kind = if attached { "event_stream_attached" } else { "event_stream_detached" };
        Self::new(kind, at, json!({"remoteAddress": remote_address}))
    }

    /// Ours, for clients that resume by `Last-Event-ID`: of the entries after `after`, those up to `up_to` are
    /// not remembered any more, or were never in this log.
    pub fn missed(after: u64, up_to: u64, at: Timestamp) -> Self {
        Self::new("gantry_events_missed", at, json!({"after": after, "upTo": up_to}))
    }
}

/// What a stream shows of one applied entry. `state` is that entry's or a later one; `light` leaves the
/// affected apps out of deployment plans.
pub(super) fn shapes(applied: &Applied, state: &State, light: bool) -> Vec<EventShape> {
    let maker = Maker { at: applied.at, state, light };
    applied.events.iter().flat_map(|event| maker.shapes(event)).collect()
}

struct Maker<'a> {
    at: Timestamp,
    state: &'a State,
    light: bool,
}

impl Maker<'_> {
    fn shapes(&self, event: &Event) -> Vec<EventShape> {
        match event {
            Event::AppPut { app, .. } => self.health_checks_added(app),
            Event::AppRemoved { app } => self.health_checks_removed(app),
            Event::AppGone { id } => vec![self.event("app_terminated_event", json!({"appId": id}))],
            Event::GroupChanged { version } => {
                vec![self.event("group_change_success", json!({"groupId": "/", "version": version}))]
            }
            Event::TaskPlaced { task } => {
                vec![self.instance_changed(task, condition_name(task.condition))]
            }
            Event::TaskKill { task, reason: KillReason::Unhealthy } => vec![self.unhealthy_kill(task)],
            Event::TaskChanged { task, message } => self.task_changed(task, message),
            Event::TaskHealth { task, before } => self.health_changed(task, before),
            Event::TaskEnded { task, state, message, .. } => self.task_ended(task, *state, message),
            Event::StepStarted { deployment } => {
                let step = step_json(deployment.current_actions());
                let fields = json!({"plan": self.plan(deployment), "currentStep": step});
                vec![self.event("deployment_info", fields)]
            }
            Event::StepDone { deployment } => {
                let step = step_json(deployment.current_actions());
                let fields = json!({"plan": self.plan(deployment), "currentStep": step});
                vec![self.event("deployment_step_success", fields)]
            }
            Event::DeploymentDone { deployment } => {
                let fields = json!({"id": deployment.id.to_string(), "plan": self.plan(deployment)});
                vec![self.event("deployment_success", fields)]
            }
            Event::DeploymentCancelled { deployment, .. } => {
                vec![self.deployment_failed(deployment)]
            }
            Event::TaskUnknownEnded { task, state } => vec![self.stranger_ended(task, *state)],
            Event::DelayChanged { .. }
            | Event::TaskKill { .. }
            | Event::TaskExpunged { .. }
            | Event::TaskUnknown { .. }
            | Event::AgentJoined { .. }
            | Event::AgentLost { .. }
            | Event::AgentForgotten { .. }
            | Event::MastersChanged
            | Event::DeploymentStarted { .. } => Vec::new(),
        }
    }

    fn event(&self, kind: &'static str, fields: Value) -> EventShape {
        EventShape::new(kind, self.at, fields)
    }

    fn plan(&self, deployment: &Deployment) -> Value {
        plan_json(self.state, deployment, self.light)
    }

    /// Only a change of the definition brings its checks anew; scaling does not.
    fn health_checks_added(&self, app: &App) -> Vec<EventShape> {
        if app.config_version() != app.version {
            return Vec::new();
        }
        let added = |check| {
            let fields = json!({"appId": app.id, "version": app.version, "healthCheck": check});
            self.event("add_health_check_event", fields)
        };
        app.health_checks.iter().map(added).collect()
    }

    /// One for each check, as Marathon does when it stops an app; it says no more than whose it was.
    fn health_checks_removed(&self, app: &App) -> Vec<EventShape> {
        let removed = |_| self.event("remove_health_check_event", json!({"appId": app.id}));
        app.health_checks.iter().map(removed).collect()
    }

    fn instance_changed(&self, task: &Task, condition: &str) -> EventShape {
        let fields = json!({
            "instanceId": task.id.instance,
            "condition": condition,
            "runSpecId": task.id.app(),
            "agentId": task.agent,
            "host": self.host(&task.agent),
            "runSpecVersion": task.app.version,
        });
        self.event("instance_changed_event", fields)
    }

    fn status_update(&self, task: &Task, status: &str, message: &str) -> EventShape {
        let fields = json!({
            "slaveId": task.agent,
            "taskId": task.id,
            "taskStatus": status,
            "message": message,
            "appId": task.id.app(),
            "host": self.host(&task.agent),
            "ipAddresses": ip_addresses(task, self.agent(&task.agent)),
            "ports": task.host_ports,
            "version": task.app.version,
        });
        self.event("status_update_event", fields)
    }

    /// Mesos never said a word about a task that no agent has confirmed, nor about one that we merely
    /// gave up; and it says `TASK_KILLING` only where that was switched on.
    fn task_changed(&self, task: &Task, message: &str) -> Vec<EventShape> {
        let changed = self.instance_changed(task, condition_name(task.condition));
        let silent = matches!(
            task.condition,
            Condition::Provisioned | Condition::UnreachableInactive | Condition::Killing
        );
        if silent {
            return vec![changed];
        }
        vec![self.status_update(task, mesos_state(task.condition), message), changed]
    }

    fn task_ended(&self, task: &Task, ended: TaskState, message: &str) -> Vec<EventShape> {
        let (status, condition) = reported_names(ended);
        vec![self.status_update(task, status, message), self.instance_changed(task, condition)]
    }

    fn stranger_ended(&self, task: &TaskId, ended: TaskState) -> EventShape {
        let fields = json!({
            "instanceId": task.instance, "runSpecId": task.app(), "condition": reported_names(ended).1,
        });
        self.event("unknown_instance_terminated_event", fields)
    }

    /// Each check that has failed since, and the verdict if it turned. Marathon takes a task without
    /// results for one that is not alive: its first failure turns nothing.
    fn health_changed(&self, task: &Task, before: &Task) -> Vec<EventShape> {
        let is_new = |result: &&HealthReport| !before.health.contains(result);
        let mut events: Vec<EventShape> = task
            .health
            .iter()
            .filter(|result| !result.alive && result.consecutive_failures > 0)
            .filter(is_new)
            .filter_map(|result| task.app.health_checks.get(result.check as usize))
            .map(|check| self.health_check_failed(task, check))
            .collect();
        let (verdict, was) = (task.health_verdict(), before.health_verdict());
        if verdict == was {
            return events;
        }
        if let Some(alive) = verdict.filter(|alive| *alive != was.unwrap_or(false)) {
            let fields = json!({
                "appId": task.id.app(), "instanceId": task.id.instance,
                "version": task.app.version, "alive": alive,
            });
            events.push(self.event("health_status_changed_event", fields));
        }
        let fields = json!({
            "instanceId": task.id.instance, "runSpecId": task.id.app(),
            "healthy": verdict, "runSpecVersion": task.app.version,
        });
        events.push(self.event("instance_health_changed_event", fields));
        events
    }

    /// `taskId` holds an instance id, as Marathon has it.
    fn health_check_failed(&self, task: &Task, check: &spec::app::HealthCheck) -> EventShape {
        let fields = json!({"appId": task.id.app(), "taskId": task.id.instance, "healthCheck": check});
        self.event("failed_health_check_event", fields)
    }

    fn unhealthy_kill(&self, task: &Task) -> EventShape {
        let cause = task.health.iter().find(|result| !result.alive);
        let cause = cause.and_then(|result| result.last_failure_cause.as_deref()).unwrap_or("unknown");
        let fields = json!({
            "appId": task.id.app(),
            "taskId": task.id,
            "instanceId": task.id.instance,
            "version": task.app.version,
            "reason": cause,
            "host": self.host(&task.agent),
            "slaveId": task.agent,
        });
        self.event("unhealthy_instance_kill_event", fields)
    }

    fn deployment_failed(&self, deployment: &Deployment) -> EventShape {
        let fields = json!({
            "id": deployment.id.to_string(),
            "plan": self.plan(deployment),
            "reason": "The upgrade has been cancelled",
        });
        self.event("deployment_failed", fields)
    }

    fn agent(&self, id: &AgentId) -> Option<&Agent> {
        self.state.agents.get(id).map(AsRef::as_ref)
    }

    fn host(&self, id: &AgentId) -> String {
        host(self.agent(id), id).to_owned()
    }
}
