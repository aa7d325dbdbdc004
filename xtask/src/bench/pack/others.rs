//! What others publish of how they choose a machine, as plain scores: baselines to be packed against, and nothing else.
//! Each is given the best case: it looks at every machine, in no hurry, and equals are drawn by lot.
//!
//! - Kubernetes, `pkg/scheduler/framework/plugins/noderesources`: `least_allocated.go` and `balanced_allocation.go`,
//!   which the default profile adds up with a weight of one each; and `most_allocated.go` in place of the first, as
//!   "Resource Bin Packing" of its documentation tells who wants to pack, without and with a weight of three for GPUs
//!   as in the example there. Its other plugins say the same of every machine for such tasks.
//! - Nomad, `nomad/structs/funcs.go`: `ScoreFitBinPack`. Devices are counted, and say nothing of the score. Nomad itself
//!   looks at a few machines only.
//! - Swarm, `manager/scheduler/scheduler.go` of SwarmKit: fewest tasks of the service, then fewest tasks.
//! - Marathon on Mesos: offers come in no order (Mesos documentation, "Architecture"), and the first that matches is taken.
//! - Borg's authors (Verma et al., EuroSys 2015, section 3.2) name what they had before, E-PVM (Amir et al., 2000: the
//!   least rise of the sum of `n` to the power of what is used, over `n` machines), and best fit. Of what came after
//!   they publish no formula.

use std::sync::Arc;

use spec::app::App;
use spec::protocol::AgentInfo;
use spec::resources::Resources;

/// The best score of Kubernetes' plugins.
const BEST: u64 = 100;
/// What a GPU weighs beside processors and memory, where it does.
const GPU_WEIGHT: u64 = 3;

/// How others choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Other {
    /// Kubernetes' default profile.
    Kubernetes,
    /// Kubernetes with `MostAllocated`.
    KubernetesMost,
    /// The same with a weight for GPUs.
    KubernetesMostGpus,
    /// Nomad's packing, its default.
    Nomad,
    /// The fewest tasks.
    Swarm,
    /// Whichever comes first, in no order.
    Marathon,
    /// The least shares of anything left, in sum.
    BestFit,
    /// The least rise of cost.
    Epvm,
}

/// A machine while tasks are put on it.
struct Machine {
    capacity: Resources,
    free: Resources,
    tasks_count: u32,
    /// Which of the models there are.
    model: Option<usize>,
}

/// A task: what it asks for, and for each model whether it will do, if not all of them.
struct Wanted {
    asked: Resources,
    models: Option<Vec<bool>>,
}

/// A machine's numbers with the task there.
struct Seat<'a> {
    machine: &'a Machine,
    left: Resources,
    machines_count: usize,
}

/// The positions of the tasks that find no place, one after the other; it ends when there are more than `most`.
pub(super) fn unplaced(
    other: Other,
    agents: &[AgentInfo],
    apps: &[Arc<App>],
    seed: u64,
    most: usize,
) -> Vec<usize> {
    let models = models(agents);
    let mut machines: Vec<_> = agents.iter().map(|agent| Machine::of(agent, &models)).collect();
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut waiting = Vec::new();
    for (number, app) in apps.iter().enumerate() {
        match best(other, &machines, &Wanted::of(app, &models), &mut rng) {
            Some(site) => machines[site].take(&app.resources()),
            None => waiting.push(number),
        }
        if waiting.len() > most {
            break;
        }
    }
    waiting
}

/// The machine with the highest score; of equals each is as likely.
fn best(other: Other, machines: &[Machine], wanted: &Wanted, rng: &mut fastrand::Rng) -> Option<usize> {
    let mut best = None;
    let (mut highest, mut equals) = (f64::NEG_INFINITY, 0);
    for (site, machine) in machines.iter().enumerate() {
        if !wanted.fits(machine) {
            continue;
        }
        let left = machine.free.minus(&wanted.asked);
        let score = other.score(&Seat { machine, left, machines_count: machines.len() });
        equals = if score > highest { 1 } else { equals + usize::from(score == highest) };
        if score > highest || score == highest && rng.usize(..equals) == 0 {
            (highest, best) = (score, Some(site));
        }
    }
    best
}

