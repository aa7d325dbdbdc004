//! Networks and ports, as canonical data (reference sections 2.4 and 2.6).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::is_default;

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
    /// Shown even when empty, unlike those of port definitions: so does Marathon.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: Option<String>,
    pub protocol: Protocol,
    pub service_port: u16,
    #[serde(default, skip_serializing_if = "is_default")]
    pub network_names: Vec<String>,
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

pub(super) fn mapped_port(mapping: &PortMapping) -> DeclaredPort<'_> {
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
