//! Tasks one after the other into a cluster, until one does not fit, and on to the end.

use std::fmt;
use std::sync::Arc;

use spec::app::App;
use spec::protocol::AgentInfo;
use spec::resources::Resources;

use super::method::Method;
use super::trace::{Gpus, Node, Task};
use super::{PICKY_OF_1000, of_each_seed};

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

/// What the columns of [`run`] are.
pub(super) const HEADING: &str =
    "reserved, %          first failure, as listed   median of the orders      all tried, median
                      cpus    mem   gpus        cpus    mem   gpus       cpus    mem   gpus";

/// Fills the cluster in the order of the table, and in orders drawn from seeds: what is reserved when the first task
/// finds no place, and when all were tried.
pub(super) fn run(work: &Work, method: Method, seeds: u64) -> String {
    let (listed, _) = filled(work, &work.apps, method, 0);
    let runs = of_each_seed(seeds, |seed| {
        let mut apps = work.apps.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut apps);
        filled(work, &apps, method, seed)
    });
    let (first, all): (Vec<_>, Vec<_>) = runs.into_iter().unzip();
    let row = |Shares { cpus, mem, gpus }: Shares| format!("{cpus:6.1} {mem:6.1} {gpus:6.1}");
    format!(
        "{:20} {}      {}     {}",
        method.to_string(),
        row(listed),
        row(median(&first)),
        row(median(&all))
    )
}

/// Of each kind by itself.
fn median(runs: &[Shares]) -> Shares {
    let of = |kind: fn(&Shares) -> f64| {
        let mut shares: Vec<_> = runs.iter().map(kind).collect();
        shares.sort_by(f64::total_cmp);
        shares.get(shares.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Shares { cpus: of(|it| it.cpus), mem: of(|it| it.mem), gpus: of(|it| it.gpus) }
}

fn filled(work: &Work, apps: &[Arc<App>], method: Method, seed: u64) -> (Shares, Shares) {
    let waiting = method.unplaced(&work.agents, apps, seed, usize::MAX);
    let first = waiting.first().copied().unwrap_or(apps.len());
    let waiting: std::collections::BTreeSet<_> = waiting.into_iter().collect();
    let placed = apps.iter().enumerate().filter(|(number, _)| !waiting.contains(number));
    (work.share_of(apps[..first].iter()), work.share_of(placed.map(|(_, app)| app)))
}
