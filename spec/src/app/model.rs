//! The canonical app definition, after normalisation. Serialized by serde it is exactly Marathon's JSON
//! (reference section 2.1): deprecated fields never appear, absent optionals are left out.
//!
//! No rules here: see `validate`. No reading of users' documents either: `Deserialize` reads back what
//! `Serialize` wrote and is not forgiving.

// The fields are Marathon's, by its names; reference section 2 says what each means.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::AppId;
use crate::resources::Resources;
use crate::time::Timestamp;

/// Marathon writes a double that is whole as an integer.
pub(crate) fn whole_as_integer<S: Serializer>(
    value: &f64,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        serializer.serialize_i64(*value as i64)
    } else {
        serializer.serialize_f64(*value)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// An app as it is stored, deployed and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    pub id: AppId,
    #[serde(default, skip_serializing_if = "is_default")]
    pub accepted_resource_roles: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub args: Vec<String>,
    #[serde(serialize_with = "whole_as_integer")]
    pub backoff_factor: f64,
    pub backoff_seconds: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub check: Option<Check>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub cmd: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub constraints: Vec<Constraint>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub container: Option<Container>,
    #[serde(serialize_with = "whole_as_integer")]
    pub cpus: f64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub dependencies: Vec<String>,
    #[serde(serialize_with = "whole_as_integer")]
    pub disk: f64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub env: BTreeMap<String, EnvValue>,
    pub executor: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub executor_resources: Option<ExecutorResources>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub fetch: Vec<Artifact>,
    pub gpus: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub health_checks: Vec<HealthCheck>,
    pub instances: u32,
    pub kill_selection: KillSelection,
    pub labels: BTreeMap<String, String>,
    pub max_launch_delay_seconds: u32,
    #[serde(serialize_with = "whole_as_integer")]
    pub mem: f64,
    pub networks: Vec<Network>,
    /// Present (perhaps empty) in host mode, absent otherwise.
    #[serde(default, skip_serializing_if = "is_default")]
    pub port_definitions: Option<Vec<PortDefinition>>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub readiness_checks: Vec<ReadinessCheck>,
    pub require_ports: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub residency: Option<Residency>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub resource_limits: Option<ResourceLimits>,
    pub role: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub secrets: BTreeMap<String, Secret>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub task_kill_grace_period_seconds: Option<u32>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tty: Option<bool>,
    pub unreachable_strategy: UnreachableStrategy,
    pub upgrade_strategy: UpgradeStrategy,
    #[serde(default, skip_serializing_if = "is_default")]
    pub user: Option<String>,
    pub version: Timestamp,
    /// Absent until stored.
    #[serde(default, skip_serializing_if = "is_default")]
    pub version_info: Option<VersionInfo>,
}

/// When the definition last changed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    /// Last change of `instances` (or of anything).
    pub last_scaling_at: Timestamp,
    /// Last change of anything but `instances`. A task started from an older one is outdated.
    pub last_config_change_at: Timestamp,
}

/// A literal or a reference to an entry of `secrets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EnvValue {
    Plain(String),
    Secret { secret: String },
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    pub source: String,
}

/// `[field, OPERATOR]` or `[field, OPERATOR, value]` (reference section 2.10).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Constraint {
    pub field: String,
    pub operator: Operator,
    pub value: Option<String>,
}

/// What a constraint demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Operator {
    Unique,
    Cluster,
    GroupBy,
    Like,
    Unlike,
    MaxPer,
    Is,
}

impl Operator {
    /// The name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unique => "UNIQUE",
            Self::Cluster => "CLUSTER",
            Self::GroupBy => "GROUP_BY",
            Self::Like => "LIKE",
            Self::Unlike => "UNLIKE",
            Self::MaxPer => "MAX_PER",
            Self::Is => "IS",
        }
    }

    /// From the exact name.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Unique,
            Self::Cluster,
            Self::GroupBy,
            Self::Like,
            Self::Unlike,
            Self::MaxPer,
            Self::Is,
        ]
        .into_iter()
        .find(|operator| operator.name() == name)
    }
}

