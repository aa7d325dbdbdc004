//! Groups as far as apps imply them: reading, and removing everything below one.

use axum::http::StatusCode;
use axum::response::Response;

use super::answer;
use super::apps;
use super::call::Call;
use super::change::{self, Change};
use super::context::{Api, now};
use super::embed::{AppParts, GroupParts};
use super::failure::Failure;
use super::lookup;
use super::shapes::group::GroupInfo;

/// `GET /v2/groups` and `/v2/groups/{id}`. The root always exists.
pub(super) fn one(api: &Api, call: &Call, path: &str) -> Result<Response, Failure> {
    let state = api.cluster.state();
    let missing = || Failure::not_found(format!("Group '{path}' does not exist"));
    let below = lookup::apps_below(&state, path).ok_or_else(missing)?;
    let id = spec::ids::canonical_path(path).map_err(|_| missing())?;
    Ok(answer::ok(&GroupInfo::of(&state, id, &below, GroupParts::of(&call.query), now())))
}

/// `GET /v2/groups/{id}/apps`: a bare array, empty for an unknown group.
pub(super) fn apps(api: &Api, call: &Call, path: &str) -> Response {
    let state = api.cluster.state();
    let below = lookup::apps_below(&state, path).unwrap_or_default();
    answer::ok(&apps::infos(&state, below, AppParts::NONE.with(&call.query)))
}

/// `DELETE /v2/groups` and `/v2/groups/{id}`: removes every app below it.
pub(super) async fn remove(api: &Api, call: &Call, path: &str) -> Result<Response, Failure> {
    let (accepted, ()) = change::deploy(api, call.query.flag("force", false), |state| {
        let below = lookup::apps_below(state, path)
            .ok_or_else(|| Failure::missing(format!("Group '{path}' does not exist")))?;
        let remove = below.iter().map(|entry| entry.app.id.clone()).collect();
        Ok((Change { remove, ..Change::default() }, ()))
    })
    .await?;
    Ok(answer::deployment(StatusCode::OK, accepted))
}
