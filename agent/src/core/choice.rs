//! Which runtime runs an app, and what cannot be run here at all. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};
use spec::app::{App, Container, ContainerType, Volume};
use spec::protocol::{Runtimes, TaskState};

/// A kind of runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeKind {
    /// Containers of a Docker Engine.
    Docker,
    /// Commands as processes of the machine.
    Process,
    /// Simulated.
    Hollow,
}

impl fmt::Display for RuntimeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Process => "process",
            Self::Hollow => "hollow",
        })
    }
}

/// Why an app cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `Error` when no agent could, `Failed` when only this one cannot.
    pub state: TaskState,
    /// A sentence for people.
    pub message: String,
}

/// The runtime for `app` on an agent that offers `runtimes`.
pub fn choose(app: &App, runtimes: &Runtimes) -> Result<RuntimeKind, Refusal> {
    let kind = kind_for(app)?;
    if runtimes.hollow {
        return Ok(RuntimeKind::Hollow);
    }
    let missing = match kind {
        RuntimeKind::Docker => &runtimes.docker,
        RuntimeKind::Process | RuntimeKind::Hollow => &runtimes.process,
    };
    match missing {
        None => Ok(kind),
        Some(reason) => Err(Refusal {
            state: TaskState::Failed,
            message: format!("this agent has no {kind} runtime: {reason}"),
        }),
    }
}

fn kind_for(app: &App) -> Result<RuntimeKind, Refusal> {
    if !matches!(app.executor.as_str(), "" | "//cmd") {
        return Err(never(format!("custom executors are not supported: '{}'", app.executor)));
    }
    let Some(container) = &app.container else {
        return Ok(RuntimeKind::Process);
    };
    check_volumes(container)?;
    match (container.kind, &container.docker) {
        (ContainerType::Docker, Some(_)) => Ok(RuntimeKind::Docker),
        (ContainerType::Docker, None) => Err(never("a DOCKER container needs an image".to_owned())),
        (ContainerType::Mesos, None) => Ok(RuntimeKind::Process),
        (ContainerType::Mesos, Some(image)) => {
            let image = &image.image;
            Err(never(format!(
                "MESOS containers with an image are not supported ('{image}'): use type DOCKER"
            )))
        }
    }
}

fn check_volumes(container: &Container) -> Result<(), Refusal> {
    for volume in &container.volumes {
        let (kind, path) = match volume {
            Volume::Host { .. } => continue,
            Volume::Persistent { container_path, .. } => ("persistent", container_path),
            Volume::External { container_path, .. } => ("external", container_path),
            Volume::Secret { container_path, .. } => ("secret", container_path),
        };
        return Err(never(format!("{kind} volumes are not supported (containerPath '{path}')")));
    }
    Ok(())
}

fn never(message: String) -> Refusal {
    Refusal { state: TaskState::Error, message }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::environment::tests::app;

    fn container(kind: &str, image: bool, volumes: Value) -> Value {
        let mut container = json!({"type": kind, "volumes": volumes});
        if image {
            container["docker"] = json!({"image": "i", "forcePullImage": false, "privileged": false});
        }
        json!({ "container": container })
    }

    #[test]
    fn by_container() {
        let all = Runtimes::default();
        let error = |part: &'static str| Err((TaskState::Error, part));
        let volume = |extra: Value| {
            let mut volume = json!({"containerPath": "data", "mode": "RW"});
            volume.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            json!([volume])
        };
        for (document, expected) in [
            (json!({}), Ok(RuntimeKind::Process)),
            (json!({"executor": "//cmd"}), Ok(RuntimeKind::Process)),
            (json!({"executor": "/opt/x"}), error("custom executors")),
            (container("DOCKER", true, json!([])), Ok(RuntimeKind::Docker)),
            (container("DOCKER", false, json!([])), error("needs an image")),
            (container("MESOS", false, json!([])), Ok(RuntimeKind::Process)),
            (container("MESOS", true, json!([])), error("MESOS containers")),
            (container("DOCKER", true, volume(json!({"hostPath": "/x"}))), Ok(RuntimeKind::Docker)),
            (container("DOCKER", true, volume(json!({"persistent": {"size": 1}}))), error("persistent")),
            (container("DOCKER", true, volume(json!({"external": {"name": "v"}}))), error("external")),
            (container("MESOS", false, json!([{"containerPath": "s", "secret": "s"}])), error("secret")),
        ] {
            let chosen = choose(&app(document.clone()), &all);
            match (&chosen, expected) {
                (Ok(kind), Ok(wanted)) => assert_eq!(*kind, wanted, "{document}"),
                (Err(refusal), Err((state, part))) => {
                    assert!(refusal.state == state && refusal.message.contains(part), "{refusal:?}");
                }
                (chosen, expected) => panic!("{document}: {chosen:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn by_what_the_agent_has() {
        let none =
            Runtimes { docker: Some("no socket".into()), process: Some("not Linux".into()), hollow: false };
        let refusal = choose(&app(container("DOCKER", true, json!([]))), &none).unwrap_err();
        assert_eq!(refusal.state, TaskState::Failed);
        assert_eq!(refusal.message, "this agent has no docker runtime: no socket");
        assert!(choose(&app(json!({})), &none).unwrap_err().message.contains("not Linux"));
        let hollow = Runtimes { hollow: true, ..none };
        assert_eq!(choose(&app(json!({})), &hollow), Ok(RuntimeKind::Hollow));
        assert_eq!(choose(&app(json!({"executor": "x"})), &hollow).unwrap_err().state, TaskState::Error);
    }
}
