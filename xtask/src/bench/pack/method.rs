//! Ways to choose machines: ours, which is the scheduler's own placement, and others'.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use scheduler::placement::{self, Demand, Index, Policy, Terms};
use spec::app::App;
use spec::protocol::AgentInfo;

use super::others::{self, Other};
use crate::bench::place::world::World;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) enum Method {
    /// Ours.
    Gantry(Policy),
    /// Somebody else's.
    Other(Other),
}

impl Method {
    /// Places apps of one task each, in this order, into an empty cluster. The positions of those that find no place;
    /// when there are more than `most`, perhaps not all of them.
    pub(super) fn unplaced(
        self,
        agents: &[AgentInfo],
        apps: &[Arc<App>],
        seed: u64,
        most: usize,
    ) -> Vec<usize> {
        match self {
            Self::Gantry(policy) => placed_by_us(agents, apps, policy, seed),
            Self::Other(other) => others::unplaced(other, agents, apps, seed, most),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gantry(Policy::Pack) => f.write_str("pack"),
            Self::Gantry(Policy::Spread) => f.write_str("spread"),
            Self::Gantry(Policy::First) => f.write_str("first fit"),
            Self::Other(other) => {
                let value = clap::ValueEnum::to_possible_value(other);
                f.write_str(value.as_ref().map_or("", |value| value.get_name()))
            }
        }
    }
}

fn placed_by_us(agents: &[AgentInfo], apps: &[Arc<App>], policy: Policy, seed: u64) -> Vec<usize> {
    let world = World::with(agents.iter().cloned());
    let demands: Vec<_> = apps.iter().map(|app| Demand { app: app.clone(), count: 1 }).collect();
    let terms = Terms { policy, now: world.now(), seed };
    let plan = placement::place(&mut Index::default(), &world.state, &demands, terms);
    let numbers: BTreeMap<_, _> = apps.iter().enumerate().map(|(number, app)| (&app.id, number)).collect();
    let mut waiting: Vec<_> = plan.waiting.iter().filter_map(|(app, _)| numbers.get(app).copied()).collect();
    waiting.sort_unstable();
    waiting
}
