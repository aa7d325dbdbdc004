//! Marathon's `AppInfo`: a definition and what is known of its tasks (reference section 1.1), and what
//! a `POST` answers.

use serde::Serialize;
use spec::app::App;
use spec::ids::{AgentId, AppId, DeploymentId, TaskId};
use spec::protocol::ReadinessReport;
use spec::time::Timestamp;

use super::task::{TaskShape, reported_names};
use super::task_stats::{Counts, StatsByVersion};
use crate::api::embed::AppParts;
use crate::state::{AppEntry, State, TaskFailure};

/// A definition and the parts asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct AppInfo<'s> {
    #[serde(flatten)]
    app: &'s App,
    #[serde(flatten)]
    counts: Option<TaskCounts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployments: Option<Vec<DeploymentRef>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_task_failure: Option<TaskFailureShape<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    readiness_check_results: Option<Vec<ReadinessResult<'s>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<Vec<TaskShape<'s>>>,
    /// The key that the documents and older releases use ...
    #[serde(skip_serializing_if = "Option::is_none")]
    task_stats: Option<StatsByVersion>,
    /// ... and the one that Marathon's code writes since 1.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks_stats: Option<StatsByVersion>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TaskCounts {
    tasks_staged: u64,
    tasks_running: u64,
    tasks_healthy: u64,
    tasks_unhealthy: u64,
}

impl From<Counts> for TaskCounts {
    fn from(counts: Counts) -> Self {
        Self {
            tasks_staged: counts.staged,
            tasks_running: counts.running,
            tasks_healthy: counts.healthy,
            tasks_unhealthy: counts.unhealthy,
        }
    }
}

/// `{"id": uuid}`.
#[derive(Debug, Serialize)]
struct DeploymentRef {
    id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TaskFailureShape<'s> {
    app_id: &'s AppId,
    host: &'s str,
    message: &'s str,
    state: &'static str,
    task_id: &'s TaskId,
    timestamp: Timestamp,
    version: Timestamp,
    slave_id: &'s AgentId,
}

/// Standing of one readiness check of one task.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ReadinessResult<'s> {
    name: &'s str,
    task_id: &'s TaskId,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_response: Option<ReadinessResponse<'s>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReadinessResponse<'s> {
    status: u16,
    content_type: &'s str,
    body: &'s str,
}

impl<'s> AppInfo<'s> {
    /// The app of `entry` with `parts`, as of `now`.
    pub fn of(state: &'s State, entry: &'s AppEntry, parts: AppParts, now: Timestamp) -> Self {
        let id = &entry.app.id;
        let tasks = || state.tasks_of(id);
        let stats = |asked: bool| asked.then(|| StatsByVersion::of(&entry.app, tasks(), now));
        Self {
            app: &entry.app,
            counts: parts.counts.then(|| Counts::of(tasks()).into()),
            deployments: parts.deployments.then(|| deployments_of(state, id)),
            last_task_failure: parts
                .last_task_failure
                .then(|| entry.last_failure.as_deref().map(|failure| failure_shape(id, failure)))
                .flatten(),
            readiness_check_results: parts.readiness.then(|| readiness_of(state, id)),
            tasks: parts.tasks.then(|| tasks().map(|task| TaskShape::of(state, task)).collect()),
            task_stats: stats(parts.task_stats),
            tasks_stats: stats(parts.task_stats),
        }
    }
}

fn deployments_of(state: &State, app: &AppId) -> Vec<DeploymentRef> {
    let locking = state.deployments.values().filter(|deployment| deployment.locks(app));
    locking.map(|deployment| DeploymentRef { id: deployment.id.to_string() }).collect()
}

fn failure_shape<'s>(app: &'s AppId, failure: &'s TaskFailure) -> TaskFailureShape<'s> {
    TaskFailureShape {
        app_id: app,
        host: &failure.host,
        message: &failure.message,
        state: reported_names(failure.state).0,
        task_id: &failure.task,
        timestamp: failure.at,
        version: failure.version,
        slave_id: &failure.agent,
    }
}

/// Results are only shown while a deployment waits for them (reference section 5.6).
pub(in crate::api) fn readiness_of<'s>(state: &'s State, app: &AppId) -> Vec<ReadinessResult<'s>> {
    if !state.deployments.values().any(|deployment| deployment.locks(app)) {
        return Vec::new();
    }
    let of_task = |task: &'s std::sync::Arc<crate::state::Task>| {
        task.readiness.iter().map(move |report| readiness(&task.id, report))
    };
    state.tasks_of(app).flat_map(of_task).collect()
}

fn readiness<'s>(task: &'s TaskId, report: &'s ReadinessReport) -> ReadinessResult<'s> {
    let last_response = report.last_response.as_ref().map(|(status, content_type, body)| ReadinessResponse {
        status: *status,
        content_type,
        body,
    });
    ReadinessResult { name: &report.name, task_id: task, ready: report.ready, last_response }
}

/// What `POST /v2/apps` answers: the definition as it was taken in (service ports not yet assigned),
/// all counts zero, and its deployment.
#[derive(Debug, Serialize)]
pub(in crate::api) struct CreatedApp<'s> {
    #[serde(flatten)]
    app: &'s App,
    #[serde(flatten)]
    counts: TaskCounts,
    deployments: [DeploymentRef; 1],
}

impl<'s> CreatedApp<'s> {
    /// A new app and the deployment that starts it.
    pub fn of(app: &'s App, deployment: DeploymentId) -> Self {
        let deployments = [DeploymentRef { id: deployment.to_string() }];
        Self { app, counts: Counts::default().into(), deployments }
    }
}
