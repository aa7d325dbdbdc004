//! Probing tasks: health checks and readiness checks.
//!
//! [`book`] keeps the counts and [`plan`] says what to probe and when (both pure); [`prober`] does it.
//! The agent only reports: that a task is to be killed for failing is the leader's decision.

pub mod book;
pub mod plan;
pub mod prober;

/// Which check of a task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckKey {
    /// By index in the app's `healthChecks`.
    Health(u32),
    /// By index in the app's `readinessChecks`.
    Readiness(u32),
}

/// What one probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// It answered as it should.
    Passed(Option<Response>),
    /// It did not, and why.
    Failed(String, Option<Response>),
    /// Neither: an informational answer that the check ignores.
    Ignored,
}

/// An HTTP response, as far as checks care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: String,
    /// The beginning of the body.
    pub body: String,
}
