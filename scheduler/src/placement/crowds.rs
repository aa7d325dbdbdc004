//! How many tasks of an app are where, for the constraints that count them.
//!
//! Only tasks of the same or a newer configuration constrain, so that in a rolling upgrade an old and a
//! new task may share what is UNIQUE. Unreachable tasks constrain until they are expunged. The state keeps
//! the crowds of every app up to date; a plan counts by numbers of its own (`heads`).

use std::sync::Arc;

use imbl::OrdMap;
use spec::app::{App, Constraint, Operator};
use spec::protocol::AgentInfo;

use super::field_value;
use crate::state::State;

/// Tasks of an app by the value of one field.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Crowd {
    by_value: OrdMap<Arc<str>, u32>,
    evenness: Evenness,
}

/// How many values have how many tasks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Evenness {
    /// By the number of tasks, of those values that have one.
    by_count: OrdMap<u32, u32>,
    used: usize,
}

impl Crowd {
    /// Tasks at this value.
    pub(super) fn of(&self, value: &str) -> u32 {
        self.by_value.get(value).copied().unwrap_or(0)
    }

    /// Tasks at each value that has one.
    pub(super) fn by_value(&self) -> &OrdMap<Arc<str>, u32> {
        &self.by_value
    }

    /// How many values have how many tasks.
    pub(super) fn evenness(&self) -> &Evenness {
        &self.evenness
    }

    /// One more task at this value.
    fn add(&mut self, value: &Arc<str>) {
        let count = self.by_value.entry(value.clone()).or_insert(0);
        *count += 1;
        self.evenness.shift(*count - 1, *count);
    }

    fn remove(&mut self, value: &str) {
        let Some(count) = self.by_value.get_mut(value) else {
            return;
        };
        *count -= 1;
        let count = *count;
        if count == 0 {
            self.by_value.remove(value);
        }
        self.evenness.shift(count + 1, count);
    }
}

impl Evenness {
    /// No task anywhere?
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Values that have a task.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Fewest tasks of the values that have one.
    pub(super) fn lowest(&self) -> u32 {
        self.by_count.get_min().map_or(0, |(count, _)| *count)
    }

    /// Values that have more tasks than this.
    pub(super) fn used_beyond(&self, count: u32) -> u64 {
        self.by_count.range(count.saturating_add(1)..).map(|(_, values)| u64::from(*values)).sum()
    }

    /// A value has `to` tasks now instead of `from`.
    pub(super) fn shift(&mut self, from: u32, to: u32) {
        if let Some(values) = self.by_count.get_mut(&from) {
            *values -= 1;
            if *values == 0 {
                self.by_count.remove(&from);
            }
        }
        if to > 0 {
            *self.by_count.entry(to).or_insert(0) += 1;
        }
        self.used = self.used + usize::from(from == 0) - usize::from(to == 0);
    }
}

/// A [`Crowd`] for each constraint of an app in order; those that do not count stay empty, and there are
/// none at all when no constraint counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Crowds(Box<[Crowd]>);

impl Crowds {
    /// Of an app without tasks.
    pub(crate) fn of(app: &App) -> Self {
        if !app.constraints.iter().any(counts) {
            return Self::default();
        }
        Self(vec![Crowd::default(); app.constraints.len()].into())
    }

    /// Counts the tasks one by one.
    pub(crate) fn count(state: &State, app: &App) -> Self {
        let mut crowds = Self::of(app);
        if crowds.is_counting() {
            let constraining = state.tasks_of(&app.id).filter(|task| !task.is_outdated(app));
            for agent in constraining.filter_map(|task| state.agents.get(&task.agent)) {
                crowds.add(app, &agent.info);
            }
        }
        crowds
    }

    /// Does any constraint count?
    pub(crate) fn is_counting(&self) -> bool {
        !self.0.is_empty()
    }

    /// One more task that constrains, on an agent that says this of itself.
    pub(crate) fn add(&mut self, app: &App, info: &AgentInfo) {
        for (crowd, constraint) in counted(&mut self.0, app) {
            if let Some(value) = field_value(info, &constraint.field) {
                crowd.add(&value.into());
            }
        }
    }

    /// One task less.
    pub(crate) fn remove(&mut self, app: &App, info: &AgentInfo) {
        for (crowd, constraint) in counted(&mut self.0, app) {
            if let Some(value) = field_value(info, &constraint.field) {
                crowd.remove(&value);
            }
        }
    }

    /// The crowd that the constraint at this position counts.
    pub(super) fn at(&self, index: usize) -> &Crowd {
        static NOBODY: std::sync::LazyLock<Crowd> = std::sync::LazyLock::new(Crowd::default);
        self.0.get(index).unwrap_or(&NOBODY)
    }
}

fn counted<'a>(
    crowds: &'a mut [Crowd],
    app: &'a App,
) -> impl Iterator<Item = (&'a mut Crowd, &'a Constraint)> {
    crowds.iter_mut().zip(&app.constraints).filter(|(_, constraint)| counts(constraint))
}

/// Does what the constraint says of an agent depend on where other tasks are?
pub(super) fn counts(constraint: &Constraint) -> bool {
    match constraint.operator {
        Operator::Unique | Operator::GroupBy | Operator::MaxPer => true,
        Operator::Cluster => constraint.value.as_deref().is_none_or(str::is_empty),
        Operator::Like | Operator::Unlike | Operator::Is => false,
    }
}
