//! Placing a batch of tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use spec::app::App;
use spec::ids::AppId;
use spec::time::Timestamp;

use super::candidates::Candidates;
use super::explain::{Look, look};
use super::needs::Needs;
use super::ports;
use super::rules::Tallies;
use super::seed::mix;
use super::site::Site;
use crate::state::{Placement, State};

/// An app with more tasks than this is spread by load alone: counting its tasks an agent for every batch
/// would cost more than it brings.
const SIBLINGS_COUNTED_MAX: usize = 2_000;

/// Tasks of one app to be placed.
#[derive(Clone, Debug)]
pub struct Demand {
    /// The definition to start from.
    pub app: Arc<App>,
    /// How many.
    pub count: u32,
}

/// Where tasks go, and why others wait.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In the order they were decided: each holds when those before it have been applied.
    pub placements: Vec<Placement>,
    /// Apps not all of whose tasks could be placed.
    pub waiting: Vec<(AppId, Look)>,
}

/// Places as many of the demanded tasks as there is room for, app by app.
pub fn place(state: &State, demands: &[Demand], now: Timestamp, seed: u64) -> Plan {
    let mut sites: Vec<Site<'_>> = state.agents.values().map(|agent| Site::of(agent)).collect();
    let mut plan = Plan::default();
    for (salt, demand) in (1..).zip(demands) {
        let look = place_app(state, &mut sites, &mut plan.placements, demand, mix(seed, salt), now);
        plan.waiting.extend(look.map(|look| (demand.app.id.clone(), look)));
    }
    plan
}

/// Places the tasks of one app; yields a look at every agent when some found no place.
fn place_app(
    state: &State,
    sites: &mut [Site<'_>],
    placements: &mut Vec<Placement>,
    demand: &Demand,
    seed: u64,
    now: Timestamp,
) -> Option<Look> {
    let needs = Needs::of(&demand.app);
    let mut tallies = Tallies::count(state, &demand.app, &needs.rules);
    let siblings = siblings(state, sites, &demand.app.id);
    let mut candidates = Candidates::new(&needs, siblings, demand.count as usize, seed);
    for placed in 0..demand.count {
        let salt = mix(seed, u64::from(placed));
        let found = candidates.next(sites, &tallies);
        let ports = found.and_then(|pick| ports::choose(&needs.ports, &sites[pick.site], salt));
        let (Some(pick), Some(host_ports)) = (found, ports) else {
            return Some(look(&needs, sites, &tallies, placed, now));
        };
        let site = &mut sites[pick.site];
        site.take(&needs.resources, &host_ports);
        tallies.add(site.agent, &needs.rules);
        placements.push(Placement {
            app: demand.app.id.clone(),
            version: demand.app.version,
            agent: site.agent.id.clone(),
            host_ports,
        });
        candidates.put_back(pick, sites, &tallies);
    }
    None
}

/// Tasks of the app by position of their agent.
fn siblings(state: &State, sites: &[Site<'_>], app: &AppId) -> BTreeMap<usize, u32> {
    let mut counts = BTreeMap::new();
    for (counted, task) in state.tasks_of(app).enumerate() {
        if counted >= SIBLINGS_COUNTED_MAX {
            return BTreeMap::new();
        }
        // Sites are in the order of the agents' table, by id.
        if let Ok(site) = sites.binary_search_by(|site| site.agent.id.cmp(&task.agent)) {
            *counts.entry(site).or_default() += 1;
        }
    }
    counts
}
