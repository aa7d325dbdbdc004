//! How well a task would sit on an agent. Lower is better.
//!
//! [`Policy::Spread`]: `peak + (peak - mean) / 2 + siblings / 4`, in millionths, where
//! - `peak` and `mean` are taken over the shares of CPU and memory (disk and GPUs when asked for) that
//!   would be reserved with the task there: tasks spread to where the scarcest resource is least used;
//! - `peak - mean` is what gets stranded: free memory is worth nothing beside a CPU that is full;
//! - `siblings` counts tasks of the same app there: one more weighs as much as a quarter of the agent,
//!   so that an agent's loss takes few of an app's tasks.
//!
//! [`Policy::Pack`]: the mean of the shares that would be left, and sixteen times what the task adds to the gap between
//! the shares of CPU and of memory that are used: a task that asks for much of the one goes where the other is used
//! already, so that both run out together and nothing is stranded. What it adds, not what is there: an agent out of
//! balance is just the place for who brings the balance back. And the root of the agent's size with it: a share of a
//! large agent is more than the same share of a small one, and the largest are to stay whole for what fits nowhere else.
//!
//! GPUs come before all that, with either policy. For tasks that want none, agents with free GPUs come last:
//! nobody else has GPUs. Tasks that want some are packed: the agent comes first that has the fewest left
//! then, for nobody shares a GPU, and spread thin they are of no use to a task that wants eight. Among
//! agents with as few left, as when tasks spread, the one that strands the least; and the smaller one, so
//! that the largest stay whole for what fits nowhere else.

use std::str::FromStr;

use spec::resources::Resources;

use super::index::Slot;
use super::seed::mix;

const WHOLE: u64 = 1_000_000;
const SIBLING: u64 = WHOLE / 4;
/// More than everything else together: siblings count to half of this.
const GPUS: u64 = 4 * GAP_MAX * WHOLE;
/// More GPUs than these on one agent are all the same.
const GPUS_TOLD_APART: u64 = 1 << 32;
/// What a task adds to the gap weighs so much more than how full the agent is, on an agent of [`GAP_CORES`]. Of 0 to 32 and
/// the gap alone this was the best or next to it for every mix of tasks (see the packing figures in docs/performance.md).
const GAP: f64 = 16.0;
const GAP_CORES: f64 = 32.0;
/// However large the agent is.
const GAP_MAX: u64 = 64;
/// A core that stays free on an agent whose GPUs are taken weighs so much: a stranded tenth is worth 40 cores.
const CORE_LEFT: u64 = WHOLE / 400;
/// The best of so many agents, or of twice as many as there are tasks, is hardly worse than the best of all;
/// so an app of one task costs the same in a cluster of any size.
const RANKED: usize = 256;
/// The fullest agent is one of a few, not one of many that are much the same.
const RANKED_TO_PACK: usize = 1024;

/// What makes an agent a good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The least used: an agent's loss takes little, and tasks have room to breathe.
    #[default]
    Spread,
    /// The fullest that will do: few agents are in use, and large tasks find whole ones free.
    Pack,
    /// The first with room, in order of the agents' ids.
    First,
}

impl Policy {
    /// How many agents to rank for so many tasks.
    pub(super) fn ranked_for(self, count: usize) -> usize {
        match self {
            Self::Spread => count.saturating_mul(2).max(RANKED),
            Self::Pack => count.saturating_mul(2).max(RANKED_TO_PACK),
            Self::First => 1,
        }
    }

    /// Where to begin among so many blocks.
    pub(super) fn start(self, seed: u64, blocks_count: usize) -> usize {
        match self {
            Self::Spread => usize::try_from(seed % (blocks_count.max(1) as u64)).unwrap_or_default(),
            // Always the same ones, as long as they have room: the others stay empty.
            Self::Pack | Self::First => 0,
        }
    }

    /// Which of equally good agents comes first.
    pub(super) fn tie(self, seed: u64, site: usize) -> u64 {
        match self {
            Self::Spread => mix(seed, site as u64),
            Self::Pack | Self::First => 0,
        }
    }

