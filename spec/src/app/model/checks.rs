//! Health checks, informational checks and readiness checks, as canonical data (reference section 2.8).

use serde::{Deserialize, Serialize};

use super::is_default;

/// How to tell whether a task is healthy (reference section 2.8).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum IpProtocol {
    #[serde(rename = "IPv4")]
    V4,
    #[serde(rename = "IPv6")]
    V6,
}

/// A shell command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
