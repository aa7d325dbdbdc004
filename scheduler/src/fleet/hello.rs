//! Whether an agent may come in, and if not, whether a person has to do something about it. Pure.

use std::collections::BTreeMap;

use spec::protocol::{AgentInfo, Fence, Hello, Standing, VERSION, VERSION_MIN};
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

/// Why an agent does not come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// It will not until a person does something about it: the agent is told this sentence and stops.
    Refused(String),
    /// Another master may well take it; this one has been deposed and does not know yet. The connection is
    /// closed and the agent goes on looking.
    Stale,
}

/// What speaks against an opening, at a leader that speaks from `here` in `cluster`.
pub fn objection(hello: &Hello, cluster: Uuid, here: Fence) -> Option<Objection> {
    if !(VERSION_MIN..=VERSION).contains(&hello.protocol) {
        return refused(format!(
            "the agent speaks protocol {}, this master {VERSION_MIN} to {VERSION}: upgrade the older of the two, \
             masters first",
            hello.protocol
        ));
    }
    if let Some(theirs) = hello.cluster_id.filter(|theirs| *theirs != cluster) {
        return refused(format!(
            "the agent belongs to cluster {theirs}, this is cluster {cluster}: give it another --data-dir, or \
             point it at its own masters"
        ));
    }
    let obeyed = hello.fence;
    match here.standing(obeyed) {
        Standing::Current => {
            let flaw = flaw(&hello.info)?;
            refused(format!("what the agent says of itself cannot be: {flaw}"))
        }
        Standing::Deposed => Some(Objection::Stale),
        Standing::SetBack => refused(format!(
            "the agent has obeyed a leader of term {} at log index {}, this one is of term {} and only at index {}: \
             the log was set back (an old copy of a data directory?); `clusterctl restore` of a backup is the way \
             to go back that agents accept, with --epoch {} where one was restored before",
            obeyed.term,
            obeyed.index,
            here.term,
            here.index,
            obeyed.epoch() + 1
        )),
        Standing::Bygone => refused(format!(
            "the agent has obeyed epoch {} of the cluster, this master is of epoch {}: the cluster was restored or \
             recovered meanwhile and goes on without this master; stop it and empty its --data-dir",
            obeyed.epoch(),
            here.epoch()
        )),
    }
}

fn refused(reason: String) -> Option<Objection> {
    Some(Objection::Refused(reason))
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
    const EPOCH: u64 = 1 << 32;
    const HERE: Fence = Fence { term: EPOCH + 3, index: 100 };

    fn hello(change: impl FnOnce(&mut Hello)) -> Option<Objection> {
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
        assert_eq!(hello(|hello| hello.protocol = VERSION_MIN), None);
    }

    #[test]
    fn a_fence_tells_who_went_on_without_whom() {
        // Term and index that the agent has obeyed; what is said of them, `None`: come in.
        let table = [
            ((0, 0), None),
            ((3, 5_000), None),
            ((EPOCH - 1, 5_000), None),
            ((EPOCH, 0), None),
            ((EPOCH + 3, 99), None),
            ((EPOCH + 3, 100), None),
            ((EPOCH + 3, 101), Some("set back")),
            ((EPOCH + 2, 101), Some("set back")),
            ((EPOCH + 4, 1), Some("")),
            ((EPOCH + 4, 101), Some("")),
            ((2 * EPOCH, 0), Some("epoch 2")),
            ((2 * EPOCH + 9, 500), Some("epoch 2")),
        ];
        for ((term, index), said) in table {
            let judged = hello(|hello| hello.fence = Fence { term, index });
            match (&judged, said) {
                (None, None) | (Some(Objection::Stale), Some("")) => {}
                (Some(Objection::Refused(reason)), Some(word)) if !word.is_empty() => {
                    assert!(reason.contains(word), "{term}/{index}: {reason}");
                }
                _ => panic!("{term}/{index}: {judged:?}"),
            }
        }
    }

    #[test]
    fn who_does_not_is_told_why() {
        type Change = fn(&mut Hello);
        let cases: [(Change, &str); 12] = [
            (|hello| hello.protocol = VERSION + 1, "upgrade"),
            (|hello| hello.protocol = VERSION_MIN - 1, "upgrade"),
            (|hello| hello.cluster_id = Some(Uuid::from_u128(2)), "--data-dir"),
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
            let Some(Objection::Refused(reason)) = hello(change) else { panic!("case {number}") };
            assert!(reason.contains(word), "case {number}: {reason}");
        }
    }
}
