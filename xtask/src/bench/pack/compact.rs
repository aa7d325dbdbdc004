//! Cell compaction, as Borg's authors measure packing: machines are taken away at random until the work no longer
//! fits; the fewer it needs, the better it is packed. What does not fit at first is given the same machines again.
//! Beside it, what no packing can beat: the machines that have enough in all.

use spec::protocol::AgentInfo;

use super::fill::Work;
use super::method::Method;
use super::{PICKY_OF_1000, of_each_seed};

/// How often the machines are there at first; machines are taken away until the work no longer fits.
const COPIES: usize = 2;
/// How far above what is too few machines to look first.
const STRIDE: usize = 16;

/// Compacts with every method, and prints how many machines were needed.
pub(super) fn run(work: &Work, methods: &[Method], seeds: u64) {
    let show = |name: &str, needed: Vec<Option<usize>>| {
        println!("{name:20} {}", shown(needed, work.agents.len()));
    };
    let machines = of_each_seed(seeds, |seed| machines(work, seed));
    let of = |seed: u64| &machines[usize::try_from(seed - 1).unwrap_or_default()][..];
    let bounds = of_each_seed(seeds, |seed| fewest(of(seed), 0, |some| work.are_enough(some)));
    for method in methods {
        let needed = of_each_seed(seeds, |seed| {
            let bound = bounds[usize::try_from(seed - 1).unwrap_or_default()]?;
            fewest(of(seed), bound.saturating_sub(1), |some| fits(some, work, *method, seed))
        });
        show(&method.to_string(), needed);
    }
    show("bound", bounds);
}

/// Where all there are were not enough, more than that many are needed.
fn shown(needed: Vec<Option<usize>>, all: usize) -> String {
    let mut needed: Vec<_> = needed.into_iter().map(|count| count.unwrap_or(usize::MAX)).collect();
    needed.sort_unstable();
    let at = |percent: usize| match needed.get((needed.len() * percent).div_ceil(100).saturating_sub(1)) {
        Some(&usize::MAX) | None => format!("> {}", COPIES * 100),
        Some(count) => format!("{:.1}", *count as f64 * 100.0 / all as f64),
    };
    format!("{:>5} % of the machines at the 90th percentile ({} to {})", at(90), at(0), at(100))
}

/// The machines several times over, shuffled: the first ones are the same for every method.
fn machines(work: &Work, seed: u64) -> Vec<AgentInfo> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut copy = || {
        let mut machines = work.agents.clone();
        rng.shuffle(&mut machines);
        machines
    };
    (0..COPIES).flat_map(|_| copy()).collect()
}

/// How many of these machines, from the first, will do, where so many are too few.
fn fewest(machines: &[AgentInfo], too_few: usize, will_do: impl Fn(&[AgentInfo]) -> bool) -> Option<usize> {
    let (mut too_few, mut stride) = (too_few, STRIDE);
    let mut enough = loop {
        let count = (too_few + stride).min(machines.len());
        if will_do(&machines[..count]) {
            break count;
        }
        if count == machines.len() {
            return None;
        }
        (too_few, stride) = (count, stride * 2);
    };
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

fn fits(machines: &[AgentInfo], work: &Work, method: Method, seed: u64) -> bool {
    let most = work.apps.len() * PICKY_OF_1000 / 1000;
    method.unplaced(machines, &work.apps, seed, most).len() <= most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::place::world::{AGENT, info};

    #[test]
    fn the_fewest_that_will_do_are_found() {
        let machines: Vec<_> = (0..300).map(|n| info(n, AGENT)).collect();
        for wanted in [1, 2, 16, 17, 120, 299, 300] {
            for too_few in [0, wanted / 2, wanted - 1] {
                assert_eq!(fewest(&machines, too_few, |some| some.len() >= wanted), Some(wanted));
            }
        }
        assert_eq!(fewest(&machines, 10, |_| false), None);
    }

    #[test]
    fn where_all_are_not_enough_more_are_needed() {
        let needed = (1..=11).map(|n| (n < 11).then_some(n * 10)).collect();
        assert_eq!(shown(needed, 100), "100.0 % of the machines at the 90th percentile (10.0 to > 200)");
        let needed = (1..=11).map(|n| (n < 10).then_some(n * 10)).collect();
        assert_eq!(shown(needed, 100), "> 200 % of the machines at the 90th percentile (10.0 to > 200)");
    }
}
