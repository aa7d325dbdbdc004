//! Marathon's launch queue item (reference section 1.7): why tasks wait.

use serde::Serialize;
use serde_json::{Value, json};
use spec::app::App;
use spec::time::Timestamp;

use crate::placement::{Reason, Rejects, Unfit, Waiting};
use crate::state::{Agent, AppEntry, State};

/// One app with tasks that wait.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct QueueItem<'s> {
    count: usize,
    role: &'s str,
    delay: Delay,
    since: Timestamp,
    processed_offers_summary: OffersSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_unused_offers: Option<Vec<Value>>,
    app: &'s App,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Delay {
    time_left_seconds: u64,
    overdue: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OffersSummary {
    processed_offers_count: u64,
    unused_offers_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_unused_offer_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_offer_at: Option<Timestamp>,
    reject_summary_last_offers: Vec<Value>,
    reject_summary_launch_attempt: Vec<Value>,
}

/// What to say of the agents that had no room.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Sample {
    /// Name them.
    pub agents: bool,
    /// Say in words what they lacked.
    pub details: bool,
}

impl<'s> QueueItem<'s> {
    /// `waiting` is what the leader found out, if it has looked yet.
    pub fn of(
        state: &State,
        entry: &'s AppEntry,
        count: usize,
        waiting: Option<&Waiting>,
        sample: Sample,
        now: Timestamp,
    ) -> Self {
        let unlooked = Waiting { since: entry.app.version, ..Waiting::default() };
        let waiting = waiting.unwrap_or(&unlooked);
        Self {
            count,
            role: &entry.app.role,
            delay: delay(entry, now),
            since: waiting.since,
            processed_offers_summary: summary(waiting),
            last_unused_offers: sample.agents.then(|| sample.of(state, waiting)),
            app: &entry.app,
        }
    }
}

fn delay(entry: &AppEntry, now: Timestamp) -> Delay {
    let left = entry.delay.map_or(0, |delay| delay.until().millis_since(now));
    Delay { time_left_seconds: left.div_ceil(1000), overdue: left == 0 }
}

fn summary(waiting: &Waiting) -> OffersSummary {
    OffersSummary {
        processed_offers_count: waiting.processed,
        unused_offers_count: waiting.unused,
        last_unused_offer_at: waiting.last_unused_at,
        last_used_offer_at: waiting.last_used_at,
        reject_summary_last_offers: funnel(&waiting.last_agents),
        reject_summary_launch_attempt: funnel(&waiting.launch_attempt),
    }
}

/// All ten reasons, each having processed what the ones before it let through.
fn funnel(rejects: &Rejects) -> Vec<Value> {
    let mut left = rejects.processed;
    let step = |(reason, declined): (Reason, u64)| {
        let processed = left;
        left = left.saturating_sub(declined);
        json!({"reason": reason_name(reason), "declined": declined, "processed": processed})
    };
    Reason::ALL.into_iter().zip(rejects.declined).map(step).collect()
}

impl Sample {
    fn of(self, state: &State, waiting: &Waiting) -> Vec<Value> {
        let at = waiting.last_unused_at.unwrap_or(waiting.since);
        let one = |unfit: &Unfit| {
            let mut shown = unused(state.agents.get(&unfit.agent)?, unfit, at);
            if self.details {
                shown["detail"] = Value::from(unfit.detail.as_str());
            }
            Some(shown)
        };
        waiting.sample.iter().filter_map(one).collect()
    }
}

/// An agent dressed up as the offer that Mesos would have made of what it has left.
fn unused(agent: &Agent, unfit: &Unfit, at: Timestamp) -> Value {
    let free = agent.free();
    let cpus = free.cpus_milli as f64 / 1000.0;
    let amounts = [
        ("cpus", cpus),
        ("mem", free.mem_mib as f64),
        ("disk", free.disk_mib as f64),
        ("gpus", free.gpus as f64),
    ];
    let mut resources: Vec<Value> =
        amounts.iter().map(|(name, amount)| json!({"name": name, "scalar": amount, "role": "*"})).collect();
    let ranges: Vec<Value> =
        agent.info.ports.iter().map(|(begin, end)| json!({"begin": begin, "end": end})).collect();
    resources.push(json!({"name": "ports", "ranges": ranges, "role": "*"}));
    let attributes: Vec<Value> =
        agent.info.attributes.iter().map(|(name, text)| json!({"name": name, "text": text})).collect();
    let reasons: Vec<&str> = unfit.reasons.iter().map(|reason| reason_name(*reason)).collect();
    json!({
        "offer": {
            "id": agent.id, "hostname": agent.info.hostname, "agentId": agent.id,
            "resources": resources, "attributes": attributes,
        },
        "reason": reasons,
        "timestamp": at,
    })
}

fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::UnfulfilledRole => "UnfulfilledRole",
        Reason::UnfulfilledConstraint => "UnfulfilledConstraint",
        Reason::NoCorrespondingReservationFound => "NoCorrespondingReservationFound",
        Reason::AgentMaintenance => "AgentMaintenance",
        Reason::InsufficientCpus => "InsufficientCpus",
        Reason::InsufficientMemory => "InsufficientMemory",
        Reason::InsufficientDisk => "InsufficientDisk",
        Reason::InsufficientGpus => "InsufficientGpus",
        Reason::InsufficientPorts => "InsufficientPorts",
        Reason::DeclinedScarceResources => "DeclinedScarceResources",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_funnel_names_all_ten_and_narrows() {
        let mut rejects = Rejects { processed: 10, ..Rejects::default() };
        rejects.declined[1] = 3;
        rejects.declined[4] = 7;
        let funnel = funnel(&rejects);
        assert_eq!(funnel.len(), 10);
        assert_eq!(funnel[1], json!({"reason": "UnfulfilledConstraint", "declined": 3, "processed": 10}));
        assert_eq!(funnel[4], json!({"reason": "InsufficientCpus", "declined": 7, "processed": 7}));
        assert_eq!(funnel[9]["processed"], 0);
    }
}
