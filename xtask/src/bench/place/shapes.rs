//! Shapes of work.

use scheduler::placement::Demand;
use serde_json::{Value, json};

use super::world::{World, document};

/// What is to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One app of many tasks.
    Identical,
    /// Apps of one task each, no two alike.
    Different,
    /// One app with as many tasks as there are agents, each on its own.
    Unique,
    /// One app spread evenly over racks.
    Racks,
    /// One app spread evenly over hosts.
    Hosts,
    /// Apps of ten tasks, in racks evenly and never two on a host.
    SmallSpread,
    /// Apps of one task each in a cluster where one agent in fifty has room.
    NearlyFull,
    /// Apps of one task each that fit nowhere, no two alike.
    NothingFits,
}

impl Shape {
    pub(super) const ALL: [Self; 8] = [
        Self::Identical,
        Self::Different,
        Self::Unique,
        Self::Racks,
        Self::Hosts,
        Self::SmallSpread,
        Self::NearlyFull,
        Self::NothingFits,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::Different => "different",
            Self::Unique => "unique",
            Self::Racks => "racks",
            Self::Hosts => "hosts",
            Self::SmallSpread => "small-spread",
            Self::NearlyFull => "nearly-full",
            Self::NothingFits => "nothing-fits",
        }
    }

    /// What runs before anything is measured.
    pub(super) fn prepare(self, world: &mut World) -> anyhow::Result<()> {
        if !matches!(self, Self::NearlyFull | Self::NothingFits) {
            return Ok(());
        }
        let agents = world.state.agents.len();
        // Whole agents but for the last core, except on every fiftieth.
        let filler = document("/filler", agents, json!({"cpus": 31, "mem": 100_000}));
        let filler = world.demand(filler)?.app;
        let full = world.state.agents.keys().enumerate().filter(|(n, _)| n % 50 != 49);
        let placement = |agent: &spec::AgentId| scheduler::state::Placement {
            app: filler.id.clone(),
            version: filler.version,
            agent: agent.clone(),
            host_ports: vec![31_000],
        };
        let placements = full.map(|(_, agent)| placement(agent)).collect();
        world.place(placements);
        Ok(())
    }

    /// The apps, with `tasks` for every agent where that is open.
    pub(super) fn apps(self, agents: usize, tasks: usize) -> Box<dyn Iterator<Item = Value>> {
        let all = agents * tasks;
        let one = |count, changes| -> Box<dyn Iterator<Item = Value>> {
            Box::new(std::iter::once(document("/app", count, changes)))
        };
        let many = |count: usize, of: fn(usize) -> Value| -> Box<dyn Iterator<Item = Value>> {
            Box::new((0..count).map(of))
        };
        match self {
            Self::Identical => one(all, json!({})),
            Self::Different => many((all / 4).min(50_000), different),
            Self::Unique => one(agents, json!({"constraints": [["hostname", "UNIQUE"]]})),
            Self::Racks => one(all / 4, json!({"constraints": [["rack", "GROUP_BY"]]})),
            Self::Hosts => one(all / 4, json!({"constraints": [["hostname", "GROUP_BY"]]})),
            Self::SmallSpread => many((all / 40).min(2_500), |n| {
                let rules = json!([["rack", "GROUP_BY"], ["hostname", "UNIQUE"]]);
                document(&format!("/s{n}"), 10, json!({"constraints": rules}))
            }),
            Self::NearlyFull => many(agents / 5, |n| {
                document(&format!("/n{n}"), 1, json!({"cpus": 1.1 + (n % 1000) as f64 / 1000.0}))
            }),
            Self::NothingFits => {
                many(1_000, |n| document(&format!("/x{n}"), 1, json!({"cpus": 33.0 + n as f64 / 1000.0})))
            }
        }
    }
}

fn different(n: usize) -> Value {
    let (cpus, mem) = (0.1 + (n % 997) as f64 / 1000.0, 64 + n % 1499);
    document(&format!("/d{n}"), 1, json!({"cpus": cpus, "mem": mem}))
}

impl World {
    /// Stores an app; all its tasks are missing.
    pub(super) fn demand(&mut self, document: Value) -> anyhow::Result<Demand> {
        let app = self.put(document)?;
        Ok(Demand { count: app.instances, app })
    }
}
