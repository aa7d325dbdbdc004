//! Proposals on their way through the log: which entries are whose, and what came of each. A proposal is
//! answered once all its entries are applied, or when nobody can tell any more whether they will be.

use std::collections::VecDeque;

use super::{MAX_BATCH_BYTES, MAX_ENTRY_BYTES, ProposeError};

/// Entries proposed together; they keep their order, and nothing comes between them.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Returned with the answer.
    pub ticket: u64,
    /// At least one; none of them empty.
    pub entries: Vec<Vec<u8>>,
}

impl Proposal {
    /// What every entry must be before it is queued.
    pub(super) fn check(entries: &[Vec<u8>]) -> Result<(), ProposeError> {
        let total: usize = entries.iter().map(Vec::len).sum();
        let longest = entries.iter().map(Vec::len).max().unwrap_or(0);
        if longest > MAX_ENTRY_BYTES {
            return Err(ProposeError::TooLarge { bytes: longest, limit: MAX_ENTRY_BYTES });
        }
        if total > MAX_BATCH_BYTES {
            return Err(ProposeError::TooLarge { bytes: total, limit: MAX_BATCH_BYTES });
        }
        // raft's own entries are the empty ones.
        if entries.iter().any(Vec::is_empty) { Err(ProposeError::Empty) } else { Ok(()) }
    }
}

/// What came of a proposal.
#[derive(Clone, Debug)]
pub struct Answer<O> {
    /// Of the proposal.
    pub ticket: u64,
    /// What applying each of the entries yielded.
    pub outcome: Result<Vec<O>, ProposeError>,
}

/// Proposals appended in one term and not yet applied, in the order of the log.
pub(super) struct Waiting<O> {
    term: u64,
    queue: VecDeque<Wait<O>>,
}

struct Wait<O> {
    ticket: u64,
    first: u64,
    count: usize,
    outputs: Vec<O>,
}

impl<O> Waiting<O> {
    pub(super) fn new() -> Self {
        Self { term: 0, queue: VecDeque::new() }
    }

    /// A proposal's entries were appended from index `first` on. All earlier terms have been abandoned.
    pub(super) fn appended(&mut self, term: u64, first: u64, ticket: u64, count: usize) {
        self.term = term;
        self.queue.push_back(Wait { ticket, first, count, outputs: Vec::with_capacity(count) });
    }

    /// An entry was applied; the answer, if that completes a proposal.
    pub(super) fn applied(&mut self, index: u64, output: O) -> Option<Answer<O>> {
        let front = self.queue.front_mut().filter(|wait| wait.first <= index)?;
        debug_assert_eq!(index, front.first + front.outputs.len() as u64);
        front.outputs.push(output);
        if front.outputs.len() < front.count {
            return None;
        }
        let done = self.queue.pop_front()?;
        Some(Answer { ticket: done.ticket, outcome: Ok(done.outputs) })
    }

    /// This node leads in `term` (`None`: it does not lead). Proposals of other terms may or may not be
    /// committed by somebody else: whoever waits is told so instead of waiting on.
    pub(super) fn leads(&mut self, term: Option<u64>) -> Vec<Answer<O>> {
        if term == Some(self.term) {
            return Vec::new();
        }
        let abandon = |wait: Wait<O>| Answer { ticket: wait.ticket, outcome: Err(ProposeError::Dropped) };
        self.queue.drain(..).map(abandon).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_answered_once_and_in_order() {
        let mut waiting = Waiting::new();
        waiting.appended(3, 10, 1, 2);
        waiting.appended(3, 12, 2, 1);
        assert!(waiting.applied(9, "other").is_none());
        assert!(waiting.applied(10, "a").is_none());
        let first = waiting.applied(11, "b").unwrap();
        assert_eq!((first.ticket, first.outcome), (1, Ok(vec!["a", "b"])));
        assert_eq!(waiting.applied(12, "c").unwrap().ticket, 2);
    }

    #[test]
    fn a_lost_term_drops_what_waits() {
        let mut waiting: Waiting<()> = Waiting::new();
        waiting.appended(3, 10, 1, 1);
        assert!(waiting.leads(Some(3)).is_empty());
        let dropped = waiting.leads(None);
        assert_eq!(dropped.len(), 1);
        assert_eq!(dropped[0].outcome, Err(ProposeError::Dropped));
        assert!(waiting.leads(Some(4)).is_empty());
    }
}
