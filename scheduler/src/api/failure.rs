//! Everything that can go wrong, in Marathon's statuses and words: the table of reference section 3.
//! Nothing internal is ever said here.

use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use spec::time::Timestamp;
use spec::violation::{Violation, Violations};

use super::answer;
use super::forward::NOT_LEADING;
use crate::cluster::{AskError, MastersError};
use crate::state::Refusal;

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    body: Value,
    /// Nothing was done, and trying again may help.
    retry: bool,
    /// Nothing was done, since this master does not lead.
    elsewhere: bool,
}

const LOCKED: &str = "App is locked by one or more deployments. Override with the option '?force=true'. \
                      View details at '/v2/deployments/<DEPLOYMENT_ID>'.";

impl Failure {
    fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body, retry: false, elsewhere: false }
    }

    fn message(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, json!({"message": message.into()}))
    }

    /// 404 as a resource says it itself: with an empty `details`.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, json!({"message": message.into(), "details": []}))
    }

    /// 404 as it comes out of a change: without `details`.
    pub fn missing(message: impl Into<String>) -> Self {
        Self::message(StatusCode::NOT_FOUND, message)
    }

    /// 404 for an app that is not there.
    pub fn no_app(id: &str) -> Self {
        Self::not_found(format!("App '{id}' does not exist"))
    }

    /// 404 for a version of an app that is not there.
    pub fn no_version(id: &str, version: Timestamp) -> Self {
        Self::not_found(format!("App '{id}' does not exist in version {version}"))
    }

    /// 404 for a task that is not there.
    pub fn no_task(id: &str) -> Self {
        Self::not_found(format!("Task '{id}' does not exist"))
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::message(StatusCode::BAD_REQUEST, message)
    }

    /// 409.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::message(StatusCode::CONFLICT, message)
    }

    /// 422 for an argument that makes no sense.
    pub fn illegal(message: impl Into<String>) -> Self {
        Self::message(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// 400 for a body that is no JSON; `details` is a text here.
    pub fn not_json(parser: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, json!({"message": "Invalid JSON", "details": parser.into()}))
    }

    /// 400 for no body.
    pub fn empty() -> Self {
        let details = "No content to map due to end-of-input";
        let body = json!({"message": "Please specify data in JSON format", "details": details});
        Self::new(StatusCode::BAD_REQUEST, body)
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        Self::message(StatusCode::PAYLOAD_TOO_LARGE, format!("The body is larger than {limit} bytes"))
    }

    /// 415.
    pub fn media_type() -> Self {
        Self::message(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type")
    }

    /// 405.
    pub fn method() -> Self {
        Self::message(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
    }

    /// 405 as the event stream's servlet says it.
    pub fn event_stream_accept() -> Self {
        Self::message(StatusCode::METHOD_NOT_ALLOWED, "HTTP method GET is not supported by this URL")
    }

    /// 500, as Marathon has it since 1.5: an unknown route.
    pub fn no_route() -> Self {
        Self::message(StatusCode::INTERNAL_SERVER_ERROR, "URI not found")
    }

    /// 403 for a page of another site.
    pub fn cross_site() -> Self {
        let message = "A change that a page of another site asks for is refused; see the Origin header";
        Self::message(StatusCode::FORBIDDEN, message)
    }

    /// 500 without a word about why.
    pub fn internal() -> Self {
        Self::message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    }

    /// 503: nothing was done; trying again may help.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::message(StatusCode::SERVICE_UNAVAILABLE, message).undone()
    }

    /// 503 in Marathon's words: nobody is known to lead.
    pub fn no_leader() -> Self {
        Self { elsewhere: true, ..Self::unavailable("Could not determine the current leader") }
    }

    /// 503 for a master that takes this one for the leader.
    pub fn not_leading() -> Self {
        Self { elsewhere: true, ..Self::unavailable("This master does not lead") }
    }

    /// 503: what this master knows could not be made sure to be current.
    pub fn unreadable(error: &AskError) -> Self {
        match error {
            AskError::NotLeader => Self { elsewhere: true, ..Self::unavailable(error.to_string()) },
            AskError::Busy => Self::unavailable(error.to_string()),
            AskError::TimedOut | AskError::Closed | AskError::TooLarge { .. } => {
                Self::unavailable("This master could not make sure in time that it still leads")
            }
        }
    }

    /// 502 in Marathon's words: the request has come back.
    pub fn proxy_loop() -> Self {
        Self::message(StatusCode::BAD_GATEWAY, "Detected proxying loop.").undone()
    }

    /// 502 in Marathon's words.
    pub fn refused_connection() -> Self {
        Self::message(StatusCode::BAD_GATEWAY, "Connection to leader refused.")
    }

    /// 502 in Marathon's words.
    pub fn bad_connection() -> Self {
        Self::message(StatusCode::BAD_GATEWAY, "Failed to successfully establish a connection to the leader.")
    }

    /// 504 in Marathon's words.
    pub fn gateway_timeout() -> Self {
        Self::message(StatusCode::GATEWAY_TIMEOUT, "Connection to leader timed out.")
    }

    /// Says that nothing was done: `Retry-After` is on no other failure.
    pub fn undone(self) -> Self {
        Self { retry: true, ..self }
    }

    /// Says that a change may have been made.
    pub fn perhaps_done(mut self) -> Self {
        let message = self.body["message"].as_str().unwrap_or_default();
        self.body["message"] = format!("{message} The change may or may not have taken effect.").into();
        Self { retry: false, ..self }
    }

    /// Was nothing done since this master does not lead?
    pub fn is_elsewhere(&self) -> bool {
        self.elsewhere
    }

    /// One field of the wrong shape: 422 "Invalid JSON".
    pub fn malformed(path: &str, code: &str) -> Self {
        Violations::malformed(vec![Violation::new(path, code)]).into()
    }

    /// As a response.
    pub fn into_response(self) -> Response {
        let mut response = answer::json(self.status, &self.body);
        if self.retry {
            response = answer::with(response, header::RETRY_AFTER, "1");
        }
        if self.elsewhere { answer::with(response, NOT_LEADING, "true") } else { response }
    }
}

impl From<Violations> for Failure {
    fn from(violations: Violations) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, violations.to_json())
    }
}

