//! Rules about networks and ports (reference sections 2.4 and 2.6).

use std::collections::BTreeSet;

use super::{Findings, Subject, all_differ};
use crate::app::model::*;
use crate::app::read::grammar;

pub(super) fn networks(subject: Subject<'_>, found: &mut Findings) {
    let networks = subject.app.networks();
    let of = |mode| networks.iter().filter(move |network| network.mode == mode);
    let plain = of(NetworkMode::Host).all(|network| network.name.is_none() && network.labels.is_empty());
    found.need(plain, "/networks", "Host networks may not have names or labels");
    let unnamed = of(NetworkMode::Bridge).all(|network| network.name.is_none());
    found.need(unnamed, "/networks", "Bridge networks may not have names");
    let one_unnamed = of(NetworkMode::Container).filter(|network| network.name.is_none()).count() < 2;
    let names = all_differ(networks.iter().map(|network| network.name.as_ref()));
    found.need(one_unnamed && names, "/networks", "Duplicate networks are not allowed");
    let single = networks.len() == 1 || networks.len() == of(NetworkMode::Container).count();
    let message = "May specify a single host network, single bridge network, or else 1-to-n \
                   container networks";
    found.need(single, "/networks", message);
    let named = of(NetworkMode::Container).all(|network| network.name.is_some());
    let message = "Network name must be specified when container network is selected.";
    found.need(named, "/networks", message);
    names_readable(subject, found);
}

/// Names out of the old `ipAddress` are not checked when read, but must be readable once they are shown.
/// The operator's own default name is taken as it is.
fn names_readable(subject: Subject<'_>, found: &mut Findings) {
    let default = subject.features.default_network_name.as_deref();
    for (n, network) in subject.app.networks().iter().enumerate() {
        let Some(name) = network.name.as_deref().filter(|name| Some(*name) != default) else {
            continue;
        };
        let message = format!("must fully match regular expression '{}'", grammar::NETWORK_NAME_PATTERN);
        found.need(grammar::is_network_name(name), format!("/networks({n})/name"), message);
    }
}

pub(super) fn ports(subject: Subject<'_>, found: &mut Findings) {
    let definitions = subject.app.port_definitions.as_deref().unwrap_or_default();
    let names = all_differ(definitions.iter().map(|definition| definition.name.as_ref()));
    found.need(names, "/portDefinitions", "Port names must be unique.");
    let fixed = definitions.iter().map(|definition| Some(definition.port).filter(|port| *port != 0));
    found.need(all_differ(fixed), "/portDefinitions", "Ports must be unique.");
    let mappings = subject.app.port_mappings().unwrap_or_default();
    let names = all_differ(mappings.iter().map(|mapping| mapping.name.as_ref()));
    found.need(names, "/container/portMappings", "Port names must be unique.");
    mapping_networks(subject, found);
}

/// Which networks the mappings are of (reference section 2.4).
fn mapping_networks(subject: Subject<'_>, found: &mut Findings) {
    let networks = subject.app.networks();
    let containers = networks.iter().filter(|network| network.mode == NetworkMode::Container);
    let several = containers.count() > 1;
    let names: BTreeSet<&str> = networks.iter().filter_map(|network| network.name.as_deref()).collect();
    let listed: Vec<&str> = networks.iter().filter_map(|network| network.name.as_deref()).collect();
    let unknown = format!("is not one of ({})", listed[..listed.len().min(LISTED_MAX)].join(","));
    for (n, mapping) in subject.app.port_mappings().unwrap_or_default().iter().enumerate() {
        let at = format!("/container/portMappings({n})");
        let clear = mapping.host_port.is_none() || mapping.network_names.len() == 1;
        found.need(!several || clear, at.as_str(), ONE_NETWORK);
        for (m, name) in mapping.network_names.iter().enumerate() {
            let known = names.contains(name.as_str());
            found.need(known, format!("{at}/networkNames({m})"), unknown.as_str());
        }
    }
}

/// A message lists at most this many names.
const LISTED_MAX: usize = 32;
const ONE_NETWORK: &str = "networkNames must be a single item list when hostPort is specified and more than \
                           1 container network is defined";
