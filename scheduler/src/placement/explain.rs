//! Why tasks wait: counts for `/v2/queue`, and words for people.

use spec::time::Timestamp;

use super::needs::{Needs, PortsAsked};
use super::rules::Tallies;
use super::site::Site;
use super::{Reason, Rejects, SAMPLE_MAX, Unfit, Waiting};
use crate::state::Presence;

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
pub(super) fn look(needs: &Needs, sites: &[Site<'_>], tallies: &Tallies, placed: u32, at: Timestamp) -> Look {
    let mut look = Look { at, placed, ..Look::default() };
    for site in sites.iter().filter(|site| site.agent.presence == Presence::Connected) {
        look.rejects.processed += 1;
        let mut reasons = needs.reasons(site, tallies, PortsAsked::Any);
        let Some(first) = reasons.next() else {
            continue;
        };
        look.rejects.declined[first as usize] += 1;
        if look.sample.len() < SAMPLE_MAX {
            let reasons: Vec<_> = std::iter::once(first).chain(reasons).collect();
            let details: Vec<_> =
                reasons.iter().map(|reason| detail(*reason, needs, site, tallies)).collect();
            look.sample.push(Unfit { agent: site.agent.id.clone(), reasons, detail: details.join("; ") });
        }
    }
    look
}

fn detail(reason: Reason, needs: &Needs, site: &Site<'_>, tallies: &Tallies) -> String {
    let (asked, free) = (&needs.resources, &site.free);
    match reason {
        Reason::UnfulfilledRole => {
            let roles = needs.foreign_roles.as_deref().unwrap_or_default().join(", ");
            format!("accepts only resources reserved for {roles}, the agent's are for everybody")
        }
        Reason::UnfulfilledConstraint => broken(needs, site, tallies),
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
fn broken(needs: &Needs, site: &Site<'_>, tallies: &Tallies) -> String {
    let info = &site.agent.info;
    let of_rule = |rule: &super::rules::Rule| match rule.value_on(info) {
        Some(value) => format!("constraint {} against {value}", rule.text),
        None => format!("constraint {} and no such attribute", rule.text),
    };
    let rules = needs.broken_rules(info, tallies).map(of_rule);
    needs.runtime_missing(info).into_iter().chain(rules).collect::<Vec<_>>().join("; ")
}

/// `2.0`, `0.5`, `0.125`.
fn cores(milli: u64) -> String {
    let text = format!("{}.{:03}", milli / 1000, milli % 1000);
    let short = text.trim_end_matches('0');
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
}
