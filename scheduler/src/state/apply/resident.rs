//! What may not change about an app with persistent volumes: its tasks are bound to what was reserved for
//! them (reference section 2.12). One definition by itself cannot break these rules.

use spec::app::{App, DeclaredPort, HostPort, Volume};
use spec::{Violation, Violations};

use super::change::{Changed, Kind};
use crate::state::Refusal;

const VOLUMES: &str = "Persistent volumes can not be changed!";
const RESOURCES: &str = "Services with persistent volumes configured may not change resource requirements. \
                         If you need to make this change, please create a new service.";
const HOST_PORTS: &str = "Services with persistent volumes configured may not change host ports. If you need \
                          to make this change, please create a new service.";

/// Judges every app that changes; with `force` a role may change, nothing else.
pub(super) fn check(changed: &[Changed], force: bool) -> Result<(), Refusal> {
    let changed = changed.iter().filter(|changed| changed.kind != Kind::Unchanged);
    let mut found = Vec::new();
    for (n, changed) in changed.enumerate() {
        if let Some(original) = &changed.original {
            judge(n, original, &changed.app, force, &mut found);
        }
    }
    Violations::check(found).map_err(Refusal::Invalid)
}

fn judge(n: usize, from: &App, to: &App, force: bool, found: &mut Vec<Violation>) {
    let (volumes, wanted) = (persistent(from), persistent(to));
    if volumes.is_empty() && wanted.is_empty() {
        return;
    }
    let at = format!("/app({n})");
    let same_volumes = volumes.len() == wanted.len() && volumes.iter().all(|volume| wanted.contains(volume));
    let fixed = [
        ("cpus", from.cpus == to.cpus),
        ("mem", from.mem == to.mem),
        ("disk", from.disk == to.disk),
        ("gpus", from.gpus == to.gpus),
        ("requirePorts", from.require_ports == to.require_ports),
    ];
    let mut need = |holds: bool, path: String, message: &str| {
        if !holds {
            found.push(Violation::new(path, message));
        }
    };
    need(same_volumes, at.clone(), VOLUMES);
    for (field, same) in fixed {
        need(same, format!("{at}/{field}"), RESOURCES);
    }
    need(same_host_ports(&from.ports(), &to.ports()), at, HOST_PORTS);
    need(force || from.role == to.role, "/role".to_owned(), &role_message(&from.role, &to.role));
}

fn persistent(app: &App) -> Vec<&Volume> {
    let volumes = app.container.iter().flat_map(|container| &container.volumes);
    volumes.filter(|volume| matches!(volume, Volume::Persistent { .. })).collect()
}

/// As sets: another port that any host port serves asks for nothing new, as Marathon sees it.
fn same_host_ports(from: &[DeclaredPort<'_>], to: &[DeclaredPort<'_>]) -> bool {
    let all_in = |some: &[DeclaredPort<'_>], others: &[DeclaredPort<'_>]| {
        let asked = some.iter().filter(|port| port.host != HostPort::None);
        asked.into_iter().all(|port| others.iter().any(|other| other.host == port.host))
    };
    all_in(from, to) && all_in(to, from)
}

fn role_message(from: &str, to: &str) -> String {
    format!(
        "It is not possible to change the role for existing reservations. If you proceed with this change, all \
         existing instances will continue to run under the previous role, {from}. Only new instances will be \
         allocated with the new role, {to}. In order to continue, retry your request with ?force=true"
    )
}
