//! What to do next: wanted against what is, as commands. Pure.
//!
//! [`step`] looks at the apps that changed or are due, decides about each from the state alone, and
//! proposes commands; `apply` checks them again. Nothing is remembered that the state does not say, so a
//! new leader goes on where the last one stopped: [`Memory`] only knows where to look next.
//!
//! The driver calls [`step`] again only when the outcomes of the last commands are in and applied.
//!
//! `subject` is one app under consideration and `work` what a step has decided. `scale`, `restart` and
//! `kills` bring the number of tasks to what is wanted, `health`, `overdue` and `unreachable` watch single
//! tasks, `launch` asks for places, `deployments` completes steps.

mod deployments;
mod health;
mod kills;
mod launch;
mod memory;
mod overdue;
mod portions;
mod restart;
mod scale;
mod subject;
#[cfg(test)]
mod tests;
mod unreachable;
mod work;

use spec::time::Timestamp;

use crate::placement::{Policy, Terms};
use crate::state::{ActionKind, Command, State};

pub use memory::Memory;
pub use portions::fitting;
use subject::{Duty, Subject};
use work::{Todo, Work};

/// Tasks that one step may look at (of an app those not at rest, and all when it chooses among them): what a step
/// costs is bounded, also after an election, when everything is to be looked at.
const TASKS_LOOKED_AT_MAX: usize = 100_000;

/// When to look again at an app for which something was proposed: if it was applied, its events come
/// sooner; if it was refused, only this does.
const CONFIRM_MILLIS: u64 = 1_000;

/// What the control loop may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a task may take from placed to running before it is started anew.
    pub launch_timeout_millis: u64,
    /// Which agents are good ones.
    pub placement: Policy,
}

impl Default for Settings {
    /// Marathon's `task_launch_timeout`: five minutes.
    fn default() -> Self {
        Self { launch_timeout_millis: 300_000, placement: Policy::default() }
    }
}

/// What a step has decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// To be proposed, in this order.
    pub commands: Vec<Command>,
    /// When to call [`step`] again if nothing is applied before.
    pub next_due: Option<Timestamp>,
}

/// Decides what to do next.
pub fn step(state: &State, memory: &mut Memory, now: Timestamp, seed: u64, settings: &Settings) -> Step {
    memory.wake(now);
    memory.read_locks(state);
    let mut work = Work::default();
    let mut looked_at = 0;
    while looked_at < TASKS_LOOKED_AT_MAX && !work.is_full() {
        let Some(app) = memory.next_dirty() else {
            break;
        };
        let subject = Subject::of(state, &app, memory.duty_of(state, &app), now, settings);
        let todo = decide(&subject);
        looked_at += cost(&subject, &todo);
        settle(memory, &mut work, &subject, todo);
    }
    work.complete_steps(deployments::complete(state, memory));
    let terms = Terms { policy: settings.placement, now, seed };
    let placements = launch::place(state, memory, work.demands(), terms);
    Step { commands: work.into_commands(placements), next_due: memory.next_due(now) }
}

/// Everything that is to be done for one app now.
fn decide(subject: &Subject<'_>) -> Todo {
    let mut todo = Todo::default();
    unreachable::watch(subject, &mut todo);
    overdue::watch(subject, &mut todo);
    health::watch(subject, &mut todo);
    match subject.duty {
        Duty::Remove => scale::remove(subject, &mut todo),
        Duty::Keep(app) => scale::keep(subject, app, &mut todo),
        Duty::Leave => {}
        Duty::Act { kind, app, deployment } => match kind {
            ActionKind::StartApplication => todo.is_done = true,
            ActionKind::StopApplication => scale::remove(subject, &mut todo),
            ActionKind::ScaleApplication => scale::scale(subject, app, deployment, &mut todo),
            ActionKind::RestartApplication => restart::restart(subject, app, &mut todo),
        },
    }
    todo
}

/// How many tasks were looked at to decide that, the app itself being one. Who ends some has chosen among all.
fn cost(subject: &Subject<'_>, todo: &Todo) -> usize {
    let resting = if todo.end.is_empty() { 0 } else { subject.resting.count };
    1 + subject.watched.len() + resting
}

/// Takes what was decided into the step's work, and notes when to look again.
fn settle(memory: &mut Memory, work: &mut Work, subject: &Subject<'_>, todo: Todo) {
    memory.note_progress(subject.id, subject.deployment, todo.is_done);
    let launch = launch::consider(memory, subject, todo.missing);
    let due = [todo.due, launch.due].into_iter().flatten().min();
    let taken = work.take(todo, launch.demand);
    let confirm = taken.is_busy.then(|| subject.now.plus_millis(CONFIRM_MILLIS));
    memory.set_timer(subject.id, due.into_iter().chain(confirm).min());
    if taken.is_cut {
        memory.look_again(subject.id);
    }
}
