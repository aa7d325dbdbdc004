//! The deprecated fields, each translated into what replaced it: `uris`, `ports`, `ipAddress`,
//! `container.docker.network`, `container.docker.portMappings` (reference sections 2.1, 2.4 and 2.6).
//! Serves complete definitions and updates alike, so it fills in no defaults.

use std::collections::BTreeMap;

use crate::app::model::*;
use crate::app::raw::{DockerNetwork, IpAddress, RawApp, RawContainer};
use crate::features::Features;
use crate::violation::{Violation, Violations};

/// Takes the deprecated fields out of `raw`. Fails where two forms of one thing contradict each other.
pub(in crate::app) fn translate(raw: &mut RawApp, features: &Features) -> Result<(), Violations> {
    translate_uris(raw);
    let translated = translate_networks(raw, features).and_then(|()| translate_container(raw));
    translated.map_err(|violation| Violations::invalid(vec![violation]))?;
    let ports = raw.ports.take();
    raw.port_definitions = raw.port_definitions.take().or_else(|| ports.map(definitions));
    raw.ip_address = None;
    Ok(())
}

fn definitions(ports: Vec<u16>) -> Vec<PortDefinition> {
    let definition =
        |port| PortDefinition { labels: BTreeMap::new(), name: None, port, protocol: Protocol::Tcp };
    ports.into_iter().map(definition).collect()
}

fn translate_uris(raw: &mut RawApp) {
    let uris = raw.uris.take().unwrap_or_default();
    if !uris.is_empty() && raw.fetch.as_ref().is_none_or(Vec::is_empty) {
        raw.fetch = Some(uris.into_iter().map(artifact).collect());
    }
}

fn artifact(uri: String) -> Artifact {
    let extract = is_archive(&uri);
    Artifact { uri, extract, executable: false, cache: false, dest_path: None }
}

fn is_archive(uri: &str) -> bool {
    const ENDINGS: [&str; 9] =
        [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".gz", ".tgz", ".tbz2", ".txz", ".zip"];
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    ENDINGS.iter().any(|ending| path.ends_with(ending))
}

/// The table of reference section 2.6.
fn translate_networks(raw: &mut RawApp, features: &Features) -> Result<(), Violation> {
    let docker = raw.container.as_mut().and_then(|container| container.docker.as_mut());
    let docker_network = docker.and_then(|docker| docker.network.take());
    let said = raw.networks.as_ref().is_some_and(|networks| !networks.is_empty());
    if said || (docker_network.is_none() && raw.ip_address.is_none()) {
        return Ok(());
    }
    let address = raw.ip_address.as_ref();
    let labels = address.map(|address| address.labels.clone()).unwrap_or_default();
    let name = address.and_then(|address| address.network_name.clone());
    let network = match docker_network {
        Some(DockerNetwork::Host) => network(NetworkMode::Host, None, Default::default()),
        Some(DockerNetwork::Bridge) => network(NetworkMode::Bridge, None, labels),
        Some(DockerNetwork::User) => network(NetworkMode::Container, name, labels),
        Some(DockerNetwork::None) => {
            let message = "unsupported docker network type NONE";
            return Err(Violation::new("/container/docker/network", message));
        }
        // Nobody should name the bridge like this, but Marathon is tolerant.
        None if name.as_ref() == Some(&features.bridge_name) => network(NetworkMode::Bridge, None, labels),
        None => network(NetworkMode::Container, name, labels),
    };
    raw.networks = Some(vec![network]);
    Ok(())
}

fn network(mode: NetworkMode, name: Option<String>, labels: BTreeMap<String, String>) -> Network {
    Network { mode, name, labels }
}

fn translate_container(raw: &mut RawApp) -> Result<(), Violation> {
    if raw.container.is_none() && raw.ip_address.is_some() {
        raw.container = Some(RawContainer::bare());
    }
    let Some(container) = raw.container.as_mut() else {
        return Ok(());
    };
    move_docker_mappings(container)?;
    raw.ip_address.as_mut().map_or(Ok(()), |address| move_discovery(container, address))
}

fn move_docker_mappings(container: &mut RawContainer) -> Result<(), Violation> {
    let Some(old) = container.docker.as_mut().and_then(|docker| docker.port_mappings.take()) else {
        return Ok(());
    };
    match &container.port_mappings {
        None => container.port_mappings = Some(old),
        Some(_) if old.is_empty() => {}
        Some(_) => {
            let message = "cannot specify both portMappings and docker.portMappings";
            return Err(Violation::new("/container/portMappings", message));
        }
    }
    Ok(())
}

/// Discovery ports of a Docker container were refused before (reference section 2.6).
fn move_discovery(container: &mut RawContainer, address: &mut IpAddress) -> Result<(), Violation> {
    let ports = address.discovery.take().unwrap_or_default();
    if ports.is_empty() {
        return Ok(());
    }
    if container.port_mappings.is_some() {
        let message = "container.portMappings and ipAddress.discovery.ports must not both be set";
        return Err(Violation::new("/container/portMappings", message));
    }
    container.port_mappings = Some(ports);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_told_by_the_path() {
        assert!(is_archive("http://h/a.tgz"));
        assert!(is_archive("http://h/a.tar.gz?token=1#x"));
        assert!(!is_archive("http://h/a?file=b.zip"));
        assert!(!is_archive("http://h/zip"));
    }
}
