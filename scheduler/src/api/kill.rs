//! Ending tasks: plainly (they are replaced), with `wipe` (nothing of them is kept) or with `scale` (a
//! deployment that wants fewer) (reference sections 1.1, 1.3 and 5.3).

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde_json::Value;
use spec::app::{App, StoredApp};
use spec::ids::{AppId, TaskId};

use super::apps::json_object;
use super::call::{Call, Query};
use super::change::{self, Change};
use super::context::Api;
use super::failure::Failure;
use super::shapes::task::{TaskShape, host};
use super::{answer, body, lookup};
use crate::state::{Command, Expect, KillReason, PutApp, State, Task};

/// The three switches.
#[derive(Clone, Copy)]
struct Switches {
    scale: bool,
    wipe: bool,
    force: bool,
}

impl Switches {
    fn of(query: &Query) -> Result<Self, Failure> {
        let flag = |name| query.flag(name, false);
        let switches = Self { scale: flag("scale"), wipe: flag("wipe"), force: flag("force") };
        if switches.scale && switches.wipe {
            return Err(Failure::bad_request("You cannot use scale and wipe at the same time."));
        }
        Ok(switches)
    }
}

/// `DELETE /v2/apps/{id}/tasks`, perhaps only those on one host.
pub(super) async fn of_app(api: &Api, call: &Call, path: &str) -> Result<Response, Failure> {
    let switches = Switches::of(&call.query)?;
    let on_host = call.query.one("host").filter(|host| *host != "*");
    let victims = |state: &State| {
        let entry = lookup::app_or_404(state, path)?;
        let tasks = state.tasks_of(&entry.app.id);
        let chosen = tasks.filter(|task| on_host.is_none_or(|host| host == host_of(state, task)));
        Ok((vec![entry.app.id.clone()], chosen.cloned().collect()))
    };
    if switches.scale {
        return scale(api, switches.force, victims).await;
    }
    let state = api.cluster.state();
    let (_, victims) = victims(&state)?;
    kill(api, &victims, switches.wipe).await?;
    Ok(answer::ok(&json_object("tasks", shapes(&state, &victims))))
}

/// `DELETE /v2/apps/{id}/tasks/{taskId}`.
pub(super) async fn one(api: &Api, call: &Call, path: &str, task: &str) -> Result<Response, Failure> {
    let switches = Switches::of(&call.query)?;
    let victim = |state: &State| {
        let entry = lookup::app_or_404(state, path)?;
        let id: TaskId = task.parse().map_err(|_| Failure::no_task(task))?;
        let found = state.tasks.get(&id).filter(|_| *id.app() == entry.app.id);
        let found = found.cloned().ok_or_else(|| Failure::no_task(task))?;
        Ok((vec![entry.app.id.clone()], vec![found]))
    };
    if switches.scale {
        return scale(api, switches.force, victim).await;
    }
    let state = api.cluster.state();
    let (_, victims) = victim(&state)?;
    kill(api, &victims, switches.wipe).await?;
    let shape = shapes(&state, &victims).into_iter().next();
    Ok(answer::ok(&json_object("task", shape)))
}

/// `POST /v2/tasks/delete`. Ids that are well formed but unknown are skipped.
pub(super) async fn many(api: &Api, call: &Call, body: &Bytes) -> Result<Response, Failure> {
    let switches = Switches::of(&call.query)?;
    let ids = ids(&body::json_of_any_type(body)?)?;
    let victims = |state: &State| {
        let found: Vec<_> = ids.iter().filter_map(|id| state.tasks.get(id)).cloned().collect();
        let mut apps: Vec<AppId> = ids.iter().map(|id| id.app().clone()).collect();
        apps.sort_unstable();
        apps.dedup();
        Ok((apps, found))
    };
    if switches.scale {
        return scale(api, switches.force, victims).await;
    }
    let state = api.cluster.state();
    let (_, victims) = victims(&state)?;
    kill(api, &victims, switches.wipe).await?;
    Ok(answer::ok(&json_object("tasks", shapes(&state, &victims))))
}

fn ids(document: &Value) -> Result<Vec<TaskId>, Failure> {
    let ids = match document.get("ids") {
        Some(Value::Array(ids)) => ids,
        Some(Value::Null) | None => return Err(Failure::malformed("/ids", "error.path.missing")),
        Some(_) => return Err(Failure::malformed("/ids", "error.expected.jsarray")),
    };
    let read = |(index, id): (usize, &Value)| {
        let text = id.as_str();
        let text =
            text.ok_or_else(|| Failure::malformed(&format!("/ids({index})"), "error.expected.jsstring"))?;
        text.parse().map_err(|error: spec::ids::IdError| Failure::bad_request(error.to_string()))
    };
    ids.iter().enumerate().map(read).collect()
}

async fn kill(api: &Api, victims: &[Arc<Task>], wipe: bool) -> Result<(), Failure> {
    if victims.is_empty() {
        return Ok(());
    }
    let tasks = victims.iter().map(|task| task.id.clone()).collect();
    change::ask_done(api, Command::KillTasks { tasks, wipe, reason: KillReason::Asked }).await
}

/// Deploys every app of the victims with fewer instances, the victims named.
async fn scale(
    api: &Api,
    force: bool,
    victims: impl Fn(&State) -> Result<(Vec<AppId>, Vec<Arc<Task>>), Failure>,
) -> Result<Response, Failure> {
    let plan = |state: &State| {
        let (apps, victims) = victims(state)?;
        let put: Result<Vec<_>, _> = apps.iter().map(|app| fewer(state, app, &victims)).collect();
        let kill = victims.iter().map(|task| task.id.clone()).collect();
        Ok((Change { put: put?, kill, ..Change::default() }, ()))
    };
    let (accepted, ()) = change::deploy(api, force, plan).await?;
    Ok(answer::deployment(StatusCode::OK, accepted))
}

/// The app with as many instances less as victims count towards them.
fn fewer(state: &State, id: &AppId, victims: &[Arc<Task>]) -> Result<PutApp, Failure> {
    let entry = lookup::app(state, id.as_str())
        .ok_or_else(|| Failure::missing(format!("Path '{id}' does not exist")))?;
    let counting = victims.iter().filter(|task| task.id.app() == id && task.counts()).count();
    let counting = u32::try_from(counting).unwrap_or(u32::MAX);
    let instances = entry.app.instances.saturating_sub(counting);
    let app = App { instances, ..(*entry.app).clone() };
    Ok(PutApp { app: StoredApp(Arc::new(app)), expect: Expect::Version(entry.app.version) })
}

fn host_of<'s>(state: &'s State, task: &'s Task) -> &'s str {
    host(state.agents.get(&task.agent).map(AsRef::as_ref), &task.agent)
}

fn shapes<'s>(state: &'s State, tasks: &'s [Arc<Task>]) -> Vec<TaskShape<'s>> {
    tasks.iter().map(|task| TaskShape::of(state, task)).collect()
}