/// The models of all machines, in order.
fn models(agents: &[AgentInfo]) -> Vec<&str> {
    let mut models: Vec<_> = agents.iter().filter_map(|agent| agent.attributes.get("model")).collect();
    models.sort_unstable();
    models.dedup();
    models.into_iter().map(String::as_str).collect()
}

impl Machine {
    fn of(agent: &AgentInfo, models: &[&str]) -> Self {
        let model = agent.attributes.get("model").and_then(|model| models.binary_search(&&**model).ok());
        Self { capacity: agent.capacity, free: agent.capacity, tasks_count: 0, model }
    }

    fn take(&mut self, asked: &Resources) {
        self.free = self.free.minus(asked);
        self.tasks_count += 1;
    }
}

impl Wanted {
    /// The only constraint of these apps is one of models: `A|B`.
    fn of(app: &App, known: &[&str]) -> Self {
        let wanted = app.constraints.first().and_then(|constraint| constraint.value.as_deref());
        let will_do = |wanted: &str| {
            let wanted: Vec<_> = wanted.split('|').collect();
            known.iter().map(|model| wanted.contains(model)).collect()
        };
        Self { asked: app.resources(), models: wanted.map(will_do) }
    }

    fn fits(&self, machine: &Machine) -> bool {
        let will_do = |models: &Vec<bool>| machine.model.is_some_and(|model| models[model]);
        self.models.as_ref().is_none_or(will_do) && self.asked.fits(&machine.free)
    }
}

impl Other {
    /// Higher is better.
    fn score(self, seat: &Seat<'_>) -> f64 {
        match self {
            Self::Kubernetes => (least_allocated(seat) + balanced(seat, false)) as f64,
            Self::KubernetesMost => (most_allocated(seat, 0) + balanced(seat, false)) as f64,
            Self::KubernetesMostGpus => (most_allocated(seat, GPU_WEIGHT) + balanced(seat, true)) as f64,
            Self::Nomad => {
                let [cpus, mem, _] = seat.shares_left();
                (20.0 - 10_f64.powf(cpus) - 10_f64.powf(mem)).clamp(0.0, 18.0)
            }
            Self::Swarm => -f64::from(seat.machine.tasks_count),
            Self::Marathon => 0.0,
            Self::BestFit => -seat.shares_left().iter().sum::<f64>(),
            Self::Epvm => -seat.rise(),
        }
    }
}

impl Seat<'_> {
    /// Each resource: what there is, and what would be left. GPUs come last.
    fn kinds(&self) -> [(u64, u64); 3] {
        let (there, left) = (&self.machine.capacity, &self.left);
        [(there.cpus_milli, left.cpus_milli), (there.mem_mib, left.mem_mib), (there.gpus, left.gpus)]
    }

    /// Shares that would be left; none of what is not there.
    fn shares_left(&self) -> [f64; 3] {
        self.kinds().map(|(there, left)| if there == 0 { 0.0 } else { left as f64 / there as f64 })
    }

    /// How much the cost of the machine rises.
    fn rise(&self) -> f64 {
        let (machine, base) = (self.machine, self.machines_count as f64);
        let before = Seat { machine, left: machine.free, machines_count: self.machines_count };
        let cost =
            |seat: &Seat<'_>| -> f64 { seat.shares_left().map(|left| base.powf(1.0 - left)).iter().sum() };
        cost(self) - cost(&before)
    }
}

/// Mean of the shares left, in whole hundredths as they are counted there.
fn least_allocated(seat: &Seat<'_>) -> u64 {
    let [cpus, mem, _] = seat.kinds();
    let of = |(there, left): (u64, u64)| (left * BEST).checked_div(there).unwrap_or(0);
    (of(cpus) + of(mem)) / 2
}

/// Mean of the shares used, likewise; of GPUs where there are some.
fn most_allocated(seat: &Seat<'_>, gpu_weight: u64) -> u64 {
    let weighed = seat.kinds().into_iter().zip([1, 1, gpu_weight]).filter(|((there, _), _)| *there > 0);
    let (sum, weights) = weighed.fold((0, 0), |(sum, weights), ((there, left), weight)| {
        (sum + (there - left) * BEST / there * weight, weights + weight)
    });
    sum / u64::max(weights, 1)
}