    /// The score of one more task that asks for `asked`.
    pub(super) fn score(self, slot: &Slot, asked: &Resources, siblings: u32) -> u64 {
        match self {
            Self::First => 0,
            Self::Pack if asked.gpus == 0 => gpus(slot, asked) + pack(slot, asked),
            Self::Spread if asked.gpus == 0 => gpus(slot, asked) + spread(slot, asked, siblings),
            Self::Pack => gpus(slot, asked) + spread(slot, asked, 0) + size(slot, asked),
            Self::Spread => gpus(slot, asked) + spread(slot, asked, siblings) + size(slot, asked),
        }
    }
}

/// What the command line calls them.
impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "spread" => Ok(Self::Spread),
            "pack" => Ok(Self::Pack),
            "first" => Ok(Self::First),
            _ => Err("spread, pack and first are known".to_owned()),
        }
    }
}

fn gpus(slot: &Slot, asked: &Resources) -> u64 {
    let free = slot.free.gpus;
    if asked.gpus > 0 {
        return free.saturating_sub(asked.gpus).min(GPUS_TOLD_APART) * GPUS;
    }
    u64::from(free > 0) * GPUS
}

fn size(slot: &Slot, asked: &Resources) -> u64 {
    let cores_left = slot.free.cpus_milli.saturating_sub(asked.cpus_milli) / 1000;
    cores_left.saturating_mul(CORE_LEFT).min(GPUS / 4)
}

fn spread(slot: &Slot, asked: &Resources, siblings: u32) -> u64 {
    let (count, sum, peak) = used(slot, asked)
        .fold((0, 0, 0), |(count, sum, peak), share| (count + 1, sum + share, u64::max(peak, share)));
    let stranded = peak - sum / u64::max(count, 1);
    peak + stranded / 2 + u64::from(siblings).saturating_mul(SIBLING).min(GPUS / 2)
}

fn pack(slot: &Slot, asked: &Resources) -> u64 {
    let (count, sum) = used(slot, asked).fold((0, 0), |(count, sum), share| (count + 1, sum + share));
    let left = (2 * WHOLE).saturating_sub(sum / u64::max(count, 1));
    let cores = slot.capacity.cpus_milli as f64 / 1000.0;
    // A root is exact to the bit on every machine.
    let weight = ((cores / GAP_CORES).sqrt() * GAP * 16.0).min(GAP_MAX as f64 * 16.0) as u64;
    let (before, after) = (gap(slot, &Resources::default()), gap(slot, asked));
    let rise = |from: u64, to: u64| to.saturating_sub(from) * weight / 16;
    // Never negative: no gap is more than the whole.
    left + GAP_MAX * WHOLE + rise(before, after) - rise(after, before)
}

/// How far apart the shares of CPU and of memory are that would be reserved.
fn gap(slot: &Slot, asked: &Resources) -> u64 {
    let (capacity, free) = (&slot.capacity, &slot.free);
    let cpus = share(capacity.cpus_milli, free.cpus_milli, asked.cpus_milli).unwrap_or(0);
    let mem = share(capacity.mem_mib, free.mem_mib, asked.mem_mib).unwrap_or(0);
    cpus.min(WHOLE).abs_diff(mem.min(WHOLE))
}

/// Shares of what there is that would be reserved with the task there, in millionths.
fn used(slot: &Slot, asked: &Resources) -> impl Iterator<Item = u64> {
    let (capacity, free) = (&slot.capacity, &slot.free);
    let shares = [
        share(capacity.cpus_milli, free.cpus_milli, asked.cpus_milli),
        share(capacity.mem_mib, free.mem_mib, asked.mem_mib),
        if asked.disk_mib > 0 { share(capacity.disk_mib, free.disk_mib, asked.disk_mib) } else { None },
        if asked.gpus > 0 { share(capacity.gpus, free.gpus, asked.gpus) } else { None },
    ];
    shares.into_iter().flatten()
}

fn share(capacity: u64, free: u64, asked: u64) -> Option<u64> {
    let used = capacity.saturating_sub(free).saturating_add(asked);
    // Division and conversion are exact to the bit on every machine.
    let millionths = used as f64 / capacity.max(1) as f64 * WHOLE as f64;
    (capacity > 0).then_some((millionths as u64).min(2 * WHOLE))
}
