//! Requests for task logs to the session of the task's agent.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Switchboard, ToAgent};
use crate::cluster::LogRequest;

/// Runs until `shutdown`.
pub(super) async fn run(
    mut requests: mpsc::Receiver<LogRequest>,
    board: Arc<Switchboard>,
    shutdown: CancellationToken,
) {
    loop {
        let request = tokio::select! {
            () = shutdown.cancelled() => return,
            request = requests.recv() => request,
        };
        let Some(request) = request else { return };
        let agent = request.agent.clone();
        if let Err(ToAgent::Log(request)) = board.send(&agent, ToAgent::Log(request)) {
            let _ = request.parts.try_send(Err(format!("agent {agent} has no session; its logs cannot be read")));
        }
    }
}
