//! The app definition as users write it: every field optional, deprecated fields beside those that
//! replaced them. It lives from reading to normalisation; nothing outside `app` sees it.

use std::collections::BTreeMap;

use crate::app::model::*;
use crate::time::Timestamp;

/// What a document said. `None` is "not said".
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RawApp {
    pub(super) id: Option<String>,
    pub(super) accepted_resource_roles: Option<Vec<String>>,
    pub(super) args: Option<Vec<String>>,
    pub(super) backoff_factor: Option<f64>,
    pub(super) backoff_seconds: Option<u32>,
    pub(super) check: Option<Check>,
    pub(super) cmd: Option<String>,
    pub(super) constraints: Option<Vec<Vec<String>>>,
    pub(super) container: Option<RawContainer>,
    pub(super) cpus: Option<f64>,
    pub(super) dependencies: Option<Vec<String>>,
    pub(super) disk: Option<f64>,
    pub(super) env: Option<BTreeMap<String, EnvValue>>,
    pub(super) executor: Option<String>,
    pub(super) executor_resources: Option<ExecutorResources>,
    pub(super) fetch: Option<Vec<Artifact>>,
    pub(super) gpus: Option<u32>,
    pub(super) health_checks: Option<Vec<HealthCheck>>,
    pub(super) instances: Option<u32>,
    pub(super) ip_address: Option<IpAddress>,
    pub(super) kill_selection: Option<KillSelection>,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) max_launch_delay_seconds: Option<u32>,
    pub(super) mem: Option<f64>,
    pub(super) networks: Option<Vec<Network>>,
    pub(super) port_definitions: Option<Vec<PortDefinition>>,
    pub(super) ports: Option<Vec<u16>>,
    pub(super) readiness_checks: Option<Vec<ReadinessCheck>>,
    pub(super) require_ports: Option<bool>,
    pub(super) residency: Option<Residency>,
    pub(super) resource_limits: Option<RawLimits>,
    pub(super) role: Option<String>,
    pub(super) secrets: Option<BTreeMap<String, Secret>>,
    pub(super) task_kill_grace_period_seconds: Option<u32>,
    pub(super) tty: Option<bool>,
    pub(super) unreachable_strategy: Option<UnreachableStrategy>,
    pub(super) upgrade_strategy: Option<UpgradeStrategy>,
    pub(super) uris: Option<Vec<String>>,
    pub(super) user: Option<String>,
    pub(super) version: Option<Timestamp>,
}

/// A container with its deprecated fields.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RawContainer {
    pub(super) kind: ContainerType,
    pub(super) docker: Option<RawDocker>,
    pub(super) volumes: Vec<Volume>,
    pub(super) port_mappings: Option<Vec<PortMapping>>,
    pub(super) linux_info: Option<LinuxInfo>,
}

/// `container.docker` with its deprecated fields.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RawDocker {
    pub(super) image: DockerImage,
    pub(super) network: Option<DockerNetwork>,
    pub(super) port_mappings: Option<Vec<PortMapping>>,
    /// Was there a `credential`? It is refused, so its content does not matter.
    pub(super) credential: bool,
}

/// The deprecated `container.docker.network`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DockerNetwork {
    Bridge,
    Host,
    None,
    User,
}

/// The deprecated `ipAddress`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct IpAddress {
    pub(super) network_name: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    /// `discovery.ports`, as the port mappings they become.
    pub(super) discovery: Option<Vec<PortMapping>>,
}

/// `resourceLimits`; texts other than `unlimited` are judged later.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RawLimits {
    pub(super) cpus: Option<RawLimit>,
    pub(super) mem: Option<RawLimit>,
}

/// A number or a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum RawLimit {
    Amount(f64),
    Text(String),
}

impl RawContainer {
    /// A MESOS container without an image: what is invented for networks that need a container.
    pub(super) fn bare() -> Self {
        let (docker, port_mappings, linux_info) = (None, None, None);
        Self { kind: ContainerType::Mesos, docker, volumes: Vec::new(), port_mappings, linux_info }
    }

    /// Is there a persistent volume?
    pub(super) fn is_resident(&self) -> bool {
        self.volumes.iter().any(|volume| matches!(volume, Volume::Persistent { .. }))
    }
}

impl RawApp {
    /// Does the app have persistent volumes?
    pub(super) fn has_persistent_volumes(&self) -> bool {
        self.container.as_ref().is_some_and(RawContainer::is_resident)
    }

    /// Does the app have volumes of another system?
    pub(super) fn has_external_volumes(&self) -> bool {
        let volumes = self.container.iter().flat_map(|container| &container.volumes);
        volumes.into_iter().any(|volume| matches!(volume, Volume::External { .. }))
    }

    /// `networks`, empty when not said (which means the host's network).
    pub(super) fn networks(&self) -> &[Network] {
        self.networks.as_deref().unwrap_or_default()
    }

    /// The port mappings, if any were said.
    pub(super) fn port_mappings(&self) -> Option<&[PortMapping]> {
        self.container.as_ref()?.port_mappings.as_deref()
    }

    /// Is the container one of Docker?
    pub(super) fn is_docker(&self) -> bool {
        self.container.as_ref().is_some_and(|container| container.kind == ContainerType::Docker)
    }

    /// How many ports health checks can point at by index (reference section 2.8).
    pub(super) fn port_count(&self) -> usize {
        let definitions = || self.port_definitions.as_ref().map_or(0, Vec::len);
        self.port_mappings().map_or_else(definitions, <[PortMapping]>::len)
    }
}
