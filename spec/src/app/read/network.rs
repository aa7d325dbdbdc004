//! Shapes of networks and ports, canonical and deprecated (reference sections 2.4 and 2.6).

use super::grammar::*;
use super::node::Node;
use crate::app::model::*;
use crate::app::raw::IpAddress;

const MODES: &[(&str, NetworkMode)] = &[
    ("container", NetworkMode::Container),
    ("container/bridge", NetworkMode::Bridge),
    ("host", NetworkMode::Host),
];
/// `tcp,udp` is not among them (reference section 2.4).
const PROTOCOLS: &[(&str, Protocol)] =
    &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("udp,tcp", Protocol::UdpTcp)];

pub(super) fn network(node: Node<'_>) -> Option<Network> {
    let network = node.object()?;
    Some(Network {
        mode: network.optional("mode", |node| node.choice(MODES)).unwrap_or(NetworkMode::Container),
        name: network.optional("name", network_name),
        labels: network.optional("labels", labels).unwrap_or_default(),
    })
}

fn protocol(node: Node<'_>) -> Option<Protocol> {
    node.choice(PROTOCOLS)
}

pub(super) fn port_definition(node: Node<'_>) -> Option<PortDefinition> {
    let definition = node.object()?;
    Some(PortDefinition {
        labels: definition.optional("labels", labels).unwrap_or_default(),
        name: definition.optional("name", port_name),
        port: definition.optional("port", port).unwrap_or(0),
        protocol: definition.optional("protocol", protocol).unwrap_or(Protocol::Tcp),
    })
}

pub(super) fn port_mapping(node: Node<'_>) -> Option<PortMapping> {
    let mapping = node.object()?;
    let names = mapping.optional("networkNames", |node| node.list(network_name));
    Some(PortMapping {
        container_port: mapping.optional("containerPort", port).unwrap_or(0),
        host_port: mapping.optional("hostPort", port),
        labels: mapping.optional("labels", labels).unwrap_or_default(),
        name: mapping.optional("name", port_name),
        protocol: mapping.optional("protocol", protocol).unwrap_or(Protocol::Tcp),
        service_port: mapping.optional("servicePort", port).unwrap_or(0),
        network_names: names.unwrap_or_default(),
    })
}

/// `groups` has never meant anything and is not looked at.
pub(super) fn ip_address(node: Node<'_>) -> Option<IpAddress> {
    let address = node.object()?;
    Some(IpAddress {
        network_name: address.optional("networkName", non_empty),
        labels: address.optional("labels", labels).unwrap_or_default(),
        discovery: address.optional("discovery", discovery),
    })
}

fn discovery(node: Node<'_>) -> Option<Vec<PortMapping>> {
    let ports = node.object()?.optional("ports", |node| node.list(discovery_port));
    Some(ports.unwrap_or_default())
}

/// The old form could not map container ports to host ports (reference section 2.6).
fn discovery_port(node: Node<'_>) -> Option<PortMapping> {
    let object = node.object()?;
    let name = object.required("name", port_name);
    let container_port = object.optional("number", port).unwrap_or(0);
    let labels = object.optional("labels", labels).unwrap_or_default();
    let protocol = object.optional("protocol", protocol).unwrap_or(Protocol::Tcp);
    let (host_port, service_port, network_names) = (None, 0, Vec::new());
    Some(PortMapping {
        container_port,
        host_port,
        labels,
        name: Some(name?),
        protocol,
        service_port,
        network_names,
    })
}
