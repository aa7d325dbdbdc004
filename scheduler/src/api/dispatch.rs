//! From a request to its handler: one fallback route, since ids hold slashes.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::Response;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};

use super::call::Call;
use super::context::{Api, now};
use super::failure::Failure;
use super::route::Route;
use super::{
    agents, app_changes, apps, deployments, events, groups, guard, info, kill, logs, metrics, queue, tasks,
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
    let leadership = api.cluster.leadership().borrow().clone();
    let allowed = guard::check_origin(&call.method, &call.headers)
        .and_then(|()| guard::check_ready(&Route::of(&call.path), &leadership));
    let mut response = match allowed {
        Ok(()) => answer(&api, call, body).await.unwrap_or_else(Failure::into_response),
        Err(refused) => refused.into_response(),
    };
    guard::put_headers(&mut response, &leadership, &api.cluster.options.advertised_http);
    measured.end(response.status(), now());
    response
}

/// Whatever went wrong inside stays inside; the log has it.
fn after_panic(reason: Box<dyn Any + Send>) -> Response {
    let reason = reason.downcast_ref::<&str>().copied().map(str::to_owned);
    tracing::error!(reason = reason.as_deref().unwrap_or("unknown"), "a request handler panicked");
    Failure::internal().into_response()
}

async fn answer(api: &Arc<Api>, mut call: Call, body: Body) -> Result<Response, Failure> {
    if call.method == Method::HEAD && Route::of(&call.path) != Route::Pods {
        // hyper sends the headers and drops the body.
        call.method = Method::GET;
    }
    match Route::of(&call.path) {
        Route::Unknown | Route::Root => Err(Failure::no_route()),
        Route::Pods => Err(if call.method == Method::HEAD {
            Failure::not_found("Pods are not supported")
        } else {
            Failure::no_route()
        }),
        route @ (Route::Apps
        | Route::App(_)
        | Route::AppsBelow(_)
        | Route::AppRestart(_)
        | Route::AppVersions(_)
        | Route::AppVersion { .. }) => of_apps(api, route, call, body).await,
        route @ (Route::AppTasks(_)
        | Route::TasksBelow(_)
        | Route::AppTask { .. }
        | Route::Tasks
        | Route::TasksDelete) => of_tasks(api, route, call, body).await,
        route => of_cluster(api, route, call).await,
    }
}

async fn of_apps(api: &Api, route: Route, call: Call, body: Body) -> Result<Response, Failure> {
    match (call.method.as_str(), route) {
        ("GET", Route::Apps) => apps::list(api, &call),
        ("POST", Route::Apps) => app_changes::create(api, call, body).await,
        ("PUT", Route::Apps) => app_changes::put_many(api, call, body).await,
        ("PATCH", Route::Apps) => app_changes::patch_many(api, call, body).await,
        ("GET", Route::App(id)) => apps::one(api, &call, &id),
        ("PUT", Route::App(id)) => app_changes::put(api, call, body, &id).await,
        ("PATCH", Route::App(id)) => app_changes::patch(api, call, body, &id).await,
        ("DELETE", Route::App(id)) => app_changes::remove(api, &call, &id).await,
        ("GET", Route::AppsBelow(group)) => apps::below(api, &call, &group),
        ("POST", Route::AppRestart(id)) => app_changes::restart(api, &call, &id).await,
        // Marathon's way to delete an app whose id ends in `/restart`.
        ("DELETE", Route::AppRestart(id)) => app_changes::remove(api, &call, &format!("{id}/restart")).await,
        ("GET", Route::AppVersions(id)) => apps::versions(api, &id),
        ("GET", Route::AppVersion { app, version }) => apps::version(api, &app, &version),
        _ => Err(Failure::method()),
    }
}

async fn of_tasks(api: &Api, route: Route, call: Call, body: Body) -> Result<Response, Failure> {
    match (call.method.as_str(), route) {
        ("GET", Route::Tasks) => tasks::list(api, &call),
        ("POST", Route::TasksDelete) => kill::many(api, call, body).await,
        ("GET", Route::AppTasks(id)) => tasks::of_app(api, &id),
        ("DELETE", Route::AppTasks(id)) => kill::of_app(api, &call, &id).await,
        ("GET", Route::TasksBelow(group)) => tasks::below(api, &group),
        ("DELETE", Route::AppTask { app, task }) => kill::one(api, &call, &app, &task).await,
        _ => Err(Failure::method()),
    }
}

async fn of_cluster(api: &Arc<Api>, route: Route, call: Call) -> Result<Response, Failure> {
    match (call.method.as_str(), route) {
        ("GET", Route::Ping) => Ok(info::ping(&call)),
        ("GET", Route::Metrics) => Ok(metrics::show(api, &call)),
        ("GET", Route::Info) => Ok(info::info(api)),
        ("GET", Route::Leader) => info::leader(api),
        ("DELETE", Route::Leader) => info::abdicate(api),
        ("GET", Route::Events) => events::stream(api, &call),
        ("GET", Route::Deployments) => Ok(deployments::list(api)),
        ("DELETE", Route::Deployment(id)) => deployments::cancel(api, &call, &id).await,
        ("GET", Route::Queue) => Ok(queue::list(api, &call)),
        ("DELETE", Route::QueueDelay(id)) => queue::reset_delay(api, &id).await,
        ("GET", Route::Group(id)) => groups::one(api, &call, &id),
        ("DELETE", Route::Group(id)) => groups::remove(api, &call, &id).await,
        ("GET", Route::GroupApps(id)) => Ok(groups::apps(api, &call, &id)),
        ("GET", Route::Agents) => Ok(agents::list(api, &call)),
        ("GET", Route::Agent(id)) => agents::one(api, &call, &id),
        ("DELETE", Route::Agent(id)) => agents::forget(api, &id).await,
        ("GET", Route::Logs(task)) => logs::stream(api, &call, &task).await,
        _ => Err(Failure::method()),
    }
}
