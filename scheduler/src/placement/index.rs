//! Every agent in columns, in the order of their ids, kept from plan to plan: a plan costs what it places
//! and what has changed since the last one, not a walk through the agents' table.
//!
//! Agents lie in blocks of 64 with the most of each resource that any of them has free, so that what fits
//! nowhere in a block costs one look at the block, and what holds for 64 agents is a word of bits.
//!
//! The index says what the state says, whatever it said before: it is brought up to date by what differs
//! between the two agents' tables, and a plan's placements are taken back when the plan is done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use spec::ids::AgentId;
use spec::resources::Resources;

use super::Reason;
use super::fields::Fields;
use super::heads::Keeper;
use super::needs::Needs;
use super::site::Site;
use crate::state::{Agent, Presence};

/// Agents in a block: the bits of a word.
pub(super) const BLOCK: usize = 64;

/// See the module. Soft: an empty one gives the same plans, after a walk through all agents.
#[derive(Clone, Debug, Default)]
pub struct Index {
    source: OrdMap<AgentId, Arc<Agent>>,
    agents: Vec<Arc<Agent>>,
    slots: Vec<Slot>,
    blocks: Vec<Block>,
    /// What the agents say of themselves; asked for by rules.
    fields: Fields,
    /// What the rules of apps count.
    pub(super) keeper: Keeper,
    /// Agents that the running plan has put tasks on.
    taken: BTreeMap<usize, Taken>,
}

/// What the running plan has done to an agent.
#[derive(Clone, Debug)]
struct Taken {
    /// The agent's numbers before.
    before: Slot,
    /// Ports that were given away.
    ports: BTreeSet<u16>,
}

/// What placement looks at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    /// What is left to reserve.
    pub(super) free: Resources,
    /// What there is.
    pub(super) capacity: Resources,
    /// Host ports left.
    pub(super) ports: usize,
}

impl Slot {
    pub(super) fn of(agent: &Agent) -> Self {
        let site = Site::of(agent);
        Self { free: site.free, capacity: agent.info.capacity, ports: site.ports_free() }
    }
}

/// [`BLOCK`] agents together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// No agent has more of anything left; while a plan goes on some may have had it.
    most: Resources,
    /// No agent has less of anything left.
    least: Resources,
    /// Nor more ports.
    ports: usize,
    /// Agents that are there.
    pub(super) connected: u64,
    /// Agents that run images.
    pub(super) docker: u64,
    /// Agents that run commands.
    pub(super) process: u64,
}

/// What the agents of a block lack for a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// None lacks anything.
    Nothing,
    /// Each lacks this first.
    All(Reason),
    /// They are to be asked one by one.
    Differs,
}

impl Block {
    /// What a task lacks that asks for these resources, and for so many ports of any number.
    fn lack(&self, asked: &Resources, ports_count: usize) -> Lack {
        let (most, least) = (&self.most, &self.least);
        let kinds = [
            (Reason::InsufficientCpus, asked.cpus_milli, most.cpus_milli, least.cpus_milli),
            (Reason::InsufficientMemory, asked.mem_mib, most.mem_mib, least.mem_mib),
            (Reason::InsufficientDisk, asked.disk_mib, most.disk_mib, least.disk_mib),
            (Reason::InsufficientGpus, asked.gpus, most.gpus, least.gpus),
        ];
        for (reason, asked, most, least) in kinds {
            if asked > most {
                return Lack::All(reason);
            }
            if asked > least {
                return Lack::Differs;
            }
        }
        match ports_count {
            0 => Lack::Nothing,
            count if count > self.ports => Lack::All(Reason::InsufficientPorts),
            _ => Lack::Differs,
        }
    }

    fn set(&mut self, bit: usize, agent: &Agent) {
        let runtimes = &agent.info.runtimes;
        let set = |word: &mut u64, holds: bool| *word = *word & !(1 << bit) | u64::from(holds) << bit;
        set(&mut self.connected, agent.presence == Presence::Connected);
        set(&mut self.docker, runtimes.hollow || runtimes.docker.is_none());
        set(&mut self.process, runtimes.hollow || runtimes.process.is_none());
    }
}

impl Index {
    /// Says what `agents` say from now on.
    pub(super) fn follow(&mut self, agents: &OrdMap<AgentId, Arc<Agent>>) {
        let before = std::mem::replace(&mut self.source, agents.clone());
        let mut changed = Vec::new();
        let mut at = 0;
        for difference in before.diff(agents) {
            let DiffItem::Update { new: (id, agent), .. } = difference else {
                return self.rebuild();
            };
            at += ahead(&self.agents[at..], id);
            // Equal by their place in memory, most of the time.
            if self.agents[at].info != agent.info {
                self.fields.forget();
            }
            self.agents[at] = agent.clone();
            changed.push(at);
        }
        self.refresh(changed);
    }

    fn rebuild(&mut self) {
        self.agents = self.source.values().cloned().collect();
        self.slots = vec![Slot::default(); self.agents.len()];
        self.blocks = vec![Block::default(); self.agents.len().div_ceil(BLOCK)];
        self.refresh(0..self.agents.len());
        self.fields.forget();
    }

