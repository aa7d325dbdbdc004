//! The log's way to the other masters: finds the line of each. Never blocks.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::line::{Line, Snapshot};
use super::reports::{Reporter, Reports};
use crate::consensus::{Message, Pieces, Sent, Transport};

/// All lines, by master.
#[derive(Clone)]
pub(crate) struct Switch {
    lines: Arc<ArcSwap<BTreeMap<u64, Arc<Line>>>>,
    pub(super) reports: Reports,
}

impl Switch {
    /// Nobody can be reached yet. The other end tells the log what became of messages.
    pub(super) fn new() -> (Self, Reporter) {
        let (reports, reporter) = Reports::new();
        (Self { lines: Arc::default(), reports }, reporter)
    }

    /// Takes a new set of lines into use.
    pub(super) fn set(&self, lines: BTreeMap<u64, Arc<Line>>) {
        self.lines.store(Arc::new(lines));
    }
}

impl Transport for Switch {
    fn send(&self, to: u64, message: Message) {
        match self.lines.load().get(&to) {
            Some(line) => line.send(&message),
            None => tracing::trace!(to, "nobody knows that master's address: message dropped"),
        }
    }

    fn send_snapshot(&self, to: u64, message: Message, pieces: Pieces) {
        match self.lines.load().get(&to) {
            Some(line) => line.send_snapshot(Snapshot { message, pieces }),
            None => self.reports.tell(to, Sent::SnapshotLost),
        }
    }
}
