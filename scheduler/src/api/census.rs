//! How many apps and tasks of each kind there are, for `/metrics`. Counting goes through all of them: in a large
//! cluster it is done again only after many times what it took.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::lookup;
use crate::state::{Condition, State};

/// What takes less is counted whenever somebody asks.
const QUICK: Duration = Duration::from_millis(5);
/// Otherwise the counts hold for so many times what counting took: whoever asks all the time costs a twentieth of
/// a core.
const PAUSE_FACTOR: u32 = 20;

/// The counts of one moment.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub apps: u32,
    pub groups: usize,
    /// Apps with instances that wait, and those instances.
    pub queued_apps: u32,
    pub queued: usize,
    tasks: BTreeMap<Condition, u64>,
}

impl Counts {
    fn of(state: &State) -> Self {
        let mut groups = BTreeSet::from(["/"]);
        let mut counts = Self::default();
        for entry in lookup::apps(state) {
            let id = entry.app.id.as_str();
            groups.extend(id.match_indices('/').skip(1).map(|(end, _)| &id[..end]));
            let queued = state.queue_count(&entry.app.id);
            counts.apps += 1;
            counts.queued_apps += u32::from(queued > 0);
            counts.queued += queued;
        }
        counts.groups = groups.len();
        for task in state.tasks.values() {
            *counts.tasks.entry(task.condition).or_default() += 1;
        }
        counts
    }

    /// Tasks in that condition.
    pub fn tasks(&self, condition: Condition) -> f64 {
        self.tasks.get(&condition).copied().unwrap_or(0) as f64
    }
}

/// The last counts.
#[derive(Debug, Default)]
pub(super) struct Census(Mutex<Option<(Instant, Arc<Counts>)>>);

impl Census {
    /// The counts of the state, or of a little earlier.
    pub fn take(&self, state: &State) -> Arc<Counts> {
        // Who asks meanwhile waits for the same counts.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        if let Some((_, counts)) = last.as_ref().filter(|(until, _)| began < *until) {
            return counts.clone();
        }
        let counts = Arc::new(Counts::of(state));
        let took = began.elapsed();
        let until = if took < QUICK { began } else { Instant::now() + took * PAUSE_FACTOR };
        *last = Some((until, counts.clone()));
        counts
    }
}