impl Serialize for Constraint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            [self.field.as_str(), self.operator.name()]
                .into_iter()
                .chain(self.value.as_deref()),
        )
    }
}

impl<'de> Deserialize<'de> for Constraint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut parts = Vec::<String>::deserialize(deserializer)?.into_iter();
        let (Some(field), Some(operator)) = (parts.next(), parts.next()) else {
            return Err(serde::de::Error::custom(
                "a constraint has two or three parts",
            ));
        };
        let operator = Operator::from_name(&operator)
            .ok_or_else(|| serde::de::Error::custom(format!("unknown operator {operator}")))?;
        Ok(Self {
            field,
            operator,
            value: parts.next(),
        })
    }
}

/// The container to run in (reference section 2.5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    #[serde(rename = "type")]
    pub kind: ContainerType,
    #[serde(default, skip_serializing_if = "is_default")]
    pub docker: Option<DockerImage>,
    pub volumes: Vec<Volume>,
    /// Absent in host mode.
    #[serde(default, skip_serializing_if = "is_default")]
    pub port_mappings: Option<Vec<PortMapping>>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub linux_info: Option<LinuxInfo>,
}

/// Which containerizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ContainerType {
    Mesos,
    Docker,
}

/// The image and how to run it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerImage {
    pub image: String,
    pub force_pull_image: bool,
    pub privileged: bool,
    #[serde(default)]
    pub parameters: Vec<DockerParameter>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub pull_config: Option<PullConfig>,
}

/// One `docker run` option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DockerParameter {
    pub key: String,
    pub value: String,
}

/// Registry credentials by secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullConfig {
    pub secret: String,
}

/// Seccomp and IPC of a MESOS container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinuxInfo {
    #[serde(default, skip_serializing_if = "is_default")]
    pub seccomp: Option<Seccomp>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub ipc_info: Option<IpcInfo>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seccomp {
    #[serde(default, skip_serializing_if = "is_default")]
    pub profile_name: Option<String>,
    pub unconfined: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpcInfo {
    pub mode: IpcMode,
    #[serde(default, skip_serializing_if = "is_default")]
    pub shm_size: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IpcMode {
    Private,
    ShareParent,
}

/// Something mounted at `containerPath` (reference section 2.7).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Volume {
    Persistent {
        container_path: String,
        mode: VolumeMode,
        persistent: PersistentVolume,
    },
    External {
        container_path: String,
        mode: VolumeMode,
        external: ExternalVolume,
    },
    Secret {
        container_path: String,
        secret: String,
    },
    Host {
        container_path: String,
        host_path: String,
        mode: VolumeMode,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum VolumeMode {
    Ro,
    Rw,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PersistentVolume {
    #[serde(rename = "type", default, skip_serializing_if = "is_default")]
    pub kind: Option<PersistentVolumeType>,
    pub size: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_size: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub profile_name: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub constraints: Vec<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PersistentVolumeType {
    Root,
    Path,
    Mount,
}

/// A volume of another system. `options` is kept as it came, provider by provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalVolume {
    #[serde(default, skip_serializing_if = "is_default")]
    pub size: Option<u32>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub provider: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub options: serde_json::Map<String, serde_json::Value>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub shared: Option<bool>,
}

/// A network the app is attached to (reference section 2.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub mode: NetworkMode,
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    #[serde(rename = "host")]
    Host,
    #[serde(rename = "container")]
    Container,
    #[serde(rename = "container/bridge")]
    Bridge,
}

/// `tcp`, `udp`, or both on one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    #[serde(rename = "tcp")]
    Tcp,
    #[serde(rename = "udp")]
    Udp,
    #[serde(rename = "udp,tcp")]
    UdpTcp,
}

/// A port in host mode; `port` is the service port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortDefinition {
    #[serde(default, skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: Option<String>,
    pub port: u16,
    pub protocol: Protocol,
}

/// A port in bridge or container mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    pub container_port: u16,
    #[serde(default, skip_serializing_if = "is_default")]
    pub host_port: Option<u16>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: Option<String>,
    pub protocol: Protocol,
    pub service_port: u16,
    #[serde(default, skip_serializing_if = "is_default")]
    pub network_names: Vec<String>,
}

