//! What keeps an agent out until a person does something about it. Pure.

use std::collections::BTreeMap;

use spec::protocol::{AgentInfo, Fence, Hello, VERSION};
use uuid::Uuid;

/// Longest host name or version text (DNS allows no longer name).
const NAME_BYTES_MAX: usize = 255;
/// Attributes of an agent, and bytes of a name or a value.
const ATTRIBUTES_MAX: usize = 256;
const ATTRIBUTE_BYTES_MAX: usize = 1024;
/// Why a runtime is missing.
const REASON_BYTES_MAX: usize = 4096;
/// Ranges of ports.
const RANGES_MAX: usize = 1024;

/// The objection to an opening, as a person should read it.
pub(super) fn objection(hello: &Hello, cluster: Uuid, here: Fence) -> Option<String> {
    if hello.protocol != VERSION {
        return Some(format!(
            "the agent speaks protocol {}, this master {VERSION}: run the same release of clusterctl on both",
            hello.protocol
        ));
    }
    if let Some(theirs) = hello.cluster_id.filter(|theirs| *theirs != cluster) {
        return Some(format!(
            "the agent belongs to cluster {theirs}, this is cluster {cluster}: give it another --data-dir, or \
             point it at its own masters"
        ));
    }
    if hello.fence > here {
        return Some(format!(
            "the agent has obeyed a leader of term {} at log index {}, this master is only at term {}, index {}: \
             its log was set back (restored from an old copy?)",
            hello.fence.term, hello.fence.index, here.term, here.index
        ));
    }
    flaw(&hello.info).map(|flaw| format!("what the agent says of itself cannot be: {flaw}"))
}

/// It goes into the replicated state, where everything is bounded and makes sense.
fn flaw(info: &AgentInfo) -> Option<String> {
    let AgentInfo { hostname, attributes, ports, runtimes, version, .. } = info;
    if hostname.is_empty() || hostname.len() > NAME_BYTES_MAX {
        return Some(format!("a host name has 1 to {NAME_BYTES_MAX} bytes, not {}", hostname.len()));
    }
    let reasons = [&runtimes.docker, &runtimes.process];
    let long = reasons.iter().any(|reason| reason.as_ref().is_some_and(|text| text.len() > REASON_BYTES_MAX));
    if long || version.len() > NAME_BYTES_MAX {
        return Some("its version, or why it lacks a runtime, takes too many words".to_owned());
    }
    flaw_of_attributes(attributes).or_else(|| flaw_of_ports(ports))
}

fn flaw_of_attributes(attributes: &BTreeMap<String, String>) -> Option<String> {
    if attributes.len() > ATTRIBUTES_MAX {
        return Some(format!("{} attributes, more than {ATTRIBUTES_MAX}", attributes.len()));
    }
    let long = |text: &String| text.len() > ATTRIBUTE_BYTES_MAX;
    let (name, _) = attributes.iter().find(|(name, value)| long(name) || long(value))?;
    let name: String = name.chars().take(32).collect();
    Some(format!("attribute '{name}' is longer than {ATTRIBUTE_BYTES_MAX} bytes"))
}

fn flaw_of_ports(ports: &[(u16, u16)]) -> Option<String> {
    if ports.len() > RANGES_MAX {
        return Some(format!("{} ranges of ports, more than {RANGES_MAX}", ports.len()));
    }
    let turned = ports.iter().any(|(from, to)| from > to || *from == 0);
    let mixed = ports.windows(2).any(|pair| pair[0].1 >= pair[1].0);
    (turned || mixed).then(|| "its port ranges are empty, out of order, or overlap".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::fixture;

    const CLUSTER: Uuid = Uuid::from_u128(1);
    const HERE: Fence = Fence { term: 3, index: 100 };

    fn hello(change: impl FnOnce(&mut Hello)) -> Option<String> {
        let info = fixture::info("a", "rack=r1");
        let (agent_id, cluster_id) = (None, Some(CLUSTER));
        let mut hello =
            Hello { protocol: VERSION, agent_id, cluster_id, fence: HERE, info, tasks: Vec::new() };
        change(&mut hello);
        objection(&hello, CLUSTER, HERE)
    }

    #[test]
    fn who_belongs_here_is_let_in() {
        assert_eq!(hello(|_| {}), None);
        assert_eq!(hello(|hello| hello.cluster_id = None), None);
        for (term, index) in [(0, 0), (3, 99), (2, 5_000)] {
            assert_eq!(hello(|hello| hello.fence = Fence { term, index }), None, "{term}/{index}");
        }
    }

    #[test]
    fn who_does_not_is_told_why() {
        type Change = fn(&mut Hello);
        let cases: [(Change, &str); 13] = [
            (|hello| hello.protocol = VERSION + 1, "same release"),
            (|hello| hello.cluster_id = Some(Uuid::from_u128(2)), "--data-dir"),
            (|hello| hello.fence.index = 101, "set back"),
            (|hello| hello.fence = Fence { term: 4, index: 1 }, "set back"),
            (|hello| hello.info.hostname.clear(), "host name"),
            (|hello| hello.info.hostname = "x".repeat(256), "host name"),
            (|hello| hello.info.version = "x".repeat(256), "too many words"),
            (|hello| hello.info.runtimes.process = Some("x".repeat(5_000)), "too many words"),
            (
                |hello| hello.info.attributes = (0..300).map(|n| (n.to_string(), String::new())).collect(),
                "300",
            ),
            (|hello| hello.info.attributes = [("a".to_owned(), "x".repeat(2_000))].into(), "attribute 'a'"),
            (|hello| hello.info.ports = vec![(2, 1)], "port ranges"),
            (|hello| hello.info.ports = vec![(1, 5), (5, 9)], "port ranges"),
            (|hello| hello.info.ports = vec![(0, 5)], "port ranges"),
        ];
        for (number, (change, word)) in cases.into_iter().enumerate() {
            let reason = hello(change).unwrap_or_default();
            assert!(reason.contains(word), "case {number}: {reason}");
        }
    }
}
