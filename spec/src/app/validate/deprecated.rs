//! Rules about deprecated fields, judged before they are translated, and those that only updates have
//! (reference sections 1.1, 2.4, 2.5 and 2.6).

use super::{Findings, all_differ, uri};
use crate::app::model::*;
use crate::app::raw::{RawApp, RawContainer};
use crate::violation::Violation;

/// Rules for the deprecated fields of a definition or an update.
pub(in crate::app) fn deprecated(app: &RawApp) -> Vec<Violation> {
    let mut found = Findings::default();
    app.container.iter().for_each(|container| old_docker(container, &mut found));
    uris(app, &mut found);
    old_ports(app, &mut found);
    families(app, &mut found);
    found.0
}

fn old_docker(container: &RawContainer, found: &mut Findings) {
    let Some(docker) = &container.docker else {
        return;
    };
    let is_mesos = container.kind == ContainerType::Mesos;
    let must_be_empty = [
        ("credential", docker.credential),
        ("network", is_mesos && docker.network.is_some()),
        ("parameters", is_mesos && !docker.image.parameters.is_empty()),
        ("portMappings", is_mesos && docker.port_mappings.is_some()),
    ];
    for (field, given) in must_be_empty {
        found.need(!given, format!("/container/docker/{field}"), "must be empty");
    }
    let names = docker.port_mappings.iter().flatten().map(|mapping| mapping.name.as_ref());
    found.need(all_differ(names), "/container/docker/portMappings", "Port names must be unique.");
}

fn uris(app: &RawApp, found: &mut Findings) {
    let uris = app.uris.as_deref().unwrap_or_default();
    for (n, uri) in uris.iter().enumerate() {
        found.need(uri::is_valid(uri), format!("/uris({n})"), "URI has invalid syntax.");
    }
    let both = !uris.is_empty() && app.fetch.as_ref().is_some_and(|fetch| !fetch.is_empty());
    found.need(!both, "/uris", "may not be set in conjunction with fetch");
}

fn old_ports(app: &RawApp, found: &mut Findings) {
    let fixed = app.ports.iter().flatten().map(|port| Some(*port).filter(|port| *port != 0));
    found.need(all_differ(fixed), "/", "ports must be unique");
    if let (Some(ports), Some(definitions)) = (&app.ports, &app.port_definitions) {
        let equal = definitions.iter().map(|definition| &definition.port).eq(ports);
        found.need(equal, "/", "cannot specify both ports and port definitions");
    }
}

/// The networks of an app are said in one way only.
fn families(app: &RawApp, found: &mut Findings) {
    let docker = app.container.as_ref().and_then(|container| container.docker.as_ref());
    let docker_network = docker.is_some_and(|docker| docker.network.is_some());
    let networks = !app.networks().is_empty();
    let message = "must not specify both container.docker.network and networks";
    found.need(!(docker_network && networks), "/", message);
    let Some(address) = &app.ip_address else {
        return;
    };
    found.need(!networks, "/", "must not specify both networks and ipAddress");
    let ports = app.ports.as_ref().is_some_and(|ports| !ports.is_empty());
    let definitions = app.port_definitions.as_ref().is_some_and(|ports| !ports.is_empty());
    found.need(!ports && !definitions, "/", "cannot specify both an IP address and port");
    let discovery = address.discovery.is_some() && app.is_docker();
    found.need(!discovery, "/ipAddress", "ipAddress/discovery is not allowed for Docker containers");
}

/// Rules that only updates have: what they say together must fit together, whatever the app has.
pub(in crate::app) fn update(update: &RawApp) -> Vec<Violation> {
    let mut found = Findings::default();
    let has = |host| update.networks().iter().any(|network| (network.mode == NetworkMode::Host) == host);
    let mappings = update.port_mappings().is_some_and(|mappings| !mappings.is_empty());
    found.need(!(has(true) && mappings), "/", "portMappings are not allowed with host-networking");
    let definitions = update.port_definitions.as_ref().is_some_and(|ports| !ports.is_empty());
    found.need(!(has(false) && definitions), "/", "portDefinitions are only allowed with host-networking");
    let bare = RawApp { id: update.id.clone(), version: update.version, ..RawApp::default() };
    let message = "The 'version' field may only be combined with the 'id' field.";
    found.need(update.version.is_none() || *update == bare, "/", message);
    found.0
}