    /// Reads agents anew, in order of their positions.
    fn refresh(&mut self, sites: impl IntoIterator<Item = usize>) {
        let mut open = None;
        for site in sites {
            if open != Some(site / BLOCK) {
                open.into_iter().for_each(|block| self.sum(block));
                open = Some(site / BLOCK);
            }
            let agent = &self.agents[site];
            self.slots[site] = Slot::of(agent);
            self.blocks[site / BLOCK].set(site % BLOCK, agent);
        }
        open.into_iter().for_each(|block| self.sum(block));
    }

    /// Finds the most and the least that is left in a block.
    fn sum(&mut self, block: usize) {
        let sites = block * BLOCK..self.agents.len().min((block + 1) * BLOCK);
        let slots = &self.slots[sites];
        let (mut most, mut least, mut ports) = (Resources::default(), slots[0].free, 0);
        for slot in slots {
            (most, least) = (each(most, slot.free, u64::max), each(least, slot.free, u64::min));
            ports = ports.max(slot.ports);
        }
        let block = &mut self.blocks[block];
        (block.most, block.least, block.ports) = (most, least, ports);
    }

    /// How many blocks.
    pub(super) fn blocks_count(&self) -> usize {
        self.blocks.len()
    }

    /// One block.
    pub(super) fn block(&self, block: usize) -> &Block {
        &self.blocks[block]
    }

    /// The agent at a position.
    pub(super) fn agent(&self, site: usize) -> &Agent {
        &self.agents[site]
    }

    /// What the agents say of themselves, and they, in order.
    pub(super) fn fields(&mut self) -> (&mut Fields, &[Arc<Agent>]) {
        (&mut self.fields, &self.agents)
    }

    /// Its numbers.
    pub(super) fn slot(&self, site: usize) -> &Slot {
        &self.slots[site]
    }

    /// Its numbers before the running plan put tasks on it, if it did.
    pub(super) fn before(&self, site: usize) -> Option<&Slot> {
        self.taken.get(&site).map(|taken| &taken.before)
    }

    /// The agent at a position as the running plan leaves it.
    pub(super) fn site(&self, site: usize) -> Site<'_> {
        let ports = self.taken.get(&site).map(|taken| &taken.ports);
        Site::in_plan(&self.agents[site], self.slots[site].free, ports)
    }

    /// Could any agent of the block have room? Never a wrong no.
    pub(super) fn may_fit(&self, needs: &Needs, block: usize) -> bool {
        let block = &self.blocks[block];
        needs.resources.fits(&block.most) && needs.ports.len() <= block.ports
    }

    /// What the agents of a block lack.
    pub(super) fn lack(&self, needs: &Needs, block: usize) -> Lack {
        self.blocks[block].lack(&needs.resources, needs.ports.len())
    }

    /// Has the agent room, and the ports?
    pub(super) fn fits(&self, needs: &Needs, site: usize) -> bool {
        let slot = &self.slots[site];
        needs.resources.fits(&slot.free)
            && needs.ports.len() <= slot.ports
            && (needs.fixed_ports.is_empty() || {
                let site = self.site(site);
                needs.fixed_ports.iter().all(|port| site.is_port_free(*port))
            })
    }

    /// The plan puts a task there.
    pub(super) fn take(&mut self, site: usize, resources: &Resources, ports: &[u16]) {
        let slot = &mut self.slots[site];
        let taken = self.taken.entry(site);
        let taken = taken.or_insert_with(|| Taken { before: *slot, ports: BTreeSet::new() });
        taken.ports.extend(ports);
        slot.free = slot.free.minus(resources);
        slot.ports -= ports.len();
        let block = &mut self.blocks[site / BLOCK];
        // The most is no less than it was, which is all that is said of it, and is found anew when the plan is done.
        block.least = each(block.least, slot.free, u64::min);
    }

    /// The plan is done: what it has put is not there until it is applied.
    pub(super) fn give_back(&mut self) {
        let mut open = None;
        for (site, taken) in std::mem::take(&mut self.taken) {
            // Not read anew: the agent itself is far away in memory.
            self.slots[site] = taken.before;
            if open != Some(site / BLOCK) {
                open.into_iter().for_each(|block| self.sum(block));
                open = Some(site / BLOCK);
            }
        }
        open.into_iter().for_each(|block| self.sum(block));
    }
}

/// The one or the other of each.
fn each(one: Resources, other: Resources, of: impl Fn(u64, u64) -> u64) -> Resources {
    Resources {
        cpus_milli: of(one.cpus_milli, other.cpus_milli),
        mem_mib: of(one.mem_mib, other.mem_mib),
        disk_mib: of(one.disk_mib, other.disk_mib),
        gpus: of(one.gpus, other.gpus),
    }
}

/// How far ahead the agent of that id is, in a list that has it; cheap when it is near.
fn ahead(agents: &[Arc<Agent>], id: &AgentId) -> usize {
    let mut step = 1;
    while step < agents.len() && agents[step].id <= *id {
        step *= 2;
    }
    let from = step / 2;
    let to = agents.len().min(step + 1);
    from + agents[from..to].partition_point(|agent| agent.id < *id)
}
