//! Agents that have no session for too long are given up: proposed as lost, once. A leader that has just
//! been elected gives every agent the full time to come back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spec::ids::AgentId;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Switchboard;
use crate::cluster::Cluster;
use crate::state::{Command, Presence};

/// How often absences are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs until `shutdown`.
pub(super) async fn run(cluster: Arc<Cluster>, board: Arc<Switchboard>, shutdown: CancellationToken) {
    let timeout = Duration::from_millis(cluster.options.agent_timeout_millis);
    let leadership = cluster.leadership();
    let mut away: BTreeMap<AgentId, Instant> = BTreeMap::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if !leadership.borrow().leading {
            away.clear();
            continue;
        }
        let absent = absent(&cluster, &board);
        away.retain(|agent, _| absent.contains(agent));
        for agent in absent {
            let since = *away.entry(agent.clone()).or_insert_with(Instant::now);
            if since.elapsed() >= timeout {
                lose(&cluster, &agent).await;
            }
        }
    }
}

/// Agents that the state thinks connected and that have no session.
fn absent(cluster: &Cluster, board: &Switchboard) -> Vec<AgentId> {
    let state = cluster.state();
    let connected = state.agents.values().filter(|agent| agent.presence == Presence::Connected);
    connected.map(|agent| agent.id.clone()).filter(|agent| !board.is_connected(agent)).collect()
}

async fn lose(cluster: &Cluster, agent: &AgentId) {
    match cluster.ask(Command::LoseAgent { id: agent.clone() }).await {
        Ok(_) => info!(%agent, "agent given up: no session for too long"),
        Err(error) => warn!(%agent, %error, "could not give up an agent; trying again"),
    }
}
