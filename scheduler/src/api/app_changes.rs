//! Changing apps: create, update, remove, restart.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde_json::Value;
use spec::app::{self, App, StoredApp, Update};
use spec::features::Features;
use spec::ids::AppId;

use super::answer;
use super::body;
use super::call::Call;
use super::change::{self, Change};
use super::context::{Api, now};
use super::event_shapes::EventShape;
use super::failure::Failure;
use super::lookup;
use super::shapes::app_info::CreatedApp;
use crate::state::{Expect, PutApp, State};

/// `POST /v2/apps`.
pub(super) async fn create(api: &Api, call: &Call, body: &Bytes) -> Result<Response, Failure> {
    let document = body::json(&call.headers, body)?;
    let app = Arc::new(app::create(&document, &api.cluster.options.features)?);
    let (accepted, ()) = change::deploy(api, call.query.flag("force", false), |state| {
        if lookup::app(state, app.id.as_str()).is_some() {
            return Err(crate::state::Refusal::AppExists(app.id.clone()).into());
        }
        let put = PutApp { app: StoredApp(app.clone()), expect: Expect::Absent };
        Ok((Change { put: vec![put], ..Change::default() }, ()))
    })
    .await?;
    let app = App { version: accepted.version, ..(*app).clone() };
    announce(api, call, &app);
    let created = answer::json(StatusCode::CREATED, &CreatedApp::of(&app, accepted.id));
    Ok(located(api, call, answer::deployment_header(created, accepted), app.id.as_str()))
}

/// `PUT /v2/apps/{id}`: merges, replaces, rolls back or creates.
pub(super) async fn put(api: &Api, call: &Call, body: &Bytes, path: &str) -> Result<Response, Failure> {
    let document = body::json(&call.headers, body)?;
    let partial = call.query.flag("partialUpdate", true);
    let features = &api.cluster.options.features;
    let (accepted, (app, created)) = change::deploy(api, call.query.flag("force", false), |state| {
        let put = redefine(lookup_current(state, &[], path), path, &document, partial, features)?;
        let carried = (put.app.0.clone(), put.expect == Expect::Absent);
        Ok((Change { put: vec![put], ..Change::default() }, carried))
    })
    .await?;
    announce(api, call, &stored(api, &app));
    if !created {
        return Ok(answer::deployment(StatusCode::OK, accepted));
    }
    Ok(located(api, call, answer::deployment(StatusCode::CREATED, accepted), app.id.as_str()))
}

/// `PATCH /v2/apps/{id}`: merges into an app that must exist.
pub(super) async fn patch(api: &Api, call: &Call, body: &Bytes, path: &str) -> Result<Response, Failure> {
    let document = body::json(&call.headers, body)?;
    let features = &api.cluster.options.features;
    let (accepted, app) = change::deploy(api, call.query.flag("force", false), |state| {
        let current = lookup_current(state, &[], path);
        if matches!(current, Current::None) {
            return Err(no_app(path));
        }
        let put = redefine(current, path, &document, true, features)?;
        let app = put.app.0.clone();
        Ok((Change { put: vec![put], ..Change::default() }, app))
    })
    .await?;
    announce(api, call, &stored(api, &app));
    Ok(answer::deployment(StatusCode::OK, accepted))
}

/// `PUT /v2/apps`: an array, one deployment for all of it.
pub(super) async fn put_many(api: &Api, call: &Call, body: &Bytes) -> Result<Response, Failure> {
    let documents = array(body::json(&call.headers, body)?)?;
    let partial = call.query.flag("partialUpdate", true);
    many(api, call, &documents, partial, false).await
}

/// `PATCH /v2/apps`: an array of updates of apps that must all exist.
pub(super) async fn patch_many(api: &Api, call: &Call, body: &Bytes) -> Result<Response, Failure> {
    let documents = array(body::json(&call.headers, body)?)?;
    many(api, call, &documents, true, true).await
}

/// `DELETE /v2/apps/{id}`: forces unless told otherwise, as Marathon's code (not its documents) does.
pub(super) async fn remove(api: &Api, call: &Call, path: &str) -> Result<Response, Failure> {
    let id = AppId::parse(path).map_err(|_| no_app(path))?;
    let (accepted, ()) = change::deploy(api, call.query.flag("force", true), |_| {
        Ok((Change { remove: vec![id.clone()], ..Change::default() }, ()))
    })
    .await?;
    Ok(answer::deployment(StatusCode::OK, accepted))
}

