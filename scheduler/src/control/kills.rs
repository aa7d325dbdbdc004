//! Who goes first when an app has too many tasks (reference section 5.2).

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use spec::app::{App, KillSelection, Operator};
use spec::ids::TaskId;

use super::subject::Subject;
use super::work::Todo;
use crate::placement::field_value;
use crate::state::{Condition, Goal, KillReason, State, Task};

/// Ends `count` of those tasks that may go.
pub(super) fn end_surplus(
    subject: &Subject<'_>,
    app: &App,
    may_go: impl Fn(&Task) -> bool,
    named: &[TaskId],
    count: usize,
    todo: &mut Todo,
) {
    if count == 0 {
        return;
    }
    let tasks: Vec<_> = subject.all().into_iter().filter(|task| may_go(task)).collect();
    let victims = choose(subject.state, app, &tasks, named, count);
    todo.end.extend(victims.into_iter().map(|task| (task, KillReason::Surplus)));
}

/// Chooses `count` of `tasks`: those named first, then those that are ending already to be started anew,
/// then so that groups of GROUP_BY constraints stay even, then by condition, ties by `killSelection`.
pub(super) fn choose(
    state: &State,
    app: &App,
    tasks: &[&Arc<Task>],
    named: &[TaskId],
    count: usize,
) -> Vec<TaskId> {
    let named: HashSet<&TaskId> = named.iter().collect();
    let is_first = |task: &Task| named.contains(&task.id) || task.goal == Goal::Restarting;
    let mut sorted = tasks.to_vec();
    sorted.sort_by_cached_key(|task| (!named.contains(&task.id), !is_first(task), rank(app, task)));
    let firsts = sorted.iter().take_while(|task| is_first(task)).count();
    let others = sorted.split_off(firsts);
    let others = evenly(state, app, &others, count.saturating_sub(firsts));
    sorted.into_iter().chain(others).take(count).map(|task| task.id.clone()).collect()
}

/// Position in the usual order.
pub(super) fn rank(app: &App, task: &Task) -> (u8, u64, Reverse<u64>, TaskId) {
    let condition = match task.condition {
        Condition::Unreachable => 0,
        Condition::Staging => 1,
        Condition::Starting => 2,
        Condition::Running => 3,
        Condition::Provisioned | Condition::Killing | Condition::UnreachableInactive => 4,
    };
    let staged = task.staged_at.millis();
    let (oldest, youngest) = match app.kill_selection {
        KillSelection::OldestFirst => (staged, 0),
        KillSelection::YoungestFirst => (0, staged),
    };
    (condition, oldest, Reverse(youngest), task.id.clone())
}

/// The first `count` of `tasks`, each taken from the largest groups that are left.
fn evenly<'a>(state: &State, app: &App, tasks: &[&'a Arc<Task>], count: usize) -> Vec<&'a Arc<Task>> {
    let is_group = |operator| operator == Operator::GroupBy;
    let fields = app.constraints.iter().filter(|constraint| is_group(constraint.operator));
    let fields: Vec<_> = fields.map(|constraint| constraint.field.as_str()).collect();
    if fields.is_empty() {
        return tasks.iter().copied().take(count).collect();
    }
    let mut groups = Groups::of(state, &fields, tasks);
    (0..count).map_while(|_| groups.take_from_largest()).collect()
}

/// Values of the grouping fields, one each.
type Values = Vec<Option<String>>;

/// Tasks by the groups they are in.
struct Groups<'a> {
    /// In the usual order, with their positions in it.
    queues: BTreeMap<Values, VecDeque<(usize, &'a Arc<Task>)>>,
    /// Tasks of each group, by field.
    sizes: BTreeMap<(usize, Option<String>), usize>,
}

impl<'a> Groups<'a> {
    fn of(state: &State, fields: &[&str], tasks: &[&'a Arc<Task>]) -> Self {
        let mut groups = Self { queues: BTreeMap::new(), sizes: BTreeMap::new() };
        for (position, task) in tasks.iter().enumerate() {
            let agent = state.agents.get(&task.agent);
            let value = |field: &&str| Some(field_value(&agent?.info, field)?.into_owned());
            let values: Values = fields.iter().map(value).collect();
            for key in values.iter().cloned().enumerate() {
                *groups.sizes.entry(key).or_default() += 1;
            }
            groups.queues.entry(values).or_default().push_back((position, task));
        }
        groups
    }

    fn take_from_largest(&mut self) -> Option<&'a Arc<Task>> {
        let size = |values: &Values| -> usize {
            values.iter().cloned().enumerate().filter_map(|key| self.sizes.get(&key)).sum()
        };
        let of_queue = |(values, queue): (&Values, &VecDeque<(usize, _)>)| {
            Some((Reverse(size(values)), queue.front()?.0, values.clone()))
        };
        let (_, _, values) = self.queues.iter().filter_map(of_queue).min()?;
        for key in values.iter().cloned().enumerate() {
            self.sizes.entry(key).and_modify(|size| *size = size.saturating_sub(1));
        }
        self.queues.get_mut(&values)?.pop_front().map(|(_, task)| task)
    }
}
