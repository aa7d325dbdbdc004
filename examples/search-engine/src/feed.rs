//! What a server is sent next. Pure.

use std::ops::Range;

/// Passages of one round: all of them are there after some twenty seconds, long enough to watch.
pub(crate) const BATCH: usize = 10;

/// How far one server has been fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Feed {
    /// Which run of the server this is about.
    generation: String,
    next: usize,
    /// Times that everything has been sent; from the second on they are updates.
    pub(crate) pass: u32,
}

impl Feed {
    /// For a server that nothing is known of, or that has been started anew and is empty again.
    pub(crate) fn new(generation: &str) -> Self {
        Self { generation: generation.to_owned(), next: 0, pass: 1 }
    }

    /// Is it about this run of the server?
    pub(crate) fn is_for(&self, generation: &str) -> bool {
        self.generation == generation
    }

    /// The positions to send now, of `all`.
    pub(crate) fn batch(&self, all: usize) -> Range<usize> {
        self.next.min(all)..(self.next + BATCH).min(all)
    }

    /// After they arrived.
    pub(crate) fn sent(&mut self, all: usize) {
        self.next += BATCH;
        if self.next >= all {
            (self.next, self.pass) = (0, self.pass + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_sent_once_a_pass() {
        let (mut feed, all) = (Feed::new("a"), 25);
        for pass in 1..4 {
            let mut seen = Vec::new();
            while feed.pass == pass {
                seen.extend(feed.batch(all));
                feed.sent(all);
            }
            assert_eq!(seen, (0..all).collect::<Vec<_>>());
        }
        assert!(feed.is_for("a") && !feed.is_for("b"));
    }

    #[test]
    fn what_did_not_arrive_is_sent_again() {
        let feed = Feed::new("a");
        assert_eq!(feed.batch(25), feed.batch(25));
        assert_eq!(feed.batch(0), 0..0);
    }
}
