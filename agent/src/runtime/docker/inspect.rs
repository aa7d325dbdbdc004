//! Reading what the Engine says of a container. Pure.

use std::net::IpAddr;

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum};
use spec::time::Timestamp;

use super::network;
use crate::runtime::{Exit, Status};

/// The parts of an inspected container that matter here.
#[derive(Debug)]
pub(super) struct Inspected {
    pub(super) id: String,
    pub(super) status: Status,
    pub(super) started_at: Option<Timestamp>,
    pub(super) addresses: Vec<IpAddr>,
    /// The image's or the app's own stop signal.
    pub(super) stop_signal: Option<String>,
}

/// Takes an answer apart.
pub(super) fn read(answer: ContainerInspectResponse) -> Inspected {
    let state = answer.state.unwrap_or_default();
    Inspected {
        id: answer.id.unwrap_or_default(),
        status: status(&state),
        started_at: time(state.started_at.as_deref()),
        addresses: network::addresses(answer.network_settings.and_then(|settings| settings.networks)),
        stop_signal: answer.config.and_then(|config| config.stop_signal).filter(|signal| !signal.is_empty()),
    }
}

fn status(state: &ContainerState) -> Status {
    match state.status {
        Some(ContainerStateStatusEnum::CREATED) => Status::Created,
        Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD) => {
            Status::Exited(exit(state))
        }
        // Being removed by somebody else, or an Engine that left the word out.
        _ if state.running == Some(false) => Status::Exited(exit(state)),
        _ => Status::Running,
    }
}

fn exit(state: &ContainerState) -> Exit {
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok());
    let out_of_memory = state.oom_killed == Some(true);
    Exit {
        code,
        out_of_memory,
        message: message(state, code, out_of_memory),
        at: time(state.finished_at.as_deref()),
    }
}

fn message(state: &ContainerState, code: Option<i32>, out_of_memory: bool) -> String {
    let error = state.error.as_deref().unwrap_or_default().trim();
    match code {
        _ if out_of_memory => "Container used more memory than its limit and was killed".to_owned(),
        _ if !error.is_empty() => error.to_owned(),
        Some(code) => format!("Container exited with status {code}"),
        None => "Container exited, its status is not known".to_owned(),
    }
}

/// Docker's zero time stands for never.
fn time(text: Option<&str>) -> Option<Timestamp> {
    text.filter(|text| !text.starts_with("0001-")).and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(json: serde_json::Value) -> ContainerState {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn states() {
        assert_eq!(
            status(&state(serde_json::json!({"Status": "created", "Running": false}))),
            Status::Created
        );
        assert_eq!(
            status(&state(serde_json::json!({"Status": "running", "Running": true}))),
            Status::Running
        );
        assert_eq!(status(&state(serde_json::json!({"Status": "paused", "Running": true}))), Status::Running);
    }

    #[test]
    fn ends() {
        let end = |json| exit(&state(json));
        let plain = end(serde_json::json!({"ExitCode": 3, "FinishedAt": "2020-01-01T00:00:00.123456789Z"}));
        assert_eq!((plain.code, plain.message.as_str()), (Some(3), "Container exited with status 3"));
        assert_eq!(plain.at, Some(Timestamp::from_millis(1_577_836_800_123)));
        let oom = end(serde_json::json!({"ExitCode": 137, "OOMKilled": true}));
        assert!(oom.out_of_memory && oom.message.contains("memory") && oom.at.is_none());
        let failed = end(serde_json::json!({"ExitCode": 127, "Error": "no such file\n"}));
        assert_eq!(failed.message, "no such file");
        assert_eq!(end(serde_json::json!({})).code, None);
        assert_eq!(end(serde_json::json!({"FinishedAt": "0001-01-01T00:00:00Z"})).at, None);
    }
}
