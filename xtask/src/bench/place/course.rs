//! Plan after plan as the control loop asks for them, each applied before the next; when all that a shape has is
//! placed it begins anew, with the cluster as it was before.

use std::time::Duration;

use anyhow::ensure;
use scheduler::placement::{self, Demand, Index, Plan, Terms};

use super::Place;
use super::shapes::Shape;
use super::world::World;

/// Most apps in one plan, as in the control loop.
const DEMANDS_MAX: usize = 128;

/// See the module.
pub struct Course {
    /// What each plan is asked for.
    plans: Vec<Vec<Demand>>,
    next: usize,
    before: (World, Index),
    world: World,
    index: Index,
    policy: placement::Policy,
    seed: u64,
}

/// What a plan took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    /// Placing, and taking in what the plan has changed in the state.
    pub placing: Duration,
    /// Applying it.
    pub applying: Duration,
}

impl Course {
    /// Of a shape, in this cluster.
    pub fn of(shape: Shape, mut world: World, options: &Place) -> anyhow::Result<Self> {
        let agents = world.state.agents.len();
        let apps = shape.apps(agents).map(|app| world.demand(app)).collect::<anyhow::Result<Vec<_>>>()?;
        let plans = plans(&apps, options.batch);
        ensure!(!plans.is_empty(), "{} agents are too few", agents);
        let (policy, index) = (options.policy, Index::default());
        let (before, now) = ((world.clone(), index.clone()), index);
        let mut course = Self { plans, next: 0, before, world, index: now, policy, seed: 0 };
        // Agents are read, and what the rules ask of them is worked out; a cluster does that once, not for a plan.
        course.plan(0);
        course.before.1 = course.index.clone();
        Ok(course)
    }

    /// Tasks that each plan is asked for.
    pub fn tasks_each(&self) -> u64 {
        self.plans[0].iter().map(|demand| u64::from(demand.count)).sum()
    }

    /// The next plan; `time` measures what it is given.
    pub fn step(&mut self, time: impl Fn(&mut dyn FnMut()) -> Duration) -> Took {
        if self.next == self.plans.len() {
            (self.world, self.index) = self.before.clone();
            self.next = 0;
        }
        let mut plan = Plan::default();
        let placing = time(&mut || plan = self.plan(self.next));
        let placements = std::mem::take(&mut plan.placements);
        let mut placements = Some(placements);
        let applying = time(&mut || self.world.place(placements.take().unwrap_or_default()));
        let terms = self.terms();
        let following = time(&mut || drop(placement::place(&mut self.index, &self.world.state, &[], terms)));
        self.next += 1;
        self.seed += 1;
        Took { placing: placing + following, applying }
    }

    fn plan(&mut self, number: usize) -> Plan {
        let terms = self.terms();
        placement::place(&mut self.index, &self.world.state, &self.plans[number], terms)
    }

    fn terms(&self) -> Terms {
        Terms { policy: self.policy, now: self.world.now(), seed: self.seed }
    }
}

/// The work, given out as the control loop does: so many tasks and apps at a time. All plans ask for as many tasks;
/// what is left over in the end is left out.
fn plans(apps: &[Demand], batch: usize) -> Vec<Vec<Demand>> {
    if let [Demand { app, count }] = apps {
        let each = (*count).min(u32::try_from(batch).unwrap_or(u32::MAX)).max(1);
        return (0..count / each).map(|_| vec![Demand { app: app.clone(), count: each }]).collect();
    }
    let of_one = apps.first().map_or(1, |demand| demand.count as usize);
    let each = (batch / of_one).clamp(1, DEMANDS_MAX.min(apps.len().max(1)));
    apps.chunks_exact(each).map(<[Demand]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::world::document;
    use super::*;
    use serde_json::json;

    fn options(batch: usize) -> Place {
        Place {
            agents: vec![],
            only: vec![],
            held: 0,
            batch,
            policy: placement::Policy::Spread,
            apply: false,
            seconds: 1.0,
            save: None,
            against: None,
        }
    }

    #[test]
    fn work_is_given_out_in_equal_portions() {
        let mut world = World::of(1);
        let mut of = |count: usize, n: usize| -> Vec<Demand> {
            let app = |n| document(&format!("/a{n}"), count, json!({}));
            (0..n).map(|n| world.demand(app(n)).unwrap()).collect()
        };
        let sums = |plans: Vec<Vec<Demand>>| -> Vec<(usize, u32)> {
            plans.iter().map(|plan| (plan.len(), plan.iter().map(|demand| demand.count).sum())).collect()
        };
        assert_eq!(sums(plans(&of(2500, 1), 1000)), [(1, 1000), (1, 1000)]);
        assert_eq!(sums(plans(&of(40, 1), 1000)), [(1, 40)]);
        assert_eq!(sums(plans(&of(10, 25), 100)), [(10, 100), (10, 100)]);
        assert_eq!(sums(plans(&of(1, 300), 1000)), [(128, 128), (128, 128)]);
        assert_eq!(sums(plans(&of(10, 3), 4)), [(1, 10), (1, 10), (1, 10)]);
    }

    #[test]
    fn every_shape_finds_places_for_all_or_none_of_its_tasks_and_begins_anew() {
        for shape in Shape::ALL {
            let world = shape.prepared(World::of(200)).unwrap();
            let held = world.state.tasks.len();
            let mut course = Course::of(shape, world, &options(50)).unwrap();
            let mut seen = BTreeSet::new();
            for _ in 0..2 * course.plans.len() {
                course.step(|work| {
                    work();
                    Duration::ZERO
                });
                seen.insert(course.world.state.tasks.len() - held);
            }
            let all = course.plans.len() * usize::try_from(course.tasks_each()).unwrap();
            let most = seen.last().copied().unwrap();
            assert_eq!(most, if shape == Shape::NothingFits { 0 } else { all }, "{shape:?}: {seen:?}");
            assert!(shape == Shape::NothingFits || seen.len() == course.plans.len(), "{shape:?}: {seen:?}");
        }
    }
}
