//! The agents that could take a task of one app, best first.
//!
//! Agents are put together in groups that every spreading rule sees alike (one group when no rule spreads).
//! Groups and the agents in them lie in heaps, so a task costs a few heap operations, however many agents
//! there are and however much is placed. Only as many agents are ranked as are needed for a good choice;
//! when these are full others are. How many tasks of the app an agent has can only speak against it, so that is
//! counted for those alone that come first without it: a search in a list of tasks for each would cost more than the
//! rest of a plan that replaces a task.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::RangeInclusive;

use spec::ids::TaskId;

use super::grain::{self, Grain};
use super::ground::{Ground, bits};
use super::heads::Heads;
use super::index::{BLOCK, Index};
use super::needs::Needs;
use super::rules::Verdict;
use super::score::Policy;
use super::seed::mix;

/// Of one group at least so many agents are ranked together.
const RANKED_MIN: usize = 16;

/// The agents still in question for one app.
pub(super) struct Candidates<'p> {
    needs: &'p Needs,
    ground: &'p Ground,
    scale: Scale<'p>,
    /// Agents to be ranked before groups are chosen by their best agents.
    wide: usize,
    /// Agents ranked so far.
    ranked_count: usize,
    /// Groups of which agents were ranked.
    begun: BTreeMap<usize, Begun>,
    /// Groups of which none is ranked; those with the fewest tasks first, then as the seed says.
    fresh: BinaryHeap<Reverse<(u32, u64, usize)>>,
    queue: BinaryHeap<Reverse<Queued>>,
    /// Groups that may be admitted again once tasks were placed elsewhere.
    aside: Vec<usize>,
}

/// What says which of two agents comes first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) policy: Policy,
    /// `None`: each task that the plan has put on an agent counts.
    pub(super) grain: Option<Grain>,
    /// Decides between equals.
    pub(super) seed: u64,
}

impl Order {
    /// Where to begin among so many blocks.
    fn start(&self, blocks_count: usize) -> usize {
        self.grain
            .map_or_else(|| self.policy.start(self.seed, blocks_count), |grain| grain.start(blocks_count))
    }

    /// Where to begin in a block, for a group of which not all agents are ranked.
    fn first_bit(&self, group: usize) -> u32 {
        let seed = self.grain.map_or(self.seed, Grain::seed);
        self.policy.start(mix(seed, group as u64), BLOCK) as u32
    }
}

/// How many tasks of the app an agent has.
pub(super) struct Siblings {
    /// Ids of the app's tasks in the state; none when it has no tasks.
    range: Option<RangeInclusive<TaskId>>,
    /// What this plan has put.
    placed: BTreeMap<usize, u32>,
}

impl Siblings {
    /// Of an app whose tasks have ids in this range, if it has any.
    pub(super) fn of(range: Option<RangeInclusive<TaskId>>) -> Self {
        Self { range, placed: BTreeMap::new() }
    }

    fn on(&self, site: usize, index: &Index) -> u32 {
        let tasks = &index.agent(site).tasks;
        let before = self.range.as_ref().map_or(0, |range| tasks.range(range.clone()).count());
        u32::try_from(before).unwrap_or(u32::MAX) + self.placed.get(&site).copied().unwrap_or(0)
    }
}

/// How agents are ranked.
struct Scale<'p> {
    needs: &'p Needs,
    order: Order,
    siblings: Siblings,
}

impl Scale<'_> {
    /// As if the agent had no task of the app: never worse than it is.
    fn at_best(&self, site: usize, index: &Index) -> Ranked {
        self.rank(site, index, 0)
    }

    fn exactly(&self, site: usize, index: &Index) -> Ranked {
        self.rank(site, index, self.siblings.on(site, index))
    }

    fn rank(&self, site: usize, index: &Index, siblings: u32) -> Ranked {
        let (Order { policy, grain, seed }, now) = (self.order, index.slot(site));
        let before = grain.and_then(|_| grain::small_before(index, site));
        let score = policy.score(before.unwrap_or(now), &self.needs.resources, siblings);
        // Of equals those that hear of a task in any case.
        let tie = if before.is_some() { 0 } else { policy.tie(seed, site) };
        Ranked { score, tie, site }
    }
}

