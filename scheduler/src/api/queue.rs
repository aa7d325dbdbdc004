//! The launch queue: what waits and why.

use axum::http::StatusCode;
use axum::response::Response;

use super::answer;
use super::apps::json_object;
use super::call::Call;
use super::change;
use super::context::{Api, now};
use super::failure::Failure;
use super::lookup;
use super::shapes::queue::{QueueItem, Sample};
use crate::state::Command;

/// `GET /v2/queue`. Beyond Marathon's `embed=lastUnusedOffers` there is `lastUnusedOffers.detail`, which adds
/// to each of them in words what was lacking: exact clients do not ask for it.
pub(super) fn list(api: &Api, call: &Call) -> Response {
    let asked = |part: &str| call.query.all("embed").any(|value| value == part);
    let sample = Sample { agents: asked("lastUnusedOffers"), details: asked("lastUnusedOffers.detail") };
    let (state, waiting, now) = (api.cluster.state(), api.cluster.waiting.load(), now());
    let items: Vec<_> = lookup::apps(&state)
        .filter_map(|entry| {
            let count = state.queue_count(&entry.app.id);
            let waiting = waiting.get(&entry.app.id).map(AsRef::as_ref);
            (count > 0).then(|| QueueItem::of(&state, entry, count, waiting, sample, now))
        })
        .collect();
    answer::ok(&json_object("queue", items))
}

/// `DELETE /v2/queue/{id}/delay`.
pub(super) async fn reset_delay(api: &Api, path: &str) -> Result<Response, Failure> {
    let missing = || Failure::not_found(format!("Application {path} not found in tasks queue."));
    let app = {
        let state = api.cluster.state();
        let entry = lookup::app(&state, path).ok_or_else(missing)?;
        if state.queue_count(&entry.app.id) == 0 {
            return Err(missing());
        }
        entry.app.id.clone()
    };
    change::ask_done(api, Command::ResetDelay { app }).await?;
    Ok(answer::plain(StatusCode::NO_CONTENT, ""))
}
