//! Shapes of health checks, informational checks and readiness checks (reference section 2.8).

use super::grammar::*;
use super::node::Node;
use crate::app::model::*;

const PROTOCOLS: &[(&str, HealthProtocol)] = &[
    ("HTTP", HealthProtocol::Http),
    ("HTTPS", HealthProtocol::Https),
    ("TCP", HealthProtocol::Tcp),
    ("COMMAND", HealthProtocol::Command),
    ("MESOS_HTTP", HealthProtocol::MesosHttp),
    ("MESOS_HTTPS", HealthProtocol::MesosHttps),
    ("MESOS_TCP", HealthProtocol::MesosTcp),
];
const IP_PROTOCOLS: &[(&str, IpProtocol)] = &[("IPv4", IpProtocol::V4), ("IPv6", IpProtocol::V6)];
const SCHEMES: &[(&str, HttpScheme)] = &[("HTTP", HttpScheme::Http), ("HTTPS", HttpScheme::Https)];

pub(super) fn health_check(node: Node<'_>) -> Option<HealthCheck> {
    let check = node.object()?;
    let seconds = |name, default| check.optional(name, count).unwrap_or(default);
    let protocol = check.optional("protocol", |node| node.choice(PROTOCOLS));
    let ip_protocol = check.optional("ipProtocol", |node| node.choice(IP_PROTOCOLS));
    Some(HealthCheck {
        protocol: protocol.unwrap_or(HealthProtocol::Http),
        command: check.optional("command", command),
        delay_seconds: seconds("delaySeconds", 15),
        grace_period_seconds: seconds("gracePeriodSeconds", 300),
        ignore_http1xx: check.optional("ignoreHttp1xx", Node::flag),
        interval_seconds: seconds("intervalSeconds", 60),
        ip_protocol: ip_protocol.unwrap_or(IpProtocol::V4),
        max_consecutive_failures: seconds("maxConsecutiveFailures", 3),
        path: check.optional("path", Node::text),
        port: check.optional("port", port),
        port_index: check.optional("portIndex", port).map(u32::from),
        timeout_seconds: seconds("timeoutSeconds", 20),
    })
}

fn command(node: Node<'_>) -> Option<CheckCommand> {
    Some(CheckCommand { value: node.object()?.required("value", Node::text)? })
}

pub(super) fn check(node: Node<'_>) -> Option<Check> {
    let check = node.object()?;
    let seconds = |name, default| check.optional(name, count).unwrap_or(default);
    Some(Check {
        http: check.optional("http", http_check),
        tcp: check.optional("tcp", tcp_check),
        exec: check.optional("exec", exec_check),
        interval_seconds: seconds("intervalSeconds", 60),
        timeout_seconds: seconds("timeoutSeconds", 20),
        delay_seconds: seconds("delaySeconds", 15),
    })
}

fn http_check(node: Node<'_>) -> Option<HttpCheck> {
    let check = node.object()?;
    let scheme = check.optional("scheme", |node| node.choice(SCHEMES));
    Some(HttpCheck {
        port_index: check.optional("portIndex", port).map(u32::from),
        port: check.optional("port", port),
        path: check.optional("path", short),
        scheme: scheme.unwrap_or(HttpScheme::Http),
    })
}

fn tcp_check(node: Node<'_>) -> Option<TcpCheck> {
    let check = node.object()?;
    let port_index = check.optional("portIndex", port).map(u32::from);
    Some(TcpCheck { port_index, port: check.optional("port", port) })
}

fn exec_check(node: Node<'_>) -> Option<ExecCheck> {
    Some(ExecCheck { command: node.object()?.required("command", exec_command)? })
}

/// `{shell}` or `{argv}`; like every union the last alternative gets the blame.
fn exec_command(node: Node<'_>) -> Option<ExecCommand> {
    let command = node.object()?;
    if command.get("shell").is_some() {
        return command.optional("shell", non_empty).map(|shell| ExecCommand::Shell { shell });
    }
    command.required("argv", texts).map(|argv| ExecCommand::Argv { argv })
}

pub(super) fn readiness_check(node: Node<'_>) -> Option<ReadinessCheck> {
    let check = node.object()?;
    let text = |name: &str, default: &str, read: fn(Node<'_>) -> Option<String>| {
        check.optional(name, read).unwrap_or_else(|| default.to_owned())
    };
    let codes = check.optional("httpStatusCodesForReady", |node| node.set(status_code));
    Some(ReadinessCheck {
        name: text("name", "readinessCheck", non_empty),
        protocol: check.optional("protocol", |node| node.choice(SCHEMES)).unwrap_or(HttpScheme::Http),
        path: text("path", "/", short),
        port_name: text("portName", "http-api", ready_port_name),
        interval_seconds: check.optional("intervalSeconds", count).unwrap_or(30),
        timeout_seconds: check.optional("timeoutSeconds", |node| node.int(1, u32::MAX)).unwrap_or(10),
        http_status_codes_for_ready: codes.unwrap_or_default(),
        preserve_last_response: check.optional("preserveLastResponse", Node::flag).unwrap_or(false),
    })
}

fn status_code(node: Node<'_>) -> Option<u16> {
    node.int(100, 999).and_then(|code| u16::try_from(code).ok())
}
