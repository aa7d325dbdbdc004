//! Numbers of reports, and which of them the leader has not taken in yet. Pure.
//!
//! Numbers grow for ever, across restarts too: they are taken from blocks, and a block's end is on disk
//! before any of its numbers is sent. Only the latest report of a task is kept, so there are never more
//! than tasks.

use std::collections::BTreeMap;

use spec::ids::TaskId;
use spec::protocol::{TaskReport, TaskState};

/// Numbers reserved by one write to disk.
const BLOCK: u64 = 1 << 16;

/// The agent's reports by number.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    last: u64,
    ceiling: u64,
    /// The ceiling has grown and is not on disk.
    grown: bool,
    /// The last number of a report that says more than that a task was accepted.
    urgent: u64,
    unacknowledged: BTreeMap<u64, TaskId>,
}

impl Ledger {
    /// Goes on after the numbers that were reserved before.
    pub(super) fn after(ceiling: u64) -> Self {
        Self { last: ceiling, ceiling, ..Self::default() }
    }

    /// Gives the report its number; the task's earlier one is no longer waited for.
    pub(super) fn number(&mut self, report: &mut TaskReport) {
        self.unacknowledged.remove(&report.seq);
        self.last += 1;
        if self.last > self.ceiling {
            self.ceiling = self.last + BLOCK;
            self.grown = true;
        }
        report.seq = self.last;
        if report.state != TaskState::Staging {
            self.urgent = self.last;
        }
        self.unacknowledged.insert(report.seq, report.task.clone());
    }

    /// The tasks whose latest report is now acknowledged.
    pub(super) fn acknowledge(&mut self, seq: u64) -> Vec<TaskId> {
        let later = self.unacknowledged.split_off(&seq.saturating_add(1));
        std::mem::replace(&mut self.unacknowledged, later).into_values().collect()
    }

    /// Stops waiting for one report.
    pub(super) fn forget(&mut self, seq: u64) {
        self.unacknowledged.remove(&seq);
    }

    /// Tasks with news after `seq`, in order.
    pub(super) fn after_seq(&self, seq: u64) -> impl Iterator<Item = &TaskId> {
        self.unacknowledged.range(seq.saturating_add(1)..).map(|(_, task)| task)
    }

    /// Does one after `seq` say more than that a task was accepted?
    pub(super) fn is_urgent_after(&self, seq: u64) -> bool {
        self.urgent > seq
    }

    /// The last number given.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// No number above this is given before it is on disk.
    pub(super) fn ceiling(&self) -> u64 {
        self.ceiling
    }

    /// True once after the ceiling has grown.
    pub(super) fn take_grown(&mut self) -> bool {
        std::mem::take(&mut self.grown)
    }
}
