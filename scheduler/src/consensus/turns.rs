//! How long the log's thread is busy at a stretch: meanwhile it hears nobody and applies nothing else. Snapshots are
//! written beside it, and this shows that they do not hold it up.

use std::time::Duration;

/// The longest times since the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// Snapshots that were begun.
    pub snapshots: u64,
    /// The longest time that a snapshot took of the thread itself: to freeze the state, or to have what was written
    /// take effect.
    pub held: Duration,
    /// The longest turn while a snapshot was being written: what was waiting is on disk, sent and applied.
    pub longest_writing: Duration,
    /// The longest turn while none was.
    pub longest: Duration,
}

impl Turns {
    /// A turn has ended; was a snapshot being written?
    pub(super) fn ended(&mut self, writing: bool, took: Duration) {
        let longest = if writing { &mut self.longest_writing } else { &mut self.longest };
        *longest = took.max(*longest);
    }

    /// The thread did something for a snapshot.
    pub(super) fn held(&mut self, took: Duration) {
        self.held = took.max(self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_of_each_kind_counts() {
        let (mut turns, millis) = (Turns::default(), Duration::from_millis);
        for (writing, took) in [(false, 3), (true, 9), (false, 7), (true, 2)] {
            turns.ended(writing, millis(took));
        }
        turns.held(millis(4));
        turns.held(millis(1));
        let expected =
            Turns { snapshots: 0, held: millis(4), longest_writing: millis(9), longest: millis(7) };
        assert_eq!(turns, expected);
    }
}
