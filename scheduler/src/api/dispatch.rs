//! From a request to its handler: one fallback route, since ids hold slashes.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::Response;
use bytes::Bytes;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};

use super::call::Call;
use super::context::{Api, now};
use super::failure::Failure;
use super::route::Route;
use super::{
    agents, app_changes, apps, backup, deployments, events, groups, info, kill, logs, masters, metrics,
    queue, steer, tasks,
};

/// The API as one service.
pub(super) fn routes(api: Arc<Api>) -> Router {
    // Streams of text must not wait in a compressor; event streams never do.
    let compressed = DefaultPredicate::new().and(NotForContentType::const_new("text/plain"));
    Router::new()
        .fallback(handle)
        .with_state(api)
        .layer(panic_layer())
        .layer(CompressionLayer::new().compress_when(compressed))
}

type AfterPanic = fn(Box<dyn Any + Send>) -> Response;

/// A handler that panics answers 500 and takes nothing down with it.
pub(super) fn panic_layer() -> CatchPanicLayer<AfterPanic> {
    CatchPanicLayer::custom(after_panic as AfterPanic)
}

async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (call, body) = Call::new(request);
    let measured = api.tally.begin(&call.method, now());
    let response = steer::answer(&api, &call, body).await;
    measured.end(response.status(), now());
    response
}

/// Whatever went wrong inside stays inside; the log has it.
fn after_panic(reason: Box<dyn Any + Send>) -> Response {
    let reason = reason.downcast_ref::<&str>().copied().map(str::to_owned);
    tracing::error!(reason = reason.as_deref().unwrap_or("unknown"), "a request handler panicked");
    Failure::internal().into_response()
}

/// Answers a request that this master is to answer.
pub(super) async fn answer(api: &Arc<Api>, call: &Call, body: &Bytes) -> Result<Response, Failure> {
    let route = Route::of(&call.path);
    // hyper sends the headers and drops the body.
    let method = if call.method == Method::HEAD { "GET" } else { call.method.as_str() };
    match route {
        Route::Unknown | Route::Root => Err(Failure::no_route()),
        Route::Pods => Err(if call.method == Method::HEAD {
            Failure::not_found("Pods are not supported")
        } else {
            Failure::no_route()
        }),
        Route::Apps
        | Route::App(_)
        | Route::AppsBelow(_)
        | Route::AppRestart(_)
        | Route::AppVersions(_)
        | Route::AppVersion { .. } => of_apps(api, (method, route), call, body).await,
        Route::AppTasks(_)
        | Route::TasksBelow(_)
        | Route::AppTask { .. }
        | Route::Tasks
        | Route::TasksDelete => of_tasks(api, (method, route), call, body).await,
        Route::Masters | Route::Master(_) | Route::Leader | Route::Backup => {
            of_masters(api, (method, route), call).await
        }
        route => of_cluster(api, (method, route), call).await,
    }
}

async fn of_apps(api: &Api, resource: (&str, Route), call: &Call, body: &Bytes) -> Result<Response, Failure> {
    match resource {
        ("GET", Route::Apps) => apps::list(api, call),
        ("POST", Route::Apps) => app_changes::create(api, call, body).await,
        ("PUT", Route::Apps) => app_changes::put_many(api, call, body).await,
        ("PATCH", Route::Apps) => app_changes::patch_many(api, call, body).await,
        ("GET", Route::App(id)) => apps::one(api, call, &id),
        ("PUT", Route::App(id)) => app_changes::put(api, call, body, &id).await,
        ("PATCH", Route::App(id)) => app_changes::patch(api, call, body, &id).await,
        ("DELETE", Route::App(id)) => app_changes::remove(api, call, &id).await,
        ("GET", Route::AppsBelow(group)) => apps::below(api, call, &group),
        ("POST", Route::AppRestart(id)) => app_changes::restart(api, call, &id).await,
        // Marathon's way to delete an app whose id ends in `/restart`.
        ("DELETE", Route::AppRestart(id)) => app_changes::remove(api, call, &format!("{id}/restart")).await,
        ("GET", Route::AppVersions(id)) => apps::versions(api, &id),
        ("GET", Route::AppVersion { app, version }) => apps::version(api, &app, &version),
        _ => Err(Failure::method()),
    }
}

async fn of_tasks(
    api: &Api,
    resource: (&str, Route),
    call: &Call,
    body: &Bytes,
) -> Result<Response, Failure> {
    match resource {
        ("GET", Route::Tasks) => tasks::list(api, call),
        ("POST", Route::TasksDelete) => kill::many(api, call, body).await,
        ("GET", Route::AppTasks(id)) => tasks::of_app(api, &id),
        ("DELETE", Route::AppTasks(id)) => kill::of_app(api, call, &id).await,
        ("GET", Route::TasksBelow(group)) => tasks::below(api, &group),
        ("DELETE", Route::AppTask { app, task }) => kill::one(api, call, &app, &task).await,
        _ => Err(Failure::method()),
    }
}

async fn of_masters(api: &Api, resource: (&str, Route), call: &Call) -> Result<Response, Failure> {
    match resource {
        ("GET", Route::Leader) => info::leader(api),
        ("DELETE", Route::Leader) => masters::abdicate(api, call).await,
        ("GET", Route::Masters) => masters::list(api).await,
        ("DELETE", Route::Master(named)) => masters::remove(api, &named).await,
        ("GET", Route::Backup) => Ok(backup::stream(api)),
        _ => Err(Failure::method()),
    }
}

async fn of_cluster(api: &Arc<Api>, resource: (&str, Route), call: &Call) -> Result<Response, Failure> {
    match resource {
        ("GET", Route::Ping) => Ok(info::ping(call)),
        ("GET", Route::Metrics) => Ok(metrics::show(api, call).await),
        ("GET", Route::Info) => Ok(info::info(api)),
        ("GET", Route::Events) => events::stream(api, call),
        ("GET", Route::Deployments) => Ok(deployments::list(api)),
        ("DELETE", Route::Deployment(id)) => deployments::cancel(api, call, &id).await,
        ("GET", Route::Queue) => Ok(queue::list(api, call)),
        ("DELETE", Route::QueueDelay(id)) => queue::reset_delay(api, &id).await,
        ("GET", Route::Group(id)) => groups::one(api, call, &id),
        ("DELETE", Route::Group(id)) => groups::remove(api, call, &id).await,
        ("GET", Route::GroupApps(id)) => Ok(groups::apps(api, call, &id)),
        ("GET", Route::Agents) => Ok(agents::list(api, call)),
        ("GET", Route::Agent(id)) => agents::one(api, call, &id),
        ("DELETE", Route::Agent(id)) => agents::forget(api, &id).await,
        ("GET", Route::Logs(task)) => logs::stream(api, call, &task).await,
        _ => Err(Failure::method()),
    }
}
