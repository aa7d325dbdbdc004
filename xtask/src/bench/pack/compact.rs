//! Cell compaction, as Borg's authors measure packing: machines are taken away at random until the work no longer
//! fits; the fewer it needs, the better it is packed. What does not fit at first is given the same machines again.

use std::sync::Arc;

use scheduler::placement::Policy;
use spec::app::App;
use spec::protocol::AgentInfo;

use super::POLICIES;
use super::fill::{Work, place};

/// Of a thousand tasks so many may stay behind: a few that are hard to please say nothing of the others.
const PICKY_OF_1000: usize = 2;
/// Copies of the machines at most.
const COPIES_MAX: usize = 8;

/// Compacts with every policy, and prints how many machines were needed.
pub(super) fn run(work: &Work, seeds: u64) {
    for (name, policy) in POLICIES {
        let mut needed: Vec<_> = (1..=seeds).filter_map(|seed| machines_needed(work, policy, seed)).collect();
        needed.sort_unstable();
        let at = |percent: usize| needed.get((needed.len() * percent).div_ceil(100).saturating_sub(1));
        let share = |percent| at(percent).map_or(f64::NAN, |n| *n as f64 * 100.0 / work.agents.len() as f64);
        println!(
            "{name:10} machines needed, of those there are: {:5.1} % at the 90th percentile ({:.1} to {:.1})",
            share(90),
            share(0),
            share(100)
        );
    }
}

/// The fewest of the shuffled machines that take the work.
fn machines_needed(work: &Work, policy: Policy, seed: u64) -> Option<usize> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let machines = (1..=COPIES_MAX)
        .map(|copies| {
            let mut machines: Vec<_> = std::iter::repeat_n(&work.agents, copies).flatten().cloned().collect();
            rng.shuffle(&mut machines);
            machines
        })
        .find(|machines| fits(machines, &work.apps, policy, seed))?;
    let (mut too_few, mut enough) = (0, machines.len());
    while enough - too_few > 1 {
        let count = usize::midpoint(too_few, enough);
        if fits(&machines[..count], &work.apps, policy, seed) {
            enough = count;
        } else {
            too_few = count;
        }
    }
    Some(enough)
}

fn fits(machines: &[AgentInfo], apps: &[Arc<App>], policy: Policy, seed: u64) -> bool {
    place(machines, apps, policy, seed).waiting.len() <= apps.len() * PICKY_OF_1000 / 1000
}