/// For changes.
impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::TooLarge { .. } => Self::message(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            AskError::NotLeader => Self { elsewhere: true, ..Self::unavailable(error.to_string()) },
            AskError::Busy => Self::unavailable(error.to_string()),
            // The text says that the outcome is unknown.
            AskError::TimedOut => Self::message(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            AskError::Closed => {
                Self::message(StatusCode::SERVICE_UNAVAILABLE, format!("{error}.")).perhaps_done()
            }
        }
    }
}

impl From<MastersError> for Failure {
    fn from(error: MastersError) -> Self {
        match error {
            MastersError::Ask(error) => error.into(),
            MastersError::Unknown(_) => Self::not_found(error.to_string()),
            MastersError::Refused(_) => Self::conflict(error.to_string()),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::AppExists(_) | Refusal::AgentBusy(_) => Self::conflict(message),
            Refusal::NoApp(_) => Self::missing(message),
            Refusal::NoDeployment(_) | Refusal::NoTask(_) | Refusal::NoAgent(_) | Refusal::NoMaster(_) => {
                Self::not_found(message)
            }
            Refusal::TooManyMasters(_) => Self::conflict(message),
            Refusal::Changed(_) => Self::unavailable(message),
            Refusal::Locked(ids) => {
                let ids: Vec<Value> = ids.iter().map(|id| json!({"id": id.to_string()})).collect();
                Self::new(StatusCode::CONFLICT, json!({"message": LOCKED, "deployments": ids}))
            }
            Refusal::TooManyDeployments(max) => Self::message(StatusCode::FORBIDDEN, too_many(max)),
            Refusal::Invalid(violations) => violations.into(),
            Refusal::NoServicePort(..) => Self::message(StatusCode::INTERNAL_SERVER_ERROR, message),
        }
    }
}

/// Marathon's text; the missing space is Marathon's too.
fn too_many(max: usize) -> String {
    format!(
        "Max number ({max}) of running deployments is achieved. Wait for existing deployments to complete or \
         cancel oneusing force=true parameter. You can increase max deployment number by using \
         --max_running_deployments parameter but be advised that this can have negative effects on the \
         performance."
    )
}
