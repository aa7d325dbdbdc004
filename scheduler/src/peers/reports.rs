//! What became of messages, on its way back to the log. The transport is made before the log is opened, so
//! that the two are joined by a channel.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::consensus::{Handle, Sent};
use crate::machine::StateMachine;

/// Reports that wait: each line has one snapshot under way and tells of dropped messages a few times a second.
const WAITING_MAX: usize = 1024;
/// Pause when the log has no room for a report.
const PAUSE: Duration = Duration::from_millis(20);

/// The end that lines tell.
#[derive(Clone)]
pub(super) struct Reports(mpsc::Sender<(u64, Sent)>);

/// The end that tells the log.
pub(crate) struct Reporter(mpsc::Receiver<(u64, Sent)>);

impl Reports {
    pub(super) fn new() -> (Self, Reporter) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), Reporter(receiver))
    }

    /// Tells the log, in time.
    pub(super) fn tell(&self, to: u64, sent: Sent) {
        if self.0.try_send((to, sent)).is_err() {
            tracing::warn!(to, ?sent, "a report to the log was lost");
        }
    }
}

impl Reporter {
    /// Passes reports on until nobody makes any more.
    pub(super) async fn run(mut self, log: Handle<StateMachine>) {
        while let Some((to, sent)) = self.0.recv().await {
            while !log.report(to, sent) {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    #[cfg(test)]
    pub(super) fn try_next(&mut self) -> Option<(u64, Sent)> {
        self.0.try_recv().ok()
    }
}
