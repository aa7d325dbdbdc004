//! The search for an order: that of Wing and Gong, with Lowe's memory of what was tried.
//!
//! An operation may come next when no other one that is left returned before it was called. Four rules keep
//! the search short, and lose no order:
//! * What may come next and changes nothing (a read that fits) comes next; there is no choice in it.
//! * Operations that surely did nothing are left out.
//! * Of unknown operations that would do the same, the one called first is taken.
//! * Unknown operations can wait for ever, so they take effect at the last moment: a set before a read that
//!   saw its value, a delete before what needs the app to be gone.

use std::collections::HashSet;

use super::register::{Call, Outcome, State, step};
use super::{Operation, Violation};

/// States to look at before giving up: some seconds, and some hundred MiB.
const VISITED_MAX: usize = 2_000_000;

/// What an order so far has left.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Node {
    /// A bit for each operation that has its place.
    placed: Box<[u64]>,
    state: State,
}

impl Node {
    fn has(&self, operation: usize) -> bool {
        self.placed[operation / 64] & (1 << (operation % 64)) != 0
    }

    fn with(&self, operation: usize, state: State) -> Self {
        let mut next = Self { placed: self.placed.clone(), state };
        next.placed[operation / 64] |= 1 << (operation % 64);
        next
    }

    fn count(&self) -> u32 {
        self.placed.iter().map(|word| word.count_ones()).sum()
    }
}

/// Operations of one app, in the order of their calls.
struct Search<'a> {
    known: Vec<&'a Operation>,
    unknown: Vec<&'a Operation>,
}

/// Looks for an order of the operations on one app.
pub(super) fn check(key: &str, operations: &[&Operation]) -> Result<(), Violation> {
    let search = Search::new(operations);
    let words = (search.known.len() + search.unknown.len()).div_ceil(64);
    let mut stack = vec![Node { placed: vec![0; words].into(), state: None }];
    let mut visited = HashSet::new();
    let mut longest = stack[0].clone();
    while let Some(node) = stack.pop() {
        let node = search.settle(node);
        if search.first_left(&node).is_none() {
            return Ok(());
        }
        if node.count() > longest.count() {
            longest = node.clone();
        }
        if visited.len() >= VISITED_MAX {
            return Err(Violation::TooHard { key: key.to_owned() });
        }
        // The last pushed is looked at first: what is known to have happened before what is not.
        if visited.insert(node.clone()) {
            search.push_next(&node, &mut stack);
        }
    }
    Err(Violation::NotLinearizable {
        key: key.to_owned(),
        state: longest.state,
        stuck: search.candidates(&longest).into_iter().map(|index| search.operation(index).clone()).collect(),
    })
}

impl<'a> Search<'a> {
    fn new(operations: &[&'a Operation]) -> Self {
        let mut sorted: Vec<&Operation> = operations.to_vec();
        sorted.sort_by_key(|operation| (operation.invoked, operation.returned));
        let (unknown, known): (Vec<_>, Vec<_>) =
            sorted.into_iter().partition(|operation| operation.outcome == Outcome::Unknown);
        Self {
            known: known.into_iter().filter(|operation| operation.outcome != Outcome::Failed).collect(),
            unknown,
        }
    }

    fn operation(&self, index: usize) -> &'a Operation {
        self.known.get(index).copied().unwrap_or_else(|| self.unknown[index - self.known.len()])
    }

    /// The first of the known operations that has no place yet.
    fn first_left(&self, node: &Node) -> Option<usize> {
        (0..self.known.len()).find(|index| !node.has(*index))
    }

    /// Until when the next operation has to have been called.
    fn horizon(&self, node: &Node) -> u64 {
        let mut horizon = u64::MAX;
        for index in self.first_left(node).unwrap_or(self.known.len())..self.known.len() {
            if self.known[index].invoked > horizon {
                break;
            }
            if !node.has(index) {
                horizon = horizon.min(self.known[index].deadline());
            }
        }
        horizon
    }

    /// The known operations that may come next.
    fn candidates(&self, node: &Node) -> Vec<usize> {
        let horizon = self.horizon(node);
        let from = self.first_left(node).unwrap_or(self.known.len());
        let near = (from..self.known.len()).take_while(move |index| self.known[*index].invoked <= horizon);
        near.filter(|index| !node.has(*index)).collect()
    }

    /// The unknown operations that may come next, of equal ones the first.
    fn unknown_candidates(&self, node: &Node) -> Vec<usize> {
        let horizon = self.horizon(node);
        let mut calls = HashSet::new();
        let open = self.unknown.iter().enumerate().take_while(|(_, operation)| operation.invoked <= horizon);
        let left = open.map(|(index, _)| self.known.len() + index).filter(|index| !node.has(*index));
        left.filter(|index| calls.insert(self.operation(*index).call)).collect()
    }

    /// Does one of the next operations need what this unknown call would do?
    fn is_needed(&self, call: Call, next: &[usize]) -> bool {
        let mut next = next.iter().map(|index| self.operation(*index));
        match call {
            Call::Create(_) => true,
            Call::Read => false,
            Call::Set(field, value) => {
                next.any(|other| matches!(other.outcome, Outcome::Found(fields) if fields[field] == value))
            }
            Call::Delete => next.any(|other| step(None, other.call, other.outcome).is_some()),
        }
    }

    fn state_after(&self, node: &Node, index: usize) -> Option<State> {
        let operation = self.operation(index);
        step(node.state, operation.call, operation.outcome)
    }

    /// Gives what changes nothing its place, as long as there is such a thing.
    fn settle(&self, mut node: Node) -> Node {
        while let Some(index) = self
            .candidates(&node)
            .into_iter()
            .find(|index| self.state_after(&node, *index) == Some(node.state))
        {
            node = node.with(index, node.state);
        }
        node
    }

    fn push_next(&self, node: &Node, stack: &mut Vec<Node>) {
        let known = self.candidates(node);
        let unknown = self.unknown_candidates(node);
        let next = [&known[..], &unknown[..]].concat();
        let needed = unknown.into_iter().filter(|index| self.is_needed(self.operation(*index).call, &next));
        for index in needed.rev().chain(known.iter().rev().copied()) {
            if let Some(state) = self.state_after(node, index)
                && state != node.state
            {
                stack.push(node.with(index, state));
            }
        }
    }
}
