//! Placing a batch of tasks.

use std::sync::Arc;

use spec::app::App;
use spec::ids::AppId;
use spec::time::Timestamp;

use super::candidates::{Candidates, Order, Siblings};
use super::crowds::Crowds;
use super::explain::{Look, look};
use super::grain::Grain;
use super::ground::Ground;
use super::heads::Heads;
use super::index::Index;
use super::needs::Needs;
use super::ports;
use super::score::Policy;
use super::seed::mix;
use crate::state::{Placement, State, tasks_range};

/// The tasks of an app that has more than this are spread by load alone: many of them are on every agent, and
/// asking each agent how many would cost more than it brings.
const SIBLINGS_MAX: u32 = 2_000;

/// Tasks of one app to be placed.
#[derive(Clone, Debug)]
pub struct Demand {
    /// The definition to start from.
    pub app: Arc<App>,
    /// How many.
    pub count: u32,
}

/// What a plan depends on besides the state and the demands.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Which agents are good ones.
    pub policy: Policy,
    /// When.
    pub now: Timestamp,
    /// Decides between equals.
    pub seed: u64,
}

/// Where tasks go, and why others wait.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In the order they were decided: each holds when those before it have been applied.
    pub placements: Vec<Placement>,
    /// Apps not all of whose tasks could be placed.
    pub waiting: Vec<(AppId, Look)>,
}

/// Places as many of the demanded tasks as there is room for, app by app. The index makes it fast and has
/// no say in it: the same state, demands and terms give the same plan.
pub fn place(index: &mut Index, state: &State, demands: &[Demand], terms: Terms) -> Plan {
    index.follow(&state.agents);
    let tasks_count = demands.iter().fold(0, |sum: u32, demand| sum.saturating_add(demand.count));
    let grain = Grain::of(terms.policy, tasks_count, terms.seed);
    let mut planner = Planner { index, state, terms, grain, plan: Plan::default(), vain: Vec::new() };
    for (salt, demand) in (1..).zip(demands) {
        planner.place_app(demand, mix(terms.seed, salt));
    }
    let plan = planner.plan;
    index.give_back();
    plan
}

struct Planner<'a> {
    index: &'a mut Index,
    state: &'a State,
    terms: Terms,
    grain: Option<Grain>,
    plan: Plan,
    /// Needs that found no place, and why: agents only fill up, so their like need not look again.
    vain: Vec<(Needs, Look)>,
}

impl Planner<'_> {
    fn place_app(&mut self, demand: &Demand, seed: u64) {
        let needs = Needs::of(&demand.app);
        if let Some((_, look)) = self.vain.iter().find(|(other, _)| other.are_like(&needs)) {
            let look = Look { placed: 0, ..look.clone() };
            return self.plan.waiting.push((demand.app.id.clone(), look));
        }
        let ground = Ground::of(&needs, self.index);
        let mut crowds = self.crowds_of(&demand.app);
        let mut heads = self.index.keeper.heads(&demand.app.id, &crowds, &ground.counted);
        let placed = self.place_tasks(demand, &needs, &ground, &mut heads, seed);
        if placed < demand.count {
            self.add_placed(&mut crowds, &demand.app, placed);
            let ground = (&ground, &heads);
            let look = look(&needs, self.index, ground, &crowds, self.terms.now);
            let look = Look { placed, ..look };
            self.plan.waiting.push((demand.app.id.clone(), look.clone()));
            self.vain.push((needs, look));
        }
        self.index.keeper.keep(&demand.app.id, heads);
    }

    /// The last tasks of the plan, which are the app's, constrain too.
    fn add_placed(&self, crowds: &mut Crowds, app: &App, placed: u32) {
        let placements = self.plan.placements.iter().rev().take(placed as usize);
        for agent in placements.filter_map(|placement| self.state.agents.get(&placement.agent)) {
            crowds.add(app, &agent.info);
        }
    }

    /// Yields how many found a place.
    fn place_tasks(
        &mut self,
        demand: &Demand,
        needs: &Needs,
        ground: &Ground,
        heads: &mut Heads,
        seed: u64,
    ) -> u32 {
        let id = &demand.app.id;
        let tasks_count = self.state.apps.get(id).map_or(0, |entry| entry.tally.total);
        let siblings = Siblings::of((1..=SIBLINGS_MAX).contains(&tasks_count).then(|| tasks_range(id)));
        let order = Order { policy: self.terms.policy, grain: self.grain, seed };
        let count = demand.count as usize;
        let mut candidates = Candidates::new(needs, ground, order, siblings, heads, count);
        for placed in 0..demand.count {
            let salt = mix(seed, u64::from(placed));
            let found = candidates.next(self.index, heads);
            let ports = found.and_then(|pick| ports::choose(&needs.ports, &self.index.site(pick.site), salt));
            let (Some(pick), Some(host_ports)) = (found, ports) else {
                return placed;
            };
            self.index.take(pick.site, &needs.resources, &host_ports);
            self.grain.iter_mut().for_each(|grain| grain.placed(self.index, pick.site));
            ground.count(heads, pick.site);
            self.plan.placements.push(Placement {
                app: id.clone(),
                version: demand.app.version,
                agent: self.index.agent(pick.site).id.clone(),
                host_ports,
            });
            candidates.put_back(pick, self.index, heads);
        }
        demand.count
    }

    /// Where the tasks are that constrain one more.
    fn crowds_of(&self, app: &App) -> Crowds {
        let known = self.state.apps.get(&app.id).filter(|entry| entry.app.version == app.version);
        known.map_or_else(|| Crowds::count(self.state, app), |entry| entry.crowds.clone())
    }
}
