//! The crowds of one app while a plan goes on: tasks by the numbers of values, which are looked up where names are
//! searched for. An app of few tasks has them counted anew for each plan. Those of an app of many are kept from plan
//! to plan, and only what has changed in the state is read; what a plan adds is taken away when it is done.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use spec::ids::AppId;

use super::crowds::{Crowd, Crowds, Evenness};
use super::fields::{Column, Number};
use super::needs::Needs;
use super::rules::Verdict;

/// An app with tasks at more values than these has a place for each value.
const FEW: usize = 64;
/// Rules of which counts are kept; more at a time are rare, and cost a walk each.
const KEPT_MAX: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Heads(Vec<Option<Head>>);

/// What one rule counts.
#[derive(Debug)]
struct Head {
    column: Arc<Column>,
    counts: Counts,
    evenness: Evenness,
}

#[derive(Debug)]
enum Counts {
    Few(HashMap<Number, u32>),
    Many {
        kept: Kept,
        /// What the plan has added.
        added: Vec<Number>,
    },
}

/// The counts of one rule as the state had them.
#[derive(Clone, Debug)]
struct Kept {
    column: Arc<Column>,
    /// What the state said.
    source: OrdMap<Arc<str>, u32>,
    /// By number.
    counts: Vec<u32>,
}

/// Keeps them. Soft: without it they are counted anew.
#[derive(Clone, Debug, Default)]
pub(super) struct Keeper(BTreeMap<(AppId, usize), Kept>);

impl Heads {
    /// Tasks at that value, by the rule at that position.
    pub(super) fn of(&self, position: usize, number: Number) -> u32 {
        self.head(position).map_or(0, |head| head.counts.of(number))
    }

    /// What a rule that counts says of one more task at that value.
    pub(super) fn verdict(&self, needs: &Needs, position: usize, number: Option<Number>) -> Verdict {
        let Some(head) = self.head(position) else {
            return Verdict::Never;
        };
        let value = number.map(|number| head.column.value(number));
        let count = number.map_or(0, |number| head.counts.of(number));
        needs.rules[position].verdict(value, count, &head.evenness)
    }

    /// The plan puts a task there.
    pub(super) fn add(&mut self, position: usize, number: Number) {
        if let Some(Some(head)) = self.0.get_mut(position) {
            let count = head.counts.add(number);
            head.evenness.shift(count - 1, count);
        }
    }

    fn head(&self, position: usize) -> Option<&Head> {
        self.0.get(position).and_then(Option::as_ref)
    }
}

impl Counts {
    fn of(&self, number: Number) -> u32 {
        match self {
            Self::Few(counts) => counts.get(&number).copied().unwrap_or(0),
            Self::Many { kept, .. } => kept.counts[number as usize],
        }
    }

    /// What there are then.
    fn add(&mut self, number: Number) -> u32 {
        let count = match self {
            Self::Few(counts) => counts.entry(number).or_insert(0),
            Self::Many { kept, added } => {
                added.push(number);
                &mut kept.counts[number as usize]
            }
        };
        *count += 1;
        *count
    }
}

impl Keeper {
    /// The counts of an app whose crowds are these, for its rules that count.
    pub(super) fn heads(&mut self, app: &AppId, crowds: &Crowds, counted: &[(usize, Arc<Column>)]) -> Heads {
        let mut heads = Heads::default();
        for (position, column) in counted {
            let crowd = crowds.at(*position);
            let counts = if crowd.by_value().len() > FEW {
                Counts::Many { kept: self.many(app, *position, crowd, column), added: Vec::new() }
            } else {
                Counts::Few(few(crowd, column))
            };
            heads.0.resize_with(position + 1, || None);
            let (column, evenness) = (column.clone(), crowd.evenness().clone());
            heads.0[*position] = Some(Head { column, counts, evenness });
        }
        heads
    }

    /// The plan is done with them: what it has put is not there until it is applied.
    pub(super) fn keep(&mut self, app: &AppId, heads: Heads) {
        for (position, head) in heads.0.into_iter().enumerate() {
            let Some(Head { counts: Counts::Many { mut kept, added }, .. }) = head else {
                continue;
            };
            added.into_iter().for_each(|number| kept.counts[number as usize] -= 1);
            if self.0.len() >= KEPT_MAX {
                self.0.clear();
            }
            self.0.insert((app.clone(), position), kept);
        }
    }

    fn many(&mut self, app: &AppId, position: usize, crowd: &Crowd, column: &Arc<Column>) -> Kept {
        let known = self.0.remove(&(app.clone(), position));
        let mut kept = known.filter(|kept| Arc::ptr_eq(&kept.column, column)).unwrap_or_else(|| Kept {
            column: column.clone(),
            source: OrdMap::new(),
            counts: vec![0; column.values().len()],
        });
        kept.follow(crowd);
        kept
    }
}

impl Kept {
    /// Says what the crowd says from now on.
    fn follow(&mut self, crowd: &Crowd) {
        let before = std::mem::replace(&mut self.source, crowd.by_value().clone());
        let mut numbers = Numbers { column: &self.column, at: 0 };
        for difference in before.diff(&self.source) {
            let (value, count) = match difference {
                DiffItem::Add(value, count) | DiffItem::Update { new: (value, count), .. } => (value, *count),
                DiffItem::Remove(value, _) => (value, 0),
            };
            if let Some(number) = numbers.of(value) {
                self.counts[number as usize] = count;
            }
        }
    }
}

fn few(crowd: &Crowd, column: &Column) -> HashMap<Number, u32> {
    let mut numbers = Numbers { column, at: 0 };
    crowd.by_value().iter().filter_map(|(value, count)| Some((numbers.of(value)?, *count))).collect()
}

/// Finds the numbers of values that are asked for in order; cheap when they are near each other.
struct Numbers<'a> {
    column: &'a Column,
    at: usize,
}

impl Numbers<'_> {
    /// `None`: no agent has it, as when those that had it are gone.
    fn of(&mut self, value: &str) -> Option<Number> {
        let values = &self.column.values()[self.at..];
        let mut step = 1;
        while step < values.len() && &*values[step] <= value {
            step *= 2;
        }
        let (from, to) = (step / 2, values.len().min(step + 1));
        self.at += from + values[from.min(to)..to].partition_point(|other| **other < *value);
        let is_it = self.column.values().get(self.at).is_some_and(|other| **other == *value);
        is_it.then(|| self.at.try_into().ok()).flatten()
    }
}
