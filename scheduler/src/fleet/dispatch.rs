//! Applied events to sessions: a placed task to the agent it was placed on, a kill to the agent that runs
//! the task, and who the masters are to everybody. What a session misses (none, or too slow) it learns from the complete set when it connects.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::board::Switchboard;
use super::wanted;
use crate::cluster::Cluster;
use crate::state::Event;

/// Runs until `shutdown`.
pub(super) async fn run(cluster: Arc<Cluster>, board: Arc<Switchboard>, shutdown: CancellationToken) {
    let mut news = cluster.subscribe();
    let leadership = cluster.leadership();
    loop {
        let applied = tokio::select! {
            () = shutdown.cancelled() => return,
            applied = news.recv() => applied,
        };
        let now = leadership.borrow().clone();
        match applied {
            Ok(applied) if now.leading => {
                for (agent, change) in wanted::changes(&applied, now.term) {
                    board.want(&agent, change);
                }
                if applied.events.contains(&Event::MastersChanged) {
                    board.tell_masters(&cluster.state());
                }
            }
            Ok(_) => {}
            // What was missed is unknown: every agent gets the complete set by connecting anew.
            Err(RecvError::Lagged(missed)) => {
                warn!(missed, "the dispatcher fell behind the log; every agent begins anew");
                board.close_all();
            }
            Err(RecvError::Closed) => return,
        }
    }
}
