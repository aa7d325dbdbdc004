//! Rules about health checks, informational checks and readiness checks (reference section 2.8).

use std::collections::BTreeSet;

use super::{Findings, Subject};
use crate::app::model::*;

pub(super) fn checks(subject: Subject<'_>, found: &mut Findings) {
    let checks = subject.app.health_checks.as_deref().unwrap_or_default();
    for (n, check) in checks.iter().enumerate() {
        health_check(subject, &format!("/healthChecks({n})"), check, found);
    }
    let by_agent = checks.iter().filter(|check| is_mesos(check.protocol)).count();
    found.need(by_agent <= 1, "/", "AppDefinition can contain at most one Mesos health check");
    subject.app.check.iter().for_each(|check| informational(subject, check, found));
    readiness(subject, found);
}

fn is_mesos(protocol: HealthProtocol) -> bool {
    use HealthProtocol::*;
    matches!(protocol, MesosHttp | MesosHttps | MesosTcp)
}

fn health_check(subject: Subject<'_>, at: &str, check: &HealthCheck, found: &mut Findings) {
    let command = check.protocol == HealthProtocol::Command;
    found.need(!command || check.command.is_some(), format!("{at}/command"), "not defined");
    if !command {
        let both = check.port.is_some() && check.port_index.is_some();
        found.need(!both, at, "HealthCheck must specify either a port or a portIndex");
    }
    if !command && !is_mesos(check.protocol) {
        let ports = subject.app.port_count();
        let found_port = match check.port_index {
            Some(index) => usize::try_from(index).is_ok_and(|index| index < ports),
            None => check.port.is_some() || ports == 1,
        };
        let message = "Health check port indices must address an element of the ports array or \
                       container port mappings.";
        found.need(found_port, at, message);
    }
    let v6 = check.ip_protocol == IpProtocol::V6;
    let can = is_mesos(check.protocol) && subject.app.is_docker();
    let message = "IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks";
    found.need(!v6 || can, at, message);
}

fn informational(subject: Subject<'_>, check: &Check, found: &mut Findings) {
    let docker = subject.app.is_docker();
    found.need(!docker, "/", "AppDefinition must not use 'checks' if using docker");
    let kinds = [check.http.is_some(), check.tcp.is_some(), check.exec.is_some()];
    let one = kinds.into_iter().filter(|given| *given).count() == 1;
    found.need(one, "/check", "Must specify a single type of check, http, tcp, or exec");
    let http = check.http.as_ref().and_then(|http| http.port_index);
    let index = http.or(check.tcp.as_ref().and_then(|tcp| tcp.port_index));
    let inside = index.is_none_or(|index| (index as usize) < subject.app.port_count());
    let message = "check port index must address an element of the ports array or container port mappings.";
    found.need(inside, "/check", message);
}

fn readiness(subject: Subject<'_>, found: &mut Findings) {
    let checks = subject.app.readiness_checks.as_deref().unwrap_or_default();
    let message = format!("got {}, expected 1 or less", checks.len());
    found.need(checks.len() <= 1, "/readinessChecks", message);
    let names = port_names(subject);
    for (n, check) in checks.iter().enumerate() {
        let at = format!("/readinessChecks({n})");
        let name = check.port_name.as_str();
        let message = format!("No port definition reference for portName {name}");
        found.need(names.contains(name), format!("{at}/portName"), message);
        let (timeout, interval) = (check.timeout_seconds, check.interval_seconds);
        let message = format!("got {timeout}, expected less than {interval}");
        found.need(timeout < interval, format!("{at}/timeoutSeconds"), message);
    }
}

fn port_names(subject: Subject<'_>) -> BTreeSet<&str> {
    let app = subject.app;
    match app.port_mappings() {
        Some(mappings) => mappings.iter().filter_map(|mapping| mapping.name.as_deref()).collect(),
        None => {
            let definitions = app.port_definitions.iter().flatten();
            definitions.filter_map(|definition| definition.name.as_deref()).collect()
        }
    }
}
