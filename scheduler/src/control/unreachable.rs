//! Tasks of agents that are away: when they are replaced, and when they are forgotten (reference
//! section 5.7). One that returns after it was replaced is ended as a surplus, or as unknown.

use spec::app::UnreachableStrategy;
use spec::time::Timestamp;

use super::subject::Subject;
use super::work::Todo;
use crate::mutants::{self, Mutant};
use crate::state::{Condition, Goal, Task};

/// What becomes of an unreachable task next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is replaced.
    Inactive,
    /// It is forgotten.
    Expunged,
}

/// Finds what is due, and when the next will be.
pub(super) fn watch(subject: &Subject<'_>, todo: &mut Todo) {
    for task in subject.watched.iter().filter(|task| task.is_unreachable()) {
        for (at, fate) in fates(task) {
            match fate {
                _ if at > subject.now => todo.due_at(at),
                Fate::Inactive => todo.inactive.push(task.id.clone()),
                Fate::Expunged if mutants::is(Mutant::NeverExpunge) => {}
                Fate::Expunged => todo.expunge.push(task.id.clone()),
            }
        }
    }
}

/// What lies before the task, and when. `since` is when it became what it is now: the time until it
/// became inactive is behind an inactive one.
fn fates(task: &Task) -> Vec<(Timestamp, Fate)> {
    match task.app.unreachable_strategy {
        // Nobody waits for one that is not wanted any more, and it must not be in the way for ever.
        UnreachableStrategy::Disabled if task.goal == Goal::Decommissioned => {
            vec![(task.since, Fate::Expunged)]
        }
        UnreachableStrategy::Disabled => Vec::new(),
        UnreachableStrategy::Enabled { inactive_after_seconds, expunge_after_seconds } => {
            let inactive = task.since.plus_seconds(inactive_after_seconds);
            if task.condition == Condition::UnreachableInactive {
                let left = expunge_after_seconds.saturating_sub(inactive_after_seconds);
                return vec![(task.since.plus_seconds(left), Fate::Expunged)];
            }
            let expunged = task.since.plus_seconds(expunge_after_seconds);
            let is_replaced = task.goal == Goal::Running && inactive < expunged;
            let replaced = is_replaced.then_some((inactive, Fate::Inactive));
            replaced.into_iter().chain([(expunged, Fate::Expunged)]).collect()
        }
    }
}
