//! Cell compaction, as Borg's authors measure packing: machines are taken away at random until the work no longer
//! fits; the fewer it needs, the better it is packed. What does not fit at first is given the same machines again.
//! Beside it, what no packing can beat: the machines that have enough in all.

use std::sync::Arc;

use scheduler::placement::Policy;
use spec::app::App;
use spec::protocol::AgentInfo;

use super::fill::{Work, place};
use super::{PICKY_OF_1000, POLICIES};

/// How often the machines are there at first; machines are taken away until the work no longer fits.
const COPIES: usize = 2;

/// Compacts with every policy, and prints how many machines were needed.
pub(super) fn run(work: &Work, seeds: u64) {
    let show = |name: &str, needed: &dyn Fn(u64) -> Option<usize>| {
        let mut needed: Vec<_> = (1..=seeds).filter_map(needed).collect();
        needed.sort_unstable();
        let at = |percent: usize| needed.get((needed.len() * percent).div_ceil(100).saturating_sub(1));
        let share = |percent| at(percent).map_or(f64::NAN, |n| *n as f64 * 100.0 / work.agents.len() as f64);
        let (low, most, high) = (share(0), share(90), share(100));
        println!("{name:10} {most:5.1} % of the machines at the 90th percentile ({low:.1} to {high:.1})");
    };
    for (name, policy) in POLICIES {
        let needed = |seed| fewest(&machines(work, seed), |some| fits(some, &work.apps, policy, seed));
        show(name, &needed);
    }
    show("bound", &|seed| fewest(&machines(work, seed), |some| work.are_enough(some)));
}

/// The machines several times over, shuffled: the first ones are the same for every policy.
fn machines(work: &Work, seed: u64) -> Vec<AgentInfo> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut copy = || {
        let mut machines = work.agents.clone();
        rng.shuffle(&mut machines);
        machines
    };
    (0..COPIES).flat_map(|_| copy()).collect()
}

/// How many of these machines, from the first, will do.
fn fewest(machines: &[AgentInfo], will_do: impl Fn(&[AgentInfo]) -> bool) -> Option<usize> {
    if !will_do(machines) {
        return None;
    }
    let (mut too_few, mut enough) = (0, machines.len());
    while enough - too_few > 1 {
        let count = usize::midpoint(too_few, enough);
        if will_do(&machines[..count]) {
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
