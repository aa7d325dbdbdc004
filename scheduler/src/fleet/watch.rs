//! Proposes to give up the agents that `absence` (pure) says have been away for too long. Decides nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use spec::ids::AgentId;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::absence::Away;
use super::board::Switchboard;
use crate::cluster::Cluster;
use crate::state::Command;

/// How often absences are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs until `shutdown`.
pub(super) async fn run(cluster: Arc<Cluster>, board: Arc<Switchboard>, shutdown: CancellationToken) {
    let timeout = Duration::from_millis(cluster.options.agent_timeout_millis);
    let (leadership, began) = (cluster.leadership(), Instant::now());
    let (mut away, mut term) = (Away::default(), 0);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = leadership.borrow().clone();
        if !now.leading || now.term != term {
            (away, term) = (Away::default(), now.term);
            cluster.held_back.store(0, Relaxed);
        }
        if !now.leading {
            continue;
        }
        // In this order: whoever has a session by now is in a later state.
        let connected = board.connected();
        let verdict = away.judge(&cluster.state(), &connected, began.elapsed(), timeout);
        for agent in verdict.begin_anew {
            info!(%agent, "given up while it came back; it is to register again");
            board.close(&agent);
        }
        tell_held_back(cluster.held_back.swap(verdict.held_back, Relaxed), verdict.held_back);
        let lost = verdict.lose.iter().filter(|agent| !board.is_connected(agent));
        join_all(lost.map(|agent| lose(&cluster, agent))).await;
    }
}

fn tell_held_back(before: usize, now: usize) {
    match (before, now) {
        (0, 1..) => warn!(
            agents = now,
            "very many agents are away: no more than 3, or a tenth of all, are given up within a minute; is it \
             this master's network?"
        ),
        (1.., 0) => info!("no agent is held back from being given up any more"),
        _ => {}
    }
}

async fn lose(cluster: &Cluster, agent: &AgentId) {
    match cluster.ask(Command::LoseAgent { id: agent.clone() }).await {
        Ok(_) => info!(%agent, "agent given up: no session for too long"),
        Err(error) => warn!(%agent, %error, "could not give up an agent; trying again"),
    }
}
