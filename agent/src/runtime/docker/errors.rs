//! What the Engine's errors mean to the agent.

use std::error::Error as _;
use std::path::Path;

use bollard::errors::Error;

use crate::runtime::RuntimeError;

/// The Engine's answer was this status.
pub(super) fn is_status(error: &Error, status: u16) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code, .. } if *status_code == status)
}

/// Creating a container failed because its image is not on this machine.
pub(super) fn is_missing_image(error: &Error) -> bool {
    match error {
        Error::DockerResponseServerError { status_code: 404, message } => {
            message.to_ascii_lowercase().contains("no such image")
        }
        _ => false,
    }
}

/// The Engine answered, and the answer is no: with its own words. Anything else is no answer.
pub(super) fn failure(error: Error) -> RuntimeError {
    match error {
        Error::DockerResponseServerError { status_code, message }
            if status_code < 500 || !message.is_empty() =>
        {
            RuntimeError::Failed(message.trim().to_owned())
        }
        Error::DockerStreamError { error } => RuntimeError::Failed(error.trim().to_owned()),
        Error::JsonDataError { .. } | Error::JsonSerdeError { .. } | Error::URLParseError { .. } => {
            RuntimeError::Failed(error.to_string())
        }
        error => RuntimeError::Unavailable(format!("Docker does not answer: {}", chain(&error))),
    }
}

/// As [`failure`], where a 404 can only mean that the container is not there.
pub(super) fn of_container(error: Error) -> RuntimeError {
    if is_status(&error, 404) { RuntimeError::NotFound } else { failure(error) }
}

/// As [`of_container`]; the log of a container that is being removed is gone as well (409).
pub(super) fn of_log(error: Error) -> RuntimeError {
    if is_status(&error, 409) { RuntimeError::NotFound } else { of_container(error) }
}

/// The first request of all got no answer.
pub(super) fn unreachable(socket: &Path, error: Error) -> RuntimeError {
    let reason = innermost(&error);
    let hint = if reason.contains("ermission denied") {
        "run the agent as root or as a member of the socket's group"
    } else {
        "is the Docker daemon running?"
    };
    RuntimeError::Unavailable(format!("no Docker at {}: {reason} ({hint})", socket.display()))
}

/// Is asking again later worth while? Also an Engine that is going down answers 500 to much.
pub(super) fn is_passing(error: &Error) -> bool {
    match error {
        Error::DockerResponseServerError { status_code, .. } => *status_code >= 500,
        _ => true,
    }
}

/// The error and what caused it: hyper's own text hides the reason in its sources.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// What the system said, without the layers that passed it on.
fn innermost(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