/// Something to download into the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    pub uri: String,
    pub extract: bool,
    pub executable: bool,
    pub cache: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub dest_path: Option<String>,
}

/// How to tell whether a task is healthy (reference section 2.8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    pub protocol: HealthProtocol,
    #[serde(default, skip_serializing_if = "is_default")]
    pub command: Option<CheckCommand>,
    pub delay_seconds: u32,
    pub grace_period_seconds: u32,
    /// Only shown (and only meant) for HTTP and HTTPS.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ignore_http1xx: Option<bool>,
    pub interval_seconds: u32,
    pub ip_protocol: IpProtocol,
    pub max_consecutive_failures: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub port: Option<u16>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub port_index: Option<u32>,
    pub timeout_seconds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HealthProtocol {
    Http,
    Https,
    Tcp,
    Command,
    MesosHttp,
    MesosHttps,
    MesosTcp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpProtocol {
    #[serde(rename = "IPv4")]
    V4,
    #[serde(rename = "IPv6")]
    V6,
}

/// A shell command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckCommand {
    pub value: String,
}

/// An informational check (1.7+): never kills. Kept as Marathon writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    #[serde(default, skip_serializing_if = "is_default")]
    pub http: Option<HttpCheck>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tcp: Option<TcpCheck>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub exec: Option<ExecCheck>,
    pub interval_seconds: u32,
    pub timeout_seconds: u32,
    pub delay_seconds: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpCheck {
    #[serde(default, skip_serializing_if = "is_default")]
    pub port_index: Option<u32>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub port: Option<u16>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub path: Option<String>,
    pub scheme: HttpScheme,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpCheck {
    #[serde(default, skip_serializing_if = "is_default")]
    pub port_index: Option<u32>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecCheck {
    pub command: ExecCommand,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ExecCommand {
    Shell { shell: String },
    Argv { argv: Vec<String> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpScheme {
    Http,
    Https,
}

/// Gates a rolling upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessCheck {
    pub name: String,
    pub protocol: HttpScheme,
    pub path: String,
    pub port_name: String,
    pub interval_seconds: u32,
    pub timeout_seconds: u32,
    pub http_status_codes_for_ready: Vec<u16>,
    pub preserve_last_response: bool,
}

/// Limits above the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceLimits {
    #[serde(default, skip_serializing_if = "is_default")]
    pub cpus: Option<Limit>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub mem: Option<Limit>,
}

/// A number or `"unlimited"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    Amount(f64),
    Unlimited,
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Amount(amount) => whole_as_integer(amount, serializer),
            Self::Unlimited => serializer.serialize_str("unlimited"),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        match (value.as_f64(), value.as_str()) {
            (Some(amount), _) => Ok(Self::Amount(amount)),
            (_, Some("unlimited")) => Ok(Self::Unlimited),
            _ => Err(serde::de::Error::custom(
                "a limit is a number or \"unlimited\"",
            )),
        }
    }
}

/// Resources of a custom executor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecutorResources {
    #[serde(serialize_with = "whole_as_integer")]
    pub cpus: f64,
    #[serde(serialize_with = "whole_as_integer")]
    pub mem: f64,
    #[serde(serialize_with = "whole_as_integer")]
    pub disk: f64,
}

/// Deprecated; no effect beyond validation, as in Marathon since 1.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Residency {
    pub relaunch_escalation_timeout_seconds: u64,
    pub task_lost_behavior: TaskLostBehavior,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskLostBehavior {
    WaitForever,
    RelaunchAfterTimeout,
}

/// Who goes first when an app shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KillSelection {
    YoungestFirst,
    OldestFirst,
}

/// How many may be missing and how many may be surplus during an upgrade, as fractions of `instances`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeStrategy {
    #[serde(serialize_with = "whole_as_integer")]
    pub maximum_over_capacity: f64,
    #[serde(serialize_with = "whole_as_integer")]
    pub minimum_health_capacity: f64,
}

