//! What `/metrics` counts over time: requests, and what the replicated log brought since this master
//! started. Everything else is read from the state when it is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::http::{Method, StatusCode};
use spec::time::Timestamp;

use super::context::now;
use super::shapes::task::{mesos_state, reported_names};
use crate::cluster::Cluster;
use crate::state::{Applied, Event};

/// The methods that are told apart; anything else counts as the last.
pub(super) const METHODS: [&str; 5] = ["get", "post", "put", "delete", "other"];
/// The states that are told apart.
pub(super) const STATES: [&str; 11] = [
    "TASK_STAGING",
    "TASK_STARTING",
    "TASK_RUNNING",
    "TASK_KILLING",
    "TASK_FINISHED",
    "TASK_FAILED",
    "TASK_KILLED",
    "TASK_ERROR",
    "TASK_UNREACHABLE",
    "TASK_GONE",
    "TASK_DROPPED",
];

/// Counters.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// When counting began.
    pub since: Timestamp,
    /// Milliseconds of the clock when this master began to lead; 0 while it does not.
    leading_since: AtomicU64,
    pub requests_active: AtomicU64,
    /// By position in [`METHODS`].
    pub requests: [AtomicU64; METHODS.len()],
    /// Time spent, in the same order.
    pub request_millis: [AtomicU64; METHODS.len()],
    /// By first digit of the status.
    pub responses: [AtomicU64; 5],
    pub deployments: AtomicU64,
    pub deployments_dismissed: AtomicU64,
    pub tasks_launched: AtomicU64,
    /// By position in [`STATES`].
    pub task_updates: [AtomicU64; STATES.len()],
}

/// A request being answered.
#[derive(Debug)]
pub(super) struct Measured {
    tally: Arc<Tally>,
    method: usize,
    began: Timestamp,
}

impl Tally {
    /// Counts how long `cluster` leads, for as long as somebody holds the tally; entries are for [`Self::count`].
    pub fn watching(cluster: &Cluster, since: Timestamp) -> Arc<Self> {
        let tally = Arc::new(Self { since, ..Self::default() });
        let (watching, mut leadership) = (Arc::downgrade(&tally), cluster.leadership());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                loop {
                    let leading = leadership.borrow_and_update().leading;
                    let Some(tally) = watching.upgrade() else { return };
                    tally.lead(leading, now());
                    drop(tally);
                    if leadership.changed().await.is_err() {
                        return;
                    }
                }
            });
        }
        tally
    }

    fn lead(&self, leading: bool, now: Timestamp) {
        let since = self.leading_since.load(Relaxed);
        if !leading || since == 0 {
            self.leading_since.store(if leading { now.millis() } else { 0 }, Relaxed);
        }
    }

    /// How long this master has led without a break, in milliseconds; 0 when it does not.
    pub fn leading_millis(&self, now: Timestamp) -> u64 {
        match self.leading_since.load(Relaxed) {
            0 => 0,
            since => now.millis().saturating_sub(since),
        }
    }

    /// A request has come in.
    pub fn begin(self: &Arc<Self>, method: &Method, now: Timestamp) -> Measured {
        self.requests_active.fetch_add(1, Relaxed);
        let name = method.as_str().to_ascii_lowercase();
        let method = METHODS.iter().position(|known| *known == name).unwrap_or(METHODS.len() - 1);
        Measured { tally: Arc::clone(self), method, began: now }
    }

    /// An entry was applied.
    pub fn count(&self, entry: &Applied) {
        for event in &entry.events {
            match event {
                Event::DeploymentStarted { .. } => add(&self.deployments, 1),
                Event::DeploymentCancelled { .. } => add(&self.deployments_dismissed, 1),
                Event::TaskPlaced { .. } => add(&self.tasks_launched, 1),
                Event::TaskChanged { task, .. } => self.update(mesos_state(task.condition)),
                Event::TaskEnded { state, .. } => self.update(reported_names(*state).0),
                _ => {}
            }
        }
    }

    fn update(&self, state: &str) {
        if let Some(position) = STATES.iter().position(|known| *known == state) {
            add(&self.task_updates[position], 1);
        }
    }
}

impl Measured {
    /// It was answered.
    pub fn end(self, status: StatusCode, now: Timestamp) {
        add(&self.tally.requests[self.method], 1);
        add(&self.tally.request_millis[self.method], now.millis_since(self.began));
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.tally.responses.get(class) {
            add(counter, 1);
        }
    }
}

impl Drop for Measured {
    /// Answered or given up.
    fn drop(&mut self) {
        self.tally.requests_active.fetch_sub(1, Relaxed);
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_is_timed_without_a_break() {
        let (tally, at) = (Tally::default(), Timestamp::from_millis);
        assert_eq!(tally.leading_millis(at(500)), 0);
        tally.lead(true, at(1000));
        tally.lead(true, at(2000));
        assert_eq!(tally.leading_millis(at(3000)), 2000);
        tally.lead(false, at(3000));
        assert_eq!(tally.leading_millis(at(4000)), 0);
        tally.lead(true, at(5000));
        assert_eq!(tally.leading_millis(at(6000)), 1000);
    }
}
