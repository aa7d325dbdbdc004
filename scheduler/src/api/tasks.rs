//! Reading tasks.

use axum::response::Response;

use super::answer;
use super::apps::json_object;
use super::call::Call;
use super::context::Api;
use super::failure::Failure;
use super::lookup;
use super::shapes::task::{TaskShape, mesos_state};

/// `GET /v2/tasks`. Unknown values of `status` are dropped, and if none is left nothing is filtered.
pub(super) fn list(api: &Api, call: &Call) -> Result<Response, Failure> {
    let wanted: Vec<&str> = call
        .query
        .all("status")
        .chain(call.query.all("status[]"))
        .filter_map(|status| match status.to_ascii_lowercase().as_str() {
            "running" => Some("TASK_RUNNING"),
            "staging" => Some("TASK_STAGING"),
            _ => None,
        })
        .collect();
    let state = api.cluster.state();
    let tasks = state.tasks.values();
    let tasks = tasks.filter(|task| wanted.is_empty() || wanted.contains(&mesos_state(task.condition)));
    let tasks: Vec<_> = tasks.map(|task| TaskShape::with_service_ports(&state, task)).collect();
    Ok(answer::ok(&json_object("tasks", tasks)))
}

/// `GET /v2/apps/{id}/tasks`.
pub(super) fn of_app(api: &Api, path: &str) -> Result<Response, Failure> {
    let state = api.cluster.state();
    let entry = lookup::app_or_404(&state, path)?;
    let tasks = state.tasks_of(&entry.app.id);
    let tasks: Vec<_> = tasks.map(|task| TaskShape::of(&state, task)).collect();
    Ok(answer::ok(&json_object("tasks", tasks)))
}

/// `GET /v2/apps/{group}/*/tasks`.
pub(super) fn below(api: &Api, group: &str) -> Result<Response, Failure> {
    let state = api.cluster.state();
    let entries = lookup::apps_below(&state, group)
        .ok_or_else(|| Failure::not_found(format!("Group '{group}' does not exist")))?;
    let tasks = entries.iter().flat_map(|entry| state.tasks_of(&entry.app.id));
    let tasks: Vec<_> = tasks.map(|task| TaskShape::of(&state, task)).collect();
    Ok(answer::ok(&json_object("tasks", tasks)))
}