/// One less the standard deviation of the shares used.
fn balanced(seat: &Seat<'_>, counts_gpus: bool) -> u64 {
    let kinds = if counts_gpus { 3 } else { 2 };
    let there = seat.kinds().into_iter().take(kinds).filter(|(there, _)| *there > 0);
    let used: Vec<_> = there.map(|(there, left)| (there - left) as f64 / there as f64).collect();
    let count = f64::max(used.len() as f64, 1.0);
    let mean = used.iter().sum::<f64>() / count;
    let deviation = (used.iter().map(|used| (used - mean).powi(2)).sum::<f64>() / count).sqrt();
    ((1.0 - deviation) * BEST as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::place::world::info;

    fn resources(cpus_milli: u64, mem_mib: u64, gpus: u64) -> Resources {
        Resources { cpus_milli, mem_mib, disk_mib: 0, gpus }
    }

    #[test]
    fn scores_are_those_of_the_sources() {
        // Of 8 cores, 1,000 MiB and 4 GPUs left: a half, a quarter and all.
        let machine = Machine {
            capacity: resources(8_000, 1_000, 4),
            free: resources(6_000, 500, 4),
            tasks_count: 3,
            model: None,
        };
        let seat = Seat { machine: &machine, left: resources(4_000, 250, 4), machines_count: 16 };
        let near = |other: Other, expected: f64| {
            let score = other.score(&seat);
            assert!((score - expected).abs() < 1e-6, "{other:?}: {score}");
        };
        // (50 + 25) / 2, and the shares used, a half and three quarters, are 0.125 from their mean.
        near(Other::Kubernetes, 37.0 + 87.0);
        near(Other::KubernetesMost, 62.0 + 87.0);
        // (50 + 75 + 3 * 0) / 5, and 0.5, 0.75, 0 deviate by 0.3118.
        near(Other::KubernetesMostGpus, 25.0 + 68.0);
        near(Other::Nomad, 20.0 - 10_f64.sqrt() - 10_f64.powf(0.25));
        near(Other::Swarm, -3.0);
        near(Other::Marathon, 0.0);
        near(Other::BestFit, -1.75);
        // 16 to the powers 0.5, 0.75 and 0, less those to 0.25, 0.5 and 0.
        near(Other::Epvm, -((4.0 + 8.0 + 1.0) - (2.0 + 4.0 + 1.0)));
    }

    #[test]
    fn tasks_go_to_machines_with_room_and_the_right_model() {
        let of_model = |n: usize, model: &str| {
            let mut info = info(n, resources(2_000, 1_000, 1));
            info.attributes.insert("model".to_owned(), model.to_owned());
            info
        };
        let agents =
            [of_model(0, "G1"), of_model(1, "G2"), of_model(2, "G3"), info(3, resources(9_000, 10, 0))];
        let task = |gpu_spec: &str, gpus: u64| {
            let row = format!("cpu_milli,memory_mib,num_gpu,gpu_spec\n1000,100,{gpus},{gpu_spec}\n");
            let tasks: Vec<super::super::trace::Task> = super::super::trace::parse(row.as_bytes()).unwrap();
            tasks[0].app(0, super::super::trace::Gpus::Whole).unwrap()
        };
        // The fourth wants G1 or G2 and both are taken; G9 is nowhere; then two more fit beside each, without GPUs.
        let apps = ["G1|G2", "G1|G2", "G3", "G1|G2", "G9"].map(|models| task(models, 1));
        let apps: Vec<_> = apps.into_iter().chain((0..4).map(|_| task("", 0))).collect();
        for other in <Other as clap::ValueEnum>::value_variants() {
            assert_eq!(unplaced(*other, &agents, &apps, 7, usize::MAX), [3, 4, 8], "{other:?}");
            assert_eq!(unplaced(*other, &agents, &apps, 7, 0), [3], "{other:?}");
        }
    }
}
