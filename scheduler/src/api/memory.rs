//! What the replicated log brought lately, for clients of the event stream that come back. Every master
//! remembers, since any may be the next leader; what it did not see itself it does not make up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::tally::Tally;
use crate::cluster::Cluster;
use crate::state::Applied;

/// Events that are remembered, all entries together: minutes of a busy cluster. Most of what they hold is
/// shared with the state.
const EVENTS_MAX: usize = 8192;
/// Entries that a stream may be behind before it is told that it missed some.
const BACKLOG: usize = 8192;

/// News for the streams.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    /// The next entry.
    Entry(Arc<Applied>),
    /// There were entries that nobody here saw.
    Gap,
}

/// Where a stream goes on.
pub(super) struct Resumed {
    /// What is remembered after the entry it named.
    pub entries: Vec<Arc<Applied>>,
    /// It named this entry, and what came after it is not known up to that one.
    pub forgotten: Option<(u64, u64)>,
    /// What comes after `entries`.
    pub live: broadcast::Receiver<Heard>,
}

/// The latest entries.
#[derive(Debug)]
pub(super) struct Memory {
    kept: Mutex<Kept>,
    live: broadcast::Sender<Heard>,
}

/// `entries` is every entry with events after `complete_after`, up to and including `tip`.
#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Arc<Applied>>,
    events: usize,
    complete_after: u64,
    tip: u64,
}

impl Memory {
    /// Remembers what `cluster` applies from now on, and has it counted, for as long as somebody holds it. One task
    /// for both: each is woken by every entry.
    pub fn watching(cluster: &Cluster, tally: Arc<Tally>) -> Arc<Self> {
        let mut applied = cluster.subscribe();
        let now = cluster.state().index;
        let kept = Kept { complete_after: now, tip: now, ..Kept::default() };
        let memory = Arc::new(Self { kept: Mutex::new(kept), live: broadcast::channel(BACKLOG).0 });
        let weak = Arc::downgrade(&memory);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                loop {
                    let news = applied.recv().await;
                    let Some(memory) = weak.upgrade() else { return };
                    match news {
                        Ok(entry) => {
                            tally.count(&entry);
                            memory.hear(entry);
                        }
                        // The next entry shows it.
                        Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "events and metrics lag"),
                        Err(RecvError::Closed) => return,
                    }
                }
            });
        }
        memory
    }

    fn hear(&self, entry: Arc<Applied>) {
        // Under the lock, so that nobody resumes between the two.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if entry.index <= kept.tip {
            return;
        }
        if kept.keep(&entry) {
            let _ = self.live.send(Heard::Gap);
        }
        let _ = self.live.send(Heard::Entry(entry));
    }

    /// From the entry `last` on, or from now on. `applied` is the last entry that this master has applied.
    pub fn resume(&self, last: Option<u64>, applied: u64) -> Resumed {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (entries, forgotten) = last.map(|last| kept.after(last, applied)).unwrap_or_default();
        Resumed { entries, forgotten, live: self.live.subscribe() }
    }
}

impl Kept {
    /// Takes an entry in; `true` when there was one before it that was not seen.
    fn keep(&mut self, entry: &Arc<Applied>) -> bool {
        let gap = entry.after != self.tip;
        if gap {
            self.entries.clear();
            (self.events, self.complete_after) = (0, entry.after);
        }
        self.tip = entry.index;
        if !entry.events.is_empty() {
            self.events += entry.events.len();
            self.entries.push_back(Arc::clone(entry));
        }
        while self.events > EVENTS_MAX {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.events -= oldest.events.len();
            self.complete_after = oldest.index;
        }
        gap
    }

    fn after(&self, last: u64, applied: u64) -> (Vec<Arc<Applied>>, Option<(u64, u64)>) {
        // A number that this log has not come to is of another one: it says nothing of what was seen.
        let seen = if last > applied { u64::MAX } else { last };
        let entries = self.entries.iter().filter(|entry| entry.index > seen).cloned().collect();
        let up_to = if last > applied { applied } else { self.complete_after };
        (entries, (last > applied || last < self.complete_after).then_some((last, up_to)))
    }
}

#[cfg(test)]
mod tests {
    use spec::ids::AppId;
    use spec::time::Timestamp;

    use super::*;
    use crate::state::Event;

    fn entry(after: u64, index: u64, events: usize) -> Arc<Applied> {
        let event = || Event::AppGone { id: AppId::parse("/a").unwrap() };
        let events = std::iter::repeat_with(event).take(events).collect();
        Arc::new(Applied { index, after, at: Timestamp::default(), events })
    }

    fn after(kept: &Kept, last: u64) -> (Vec<u64>, Option<(u64, u64)>) {
        let (entries, forgotten) = kept.after(last, kept.tip);
        (entries.iter().map(|entry| entry.index).collect(), forgotten)
    }

    #[test]
    fn what_is_remembered_is_told_and_what_is_not_is_said() {
        let mut kept = Kept { complete_after: 10, tip: 10, ..Kept::default() };
        // Raft's own entries are never applied: 13 follows 11.
        for (before, index, events) in [(10, 11, 1), (11, 13, 0), (13, 14, 2)] {
            assert!(!kept.keep(&entry(before, index, events)));
        }
        for (last, entries, forgotten) in [
            (10, vec![11, 14], None),
            (11, vec![14], None),
            (12, vec![14], None),
            (14, vec![], None),
            (9, vec![11, 14], Some((9, 10))),
            (0, vec![11, 14], Some((0, 10))),
            // From a log that went further.
            (15, vec![], Some((15, 14))),
        ] {
            assert_eq!(after(&kept, last), (entries, forgotten), "{last}");
        }
    }

    #[test]
    fn a_gap_forgets_what_was_before_it() {
        let mut kept = Kept::default();
        kept.keep(&entry(0, 1, 1));
        assert!(kept.keep(&entry(7, 8, 1)));
        assert_eq!(after(&kept, 7), (vec![8], None));
        assert_eq!(after(&kept, 1), (vec![8], Some((1, 7))));
    }

    #[test]
    fn the_memory_is_bounded_by_events() {
        let mut kept = Kept::default();
        for index in 1..=10 {
            kept.keep(&entry(index - 1, index, EVENTS_MAX / 4));
        }
        assert_eq!((kept.events, kept.entries.len(), kept.complete_after), (EVENTS_MAX, 4, 6));
        assert_eq!(after(&kept, 5), (vec![7, 8, 9, 10], Some((5, 6))));
        // One that is larger than all is sent, but not remembered.
        assert!(!kept.keep(&entry(10, 11, EVENTS_MAX + 1)));
        assert_eq!((kept.events, kept.complete_after), (0, 11));
    }
}
