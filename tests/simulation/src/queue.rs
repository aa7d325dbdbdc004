//! What is still to happen, in order of time; at equal times in the order in which it was decided.

use std::collections::BTreeMap;

/// Milliseconds of virtual time.
pub type Millis = u64;

/// The agenda of a run.
#[derive(Debug)]
pub struct Queue<E> {
    events: BTreeMap<(Millis, u64), E>,
    number: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { events: BTreeMap::new(), number: 0 }
    }
}

impl<E> Queue<E> {
    /// This will happen then.
    pub fn push(&mut self, at: Millis, event: E) {
        self.number += 1;
        self.events.insert((at, self.number), event);
    }

    /// What happens next, and when.
    pub fn pop(&mut self) -> Option<(Millis, E)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }

    /// How much is on it.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Will nothing ever happen again?
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}
