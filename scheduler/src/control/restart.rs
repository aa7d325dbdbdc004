//! `RestartApplication`: outdated tasks are replaced within the bounds of `upgradeStrategy`
//! (reference section 5.2).
//!
//! Marathon computes how many to kill once, when the action begins, and then one more for each new task
//! that is healthy and ready. Here both follow from what is there now, so that a new leader goes on where
//! the last one stopped: old tasks may go as long as enough healthy ones stay, new ones may come as long
//! as there are not too many. Two differences, both where Marathon would wait for ever:
//! - the extra task of "minimum health is all, surplus none" is also allowed while an old task is unhealthy;
//! - an unhealthy old task that alone stands in the way is ended.

use std::sync::Arc;

use spec::app::App;

use super::kills;
use super::scale::room;
use super::subject::{Subject, holds_place};
use super::work::Todo;
use crate::mutants::{self, Mutant};
use crate::state::{Condition, Goal, KillReason, Task, min_healthy};

/// One look at a rolling replacement.
pub(super) fn restart(subject: &Subject<'_>, app: &Arc<App>, todo: &mut Todo) {
    let count = Count::of(app, subject);
    end_old(app, subject, count.kills(), todo);
    let is_new = |task: &Task| !task.is_outdated(app) && holds_place(task);
    kills::end_surplus(subject, app, is_new, &[], count.new.saturating_sub(count.wanted), todo);
    todo.missing = u32::try_from(count.starts()).unwrap_or(u32::MAX).min(room(subject, app));
    let is_gone = |task: &&Arc<Task>| task.goal == Goal::Decommissioned && !task.takes_room();
    let are_old_gone = subject.resting.outdated == 0 && outdated(&subject.watched, app).all(is_gone);
    let is_over = are_old_gone && count.new_good == count.wanted && count.new == count.wanted;
    todo.is_done = app.instances == 0 || is_over;
}

/// Ends `count` of the old ones that stand, unhealthy first, and all that were replaced by the unreachable
/// strategy already.
fn end_old(app: &App, subject: &Subject<'_>, count: usize, todo: &mut Todo) {
    if count > 0 {
        let all = subject.all();
        let mut standing: Vec<_> = outdated(&all, app).filter(|task| is_standing(task)).collect();
        standing.sort_by_cached_key(|task| (task.is_healthy(), kills::rank(app, task)));
        let victims = standing.into_iter().take(count);
        todo.end.extend(victims.map(|task| (task.id.clone(), KillReason::Outdated)));
    }
    let is_lost = |task: &&&Arc<Task>| {
        task.goal != Goal::Decommissioned && task.condition == Condition::UnreachableInactive
    };
    let lost = outdated(&subject.watched, app).filter(is_lost);
    todo.end.extend(lost.map(|task| (task.id.clone(), KillReason::Outdated)));
}

fn outdated<'t, 'a>(tasks: &'t [&'a Arc<Task>], app: &App) -> impl Iterator<Item = &'t &'a Arc<Task>> {
    tasks.iter().filter(|task| task.is_outdated(app))
}

/// Not told to end, and not ending by itself.
fn is_standing(task: &Task) -> bool {
    let is_leaving = matches!(task.condition, Condition::Killing | Condition::UnreachableInactive);
    task.goal == Goal::Running && !is_leaving
}

/// What the formula is computed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    /// N.
    wanted: usize,
    /// ceil(N * minimumHealthCapacity).
    healthy_min: usize,
    /// floor(N * (1 + maximumOverCapacity)).
    total_max: usize,
    /// Every task that takes room, those that are ending among them.
    total: usize,
    /// Old tasks not told to end.
    old: usize,
    /// Of these, healthy.
    old_healthy: usize,
    /// New tasks, whether they run yet or not.
    new: usize,
    /// Of these, healthy and ready.
    new_good: usize,
}

impl Count {
    /// Those at rest take room, stand or hold their place, and are good.
    fn of(app: &App, subject: &Subject<'_>) -> Self {
        let wanted = f64::from(app.instances);
        let (strategy, resting) = (app.upgrade_strategy, subject.resting);
        let old = || outdated(&subject.watched, app).filter(|task| is_standing(task));
        let new = || subject.watched.iter().filter(|task| !task.is_outdated(app) && holds_place(task));
        let new_resting = resting.count - resting.outdated;
        Self {
            wanted: app.instances as usize,
            healthy_min: if mutants::is(Mutant::IgnoreMinimum) { 0 } else { min_healthy(app) as usize },
            total_max: (wanted * (1.0 + strategy.maximum_over_capacity)).floor() as usize,
            total: resting.count + subject.watched.iter().filter(|task| task.takes_room()).count(),
            old: resting.outdated + old().count(),
            old_healthy: resting.outdated + old().filter(|task| task.is_healthy()).count(),
            new: new_resting + new().count(),
            new_good: new_resting + new().filter(|task| task.is_at_rest()).count(),
        }
    }

    /// Old tasks that may be ended now: as many as health allows, at least one for each good new task
    /// once there are as many tasks as wanted, and those beyond N in any case.
    fn kills(&self) -> usize {
        let by_health = (self.old_healthy + self.new_good).saturating_sub(self.healthy_min);
        let by_number = (self.old + self.new_good).saturating_sub(self.wanted);
        let kills = by_health.max(by_number).max(usize::from(self.is_stuck()));
        kills.min(self.old)
    }

