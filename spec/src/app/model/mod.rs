//! The canonical app definition, after normalisation. Serialized by serde it is exactly Marathon's JSON
//! (reference section 2.1): deprecated fields never appear, absent optionals are left out.
//!
//! No rules here: see `validate`. No reading of users' documents either: `Deserialize` reads back what
//! `Serialize` wrote and is not forgiving.

// The fields are Marathon's, by its names; reference section 2 says what each means.
#![allow(missing_docs)]

mod checks;
mod container;
mod network;
mod strategies;

pub use checks::*;
pub use container::*;
pub use network::*;
pub use strategies::*;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::AppId;
use crate::resources::Resources;
use crate::time::Timestamp;

/// Marathon writes a double that is whole as an integer.
pub(crate) fn whole_as_integer<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Constraint {
    pub field: String,
    pub operator: Operator,
    pub value: Option<String>,
}

/// What a constraint demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
        [Self::Unique, Self::Cluster, Self::GroupBy, Self::Like, Self::Unlike, Self::MaxPer, Self::Is]
            .into_iter()
            .find(|operator| operator.name() == name)
    }
}

impl Serialize for Constraint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_seq([self.field.as_str(), self.operator.name()].into_iter().chain(self.value.as_deref()))
    }
}

impl<'de> Deserialize<'de> for Constraint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut parts = Vec::<String>::deserialize(deserializer)?.into_iter();
        let (Some(field), Some(operator)) = (parts.next(), parts.next()) else {
            return Err(serde::de::Error::custom("a constraint has two or three parts"));
        };
        let operator = Operator::from_name(&operator)
            .ok_or_else(|| serde::de::Error::custom(format!("unknown operator {operator}")))?;
        Ok(Self { field, operator, value: parts.next() })
    }
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

impl App {
    /// What one task of this app reserves.
    pub fn resources(&self) -> Resources {
        Resources::from_document(self.cpus, self.mem, self.disk, self.gpus)
    }

    /// The time of the last change that makes running tasks outdated; `version` until stored.
    pub fn config_version(&self) -> Timestamp {
        self.version_info.map_or(self.version, |info| info.last_config_change_at)
    }

    /// Does the app share the agent's network?
    pub fn is_host_mode(&self) -> bool {
        self.networks.iter().all(|network| network.mode == NetworkMode::Host)
    }

    /// The declared ports, in order. Host ports of a task are allocated for those whose `host` is not
    /// [`HostPort::None`], in the same order (reference section 2.4).
    pub fn ports(&self) -> Vec<DeclaredPort<'_>> {
        if self.is_host_mode() {
            let definitions = self.port_definitions.as_deref().unwrap_or_default();
            return definitions.iter().map(|port| self.host_mode_port(port)).collect();
        }
        let mappings = self.container.as_ref().and_then(|container| container.port_mappings.as_deref());
        mappings.unwrap_or_default().iter().map(mapped_port).collect()
    }

    fn host_mode_port<'a>(&self, definition: &'a PortDefinition) -> DeclaredPort<'a> {
        DeclaredPort {
            name: definition.name.as_deref(),
            protocol: definition.protocol,
            labels: &definition.labels,
            container_port: None,
            host: if self.require_ports { HostPort::Fixed(definition.port) } else { HostPort::Dynamic },
            service_port: definition.port,
        }
    }
}

/// An app inside the agent protocol, and inside what masters before 0.2 read: its JSON as bytes, so that the
/// definition can gain fields without breaking what was written before.
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
        deserializer.deserialize_bytes(JsonBytes)
    }
}

/// Reads a definition where its bytes lie: every master reads every change.
struct JsonBytes;

impl serde::de::Visitor<'_> for JsonBytes {
    type Value = AppDocument;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the JSON of an app as bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<AppDocument, E> {
        serde_json::from_slice(bytes).map(|app| AppDocument(Arc::new(app))).map_err(E::custom)
    }
}
