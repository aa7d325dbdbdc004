//! Linearizable reads on their way: which wait for the next round of confirmations, which are in the one
//! under way, and which only wait until what they must see is applied.

use std::collections::VecDeque;

/// Reads that may wait at once.
pub(super) const READS_MAX: usize = 16384;

/// Reads of one term.
#[derive(Debug, Default)]
pub(super) struct Reads {
    term: u64,
    rounds: u64,
    /// Arrived since the round under way began; a confirmation that was sent before says nothing of them.
    next: Vec<u64>,
    under_way: Option<Vec<u64>>,
    /// By the index that must be applied first.
    confirmed: VecDeque<(u64, Vec<u64>)>,
    waiting: usize,
}

impl Reads {
    /// A read, by its ticket. `false`: too many wait.
    pub(super) fn ask(&mut self, ticket: u64) -> bool {
        let room = self.waiting < READS_MAX;
        if room {
            self.waiting += 1;
            self.next.push(ticket);
        }
        room
    }

    /// Begins the next round if there is reason to and none is under way: its context.
    pub(super) fn begin(&mut self, term: u64) -> Option<Vec<u8>> {
        if self.under_way.is_some() || self.next.is_empty() {
            return None;
        }
        self.term = term;
        self.rounds += 1;
        self.under_way = Some(std::mem::take(&mut self.next));
        Some(self.context())
    }

    fn context(&self) -> Vec<u8> {
        [self.term.to_le_bytes(), self.rounds.to_le_bytes()].concat()
    }

    /// A majority has confirmed the round of this context: its reads may see `index`.
    pub(super) fn confirmed(&mut self, context: &[u8], index: u64) {
        if context == self.context()
            && let Some(tickets) = self.under_way.take()
        {
            self.confirmed.push_back((index, tickets));
        }
    }

    /// Everything up to `index` is applied: the reads that may be answered.
    pub(super) fn applied(&mut self, index: u64) -> Vec<u64> {
        let mut done = Vec::new();
        while let Some((_, tickets)) = self.confirmed.pop_front_if(|(needed, _)| *needed <= index) {
            done.extend(tickets);
        }
        self.waiting -= done.len();
        done
    }

    /// Leadership is lost: all reads that wait.
    pub(super) fn abandon(&mut self) -> Vec<u64> {
        self.waiting = 0;
        let confirmed = self.confirmed.drain(..).flat_map(|(_, tickets)| tickets);
        confirmed.chain(self.under_way.take().unwrap_or_default()).chain(self.next.drain(..)).collect()
    }

    /// Does any read wait?
    pub(super) fn any(&self) -> bool {
        self.waiting > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_during_a_round_shares_the_next() {
        let mut reads = Reads::default();
        assert!(reads.ask(1));
        let first = reads.begin(3).unwrap();
        assert!(reads.ask(2) && reads.ask(3));
        assert_eq!(reads.begin(3), None, "one round at a time");
        reads.confirmed(b"another", 7);
        assert!(reads.applied(9).is_empty());
        reads.confirmed(&first, 7);
        let second = reads.begin(3).unwrap();
        assert_ne!(first, second);
        assert!(reads.applied(6).is_empty());
        assert_eq!(reads.applied(7), [1]);
        reads.confirmed(&first, 8);
        reads.confirmed(&second, 8);
        assert_eq!(reads.applied(8), [2, 3]);
        assert!(!reads.any());
    }

    #[test]
    fn all_that_wait_are_abandoned_and_their_number_is_bounded() {
        let mut reads = Reads::default();
        assert!((0..READS_MAX as u64).all(|ticket| reads.ask(ticket)));
        assert!(!reads.ask(0));
        reads.begin(1);
        assert_eq!(reads.abandon().len(), READS_MAX);
        assert!(reads.ask(5) && !reads.abandon().is_empty() && !reads.any());
    }
}
