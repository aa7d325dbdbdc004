//! The agents that could take a task of one app, best first.
//!
//! Agents are put together in classes that every counting rule sees alike (one class when no rule
//! counts). Classes and the agents in them lie in heaps, so a task costs a few heap operations,
//! however many agents there are and however much is placed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::needs::Needs;
use super::rules::{Rule, Tallies, Verdict};
use super::score::score;
use super::seed::mix;
use super::site::Site;

/// Without counting rules no more agents than this (or twice the tasks, if that is more) are ranked at
/// first: the best of so many is hardly worse than the best of all, and an app of one task costs the same
/// in a cluster of any size. The others are looked at when these are full.
const RANKED_MIN: usize = 256;

/// The agents still in question for one app.
pub(super) struct Candidates<'p> {
    needs: &'p Needs,
    /// Tasks of the app, by position of the agent.
    siblings: BTreeMap<usize, u32>,
    seed: u64,
    /// Agents looked at; they are taken in order from a start that the seed gives.
    seen: usize,
    chunk: usize,
    classes: Vec<Class>,
    class_of: BTreeMap<Vec<Option<String>>, usize>,
    queue: BinaryHeap<Reverse<Queued>>,
    /// Classes that may be admitted again once tasks were placed elsewhere.
    aside: Vec<usize>,
}

/// Agents with equal values for every counting rule; those values.
struct Class {
    values: Vec<Option<String>>,
    sites: BinaryHeap<Reverse<Ranked>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked {
    score: u64,
    tie: u64,
    site: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Queued {
    /// Tasks in the class' groups: the smallest group comes first.
    crowd: u32,
    best: Ranked,
    class: usize,
}

/// Where the next task goes; to be handed back by [`Candidates::put_back`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    /// Position of the agent.
    pub(super) site: usize,
    class: usize,
}

impl<'p> Candidates<'p> {
    /// For `count` tasks of an app.
    pub(super) fn new(needs: &'p Needs, siblings: BTreeMap<usize, u32>, count: usize, seed: u64) -> Self {
        let counts = needs.rules.iter().any(Rule::counts);
        Self {
            needs,
            siblings,
            seed,
            seen: 0,
            chunk: if counts { usize::MAX } else { count.saturating_mul(2).max(RANKED_MIN) },
            classes: Vec::new(),
            class_of: BTreeMap::new(),
            queue: BinaryHeap::new(),
            aside: Vec::new(),
        }
    }

    /// The best agent for one more task.
    pub(super) fn next(&mut self, sites: &[Site<'_>], tallies: &Tallies) -> Option<Pick> {
        while !self.queue.is_empty() || self.rank_more(sites, tallies) {
            let Some(Reverse(queued)) = self.queue.pop() else {
                break;
            };
            if self.crowd(queued.class, tallies) != queued.crowd {
                self.enqueue(queued.class, tallies);
                continue;
            }
            match self.verdict(queued.class, tallies) {
                Verdict::Never => {}
                Verdict::NotNow => self.aside.push(queued.class),
                Verdict::Yes => {
                    if let Some(site) = self.best_of(queued.class, sites) {
                        return Some(Pick { site, class: queued.class });
                    }
                }
            }
        }
        None
    }

    /// A task was placed there; what was set aside may be admitted now.
    pub(super) fn put_back(&mut self, pick: Pick, sites: &[Site<'_>], tallies: &Tallies) {
        *self.siblings.entry(pick.site).or_default() += 1;
        let ranked = self.ranked(pick.site, sites);
        self.classes[pick.class].sites.push(Reverse(ranked));
        self.enqueue(pick.class, tallies);
        for class in std::mem::take(&mut self.aside) {
            self.enqueue(class, tallies);
        }
    }

    /// Ranks the next chunk of agents; false when there are no more.
    fn rank_more(&mut self, sites: &[Site<'_>], tallies: &Tallies) -> bool {
        let start = usize::try_from(self.seed % (sites.len().max(1) as u64)).unwrap_or_default();
        let mut found = 0;
        let mut touched = Vec::new();
        while found < self.chunk && self.seen < sites.len() {
            let index = (start + self.seen) % sites.len();
            self.seen += 1;
            if self.needs.fits(&sites[index]) {
                found += 1;
                touched.push(self.add(index, sites));
            }
        }
        touched.sort_unstable();
        touched.dedup();
        touched.into_iter().for_each(|class| self.enqueue(class, tallies));
        found > 0
    }

    fn add(&mut self, index: usize, sites: &[Site<'_>]) -> usize {
        let info = &sites[index].agent.info;
        let counting = self.needs.rules.iter().filter(|rule| rule.counts());
        let values: Vec<_> =
            counting.map(|rule| rule.value_on(info).map(|value| value.into_owned())).collect();
        let fresh = self.classes.len();
        let class = *self.class_of.entry(values).or_insert_with_key(|values| {
            self.classes.push(Class { values: values.clone(), sites: BinaryHeap::new() });
            fresh
        });
        let ranked = self.ranked(index, sites);
        self.classes[class].sites.push(Reverse(ranked));
        class
    }

    fn ranked(&self, site: usize, sites: &[Site<'_>]) -> Ranked {
        let siblings = self.siblings.get(&site).copied().unwrap_or(0);
        let score = score(&sites[site], &self.needs.resources, siblings);
        Ranked { score, tie: mix(self.seed, site as u64), site }
    }

    fn enqueue(&mut self, class: usize, tallies: &Tallies) {
        let crowd = self.crowd(class, tallies);
        if let Some(Reverse(best)) = self.classes[class].sites.peek() {
            self.queue.push(Reverse(Queued { crowd, best: *best, class }));
        }
    }

    /// The best agent of a class that can still take a task. Agents only fill up, so one that cannot is
    /// out of the question for good.
    fn best_of(&mut self, class: usize, sites: &[Site<'_>]) -> Option<usize> {
        let needs = self.needs;
        let queue = &mut self.classes[class].sites;
        std::iter::from_fn(|| queue.pop()).map(|ranked| ranked.0.site).find(|site| needs.fits(&sites[*site]))
    }

    /// The counting rules, their tallies' positions, and the class' values for them.
    fn counted(&self, class: usize) -> impl Iterator<Item = (usize, &Rule, Option<&str>)> {
        let counting = self.needs.rules.iter().enumerate().filter(|(_, rule)| rule.counts());
        counting
            .zip(&self.classes[class].values)
            .map(|((index, rule), value)| (index, rule, value.as_deref()))
    }

    fn crowd(&self, class: usize, tallies: &Tallies) -> u32 {
        let groups = self.counted(class).filter(|(_, rule, _)| rule.spreads());
        groups.filter_map(|(index, _, value)| Some(tallies.at(index).of(value?))).sum()
    }

    fn verdict(&self, class: usize, tallies: &Tallies) -> Verdict {
        let mut worst = Verdict::Yes;
        for (index, rule, value) in self.counted(class) {
            match rule.verdict(value, tallies.at(index)) {
                Verdict::Never => return Verdict::Never,
                Verdict::NotNow => worst = Verdict::NotNow,
                Verdict::Yes => {}
            }
        }
        worst
    }
}
