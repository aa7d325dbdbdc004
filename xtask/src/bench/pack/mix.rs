//! Machines and tasks that are made up, by seed, in the columns of the tables: work of other shapes than one recorded
//! cluster has, so that nothing is tuned to that one.

use std::str::FromStr;

use anyhow::{Context, bail};

use super::trace::{Node, Task};

/// Kinds of machines: of a hundred so many, thousandths of a core, MiB of memory.
const MACHINES: [(u64, u64, u64); 4] =
    [(50, 32_000, 131_072), (20, 64_000, 131_072), (20, 32_000, 262_144), (10, 96_000, 393_216)];

/// A kind of tasks: how many thousandths of a core, and MiB for a core, at least and at most. Drawn so that each
/// doubling is as likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// A core or several, little memory.
    CpuHeavy,
    /// Little of a core, much memory.
    MemoryHeavy,
    /// As the machines are.
    Even,
    /// Half a machine, more or less.
    Large,
}

/// Kinds with their shares: `cpu-heavy=2,memory-heavy=1`; a share of one may be left out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mix(Vec<(Kind, u64)>);

impl Kind {
    fn cpu_milli(self) -> (u64, u64) {
        match self {
            Self::CpuHeavy => (500, 12_000),
            Self::MemoryHeavy => (100, 4_000),
            Self::Even => (100, 8_000),
            Self::Large => (12_000, 32_000),
        }
    }

    fn mib_per_core(self) -> (u64, u64) {
        match self {
            Self::CpuHeavy => (256, 2_048),
            Self::MemoryHeavy => (8_192, 32_768),
            Self::Even => (2_048, 8_192),
            Self::Large => (1_024, 4_096),
        }
    }

    fn task(self, rng: &mut fastrand::Rng) -> Task {
        let cpu_milli = between(self.cpu_milli(), rng);
        let memory_mib = (cpu_milli * between(self.mib_per_core(), rng) / 1_000).max(1);
        Task { cpu_milli, memory_mib, num_gpu: 0, gpu_milli: None, gpu_spec: String::new() }
    }
}

impl Mix {
    /// Tasks until they ask for so many hundredths of the processors or of the memory of these machines.
    pub(super) fn tasks(&self, nodes: &[Node], load_percent: u64, seed: u64) -> Vec<Task> {
        let there =
            nodes.iter().fold((0, 0), |(cpus, mem), node| (cpus + node.cpu_milli, mem + node.memory_mib));
        let full = (there.0 * load_percent / 100, there.1 * load_percent / 100);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut asked = (0, 0);
        let mut tasks = Vec::new();
        while asked.0 < full.0 && asked.1 < full.1 {
            let task = self.draw(&mut rng).task(&mut rng);
            asked = (asked.0 + task.cpu_milli, asked.1 + task.memory_mib);
            tasks.push(task);
        }
        tasks
    }

    fn draw(&self, rng: &mut fastrand::Rng) -> Kind {
        let all: u64 = self.0.iter().map(|(_, share)| share).sum();
        let mut left = rng.u64(..all);
        let drawn = self.0.iter().find(|(_, share)| {
            let is_it = left < *share;
            left = left.saturating_sub(*share);
            is_it
        });
        drawn.map_or(Kind::Even, |(kind, _)| *kind)
    }
}

impl FromStr for Mix {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |part: &str| -> anyhow::Result<(Kind, u64)> {
            let (name, share) = part.split_once('=').unwrap_or((part, "1"));
            let kind = <Kind as clap::ValueEnum>::from_str(name, false);
            let kind =
                kind.map_err(|_| anyhow::anyhow!("cpu-heavy, memory-heavy, even and large are known"))?;
            Ok((kind, share.parse().with_context(|| format!("{share:?} is no share"))?))
        };
        let mix: Vec<_> = text.split(',').map(part).collect::<Result<_, _>>()?;
        if !(1..=1_000_000).contains(&mix.iter().fold(0, |sum: u64, (_, share)| sum.saturating_add(*share))) {
            bail!("shares are from one to a million together");
        }
        Ok(Self(mix))
    }
}

/// So many machines of all kinds, in an order drawn by lot.
pub(super) fn machines(count: usize, seed: u64) -> Vec<Node> {
    let of = |n: usize| -> (u64, u64) {
        let mut percent = n as u64 * 100 / count.max(1) as u64;
        let kind = MACHINES.iter().find(|(share, ..)| {
            let is_it = percent < *share;
            percent = percent.saturating_sub(*share);
            is_it
        });
        kind.map_or((32_000, 131_072), |(_, cpus, mem)| (*cpus, *mem))
    };
    let node = |(cpu_milli, memory_mib)| Node { cpu_milli, memory_mib, gpu: 0, model: String::new() };
    let mut nodes: Vec<_> = (0..count).map(of).map(node).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut nodes);
    nodes
}

/// A number from the one to the other.
fn between((least, most): (u64, u64), rng: &mut fastrand::Rng) -> u64 {
    let (least, most) = (least as f64, most as f64);
    (least * (most / least).powf(rng.f64())) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_of_their_kinds_by_seed_until_the_machines_are_full() {
        let nodes = machines(200, 1);
        let cores = |tasks: &[Task]| tasks.iter().map(|task| task.cpu_milli).sum::<u64>();
        let mem = |tasks: &[Task]| tasks.iter().map(|task| task.memory_mib).sum::<u64>();
        let (all_cores, all_mem) =
            nodes.iter().fold((0, 0), |(cpus, mem), node| (cpus + node.cpu_milli, mem + node.memory_mib));
        for (mix, mib_per_core) in [
            ("cpu-heavy", 256..=2_048),
            ("memory-heavy", 8_192..=32_768),
            ("large", 1_024..=4_096),
            ("even=3", 2_048..=8_192),
        ] {
            let tasks = mix.parse::<Mix>().unwrap().tasks(&nodes, 120, 5);
            let is_right =
                |task: &Task| mib_per_core.contains(&(task.memory_mib * 1_000 / task.cpu_milli + 10));
            let right = tasks.iter().filter(|task| is_right(task)).count();
            assert!(right * 100 >= tasks.len() * 97, "{mix}: {right} of {}", tasks.len());
            let percent = u64::max(cores(&tasks) * 100 / all_cores, mem(&tasks) * 100 / all_mem);
            assert!((119..=122).contains(&percent), "{mix}: {percent}");
        }
        let both = "cpu-heavy=1,memory-heavy=3".parse::<Mix>().unwrap();
        let tasks = both.tasks(&nodes, 100, 5);
        assert_eq!(tasks, both.tasks(&nodes, 100, 5));
        assert_ne!(tasks, both.tasks(&nodes, 100, 6));
        let lean = tasks.iter().filter(|task| task.memory_mib < task.cpu_milli * 3).count();
        assert!((20..30).contains(&(lean * 100 / tasks.len())), "{lean} of {}", tasks.len());
        assert_eq!(nodes.iter().filter(|node| node.cpu_milli == 64_000).count(), 40);
    }

    #[test]
    fn what_is_no_mix_is_refused() {
        for text in
            ["", "round", "even=", "even=0", "even=1;large=1", "even=99999999999999999999", "large=2000000"]
        {
            assert!(text.parse::<Mix>().is_err(), "{text:?}");
        }
        let mix: Mix = "large,even=2".parse().unwrap();
        assert_eq!(mix, Mix(vec![(Kind::Large, 1), (Kind::Even, 2)]));
    }
}