/// A group with its ranked agents.
#[derive(Default)]
struct Begun {
    /// Each as it is at best or, where that is marked, exactly.
    sites: BinaryHeap<Reverse<(Ranked, bool)>>,
    /// Blocks of the group gone through.
    seen: usize,
    /// The last of them, and its agents that were not looked at yet.
    rest: (usize, u64),
}

impl Begun {
    /// The best agent. None is better: the others are ranked as they are at best.
    fn best(&mut self, scale: &Scale<'_>, index: &Index) -> Option<Ranked> {
        self.settle(scale, index);
        self.sites.peek().map(|Reverse((best, _))| *best)
    }

    /// Takes the best agent out.
    fn take_best(&mut self, scale: &Scale<'_>, index: &Index) -> Option<usize> {
        self.settle(scale, index);
        self.sites.pop().map(|Reverse((best, _))| best.site)
    }

    /// Counts against those that come first what speaks against them, until the first one is what it seems.
    fn settle(&mut self, scale: &Scale<'_>, index: &Index) {
        while let Some(mut first) = self.sites.peek_mut() {
            let Reverse((ranked, is_exact)) = *first;
            if is_exact {
                return;
            }
            // It goes where it belongs as soon as it is no longer looked at.
            *first = Reverse((scale.exactly(ranked.site, index), true));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked {
    score: u64,
    tie: u64,
    site: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Queued {
    /// Tasks in the group's places: the smallest comes first.
    crowd: u32,
    best: Ranked,
    group: usize,
}

/// Where the next task goes; to be handed back by [`Candidates::put_back`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    /// Position of the agent.
    pub(super) site: usize,
    group: usize,
}

impl<'p> Candidates<'p> {
    /// For `count` tasks of an app.
    pub(super) fn new(
        needs: &'p Needs,
        ground: &'p Ground,
        order: Order,
        siblings: Siblings,
        heads: &Heads,
        count: usize,
    ) -> Self {
        let of_group = |group| Reverse((ground.crowd(heads, group), mix(order.seed, group as u64), group));
        let fresh = (0..ground.groups.len()).map(of_group);
        Self {
            needs,
            ground,
            scale: Scale { needs, order, siblings },
            wide: order.policy.ranked_for(count),
            ranked_count: 0,
            begun: BTreeMap::new(),
            fresh: fresh.collect::<Vec<_>>().into(),
            queue: BinaryHeap::new(),
            aside: Vec::new(),
        }
    }

    /// The best agent for one more task.
    pub(super) fn next(&mut self, index: &Index, heads: &Heads) -> Option<Pick> {
        loop {
            if self.wants_more() {
                self.begin_next(index, heads);
                continue;
            }
            let Reverse(queued) = self.queue.pop()?;
            let group = queued.group;
            if self.ground.crowd(heads, group) != queued.crowd {
                self.enqueue(group, index, heads);
                continue;
            }
            match self.ground.verdict(self.needs, heads, group) {
                Verdict::Never => {}
                Verdict::NotNow => self.aside.push(group),
                Verdict::Yes => {
                    if let Some(site) = self.best_of(group, index, heads) {
                        return Some(Pick { site, group });
                    }
                }
            }
        }
    }

    /// A task was placed there; what was set aside may be admitted now.
    pub(super) fn put_back(&mut self, pick: Pick, index: &Index, heads: &Heads) {
        *self.scale.siblings.placed.entry(pick.site).or_default() += 1;
        if index.fits(self.needs, pick.site) {
            let ranked = self.scale.at_best(pick.site, index);
            self.begun.entry(pick.group).or_default().sites.push(Reverse((ranked, false)));
        }
        self.enqueue(pick.group, index, heads);
        for group in std::mem::take(&mut self.aside) {
            self.enqueue(group, index, heads);
        }
    }

    /// Is there a group to be begun before the best one of those begun is taken?
    fn wants_more(&self) -> bool {
        match (self.fresh.peek(), self.queue.peek()) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(Reverse((fresh, ..))), Some(Reverse(queued))) => {
                *fresh < queued.crowd || *fresh == queued.crowd && self.ranked_count < self.wide
            }
        }
    }

    /// Ranks agents of the group with the fewest tasks.
    fn begin_next(&mut self, index: &Index, heads: &Heads) {
        let Some(Reverse((crowd, tie, group))) = self.fresh.pop() else {
            return;
        };
        let now = self.ground.crowd(heads, group);
        if now != crowd {
            return self.fresh.push(Reverse((now, tie, group)));
        }
        match self.ground.verdict(self.needs, heads, group) {
            Verdict::Never => {}
            Verdict::NotNow => self.aside.push(group),
            Verdict::Yes => {
                self.rank_more(group, index, heads);
                self.enqueue(group, index, heads);
            }
        }
    }

    /// Ranks some more agents of a group; false when there are none.
    fn rank_more(&mut self, group: usize, index: &Index, heads: &Heads) -> bool {
        let members = &self.ground.groups[group].members;
        let share = (self.wide / self.ground.groups.len()).max(RANKED_MIN).min(self.wide);
        let mut begun = self.begun.remove(&group).unwrap_or_default();
        let mut found = Vec::new();
        let order = self.scale.order;
        let (start, first_bit) = (order.start(members.len()), order.first_bit(group));
        loop {
            let (block, open) = std::mem::take(&mut begun.rest);
            let (now, rest) = first_of(open, share - found.len(), first_bit);
            begun.rest = (block, rest);
            let sites = bits(now).map(|bit| block * BLOCK + bit);
            let admitted = sites.filter(|site| self.ground.admits_in_group(self.needs, heads, *site));
            found.extend(admitted.map(|site| Reverse((self.scale.at_best(site, index), false))));
            if found.len() >= share || rest == 0 && begun.seen == members.len() {
                break;
            }
            if rest == 0 {
                let (block, word) = members[(start + begun.seen) % members.len()];
                begun.seen += 1;
                begun.rest = (block, self.with_room(word, block, index));
            }
        }
        let any = !found.is_empty();
        self.ranked_count += found.len();
        begun.sites.extend(found);
        self.begun.insert(group, begun);
        any
    }

    /// Of these agents of a block those that have room, and that nothing known keeps out.
    fn with_room(&self, agents: u64, block: usize, index: &Index) -> u64 {
        if !index.may_fit(self.needs, block) {
            return 0;
        }
        let open = agents & self.ground.open(self.needs, index, block);
        let has_room = |bit: &usize| index.fits(self.needs, block * BLOCK + bit);
        bits(open).filter(has_room).fold(0, |word, bit| word | 1 << bit)
    }

    /// Puts a group back where its crowd and its best agent say.
    fn enqueue(&mut self, group: usize, index: &Index, heads: &Heads) {
        let crowd = self.ground.crowd(heads, group);
        let fresh = Reverse((crowd, mix(self.scale.order.seed, group as u64), group));
        let Some(begun) = self.begun.get_mut(&group) else {
            return self.fresh.push(fresh);
        };
        match begun.best(&self.scale, index) {
            Some(best) => self.queue.push(Reverse(Queued { crowd, best, group })),
            None if begun.seen < self.ground.groups[group].members.len() || begun.rest.1 != 0 => {
                self.fresh.push(fresh);
            }
            None => {}
        }
    }

    /// The best agent of a group that can still take a task. Agents only fill up, and no rule admits again
    /// an agent in a group that it has refused within it, so one that cannot is out of the question.
    fn best_of(&mut self, group: usize, index: &Index, heads: &Heads) -> Option<usize> {
        loop {
            let (begun, scale) = (self.begun.get_mut(&group)?, &self.scale);
            let sites = std::iter::from_fn(|| begun.take_best(scale, index));
            let (needs, ground) = (self.needs, self.ground);
            let can = |site: &usize| index.fits(needs, *site) && ground.admits_in_group(needs, heads, *site);
            let best = { sites }.find(can);
            if best.is_some() || !self.rank_more(group, index, heads) {
                return best;
            }
        }
    }
}

/// The first so many bits of a word from some bit on and round, and the others.
fn first_of(word: u64, count: usize, from: u32) -> (u64, u64) {
    if word.count_ones() as usize <= count {
        return (word, 0);
    }
    let first = bits(word.rotate_right(from)).take(count);
    let first = first.fold(0_u64, |first, bit| first | 1 << bit).rotate_left(from);
    (first, word & !first)
}
