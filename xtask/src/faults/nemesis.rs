//! Carries out the script on the processes and their network, and undoes it.

use std::collections::BTreeMap;

use anyhow::Context;

use super::net::Node;
use super::rest;
use super::script::{Fault, Pick};
use super::site::{Role, Site};

/// What is wrong at the moment.
#[derive(Default)]
pub struct Nemesis {
    /// By the number of the step: whom it met, and which ways it cut.
    active: BTreeMap<usize, Active>,
}

#[derive(Default)]
struct Active {
    met: Vec<Node>,
    cuts: Vec<(Node, Vec<Node>)>,
}

impl Nemesis {
    /// Does it; what was done, in words.
    pub fn begin(&mut self, site: &mut Site, step: usize, fault: Fault) -> anyhow::Result<String> {
        let mut active = Active::default();
        if let Some(node) = met(site, fault) {
            active.met.push(node);
        }
        let names = |site: &Site, nodes: &[Node]| {
            nodes.iter().map(|node| site.network.name(*node).to_owned()).collect::<Vec<_>>().join(", ")
        };
        match fault {
            Fault::KillAllMasters => active.met = site.nodes(Role::Master),
            Fault::Transfer => return transfer(site),
            _ => {}
        }
        active.cuts = cuts(site, fault, &active.met);
        for node in &active.met {
            strike(site, fault, *node)?;
        }
        for (from, to) in &active.cuts {
            site.network.cut(*from, to)?;
        }
        let words = format!("{fault} ({})", names(site, &active.met));
        self.active.insert(step, active);
        Ok(words)
    }

    /// Undoes it.
    pub fn end(&mut self, site: &mut Site, step: usize, fault: Fault) -> anyhow::Result<()> {
        let Some(ended) = self.active.remove(&step) else { return Ok(()) };
        for (from, to) in &ended.cuts {
            // What another step has cut as well stays so.
            let still = |to: &Node| {
                let mut cuts = self.active.values().flat_map(|active| &active.cuts);
                cuts.any(|(other, others)| other == from && others.contains(to))
            };
            let healed: Vec<Node> = to.iter().copied().filter(|to| !still(to)).collect();
            site.network.heal(*from, &healed)?;
        }
        for node in ended.met {
            match fault {
                Fault::StopMaster(_) | Fault::StopAgent(_) => site.member(node).signal(libc::SIGCONT),
                Fault::SlowMaster(_) => site.network.fast(node)?,
                _ => site.start(node, false)?,
            }
        }
        Ok(())
    }
}

/// The node that a fault is about.
fn met(site: &Site, fault: Fault) -> Option<Node> {
    let masters = site.nodes(Role::Master);
    let agents = site.nodes(Role::Agent);
    match fault {
        Fault::KillAllMasters | Fault::Transfer => None,
        Fault::KillMaster(pick)
        | Fault::StopMaster(pick)
        | Fault::IsolateMaster(pick)
        | Fault::MuteMaster(pick)
        | Fault::DeafenMaster(pick)
        | Fault::Split(pick)
        | Fault::SlowMaster(pick)
        | Fault::ReplaceMaster(pick) => match pick {
            // Without a leader it may as well be the first.
            Pick::Leader => rest::leader(site).or(masters.first().copied()),
            Pick::Place(place) => masters.get(usize::from(place)).copied(),
        },
        Fault::KillAgent(agent)
        | Fault::StopAgent(agent)
        | Fault::PowerOff(agent)
        | Fault::IsolateAgent(agent) => agents.get(usize::from(agent)).copied(),
    }
}

/// The ways that a fault cuts: from whom to whom.
fn cuts(site: &Site, fault: Fault, met: &[Node]) -> Vec<(Node, Vec<Node>)> {
    let Some(node) = met.first().copied() else { return Vec::new() };
    let rest = |of: &[Node]| -> Vec<Node> {
        site.network.nodes().into_iter().filter(|other| !of.contains(other)).collect()
    };
    let others = rest(&[node]);
    let mute = || vec![(node, others.clone())];
    let deaf = || others.iter().map(|other| (*other, vec![node])).collect::<Vec<_>>();
    match fault {
        Fault::MuteMaster(_) => mute(),
        Fault::DeafenMaster(_) => deaf(),
        Fault::IsolateMaster(_) | Fault::IsolateAgent(_) => [mute(), deaf()].concat(),
        Fault::Split(_) => {
            // The first agent stays with the majority, which it is there to watch.
            let last = site.nodes(Role::Agent).into_iter().skip(1).next_back();
            let few: Vec<Node> = [Some(node), last].into_iter().flatten().collect();
            let many = rest(&few);
            let there = few.iter().map(|from| (*from, many.clone()));
            there.chain(many.iter().map(|from| (*from, few.clone()))).collect()
        }
        _ => Vec::new(),
    }
}

fn strike(site: &mut Site, fault: Fault, node: Node) -> anyhow::Result<()> {
    match fault {
        Fault::KillMaster(_) | Fault::KillAllMasters | Fault::KillAgent(_) => site.member(node).kill(),
        Fault::StopMaster(_) | Fault::StopAgent(_) => {
            site.member(node).signal(libc::SIGSTOP);
            Ok(())
        }
        Fault::SlowMaster(_) => site.network.slow(node),
        Fault::ReplaceMaster(_) => site.member(node).lose_disk(),
        Fault::PowerOff(_) => site.power_off(node),
        _ => Ok(()),
    }
}

/// Asks the leader to give up; it is no fault of anybody when there is none.
fn transfer(site: &Site) -> anyhow::Result<String> {
    let https = site.https();
    let address = rest::leader(site).and_then(|node| https.get(usize::from(node.0))).or(https.first());
    let answer =
        rest::call(*address.context("no masters")?, "DELETE", "/v2/leader", &serde_json::Value::Null);
    Ok(match answer {
        Ok((status, _)) => format!("transfer leadership (answered {status})"),
        Err(_) => "transfer leadership (no answer)".to_owned(),
    })
}
