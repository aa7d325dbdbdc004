//! How answers are put together. Headers that every answer has are `guard`'s business.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::json;
use spec::ids::DeploymentId;
use spec::time::Timestamp;

/// A change that was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Its deployment.
    pub id: DeploymentId,
    /// Its version.
    pub version: Timestamp,
}

/// An answer without headers.
pub(super) fn plain(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
}

/// A JSON answer.
pub(super) fn json<T: Serialize + ?Sized>(status: StatusCode, shape: &T) -> Response {
    let Ok(body) = serde_json::to_vec(shape) else {
        return json(
            StatusCode::INTERNAL_SERVER_ERROR,
            &json!({"message": "the answer could not be written"}),
        );
    };
    with(plain(status, body), header::CONTENT_TYPE, "application/json")
}

/// A JSON answer with status 200.
pub(super) fn ok<T: Serialize + ?Sized>(shape: &T) -> Response {
    json(StatusCode::OK, shape)
}

/// Marathon's `DeploymentResult` and the header that goes with it.
pub(super) fn deployment(status: StatusCode, accepted: Accepted) -> Response {
    let body = json!({"version": accepted.version, "deploymentId": accepted.id.to_string()});
    deployment_header(json(status, &body), accepted)
}

/// Adds `Marathon-Deployment-Id`.
pub(super) fn deployment_header(response: Response, accepted: Accepted) -> Response {
    with(response, HeaderName::from_static("marathon-deployment-id"), &accepted.id.to_string())
}

/// Adds `Location`: the bare id against the address the client used (reference section 0).
pub(super) fn location(response: Response, host: &str, id: &str) -> Response {
    with(response, header::LOCATION, &format!("http://{host}{id}"))
}

/// Adds a header; a value that cannot be sent is left out.
pub(super) fn with(mut response: Response, name: HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}
