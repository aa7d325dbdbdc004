//! The container an app runs in and its volumes, as canonical data (reference sections 2.5 and 2.7).

use serde::{Deserialize, Serialize};

use super::PortMapping;
use super::is_default;

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
    Persistent { container_path: String, mode: VolumeMode, persistent: PersistentVolume },
    External { container_path: String, mode: VolumeMode, external: ExternalVolume },
    Secret { container_path: String, secret: String },
    Host { container_path: String, host_path: String, mode: VolumeMode },
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
    /// Shown even when empty, as Marathon does.
    #[serde(default)]
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
