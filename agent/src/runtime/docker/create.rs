//! From a launch to what the Engine is asked to create. Pure: one function of the launch, no I/O.
//!
//! The rules are those of Mesos' Docker containerizer, which ran Marathon's containers: what it gave to
//! `docker run` is given to the API here.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, RestartPolicy, RestartPolicyNameEnum,
};
use spec::app::{App, ContainerType, DockerImage};
use spec::ids::TaskId;

use super::{network, parameters, resources, volumes};
use crate::runtime::key::task_key;
use crate::runtime::{Launch, RuntimeError};

/// Label with the id of the agent's data directory: several agents on one machine tell theirs apart.
pub const OWNER_LABEL: &str = "gantry.owner";
/// Label with the task id, in full.
pub const TASK_LABEL: &str = "gantry.task";
/// The label that Mesos set and that programs look for (reference section 4.1).
pub const MESOS_TASK_LABEL: &str = "MESOS_TASK_ID";
/// Where containers see their sandbox, as under Mesos.
pub const SANDBOX: &str = "/mnt/mesos/sandbox";

/// The container's name: known from the task alone, so that no table of ids is needed to find it again.
pub fn container_name(task: &TaskId) -> String {
    format!("gantry-{}", task_key(task))
}

/// The request that creates the task's container. An `Err` says what this runtime cannot do.
pub fn create_body(launch: &Launch, owner: &str) -> Result<ContainerCreateBody, RuntimeError> {
    build(launch, owner).map_err(RuntimeError::Unsupported)
}

/// The image that the app names; without one this runtime has nothing to run.
pub fn image_of(app: &App) -> Result<&DockerImage, RuntimeError> {
    app.container
        .as_ref()
        .and_then(|container| container.docker.as_ref())
        .filter(|docker| !docker.image.is_empty())
        .ok_or_else(|| RuntimeError::Unsupported(format!("{} names no image to run in Docker", app.id)))
}

fn build(launch: &Launch, owner: &str) -> Result<ContainerCreateBody, String> {
    let app = &*launch.app;
    let docker = image_of(app).map_err(|error| error.to_string())?;
    let mut body = base(launch, docker, owner);
    resources::apply(app, host(&mut body));
    network::apply(launch, &mut body)?;
    volumes::apply(launch, host(&mut body))?;
    if is_docker_type(app) {
        parameters::apply(&docker.parameters, &mut body)?;
    }
    network::default_dns(launch, host(&mut body));
    command(app, &mut body);
    Ok(body)
}

/// `parameters` and `privileged` mean something to the Docker containerizer only (reference section 2.5).
fn is_docker_type(app: &App) -> bool {
    app.container.as_ref().is_some_and(|container| container.kind == ContainerType::Docker)
}

/// The part of the request that says how the host treats the container.
pub(super) fn host(body: &mut ContainerCreateBody) -> &mut HostConfig {
    body.host_config.get_or_insert_default()
}

fn base(launch: &Launch, docker: &DockerImage, owner: &str) -> ContainerCreateBody {
    let app = &*launch.app;
    ContainerCreateBody {
        image: Some(docker.image.clone()),
        env: Some(env_list(launch)),
        labels: Some(labels(&launch.task, owner)),
        user: app.user.clone(),
        tty: app.tty,
        host_config: Some(HostConfig {
            privileged: Some(docker.privileged && is_docker_type(app)),
            // The agent starts tasks anew, on the leader's word; Docker must never do it by itself.
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            log_config: Some(default_log()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// Docker's default driver keeps logs without a bound.
fn default_log() -> HostConfigLogConfig {
    let options = [("max-size", "10m"), ("max-file", "2")];
    HostConfigLogConfig {
        typ: Some("json-file".to_owned()),
        config: Some(options.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
    }
}

/// With the container's own name, as Mesos' Docker executor.
fn env_list(launch: &Launch) -> Vec<String> {
    let mut env: BTreeMap<&str, &str> =
        launch.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let name = container_name(&launch.task);
    env.insert("MESOS_CONTAINER_NAME", &name);
    env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn labels(task: &TaskId, owner: &str) -> HashMap<String, String> {
    HashMap::from([
        (OWNER_LABEL.to_owned(), owner.to_owned()),
        (TASK_LABEL.to_owned(), task.to_string()),
        (MESOS_TASK_LABEL.to_owned(), task.to_string()),
    ])
}

/// Is this one of the labels by which containers are found again?
pub(super) fn is_reserved_label(key: &str) -> bool {
    [OWNER_LABEL, TASK_LABEL, MESOS_TASK_LABEL].contains(&key)
}

/// `cmd` replaces the image's entrypoint by a shell, as Mesos does since MESOS-1770, also over an
/// `entrypoint` among the parameters; `args` are given to whatever the entrypoint is.
fn command(app: &App, body: &mut ContainerCreateBody) {
    if let Some(cmd) = &app.cmd {
        body.entrypoint = Some(vec!["/bin/sh".to_owned()]);
        body.cmd = Some(vec!["-c".to_owned(), cmd.clone()]);
    } else if !app.args.is_empty() {
        body.cmd = Some(app.args.clone());
    }
}

#[cfg(test)]
mod tests;
