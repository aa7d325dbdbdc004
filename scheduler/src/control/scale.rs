//! The number of an app's tasks: kept by the control loop, changed by a deployment, or none.

use std::sync::Arc;

use spec::app::App;
use spec::ids::TaskId;

use super::kills;
use super::subject::{Subject, holds_place};
use super::work::Todo;
use crate::mutants::{self, Mutant};
use crate::state::{Condition, Deployment, Goal, KillReason, Task};

/// An app without a deployment: what is missing is started, what is too much is ended.
pub(super) fn keep(subject: &Subject<'_>, app: &Arc<App>, todo: &mut Todo) {
    let holding = holding(subject);
    end_surplus(subject, app, holding, &[], todo);
    todo.missing = missing(subject, app, holding);
}

/// `ScaleApplication` (reference section 5.2): victims first; when they are gone what is missing is
/// started; complete when all that had to be started is running, healthy and ready.
pub(super) fn scale(subject: &Subject<'_>, app: &Arc<App>, deployment: &Deployment, todo: &mut Todo) {
    let holding = holding(subject);
    end_surplus(subject, app, holding, &deployment.kill, todo);
    let is_ending = |task: &&Arc<Task>| task.goal == Goal::Decommissioned && task.takes_room();
    if !todo.end.is_empty() || subject.watched.iter().any(is_ending) {
        return;
    }
    todo.missing = missing(subject, app, holding);
    let mut watched = subject.watched.iter().filter(|task| holds_place(task));
    todo.is_done = holding == app.instances as usize
        && watched.all(|task| was_up_before(task, deployment) || task.is_at_rest());
}

/// `StopApplication`, and an app that is removed: every task is ended; complete when none is left that
/// anybody can still end.
pub(super) fn remove(subject: &Subject<'_>, todo: &mut Todo) {
    if mutants::is(Mutant::KeepRemoved) {
        return;
    }
    let staying = subject.all().into_iter().filter(|task| task.goal != Goal::Decommissioned);
    todo.end.extend(staying.map(|task| (task.id.clone(), KillReason::Removed)));
    todo.is_done = todo.end.is_empty() && !subject.watched.iter().any(|task| task.takes_room());
}

/// Tasks that were there before the deployment are not checked again.
fn was_up_before(task: &Task, deployment: &Deployment) -> bool {
    task.goal == Goal::Running
        && task.condition != Condition::Killing
        && task.started_at.is_some_and(|at| at < deployment.version)
}

/// How many tasks hold a place: all at rest do.
fn holding(subject: &Subject<'_>) -> usize {
    subject.resting.count + subject.watched.iter().filter(|task| holds_place(task)).count()
}

fn end_surplus(subject: &Subject<'_>, app: &App, holding: usize, named: &[TaskId], todo: &mut Todo) {
    let surplus = holding.saturating_sub(app.instances as usize);
    kills::end_surplus(subject, app, holds_place, named, surplus, todo);
}

/// How many to start.
fn missing(subject: &Subject<'_>, app: &App, holding: usize) -> u32 {
    let wanted = (app.instances as usize).saturating_sub(holding);
    u32::try_from(wanted).unwrap_or(u32::MAX).min(room(subject, app))
}

/// How many `apply` will let in: it counts tasks that are still ending.
pub(super) fn room(subject: &Subject<'_>, app: &App) -> u32 {
    subject.entry.map_or(0, |entry| entry.tally.room(app))
}
