//! Shapes of work. None depends on how many tasks there are already, but by what these leave free.

use serde_json::{Value, json};

use super::world::{World, document};

/// Most apps of a shape.
const APPS_MAX: usize = 10_000;

/// What is to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
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
    /// All.
    pub const ALL: [Self; 8] = [
        Self::Identical,
        Self::Different,
        Self::Unique,
        Self::Racks,
        Self::Hosts,
        Self::SmallSpread,
        Self::NearlyFull,
        Self::NothingFits,
    ];

    /// As the command line says it.
    pub fn name(self) -> &'static str {
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

    /// Does it say itself what runs before?
    pub fn is_prepared(self) -> bool {
        matches!(self, Self::NearlyFull | Self::NothingFits)
    }

    /// The cluster with what runs before anything is measured.
    pub fn prepared(self, mut world: World) -> anyhow::Result<World> {
        if self.is_prepared() {
            // Whole agents but for the last core, except on every fiftieth.
            let agents = world.state.agents.len();
            let filler = document("/filler", agents, json!({"cpus": 31, "mem": 100_000}));
            world.fill(filler, 1, |n| n % 50 != 49)?;
        }
        Ok(world)
    }

    /// The apps: in the end some tasks on every agent, or as many as there is room for.
    pub fn apps(self, agents: usize) -> Box<dyn Iterator<Item = Value>> {
        let one = |count, changes| -> Box<dyn Iterator<Item = Value>> {
            Box::new(std::iter::once(document("/app", count, changes)))
        };
        let many = |count: usize, of: fn(usize) -> Value| -> Box<dyn Iterator<Item = Value>> {
            Box::new((0..count).map(of))
        };
        match self {
            Self::Identical => one(2 * agents, json!({})),
            Self::Different => many(agents.min(APPS_MAX), different),
            Self::Unique => one(agents, json!({"constraints": [["hostname", "UNIQUE"]]})),
            Self::Racks => one(2 * agents, json!({"constraints": [["rack", "GROUP_BY"]]})),
            Self::Hosts => one(2 * agents, json!({"constraints": [["hostname", "GROUP_BY"]]})),
            Self::SmallSpread => many((agents / 5).min(APPS_MAX), |n| {
                let rules = json!([["rack", "GROUP_BY"], ["hostname", "UNIQUE"]]);
                document(&format!("/s{n}"), 10, json!({"constraints": rules}))
            }),
            Self::NearlyFull => many((agents / 5).min(APPS_MAX), |n| {
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
