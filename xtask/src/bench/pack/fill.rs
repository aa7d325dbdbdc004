//! Tasks one after the other into a cluster, until one does not fit, and on to the end.

use std::fmt;
use std::sync::Arc;

use scheduler::placement::{self, Demand, Index, Plan, Policy, Terms};
use spec::app::App;
use spec::protocol::AgentInfo;
use spec::resources::Resources;

use super::trace::{Gpus, Node, Task};
use super::{PICKY_OF_1000, POLICIES};
use crate::bench::place::world::World;

/// Machines and tasks, as Gantry sees them.
pub(super) struct Work {
    pub(super) agents: Vec<AgentInfo>,
    pub(super) apps: Vec<Arc<App>>,
}

/// Shares of what a cluster has, in hundredths.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
struct Shares {
    cpus: f64,
    mem: f64,
    gpus: f64,
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cpus {:5.1} %, mem {:5.1} %, gpus {:5.1} %", self.cpus, self.mem, self.gpus)
    }
}

impl Work {
    pub(super) fn of(nodes: &[Node], tasks: &[Task], gpus: Gpus) -> anyhow::Result<Self> {
        let agents = nodes.iter().enumerate().map(|(number, node)| node.agent(number, gpus)).collect();
        let apps = tasks
            .iter()
            .enumerate()
            .map(|(number, task)| task.app(number, gpus))
            .collect::<Result<_, _>>()?;
        Ok(Self { agents, apps })
    }

    /// What all tasks ask for, of what all machines have.
    pub(super) fn asked(&self) -> impl fmt::Display {
        self.share_of(self.apps.iter())
    }

    /// Do these machines have as much as all tasks ask for, but for the few that may stay behind?
    pub(super) fn are_enough(&self, machines: &[AgentInfo]) -> bool {
        let picky = self.apps.len() * PICKY_OF_1000 / 1000;
        let mut asked: Vec<_> = self.apps.iter().map(|app| app.resources()).collect();
        let kinds: [fn(&Resources) -> u64; 3] = [|it| it.cpus_milli, |it| it.mem_mib, |it| it.gpus];
        kinds.into_iter().all(|of| {
            // Whatever is short, those that ask for most of it stay behind.
            asked.sort_unstable_by_key(of);
            let wanted: u64 = asked[..asked.len() - picky].iter().map(of).sum();
            wanted <= machines.iter().map(|agent| of(&agent.capacity)).sum()
        })
    }

    fn share_of<'a>(&self, apps: impl Iterator<Item = &'a Arc<App>>) -> Shares {
        let sum = |all: Resources, one: Resources| all.plus(&one);
        let asked = apps.map(|app| app.resources()).fold(Resources::default(), sum);
        let there = self.agents.iter().map(|agent| agent.capacity).fold(Resources::default(), sum);
        let share = |asked: u64, there: u64| asked as f64 * 100.0 / there.max(1) as f64;
        Shares {
            cpus: share(asked.cpus_milli, there.cpus_milli),
            mem: share(asked.mem_mib, there.mem_mib),
            gpus: share(asked.gpus, there.gpus),
        }
    }
}

/// Places apps of one task each, in this order, into an empty cluster.
pub(super) fn place(agents: &[AgentInfo], apps: &[Arc<App>], policy: Policy, seed: u64) -> Plan {
    let world = World::with(agents.iter().cloned());
    let demands: Vec<_> = apps.iter().map(|app| Demand { app: app.clone(), count: 1 }).collect();
    let terms = Terms { policy, now: world.now(), seed };
    placement::place(&mut Index::default(), &world.state, &demands, terms)
}

/// Fills the cluster in the order of the table, and in orders drawn from seeds.
pub(super) fn run(work: &Work, seeds: u64) {
    for (name, policy) in POLICIES {
        let (first, all) = filled(work, &work.apps, policy, 0);
        println!("{name:10} as listed:  until the first that does not fit {first}; in the end {all}");
        let mut runs: Vec<_> = (1..=seeds)
            .map(|seed| {
                let mut apps = work.apps.clone();
                fastrand::Rng::with_seed(seed).shuffle(&mut apps);
                filled(work, &apps, policy, seed)
            })
            .collect();
        runs.sort_by(|a, b| a.0.gpus.total_cmp(&b.0.gpus));
        if let Some((first, all)) = runs.get(runs.len() / 2) {
            println!("{name:10} shuffled:   until the first that does not fit {first}; in the end {all}");
        }
    }
}

/// What is reserved when the first task finds no place, and when all were tried.
fn filled(work: &Work, apps: &[Arc<App>], policy: Policy, seed: u64) -> (Shares, Shares) {
    let plan = place(&work.agents, apps, policy, seed);
    let waits: std::collections::BTreeSet<_> = plan.waiting.iter().map(|(app, _)| app).collect();
    let first = apps.iter().take_while(|app| !waits.contains(&app.id));
    let all = apps.iter().filter(|app| !waits.contains(&app.id));
    (work.share_of(first), work.share_of(all))
}
