//! Leaders with slow disks: the plan carried out on real logs, with disks in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use spec::ids::AgentId;
use tokio_util::sync::CancellationToken;

use super::{Masters, fixture, shell};
use crate::cluster::{Cluster, Options};
use crate::consensus::Handle;
use crate::consensus::testing::network::{Gate, Network, PATIENCE, leader, one_of_three, until};
use crate::machine::StateMachine;
use crate::placement;
use crate::proposer;
use crate::state::{Command, Outcome};

const TICK: Duration = Duration::from_millis(40);
const SLOW: Duration = Duration::from_millis(150);

struct Member {
    cluster: Arc<Cluster>,
    log: Handle<StateMachine>,
    disk: Gate,
}

/// Three masters without REST, agents and peers' connections.
struct Group {
    network: Network<StateMachine>,
    members: BTreeMap<u64, Member>,
    shutdown: CancellationToken,
    acknowledged: BTreeSet<AgentId>,
}

impl Group {
    fn start() -> Self {
        let (network, shutdown) = (Network::default(), CancellationToken::new());
        let member = |id: u64| {
            let name = format!("m{id}");
            let (cluster, inlets) = Cluster::new(Options::on_free_ports(&name));
            let (log, disk) = one_of_three(id, StateMachine::new(cluster.clone()), TICK, &network);
            tokio::spawn(proposer::run(inlets.commands, cluster.clone(), log.clone(), shutdown.clone()));
            let masters = Masters::new(cluster.clone(), log.clone(), fixture::info(&name));
            let stop = shutdown.clone();
            tokio::spawn(async move { stop.run_until_cancelled(shell::tidy(&masters)).await });
            (id, Member { cluster, log, disk })
        };
        let members = (1..=3).map(member).collect();
        Self { network, members, shutdown, acknowledged: BTreeSet::new() }
    }

    async fn leader(&self) -> u64 {
        leader(self.members.values().map(|member| &member.log)).await
    }

    /// One small change, through whoever leads.
    async fn write(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let cluster = &self.members[&self.leader().await].cluster;
            let info = placement::fixture::info("a", "");
            if let Ok(outcome) = cluster.ask(Command::RegisterAgent { id: None, info }).await {
                let Outcome::Registered { id } = outcome else { panic!("{outcome:?}") };
                assert!(self.acknowledged.insert(id), "the same number twice");
                return;
            }
        }
        panic!("nothing is accepted");
    }

    /// What was acknowledged is everywhere.
    async fn end(self) {
        for Member { cluster, log, .. } in self.members.values() {
            let has_all = || {
                let state = cluster.state();
                self.acknowledged.iter().all(|id| state.agents.contains_key(id))
            };
            until(log, |_| has_all()).await;
        }
        self.shutdown.cancel();
        self.network.close();
        for member in self.members.into_values() {
            member.log.shutdown().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_is_slow_gives_leadership_away() {
    let mut group = Group::start();
    let deadline = Instant::now() + PATIENCE;
    // The disk of whoever leads is slow, until one leads that was asked to: on a busy machine another may be
    // elected before.
    let begun = Instant::now();
    let successor = loop {
        let leads = group.leader().await;
        if group.members[&leads].log.status().borrow().invited {
            break leads;
        }
        for (id, member) in &group.members {
            member.disk.slow(if *id == leads { SLOW } else { Duration::ZERO });
        }
        group.write().await;
        assert!(Instant::now() < deadline, "a slow leader goes on leading");
    };
    println!("handed over after {:.1} s", begun.elapsed().as_secs_f64());
    assert!(group.acknowledged.len() >= 20, "that was no average");
    let (writes, begun) = (20, Instant::now());
    for _ in 0..writes {
        group.write().await;
    }
    println!("{writes} writes in {:.3} s", begun.elapsed().as_secs_f64());
    assert!(begun.elapsed() < SLOW * writes, "writes are as slow as before");
    assert!(group.members[&successor].log.status().borrow().commits.count > 0);
    group.end().await;
}