    /// New tasks that may be started now.
    fn starts(&self) -> usize {
        let room = self.total_allowed().saturating_sub(self.total);
        self.wanted.saturating_sub(self.new).min(room)
    }

    /// When every task must stay healthy and none may be too many, nothing would ever move: one more is
    /// allowed, as soon as all places are taken.
    fn total_allowed(&self) -> usize {
        let is_tight = self.healthy_min == self.total_max && self.total >= self.total_max;
        self.total_max + usize::from(is_tight)
    }

    /// Everything has settled, new tasks are missing, and only an unhealthy old one takes their room.
    fn is_stuck(&self) -> bool {
        let is_settled = self.new == self.new_good && self.total == self.old + self.new;
        is_settled && self.new < self.wanted && self.starts() == 0 && self.old_healthy < self.old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// N, minHealthy and maxCapacity of a strategy, before any task is counted.
    fn bounds(wanted: usize, healthy: f64, over: f64) -> Count {
        Count {
            wanted,
            healthy_min: (wanted as f64 * healthy).ceil() as usize,
            total_max: (wanted as f64 * (1.0 + over)).floor() as usize,
            ..Count::default()
        }
    }

    /// What a replacement does when every task that starts is good one round later and every task told to
    /// end is gone one round later: (kills, starts) a round, until nothing old is left.
    fn rounds(mut count: Count, old: usize, unhealthy: usize) -> Vec<(usize, usize)> {
        (count.old, count.old_healthy, count.total) = (old, old - unhealthy, old);
        let mut rounds = Vec::new();
        while count.old > 0 || count.new_good < count.wanted {
            let (kills, starts) = (count.kills(), count.starts());
            rounds.push((kills, starts));
            assert!(rounds.len() < 100, "it does not end: {count:?}");
            let killed_unhealthy = kills.min(count.old - count.old_healthy);
            count.old -= kills;
            count.old_healthy -= kills - killed_unhealthy;
            count.new_good = count.new;
            count.new += starts;
            count.total = count.old + count.new;
        }
        rounds
    }

    /// The worked examples of reference section 5.2, N = 4.
    #[test]
    fn worked_examples() {
        let one_by_one =
            [(0, 1), (0, 0), (1, 0), (0, 1), (0, 0), (1, 0), (0, 1), (0, 0), (1, 0), (0, 1), (0, 0), (1, 0)];
        // 1.0/1.0: four new ones beside the four old, then every good new one ends an old one.
        assert_eq!(rounds(bounds(4, 1.0, 1.0), 4, 0), [(0, 4), (0, 0), (4, 0)]);
        // 0.5/0.0: two go, two come, two go, two come.
        assert_eq!(rounds(bounds(4, 0.5, 0.0), 4, 0), [(2, 0), (0, 2), (0, 0), (2, 0), (0, 2), (0, 0)]);
        // 0/0: all go, all come.
        assert_eq!(rounds(bounds(4, 0.0, 0.0), 4, 0), [(4, 0), (0, 4), (0, 0)]);
        // 1.0/0: five for a while, one by one.
        assert_eq!(rounds(bounds(4, 1.0, 0.0), 4, 0), one_by_one);
    }

    #[test]
    fn the_first_look_is_marathons_formula() {
        let look = |count: Count, old, old_healthy| {
            let count = Count { old, old_healthy, total: old, ..count };
            (count.kills(), count.starts())
        };
        // killNow = max(0, c - minHealthy); starts = min(N, maxCapacity - old active).
        assert_eq!(look(bounds(10, 0.8, 0.1), 10, 10), (2, 1));
        assert_eq!(look(bounds(10, 0.8, 0.1), 10, 7), (0, 1));
        assert_eq!(look(bounds(10, 0.5, 0.5), 10, 10), (5, 5));
        // N smaller than what exists: the difference goes at once.
        assert_eq!(look(bounds(2, 1.0, 1.0), 5, 5), (3, 0));
        assert_eq!(look(bounds(2, 1.0, 1.0), 5, 0), (3, 0));
        // More wanted than there are.
        assert_eq!(look(bounds(4, 1.0, 0.0), 2, 2), (0, 2));
        assert_eq!(look(bounds(0, 1.0, 1.0), 3, 3), (3, 0));
    }

    /// Whatever the strategy and however many are unhealthy, it ends, and within the bounds.
    #[test]
    fn every_replacement_ends() {
        for wanted in 1..7 {
            for (healthy, over) in [(1.0, 1.0), (1.0, 0.0), (0.5, 0.0), (0.75, 0.0), (0.0, 0.0), (0.9, 0.2)] {
                for old in 0..9 {
                    for unhealthy in 0..=old {
                        let starts: usize =
                            rounds(bounds(wanted, healthy, over), old, unhealthy).iter().map(|r| r.1).sum();
                        assert_eq!(starts, wanted, "{wanted} {healthy} {over} {old} {unhealthy}");
                    }
                }
            }
        }
    }
}
