//! Why tasks wait: counts for `/v2/queue`, and words for people.

use spec::time::Timestamp;

use super::crowds::Crowds;
use super::ground::{Ground, bits};
use super::heads::Heads;
use super::index::{BLOCK, Index, Lack};
use super::needs::{Needs, PortsAsked};
use super::site::Site;
use super::{Reason, Rejects, SAMPLE_MAX, Unfit, Waiting};

/// One look at every agent for an app whose tasks found no place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// When.
    pub at: Timestamp,
    /// Tasks of the app that the same plan did place.
    pub placed: u32,
    /// Agents by the first reason against them.
    pub rejects: Rejects,
    /// Some of them, with every reason.
    pub sample: Vec<Unfit>,
}

impl Waiting {
    /// A report that begins at `now`.
    pub fn begun(now: Timestamp) -> Self {
        Self { since: now, ..Self::default() }
    }

    /// Takes in one more look.
    pub fn absorb(&mut self, look: &Look) {
        let declined: u64 = look.rejects.declined.iter().sum();
        self.processed += look.rejects.processed + u64::from(look.placed);
        self.unused += declined;
        if declined > 0 {
            self.last_unused_at = Some(look.at);
        }
        if look.placed > 0 {
            self.last_used_at = Some(look.at);
        }
        self.launch_attempt.processed += look.rejects.processed;
        let sums = self.launch_attempt.declined.iter_mut().zip(look.rejects.declined);
        sums.for_each(|(sum, count)| *sum += count);
        self.last_agents = look.rejects;
        self.sample.clone_from(&look.sample);
    }
}

/// Looks at every connected agent as the plan leaves it. Agents that are away offer nothing and are not
/// counted.
pub(super) fn look(
    needs: &Needs,
    index: &Index,
    (ground, heads): (&Ground, &Heads),
    crowds: &Crowds,
    at: Timestamp,
) -> Look {
    let mut look = Look { at, ..Look::default() };
    for number in 0..index.blocks_count() {
        let block = index.block(number);
        look.rejects.processed += u64::from(block.connected.count_ones());
        let open = ground.open(needs, index, number);
        if needs.foreign_roles.is_none() && look.sample.len() >= SAMPLE_MAX {
            look.decline(Reason::UnfulfilledConstraint, block.connected & !open);
            let lack = if ground.counts() { Lack::Differs } else { index.lack(needs, number) };
            let one = |bit| count(&mut look, needs, index, (ground, heads), number * BLOCK + bit);
            match lack {
                Lack::Nothing => {}
                Lack::All(reason) => look.decline(reason, open),
                Lack::Differs => bits(open).for_each(one),
            }
        } else {
            bits(block.connected)
                .for_each(|bit| describe(&mut look, needs, index, crowds, number * BLOCK + bit));
        }
    }
    look
}

impl Look {
    /// All these agents of a block, for the same reason.
    fn decline(&mut self, reason: Reason, agents: u64) {
        self.rejects.declined[reason as usize] += u64::from(agents.count_ones());
    }
}

/// One agent that neither a rule that does not count nor the runtime keeps out.
fn count(look: &mut Look, needs: &Needs, index: &Index, (ground, heads): (&Ground, &Heads), site: usize) {
    let (asked, free) = (&needs.resources, &index.slot(site).free);
    let first = if !ground.admits(needs, heads, site) {
        Reason::UnfulfilledConstraint
    } else if asked.cpus_milli > free.cpus_milli {
        Reason::InsufficientCpus
    } else if asked.mem_mib > free.mem_mib {
        Reason::InsufficientMemory
    } else if asked.disk_mib > free.disk_mib {
        Reason::InsufficientDisk
    } else if asked.gpus > free.gpus {
        Reason::InsufficientGpus
    } else if !index.fits(needs, site) {
        Reason::InsufficientPorts
    } else {
        return;
    };
    look.rejects.declined[first as usize] += 1;
}

/// One agent with everything that speaks against it.
fn describe(look: &mut Look, needs: &Needs, index: &Index, crowds: &Crowds, site: usize) {
    let site = &index.site(site);
    let reasons: Vec<_> = needs.reasons(site, crowds, PortsAsked::Any).collect();
    let Some(first) = reasons.first() else {
        return;
    };
    look.rejects.declined[*first as usize] += 1;
    if look.sample.len() < SAMPLE_MAX {
        let details: Vec<_> = reasons.iter().map(|reason| detail(*reason, needs, site, crowds)).collect();
        look.sample.push(Unfit { agent: site.agent.id.clone(), reasons, detail: details.join("; ") });
    }
}

fn detail(reason: Reason, needs: &Needs, site: &Site<'_>, crowds: &Crowds) -> String {
    let (asked, free) = (&needs.resources, &site.free);
    match reason {
        Reason::UnfulfilledRole => {
            let roles = needs.foreign_roles.as_deref().unwrap_or_default().join(", ");
            format!("accepts only resources reserved for {roles}, the agent's are for everybody")
        }
        Reason::UnfulfilledConstraint => broken(needs, site, crowds),
        Reason::AgentMaintenance => "the agent is away".to_owned(),
        Reason::InsufficientCpus => {
            format!("needs {} cpus, {} free", cores(asked.cpus_milli), cores(free.cpus_milli))
        }
        Reason::InsufficientMemory => {
            format!("needs {} MiB memory, {} free", asked.mem_mib, free.mem_mib)
        }
        Reason::InsufficientDisk => {
            format!("needs {} MiB disk, {} free", asked.disk_mib, free.disk_mib)
        }
        Reason::InsufficientGpus => format!("needs {} gpus, {} free", asked.gpus, free.gpus),
        Reason::InsufficientPorts => super::ports::missing(&needs.ports, site),
        Reason::NoCorrespondingReservationFound => "nothing is reserved for the app there".to_owned(),
        Reason::DeclinedScarceResources => "its scarce resources are kept for others".to_owned(),
    }
}

/// The missing runtime and the broken constraints, with what the agent has.
fn broken(needs: &Needs, site: &Site<'_>, crowds: &Crowds) -> String {
    let info = &site.agent.info;
    let of_rule = |rule: &super::rules::Rule| match rule.value_on(info) {
        Some(value) => format!("constraint {} against {value}", rule.text()),
        None => format!("constraint {} and no such attribute", rule.text()),
    };
    let rules = needs.broken_rules(info, crowds).map(of_rule);
    needs.runtime_missing(info).into_iter().chain(rules).collect::<Vec<_>>().join("; ")
}

/// `2.0`, `0.5`, `0.125`.
fn cores(milli: u64) -> String {
    let text = format!("{}.{:03}", milli / 1000, milli % 1000);
    let short = text.trim_end_matches('0');
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
}
