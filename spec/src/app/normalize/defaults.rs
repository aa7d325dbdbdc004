//! What a complete definition gets without saying it, where it depends on other fields: ports by network
//! mode, strategies by volumes, the role (reference sections 2.1, 2.4 and 2.6).

use std::collections::BTreeMap;

use crate::app::model::*;
use crate::app::raw::{RawApp, RawContainer};
use crate::features::Features;

/// Fills in everything that validation wants to see, after the deprecated fields are gone.
pub(in crate::app) fn complete(raw: &mut RawApp, features: &Features) {
    networks(raw, features);
    ports(raw);
    health_checks(raw);
    readiness_codes(raw);
    strategies(raw);
    raw.role.get_or_insert_with(|| features.default_role.clone());
}

fn networks(raw: &mut RawApp, features: &Features) {
    let networks = raw.networks.get_or_insert_default();
    if networks.is_empty() {
        networks.push(Network { mode: NetworkMode::Host, name: None, labels: BTreeMap::new() });
    }
    for network in networks.iter_mut().filter(|network| network.mode == NetworkMode::Container) {
        network.name = network.name.take().or_else(|| features.default_network_name.clone());
    }
}

/// The table of reference section 2.4.
fn ports(raw: &mut RawApp) {
    if raw.networks().iter().any(|network| network.mode == NetworkMode::Host) {
        raw.container.iter_mut().for_each(|container| container.port_mappings = None);
        raw.port_definitions.get_or_insert_with(|| vec![default_definition()]);
        return;
    }
    let declared = raw.port_definitions.take().map_or(0, |definitions| definitions.len());
    let bridged = raw.networks().iter().any(|network| network.mode == NetworkMode::Bridge);
    match raw.container.as_mut() {
        Some(container) => mappings(container, declared),
        None => mappings(raw.container.insert(RawContainer::bare()), 0),
    }
    let container = raw.container.iter_mut().flat_map(|container| container.port_mappings.iter_mut());
    for mapping in container.flatten().filter(|_| bridged) {
        mapping.host_port.get_or_insert(0);
    }
    raw.require_ports = Some(false);
}

/// Ports declared the way of the host's network count, but say nothing else here.
fn mappings(container: &mut RawContainer, declared: usize) {
    let mappings = container.port_mappings.get_or_insert_with(|| vec![mapping(Some("default"))]);
    while mappings.len() < declared {
        mappings.push(mapping(None));
    }
}

fn mapping(name: Option<&str>) -> PortMapping {
    PortMapping {
        container_port: 0,
        host_port: None,
        labels: BTreeMap::new(),
        name: name.map(str::to_owned),
        protocol: Protocol::Tcp,
        service_port: 0,
        network_names: Vec::new(),
    }
}

fn default_definition() -> PortDefinition {
    let name = Some("default".to_owned());
    PortDefinition { labels: BTreeMap::new(), name, port: 0, protocol: Protocol::Tcp }
}

/// A check that names no port asks the first one (reference section 2.8).
fn health_checks(raw: &mut RawApp) {
    let has_ports = raw.port_count() > 0;
    for check in raw.health_checks.iter_mut().flatten() {
        let asks_port = check.protocol != HealthProtocol::Command;
        if has_ports && asks_port && check.port.is_none() && check.port_index.is_none() {
            check.port_index = Some(0);
        }
    }
}

fn readiness_codes(raw: &mut RawApp) {
    for check in raw.readiness_checks.iter_mut().flatten() {
        if check.http_status_codes_for_ready.is_empty() {
            check.http_status_codes_for_ready.push(200);
        }
    }
}

/// Apps with volumes of their own cannot run twice, not even during an upgrade.
fn strategies(raw: &mut RawApp) {
    let resident = raw.has_persistent_volumes();
    if resident {
        raw.residency.get_or_insert(Residency {
            relaunch_escalation_timeout_seconds: 3600,
            task_lost_behavior: TaskLostBehavior::WaitForever,
        });
    }
    let alone = raw.residency.is_some() || raw.has_external_volumes();
    let (minimum_health_capacity, maximum_over_capacity) = if alone { (0.5, 0.0) } else { (1.0, 1.0) };
    raw.upgrade_strategy.get_or_insert(UpgradeStrategy { minimum_health_capacity, maximum_over_capacity });
    raw.unreachable_strategy.get_or_insert(if resident {
        UnreachableStrategy::Disabled
    } else {
        UnreachableStrategy::Enabled { inactive_after_seconds: 0, expunge_after_seconds: 0 }
    });
}