/// `POST /v2/apps/{id}/restart`; a body is ignored.
pub(super) async fn restart(api: &Api, call: &Call, path: &str) -> Result<Response, Failure> {
    let id = AppId::parse(path).map_err(|_| no_app(path))?;
    let (accepted, ()) = change::deploy(api, call.query.flag("force", false), |_| {
        Ok((Change { restart: vec![id.clone()], ..Change::default() }, ()))
    })
    .await?;
    Ok(answer::deployment(StatusCode::OK, accepted))
}

async fn many(
    api: &Api,
    call: &Call,
    documents: &[Value],
    partial: bool,
    must_exist: bool,
) -> Result<Response, Failure> {
    let features = &api.cluster.options.features;
    let (accepted, ()) = change::deploy(api, call.query.flag("force", false), |state| {
        let mut put: Vec<PutApp> = Vec::with_capacity(documents.len());
        for document in documents {
            let path = document
                .get("id")
                .and_then(Value::as_str)
                .ok_or_else(|| Failure::illegal("requirement failed: App Update must have app id set"))?;
            let current = lookup_current(state, &put, path);
            if must_exist && matches!(current, Current::None) {
                return Err(no_app(&absolute(path)));
            }
            let next = redefine(current, path, document, partial, features)?;
            put.retain(|earlier| earlier.app.0.id != next.app.0.id);
            put.push(next);
        }
        Ok((Change { put, ..Change::default() }, ()))
    })
    .await?;
    Ok(answer::deployment(StatusCode::OK, accepted))
}

/// What a new definition starts from.
enum Current<'s> {
    None,
    Stored(&'s crate::state::AppEntry),
    /// Already redefined by an earlier element of the same array.
    Redefined(PutApp),
}

fn lookup_current<'s>(state: &'s State, earlier: &[PutApp], path: &str) -> Current<'s> {
    let id = AppId::parse(path).ok();
    let redefined = earlier.iter().find(|put| Some(&put.app.0.id) == id.as_ref());
    match (redefined, lookup::app(state, path)) {
        (Some(put), _) => Current::Redefined(put.clone()),
        (None, Some(entry)) => Current::Stored(entry),
        (None, None) => Current::None,
    }
}

fn redefine(
    current: Current<'_>,
    path: &str,
    document: &Value,
    partial: bool,
    features: &Features,
) -> Result<PutApp, Failure> {
    let (base, versions, expect) = match &current {
        Current::None => (None, None, Expect::Absent),
        Current::Stored(entry) => {
            (Some(&entry.app), Some(&entry.versions), Expect::Version(entry.app.version))
        }
        Current::Redefined(put) => (Some(&put.app.0), None, put.expect),
    };
    let app = match base {
        Some(base) if partial => match app::update(base, document, features)? {
            Update::Define(app) => Arc::new(*app),
            Update::Rollback(version) => {
                let known = versions.and_then(|versions| versions.get(version));
                known.cloned().ok_or_else(|| {
                    Failure::missing(format!("App '{}' does not exist in version {version}", base.id))
                })?
            }
        },
        _ => Arc::new(app::create(&with_id(document, path), features)?),
    };
    Ok(PutApp { app: StoredApp(app), expect })
}

/// The id of the URL counts, whatever the body says.
fn with_id(document: &Value, path: &str) -> Value {
    let mut document = document.clone();
    if let Value::Object(fields) = &mut document {
        fields.insert("id".to_owned(), Value::String(path.to_owned()));
    }
    document
}

fn array(document: Value) -> Result<Vec<Value>, Failure> {
    match document {
        Value::Array(documents) => Ok(documents),
        _ => Err(Failure::malformed("/", "error.expected.jsarray")),
    }
}

fn absolute(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

fn no_app(path: &str) -> Failure {
    Failure::missing(format!("App '{path}' does not exist"))
}

fn located(api: &Api, call: &Call, response: Response, id: &str) -> Response {
    answer::location(response, call.host().unwrap_or(&api.cluster.options.advertised_http), id)
}

/// The definition that a change has led to: with its version and its ports, or unchanged if nothing differed.
fn stored(api: &Api, app: &Arc<App>) -> Arc<App> {
    let state = api.cluster.state();
    state.app(&app.id).map_or_else(|| app.clone(), |entry| entry.app.clone())
}

/// Tells the event streams who asked for what, if there are any.
fn announce(api: &Api, call: &Call, app: &App) {
    if api.news.receiver_count() > 0 {
        let client = call.peer.address.ip().to_string();
        let _ = api.news.send(Arc::new(EventShape::api_post(&client, &call.path, app, now())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_the_url_wins() {
        let document = serde_json::json!({"id": "/other", "cmd": "true"});
        assert_eq!(with_id(&document, "/a")["id"], "/a");
        assert_eq!(with_id(&serde_json::json!([1]), "/a"), serde_json::json!([1]));
    }
}