/// What happens to tasks of an agent that is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreachableStrategy {
    Disabled,
    Enabled {
        inactive_after_seconds: u64,
        expunge_after_seconds: u64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum UnreachableForm {
    Disabled(String),
    #[serde(rename_all = "camelCase")]
    Enabled {
        inactive_after_seconds: u64,
        expunge_after_seconds: u64,
    },
}

impl Serialize for UnreachableStrategy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Disabled => UnreachableForm::Disabled("disabled".to_owned()),
            Self::Enabled {
                inactive_after_seconds,
                expunge_after_seconds,
            } => UnreachableForm::Enabled {
                inactive_after_seconds,
                expunge_after_seconds,
            },
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for UnreachableStrategy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match UnreachableForm::deserialize(deserializer)? {
            UnreachableForm::Disabled(_) => Self::Disabled,
            UnreachableForm::Enabled {
                inactive_after_seconds,
                expunge_after_seconds,
            } => Self::Enabled {
                inactive_after_seconds,
                expunge_after_seconds,
            },
        })
    }
}

/// One port of the app as the agent and the task see it, whatever the network mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredPort<'a> {
    pub name: Option<&'a str>,
    pub protocol: Protocol,
    pub labels: &'a BTreeMap<String, String>,
    /// Port inside the container's network; `None` in host mode, `Some(0)` means "as the host port".
    pub container_port: Option<u16>,
    /// What is asked of the agent's ports.
    pub host: HostPort,
    pub service_port: u16,
}

/// What an app asks of the agent's ports for one of its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPort {
    /// None is allocated (container networks without `hostPort`).
    None,
    /// Any free one.
    Dynamic,
    /// Exactly this one.
    Fixed(u16),
}

impl App {
    /// What one task of this app reserves.
    pub fn resources(&self) -> Resources {
        Resources::from_document(self.cpus, self.mem, self.disk, self.gpus)
    }

    /// The time of the last change that makes running tasks outdated; `version` until stored.
    pub fn config_version(&self) -> Timestamp {
        self.version_info
            .map_or(self.version, |info| info.last_config_change_at)
    }

    /// Does the app share the agent's network?
    pub fn is_host_mode(&self) -> bool {
        self.networks
            .iter()
            .all(|network| network.mode == NetworkMode::Host)
    }

    /// The declared ports, in order. Host ports of a task are allocated for those whose `host` is not
    /// [`HostPort::None`], in the same order (reference section 2.4).
    pub fn ports(&self) -> Vec<DeclaredPort<'_>> {
        if self.is_host_mode() {
            let definitions = self.port_definitions.as_deref().unwrap_or_default();
            return definitions
                .iter()
                .map(|port| self.host_mode_port(port))
                .collect();
        }
        let mappings = self
            .container
            .as_ref()
            .and_then(|container| container.port_mappings.as_deref());
        mappings
            .unwrap_or_default()
            .iter()
            .map(mapped_port)
            .collect()
    }

    fn host_mode_port<'a>(&self, definition: &'a PortDefinition) -> DeclaredPort<'a> {
        DeclaredPort {
            name: definition.name.as_deref(),
            protocol: definition.protocol,
            labels: &definition.labels,
            container_port: None,
            host: if self.require_ports {
                HostPort::Fixed(definition.port)
            } else {
                HostPort::Dynamic
            },
            service_port: definition.port,
        }
    }
}

fn mapped_port(mapping: &PortMapping) -> DeclaredPort<'_> {
    DeclaredPort {
        name: mapping.name.as_deref(),
        protocol: mapping.protocol,
        labels: &mapping.labels,
        container_port: Some(mapping.container_port),
        host: match mapping.host_port {
            None => HostPort::None,
            Some(0) => HostPort::Dynamic,
            Some(port) => HostPort::Fixed(port),
        },
        service_port: mapping.service_port,
    }
}

/// An app inside binary formats (log entries, snapshots, the agent protocol): its JSON as bytes, so that
/// the definition can gain fields without breaking what was written before.
#[derive(Clone, Debug, PartialEq)]
pub struct AppDocument(pub Arc<App>);

impl Serialize for AppDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = serde_json::to_vec(&*self.0).map_err(serde::ser::Error::custom)?;
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for AppDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        serde_json::from_slice(&bytes)
            .map(|app| Self(Arc::new(app)))
            .map_err(serde::de::Error::custom)
    }
}
