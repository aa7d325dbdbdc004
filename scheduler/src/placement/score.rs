//! How well a task would sit on an agent. Lower is better.
//!
//! `score = peak + (peak - mean) / 2 + siblings / 4 + gpus`, in millionths, where
//! - `peak` and `mean` are taken over the shares of CPU and memory (disk and GPUs when asked for) that
//!   would be reserved with the task there: tasks spread to where the scarcest resource is least used;
//! - `peak - mean` is what gets stranded: free memory is worth nothing beside a CPU that is full;
//! - `siblings` counts tasks of the same app there: one more weighs as much as a quarter of the agent,
//!   so that an agent's loss takes few of an app's tasks;
//! - `gpus` puts agents with free GPUs last for tasks that want none: nobody else has GPUs.

use spec::resources::Resources;

use super::site::Site;

const WHOLE: u64 = 1_000_000;
const SIBLING: u64 = WHOLE / 4;
/// More than everything else together can be on agents that matter.
const GPU_WASTED: u64 = 16 * WHOLE;

/// The score of one more task that asks for `asked`.
pub(super) fn score(site: &Site<'_>, asked: &Resources, siblings: u32) -> u64 {
    let capacity = &site.agent.info.capacity;
    let shares = [
        share(capacity.cpus_milli, site.free.cpus_milli, asked.cpus_milli),
        share(capacity.mem_mib, site.free.mem_mib, asked.mem_mib),
        if asked.disk_mib > 0 { share(capacity.disk_mib, site.free.disk_mib, asked.disk_mib) } else { None },
        if asked.gpus > 0 { share(capacity.gpus, site.free.gpus, asked.gpus) } else { None },
    ];
    let (count, sum) = shares.iter().flatten().fold((0, 0), |(count, sum), share| (count + 1, sum + share));
    let peak = shares.iter().flatten().copied().max().unwrap_or(0);
    let stranded = peak - sum / u64::max(count, 1);
    let wasted = if asked.gpus == 0 && site.free.gpus > 0 { GPU_WASTED } else { 0 };
    peak + stranded / 2 + u64::from(siblings).saturating_mul(SIBLING).min(GPU_WASTED / 2) + wasted
}

/// Share of `capacity` reserved with the task there, in millionths.
fn share(capacity: u64, free: u64, asked: u64) -> Option<u64> {
    let used = capacity.saturating_sub(free).saturating_add(asked);
    let millionths = u128::from(used) * u128::from(WHOLE) / u128::from(capacity.max(1));
    (capacity > 0).then(|| u64::try_from(millionths).unwrap_or(WHOLE).min(2 * WHOLE))
}
