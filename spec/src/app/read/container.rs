//! Shapes of containers: image, engine options, Linux settings (reference section 2.5).

use super::grammar::*;
use super::network::port_mapping;
use super::node::Node;
use super::volume::volume;
use crate::app::model::*;
use crate::app::raw::{DockerNetwork, RawContainer, RawDocker};

const ENGINES: &[(&str, ContainerType)] =
    &[("MESOS", ContainerType::Mesos), ("DOCKER", ContainerType::Docker)];
const DOCKER_NETWORKS: &[(&str, DockerNetwork)] = &[
    ("BRIDGE", DockerNetwork::Bridge),
    ("HOST", DockerNetwork::Host),
    ("NONE", DockerNetwork::None),
    ("USER", DockerNetwork::User),
];
const IPC_MODES: &[(&str, IpcMode)] =
    &[("PRIVATE", IpcMode::Private), ("SHARE_PARENT", IpcMode::ShareParent)];

/// The type is DOCKER when none is given (reference section 2.5).
pub(super) fn container(node: Node<'_>) -> Option<RawContainer> {
    let container = node.object()?;
    let kind = container.optional("type", |node| node.choice(ENGINES));
    Some(RawContainer {
        kind: kind.unwrap_or(ContainerType::Docker),
        docker: container.optional("docker", docker),
        volumes: container.optional("volumes", |node| node.list(volume)).unwrap_or_default(),
        port_mappings: container.optional("portMappings", |node| node.list(port_mapping)),
        linux_info: container.optional("linuxInfo", linux_info),
    })
}

fn docker(node: Node<'_>) -> Option<RawDocker> {
    let docker = node.object()?;
    let image = docker.required("image", non_empty);
    let force_pull_image = docker.optional("forcePullImage", Node::flag).unwrap_or(false);
    let privileged = docker.optional("privileged", Node::flag).unwrap_or(false);
    let parameters = docker.optional("parameters", |node| node.list(parameter)).unwrap_or_default();
    let pull_config = docker.optional("pullConfig", pull_config);
    let network = docker.optional("network", |node| node.choice(DOCKER_NETWORKS));
    let port_mappings = docker.optional("portMappings", |node| node.list(port_mapping));
    let credential = docker.get("credential").is_some();
    let image = DockerImage { image: image?, force_pull_image, privileged, parameters, pull_config };
    Some(RawDocker { image, network, port_mappings, credential })
}

fn parameter(node: Node<'_>) -> Option<DockerParameter> {
    let parameter = node.object()?;
    let key = parameter.required("key", non_empty);
    let value = parameter.required("value", Node::text);
    Some(DockerParameter { key: key?, value: value? })
}

fn pull_config(node: Node<'_>) -> Option<PullConfig> {
    Some(PullConfig { secret: node.object()?.required("secret", Node::text)? })
}

fn linux_info(node: Node<'_>) -> Option<LinuxInfo> {
    let info = node.object()?;
    Some(LinuxInfo { seccomp: info.optional("seccomp", seccomp), ipc_info: info.optional("ipcInfo", ipc) })
}

/// `unconfined` of a wrong type silently is false (reference section 2.5).
fn seccomp(node: Node<'_>) -> Option<Seccomp> {
    let seccomp = node.object()?;
    let unconfined = seccomp.get("unconfined").and_then(|node| node.value().as_bool()).unwrap_or(false);
    Some(Seccomp { profile_name: seccomp.optional("profileName", Node::text), unconfined })
}

fn ipc(node: Node<'_>) -> Option<IpcInfo> {
    let info = node.object()?;
    let mode = info.required("mode", |node| node.choice(IPC_MODES));
    let shm_size = info.optional("shmSize", count);
    Some(IpcInfo { mode: mode?, shm_size })
}
