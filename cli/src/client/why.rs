//! Why tasks wait, in words: the launch queue as people read it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::http::Master;
use super::table::text;

/// The queue with the agents that had no room and what they lacked.
const QUEUE: &str = "/v2/queue?embed=lastUnusedOffers&embed=lastUnusedOffers.detail";

/// Items of the launch queue.
pub async fn queue(master: &Master) -> anyhow::Result<Vec<Value>> {
    Ok(master.get(QUEUE).await?["queue"].as_array().cloned().unwrap_or_default())
}

/// What each app with tasks that wait is waiting for, back-off included; nothing said of those that are
/// just about to be placed.
pub async fn waiting(master: &Master) -> anyhow::Result<BTreeMap<String, String>> {
    let items = queue(master).await?;
    let agents = Agents::of(master, &items).await?;
    let entry = |item: &Value| {
        let why = match item["delay"]["timeLeftSeconds"].as_u64().unwrap_or(0) {
            0 => agents.why(item)?,
            left => format!("backs off for {left}s after a failure"),
        };
        Some((item["app"]["id"].as_str()?.to_owned(), why))
    };
    Ok(items.iter().filter_map(entry).collect())
}

/// Are there agents at all? Asked only when an app has not met one.
pub enum Agents {
    /// None is connected.
    None,
    /// Some are, or nobody needs to know.
    Some,
}

impl Agents {
    /// What has to be known to explain `items`.
    pub async fn of(master: &Master, items: &[Value]) -> anyhow::Result<Self> {
        if items.iter().all(|item| looked_at(item) > 0) {
            return Ok(Self::Some);
        }
        let agents = master.get("/v2/agents").await?;
        let mut list = agents["agents"].as_array().into_iter().flatten();
        let connected = list.any(|agent| agent["presence"].as_str() == Some("connected"));
        Ok(if connected { Self::Some } else { Self::None })
    }

    /// The reasons of the last look: `not enough cpus on 2 of 2 agents (127.0.0.1 needs ...)`. `None` when
    /// the item was not looked at yet.
    pub fn why(&self, item: &Value) -> Option<String> {
        let summary = item["processedOffersSummary"]["rejectSummaryLastOffers"].as_array();
        let declined = |reason: &&Value| reason["declined"].as_u64().unwrap_or(0) > 0;
        let reasons: Vec<String> =
            summary.into_iter().flatten().filter(declined).map(|reason| sentence(item, reason)).collect();
        match self {
            _ if !reasons.is_empty() => Some(reasons.join(", ")),
            Self::None => Some("no agent is connected; `clusterctl agent` runs one".to_owned()),
            Self::Some => None,
        }
    }
}

/// Agents that the last look met.
fn looked_at(item: &Value) -> u64 {
    let first = &item["processedOffersSummary"]["rejectSummaryLastOffers"][0];
    first["processed"].as_u64().unwrap_or(0)
}

fn sentence(item: &Value, reason: &Value) -> String {
    let name = text(&reason["reason"]);
    let (declined, all) = (reason["declined"].as_u64().unwrap_or(0), looked_at(item));
    let agents = if all == 1 { "the only agent".to_owned() } else { format!("{declined} of {all} agents") };
    format!("{} on {agents}{}", words(&name), example(item, &name))
}

/// One agent that said no for this reason first, and what it lacked.
fn example(item: &Value, reason: &str) -> String {
    let mut sample = item["lastUnusedOffers"].as_array().into_iter().flatten();
    let found = sample.find(|unused| unused["reason"][0].as_str() == Some(reason));
    let detail = found.and_then(|unused| unused["detail"].as_str()).filter(|detail| !detail.is_empty());
    match (found, detail) {
        (Some(unused), Some(detail)) => format!(" ({}: {detail})", text(&unused["offer"]["hostname"])),
        _ => String::new(),
    }
}

fn words(reason: &str) -> &str {
    match reason {
        "UnfulfilledRole" => "role not accepted",
        "UnfulfilledConstraint" => "constraint not met",
        "NoCorrespondingReservationFound" => "no reservation",
        "AgentMaintenance" => "agent takes no tasks",
        "InsufficientCpus" => "not enough cpus",
        "InsufficientMemory" => "not enough memory",
        "InsufficientDisk" => "not enough disk",
        "InsufficientGpus" => "not enough gpus",
        "InsufficientPorts" => "ports taken",
        "DeclinedScarceResources" => "scarce resources kept for others",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(all: u64, cpus: u64) -> Value {
        json!({
            "processedOffersSummary": {"rejectSummaryLastOffers": [
                {"reason": "UnfulfilledRole", "declined": 0, "processed": all},
                {"reason": "InsufficientCpus", "declined": cpus, "processed": all},
            ]},
            "lastUnusedOffers": [
                {"offer": {"hostname": "n1"}, "reason": ["InsufficientPorts"], "detail": "port 80 is taken"},
                {"offer": {"hostname": "n2"}, "reason": ["InsufficientCpus"], "detail": "needs 4.0 cpus, 1.5 free"},
            ],
        })
    }

    #[test]
    fn reasons_count_agents_and_give_an_example() {
        let said = Agents::Some.why(&item(3, 2)).unwrap();
        assert_eq!(said, "not enough cpus on 2 of 3 agents (n2: needs 4.0 cpus, 1.5 free)");
        let said = Agents::Some.why(&item(1, 1)).unwrap();
        assert_eq!(said, "not enough cpus on the only agent (n2: needs 4.0 cpus, 1.5 free)");
    }

    #[test]
    fn what_nobody_has_looked_at_is_not_called_hopeless() {
        assert_eq!(Agents::Some.why(&item(0, 0)), None);
        assert!(Agents::None.why(&item(0, 0)).unwrap().contains("no agent is connected"));
    }
}
