//! What this master is: `/ping`, `/v2/info`, `/v2/leader`.

use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::json;

use super::answer;
use super::call::Call;
use super::context::Api;
use super::failure::Failure;
use super::shapes;

/// `GET /ping`, in the type that is asked for.
pub(super) fn ping(call: &Call) -> Response {
    let accept = call.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    let asked = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
    for kind in asked {
        match kind {
            "*/*" | "text/*" | "text/plain" => return pong("text/plain", "pong"),
            "text/html" => return pong("text/html", "pong"),
            "application/json" | "application/*" => return pong("application/json", "\"pong\""),
            _ => {}
        }
    }
    answer::plain(StatusCode::NO_CONTENT, "")
}

fn pong(kind: &str, body: &'static str) -> Response {
    answer::with(answer::plain(StatusCode::OK, body), header::CONTENT_TYPE, kind)
}

/// `GET /v2/info`.
pub(super) fn info(api: &Api) -> Response {
    let leadership = api.cluster.leadership().borrow().clone();
    let cluster_id = api.cluster.state().cluster_id;
    answer::ok(&shapes::info::info(&api.cluster.options, cluster_id, &leadership))
}

/// `GET /v2/leader`.
pub(super) fn leader(api: &Api) -> Result<Response, Failure> {
    let leader = api.cluster.leadership().borrow().leader_http.clone();
    let leader = leader.ok_or_else(|| Failure::not_found("There is no leader"))?;
    Ok(answer::ok(&json!({ "leader": leader })))
}
