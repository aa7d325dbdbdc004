//! Service ports: 0 in a definition is replaced by a number of the range that no app has (reference
//! section 2.4). The index of what apps have is kept here too.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use spec::app::App;

use super::Change;
use crate::state::{AppEntry, PutApp, Refusal, State};

/// The definitions of a change with their service ports assigned. Numbers of the old apps and of the new
/// definitions are both taken; an app's own former ones come first.
pub(super) fn assign(state: &State, put: Vec<PutApp>, range: (u16, u16)) -> Result<Vec<Arc<App>>, Refusal> {
    let mut apps: Vec<Arc<App>> = put.into_iter().map(|put| put.app.0).collect();
    if !apps.iter().any(|app| wants_ports(app)) {
        return Ok(apps);
    }
    let mut free = FreePorts::new(state, range, &apps);
    for app in apps.iter_mut().filter(|app| wants_ports(app)) {
        let mut former = former_ports(app, state.app(&app.id), range);
        for port in service_ports_mut(Arc::make_mut(app)).filter(|port| **port == 0) {
            *port = former.pop_front().map_or_else(|| free.take(), Ok)?;
        }
    }
    Ok(apps)
}

fn wants_ports(app: &App) -> bool {
    numbers(app).any(|port| port == 0)
}

/// Ports from the range that the app had and does not name now.
fn former_ports(app: &App, entry: Option<&Arc<AppEntry>>, (first, last): (u16, u16)) -> VecDeque<u16> {
    let named: BTreeSet<u16> = service_ports(app).collect();
    let former = entry.into_iter().flat_map(|entry| service_ports(&entry.app).collect::<Vec<_>>());
    former.filter(|port| (first..=last).contains(port) && !named.contains(port)).collect()
}

/// Numbers of the range that nobody has, lowest first.
struct FreePorts<'a> {
    state: &'a State,
    named: BTreeSet<u16>,
    range: (u16, u16),
    /// Everything below is taken. Wider than a port, so that it can be past the last one.
    next: u32,
}

impl<'a> FreePorts<'a> {
    fn new(state: &'a State, range: (u16, u16), apps: &[Arc<App>]) -> Self {
        let named = apps.iter().flat_map(|app| service_ports(app)).collect();
        Self { state, named, range, next: u32::from(range.0) }
    }

    fn take(&mut self) -> Result<u16, Refusal> {
        let (first, last) = self.range;
        let end = u32::from(last) + 1;
        while let Some(port) = u16::try_from(self.next).ok().filter(|port| *port <= last) {
            self.next += 1;
            if port != 0 && !self.state.service_ports.contains_key(&port) && !self.named.contains(&port) {
                return Ok(port);
            }
        }
        Err(Refusal::NoServicePort(first, end))
    }
}

/// The assigned service ports of an app, in order.
pub(in crate::state) fn service_ports(app: &App) -> impl Iterator<Item = u16> {
    numbers(app).filter(|port| *port != 0)
}

/// The service ports of an app as [`App::ports`] has them, 0 for those that are not assigned.
fn numbers(app: &App) -> impl Iterator<Item = u16> {
    let on_host = app.is_host_mode();
    let definitions = app.port_definitions.iter().flatten().filter(move |_| on_host);
    let mappings = app.container.iter().flat_map(|container| container.port_mappings.iter().flatten());
    let mappings = mappings.filter(move |_| !on_host).map(|mapping| mapping.service_port);
    definitions.map(|definition| definition.port).chain(mappings)
}

fn service_ports_mut(app: &mut App) -> Box<dyn Iterator<Item = &mut u16> + '_> {
    if app.is_host_mode() {
        let definitions = app.port_definitions.iter_mut().flatten();
        return Box::new(definitions.map(|definition| &mut definition.port));
    }
    let mappings = app.container.iter_mut().filter_map(|container| container.port_mappings.as_mut());
    Box::new(mappings.flatten().map(|mapping| &mut mapping.service_port))
}

impl State {
    /// Notes the ports of an app that exists from now on.
    pub(in crate::state) fn claim_service_ports(&mut self, app: &App) {
        for port in service_ports(app) {
            *self.service_ports.entry(port).or_default() += 1;
        }
    }
}

impl Change<'_> {
    /// Notes the ports of an app that replaces `original`.
    pub(super) fn replace_service_ports(&mut self, original: Option<&App>, app: &App) {
        if original.is_some_and(|original| service_ports(original).eq(service_ports(app))) {
            return;
        }
        if let Some(original) = original {
            self.release_service_ports(original);
        }
        self.state.claim_service_ports(app);
    }

    /// Strikes out the ports of an app that changes or goes.
    pub(super) fn release_service_ports(&mut self, app: &App) {
        for port in service_ports(app) {
            let users = self.state.service_ports.get(&port).copied().unwrap_or_default();
            match users {
                0 | 1 => self.state.service_ports.remove(&port),
                _ => self.state.service_ports.insert(port, users - 1),
            };
        }
    }
}
