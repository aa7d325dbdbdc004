//! Network mode, published ports and resolvers of a container. Pure.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use bollard::models::{ContainerCreateBody, EndpointSettings, HostConfig, IpamConfig, PortBinding, PortMap};
use spec::app::{DeclaredPort, HostPort, NetworkMode, Protocol};

use super::create::host;
use crate::runtime::Launch;

/// Docker's name for the host's own network.
pub(super) const HOST: &str = "host";
/// Docker's name for its default network.
const BRIDGE: &str = "bridge";

/// Sets the network mode and publishes the declared ports that have a host port.
pub(super) fn apply(launch: &Launch, body: &mut ContainerCreateBody) -> Result<(), String> {
    let mode = mode(launch)?;
    host(body).network_mode = Some(mode);
    if launch.app.is_host_mode() {
        return Ok(());
    }
    let (exposed, bindings) = published(&launch.app.ports(), &launch.host_ports)?;
    body.exposed_ports = Some(exposed.into_iter().collect());
    host(body).port_bindings = Some(bindings);
    Ok(())
}

fn mode(launch: &Launch) -> Result<String, String> {
    let app = &launch.app;
    let mut attached = app.networks.iter().filter(|network| network.mode != NetworkMode::Host);
    let Some(network) = attached.next() else {
        return Ok(HOST.to_owned());
    };
    if attached.next().is_some() {
        return Err(
            "may only specify a single container network when using the Docker container engine".into()
        );
    }
    match (network.mode, &network.name) {
        (NetworkMode::Container, Some(name)) => Ok(name.clone()),
        (NetworkMode::Container, None) => {
            Err("Network name must be specified when container network is selected.".into())
        }
        _ => Ok(BRIDGE.to_owned()),
    }
}

/// Ports to expose and to bind. Host ports belong to the declared ports that get one, in order; a
/// container port of 0 is the host port's number (reference section 2.4).
fn published(
    declared: &[DeclaredPort<'_>],
    host_ports: &[u16],
) -> Result<(BTreeSet<String>, PortMap), String> {
    let mut allocated = host_ports.iter().copied();
    let mut exposed = BTreeSet::new();
    let mut bindings = PortMap::new();
    for port in declared {
        let host_port = match port.host {
            HostPort::None => None,
            _ => Some(allocated.next().ok_or_else(|| too_few(declared, host_ports))?),
        };
        let inside = port.container_port.filter(|number| *number != 0).or(host_port);
        let Some(inside) = inside else { continue };
        for protocol in protocols(port.protocol) {
            let key = format!("{inside}/{protocol}");
            exposed.insert(key.clone());
            if let Some(host_port) = host_port {
                bind(&mut bindings, key, None, host_port.to_string());
            }
        }
    }
    Ok((exposed, bindings))
}

fn too_few(declared: &[DeclaredPort<'_>], host_ports: &[u16]) -> String {
    let wanted = declared.iter().filter(|port| port.host != HostPort::None).count();
    format!("{wanted} host ports are declared, {} were allocated", host_ports.len())
}

fn protocols(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::Tcp => &["tcp"],
        Protocol::Udp => &["udp"],
        Protocol::UdpTcp => &["udp", "tcp"],
    }
}

/// Adds one binding of a port like `80/tcp`.
pub(super) fn bind(bindings: &mut PortMap, port: String, host_ip: Option<String>, host_port: String) {
    let list = bindings.entry(port).or_insert_with(|| Some(Vec::new()));
    list.get_or_insert_default().push(PortBinding { host_ip, host_port: Some(host_port) });
}

/// Gives the container the agent's resolver, unless the app chose its own by a parameter. Asked after
/// the parameters, which may also have changed the network.
pub(super) fn default_dns(launch: &Launch, host: &mut HostConfig) {
    if host.dns.is_some() {
        return;
    }
    // A network of the user's own lies on this machine too, and reaches the bridge's gateway.
    let resolver = match host.network_mode.as_deref() {
        Some(HOST) => launch.resolvers.host,
        _ => launch.resolvers.bridge,
    };
    host.dns = resolver.map(|address| vec![address.to_string()]);
}

/// The addresses in an inspected container's networks; none when it shares the host's.
pub(super) fn addresses(networks: Option<HashMap<String, EndpointSettings>>) -> Vec<IpAddr> {
    let mut networks: Vec<_> = networks.unwrap_or_default().into_iter().collect();
    networks.sort_by(|(left, _), (right, _)| left.cmp(right));
    networks
        .into_iter()
        .flat_map(|(_, endpoint)| [endpoint.ip_address, endpoint.global_ipv6_address])
        .filter_map(|address| address?.parse().ok())
        .collect()
}

/// The host's address in a bridge network. Unless it was configured, the Engine does not tell it: it is
/// the first of the subnet, since the bridge is the first to ask for one.
pub(super) fn gateway(config: IpamConfig) -> Option<IpAddr> {
    let told = config.gateway.as_deref().and_then(|text| text.parse().ok());
    told.or_else(|| {
        let (network, _) = config.subnet.as_deref()?.split_once('/')?;
        match network.parse().ok()? {
            IpAddr::V4(network) => Some(IpAddr::V4(u32::from(network).checked_add(1)?.into())),
            IpAddr::V6(network) => Some(IpAddr::V6(u128::from(network).checked_add(1)?.into())),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways() {
        let config = |subnet: &str, gateway: Option<&str>| IpamConfig {
            subnet: Some(subnet.to_owned()),
            gateway: gateway.map(str::to_owned),
            ..IpamConfig::default()
        };
        let text = |config| gateway(config).map(|address| address.to_string());
        assert_eq!(text(config("172.17.0.0/16", None)).as_deref(), Some("172.17.0.1"));
        assert_eq!(text(config("172.17.0.0/16", Some("172.17.9.9"))).as_deref(), Some("172.17.9.9"));
        assert_eq!(text(config("fd00::/64", None)).as_deref(), Some("fd00::1"));
        assert_eq!(text(config("nonsense", None)), None);
    }
}
