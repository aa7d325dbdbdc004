//! Wanted versus running: what the agent does next. Pure.
//!
//! [`Core`] takes in what the leader wants, what runtimes and checks say, and the time; out come
//! [`Effect`]s, to be done in order, and reports, fetched by [`Core::reports_after`]. It never reads a
//! clock and holds no handle to anything. What it promises:
//!
//! - Nothing below the highest fence is obeyed, also after a restart.
//! - A task is launched once; a launch is only repeated after the runtime said it was not there to try.
//! - The ending of a task is reported until it is acknowledged; only then do its traces go.
//! - What the complete set does not name is ended and removed.
//! - Nothing is launched on a port, or on a part of the machine, that a task still has which is being ended.

mod checked;
pub mod choice;
mod effect;
mod ended;
mod ending;
mod ledger;
mod record;
mod restore;
mod room;
mod sandboxes;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use spec::app::App;
use spec::ids::TaskId;
use spec::protocol::{Fence, KILL_GRACE_MILLIS, RunTask, Runtimes, TaskReport, TaskState, Wanted};
use spec::resources::Resources;
use spec::time::Timestamp;

pub use choice::{Refusal, RuntimeKind, choose};
pub use effect::{CheckTarget, Effect, LaunchOrder};
pub use record::{Kept, Record, Stage};
pub use sandboxes::{KEPT_MAX, KEPT_MILLIS_MAX};

use crate::checks::{CheckKey, Probed};
use crate::mutants::{self, Mutant};
use crate::runtime::{Exit, Found, RuntimeError};
use ended::Ended;
use ledger::Ledger;
use room::Room;
use sandboxes::Sandboxes;
use task::{Context, Phase, Task};

/// More tasks than this are refused: a bound for what a master may ask of one agent.
const TASKS_MAX: usize = 20_000;

/// What an agent knows and decides.
#[derive(Debug)]
pub struct Core {
    runtimes: Runtimes,
    fence: Fence,
    tasks: BTreeMap<TaskId, Task>,
    timers: BTreeSet<(Timestamp, TaskId)>,
    room: Room,
    ledger: Ledger,
    sandboxes: Sandboxes,
    ended: Ended,
    effects: Vec<Effect>,
    fence_moved: bool,
}

impl Core {
    /// An agent that was last seen as `kept`, without tasks, on a machine of this `capacity`.
    pub fn new(kept: Kept, runtimes: Runtimes, capacity: Resources) -> Self {
        Self {
            runtimes,
            fence: kept.fence,
            tasks: BTreeMap::new(),
            timers: BTreeSet::new(),
            room: Room::new(capacity),
            ledger: Ledger::after(kept.seq_ceiling),
            sandboxes: Sandboxes::default(),
            ended: Ended::default(),
            effects: Vec::new(),
            fence_moved: false,
        }
    }

    /// The runtimes that there are have changed.
    pub fn offer(&mut self, runtimes: Runtimes) {
        self.runtimes = runtimes;
    }

    /// Highest fence obeyed.
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// Obeys the leader, unless it is an old one: then `None`.
    pub fn wanted(&mut self, wanted: Wanted, now: Timestamp) -> Option<Vec<Effect>> {
        if wanted.fence < self.fence && !mutants::is(Mutant::OldFences) {
            return None;
        }
        if wanted.fence > self.fence {
            self.fence_moved = true;
            self.ended.forget();
        }
        self.fence = wanted.fence;
        if wanted.complete {
            self.end_orphans(&wanted, now);
        }
        for kill in wanted.kill {
            self.kill(&kill.task, kill.grace_millis, now);
        }
        let apps: Vec<Arc<App>> = wanted.apps.into_iter().map(|document| document.0).collect();
        for run in wanted.run {
            let app = usize::try_from(run.app).ok().and_then(|index| apps.get(index)).cloned();
            self.want(run, app, now);
        }
        Some(self.take_effects())
    }

    /// Ends what the complete set does not name. An ending that it does not name is one that the leader
    /// has taken note of.
    fn end_orphans(&mut self, wanted: &Wanted, now: Timestamp) {
        let named: BTreeSet<&TaskId> =
            wanted.run.iter().map(|run| &run.task).chain(wanted.kill.iter().map(|kill| &kill.task)).collect();
        let orphans: Vec<TaskId> = self.tasks.keys().filter(|task| !named.contains(task)).cloned().collect();
        for orphan in orphans {
            self.with(&orphan, now, |task, cx| {
                let grace = task.app.as_ref().and_then(|app| app.task_kill_grace_period_seconds);
                let grace_millis = grace.map_or(KILL_GRACE_MILLIS, |seconds| u64::from(seconds) * 1000);
                task.acknowledged(cx);
                task.kill(grace_millis, cx);
            });
        }
    }

    fn kill(&mut self, id: &TaskId, grace_millis: u64, now: Timestamp) {
        if mutants::is(Mutant::IgnoreKill) {
            return;
        }
        if self.tasks.contains_key(id) {
            self.with(id, now, |task, cx| task.kill(grace_millis, cx));
        } else if !self.ended.contains(id) {
            self.adopt(Task::new(id.clone(), None, now), now, |task, cx| {
                task.end(TaskState::Dropped, "The agent was never told to run it", cx.now, cx);
            });
        }
    }

    fn want(&mut self, mut run: RunTask, app: Option<Arc<App>>, now: Timestamp) {
        if self.ended.contains(&run.task) {
            return;
        }
        if self.tasks.contains_key(&run.task) && !mutants::is(Mutant::LaunchTwice) {
            let Some(app) = app else { return };
            return self.with(&run.task, now, |task, cx| task.learn(app, run.host_ports, cx));
        }
        let chosen = match &app {
            None => Err(Refusal {
                state: TaskState::Error,
                message: "the leader sent no definition with the task".to_owned(),
            }),
            Some(_) if self.tasks.len() >= TASKS_MAX => Err(Refusal {
                state: TaskState::Failed,
                message: format!("this agent already holds {TASKS_MAX} tasks"),
            }),
            Some(app) => choose(app, &self.runtimes),
        };
        if let Some(app) = app.as_ref().filter(|app| app.id == *run.task.app()) {
            // All tasks of an app share one text.
            run.task.instance.app = app.id.clone();
        }
        let mut task = Task::new(run.task, chosen.as_ref().ok().copied(), now);
        task.app = app;
        task.host_ports = run.host_ports;
        self.adopt(task, now, |task, cx| match chosen {
            Err(refusal) => task.end(refusal.state, &refusal.message, cx.now, cx),
            Ok(_) => {
                task.record(cx);
                task.say(TaskState::Staging, "", cx);
                task.ready();
            }
        });
    }

    /// Tasks whose definition is not known: what was kept of them is lost.
    pub fn unexplained(&self) -> Vec<TaskId> {
        let unknown = self.tasks.values().filter(|task| task.app.is_none() && !task.has_ended());
        unknown.map(|task| task.id().clone()).collect()
    }

    /// A task is up.
    pub fn launched(&mut self, found: Found, now: Timestamp) -> Vec<Effect> {
        let id = found.task.clone();
        self.one(&id, now, |task, cx| task.launched(found, cx))
    }

    /// A launch says what it is doing.
    pub fn progress(&mut self, id: &TaskId, message: &str, now: Timestamp) -> Vec<Effect> {
        self.one(id, now, |task, cx| task.progress(message, cx))
    }

    /// A launch did not succeed.
    pub fn launch_failed(&mut self, id: &TaskId, error: &RuntimeError, now: Timestamp) -> Vec<Effect> {
        self.one(id, now, |task, cx| task.launch_failed(error, cx))
    }

    /// A launch was called off, as [`Effect::CancelLaunch`] asked.
    pub fn launch_cancelled(&mut self, id: &TaskId, now: Timestamp) -> Vec<Effect> {
        self.one(id, now, |task, cx| task.launch_cancelled(cx))
    }

    /// A task has ended.
    pub fn exited(&mut self, id: &TaskId, exit: &Exit, now: Timestamp) -> Vec<Effect> {
        self.one(id, now, |task, cx| task.exited(exit, cx))
    }

    /// A task is not there any more.
    pub fn vanished(&mut self, id: &TaskId, now: Timestamp) -> Vec<Effect> {
        self.one(id, now, |task, cx| task.vanished(cx))
    }

    /// The traces of a task are gone.
    pub fn removed(&mut self, id: &TaskId, now: Timestamp) -> Vec<Effect> {
        self.one(id, now, |task, cx| task.removed(cx))
    }

    /// The traces of a task could not be removed.
    pub fn remove_failed(&mut self, id: &TaskId, now: Timestamp) -> Vec<Effect> {
        self.one(id, now, |task, cx| task.remove_failed(cx))
    }

    /// A check has a result.
    pub fn probed(&mut self, id: &TaskId, key: &CheckKey, probed: &Probed, now: Timestamp) -> Vec<Effect> {
        self.one(id, now, |task, cx| task.probed(key, probed, cx))
    }

    /// Everything up to `seq` is in the replicated state: traces of what ended may go.
    pub fn acknowledged(&mut self, seq: u64, now: Timestamp) -> Vec<Effect> {
        for id in self.ledger.acknowledge(seq) {
            self.with(&id, now, |task, cx| task.acknowledged(cx));
        }
        self.take_effects()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Effect> {
        while let Some((at, id)) = self.timers.first().cloned() {
            if at > now {
                break;
            }
            self.with(&id, now, |task, cx| task.due(cx));
            self.timers.remove(&(at, id));
        }
        self.expire_sandboxes(now);
        self.take_effects()
    }

    /// When [`Self::tick`] has something to do next.
    pub fn next_due(&self) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(at, _)| *at);
        timer.into_iter().chain(self.sandboxes.next_expiry()).min()
    }

    /// Up to `limit` unacknowledged reports with numbers above `seq`, in order.
    pub fn reports_after(&self, seq: u64, limit: usize) -> Vec<&TaskReport> {
        let tasks = self.ledger.after_seq(seq).take(limit);
        tasks.filter_map(|id| self.tasks.get(id)).map(|task| &task.report).collect()
    }

    /// Are there unacknowledged reports with numbers above `seq`?
    pub fn has_reports_after(&self, seq: u64) -> bool {
        self.ledger.after_seq(seq).next().is_some()
    }

    /// Do such reports say more than that tasks were accepted? What becomes of those is often known right after.
    pub fn has_urgent_reports_after(&self, seq: u64) -> bool {
        self.ledger.is_urgent_after(seq)
    }

    /// What to say of tasks when a session opens, and the number that this covers.
    pub fn hello(&self) -> (Vec<TaskReport>, u64) {
        let told = self.tasks.values().filter(|task| task.phase != Phase::Removing);
        (told.map(|task| task.report.clone()).collect(), self.ledger.last())
    }

    /// The tasks that are up, and how.
    pub fn running(&self) -> impl Iterator<Item = (&TaskId, RuntimeKind)> {
        let up = self.tasks.values().filter(|task| matches!(task.phase, Phase::Running | Phase::Ending));
        up.filter_map(|task| Some((task.id(), task.runtime?)))
    }

    /// Where a task's traces are, while it has any.
    pub fn runtime_of(&self, id: &TaskId) -> Option<RuntimeKind> {
        self.tasks.get(id).and_then(|task| task.runtime)
    }

    fn expire_sandboxes(&mut self, now: Timestamp) {
        self.effects.extend(self.sandboxes.expire(now).into_iter().map(Effect::DropSandbox));
    }

    fn one(
        &mut self,
        id: &TaskId,
        now: Timestamp,
        change: impl FnOnce(&mut Task, &mut Context<'_>),
    ) -> Vec<Effect> {
        self.with(id, now, change);
        self.take_effects()
    }

    fn adopt(&mut self, task: Task, now: Timestamp, change: impl FnOnce(&mut Task, &mut Context<'_>)) {
        let id = task.id().clone();
        self.room.take(&task.hold());
        self.tasks.insert(id.clone(), task);
        self.with(&id, now, change);
    }

    /// Changes one task, and keeps everything that follows from it in step.
    fn with(&mut self, id: &TaskId, now: Timestamp, change: impl FnOnce(&mut Task, &mut Context<'_>)) {
        let Some(before) = self.tasks.get(id).map(Task::hold) else {
            return;
        };
        self.quietly(id, now, change);
        let after = self.tasks.get(id).map(Task::hold).unwrap_or_default();
        self.rehold(id, &before, &after, now);
    }

    /// Changes one task in a way that leaves what it holds as it is, or see [`Self::with`].
    fn quietly(&mut self, id: &TaskId, now: Timestamp, change: impl FnOnce(&mut Task, &mut Context<'_>)) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let before = task.timer;
        change(task, &mut Context { now, ledger: &mut self.ledger, effects: &mut self.effects });
        let (after, phase) = (task.timer, task.phase);
        if before != after {
            self.timers.extend(after.map(|at| (at, id.clone())));
            before.map(|at| self.timers.remove(&(at, id.clone())));
        }
        if phase == Phase::Forgotten {
            self.forget(id, now);
        }
    }

    fn forget(&mut self, id: &TaskId, now: Timestamp) {
        let Some(task) = self.tasks.remove(id) else {
            return;
        };
        if task.runtime.is_some() && task.runtime != Some(RuntimeKind::Hollow) {
            self.sandboxes.keep(id.clone(), task.report.at);
            self.expire_sandboxes(now);
        }
        self.ended.remember(id, TASKS_MAX);
    }

    /// What is to be done, with what has to be durable first.
    fn take_effects(&mut self) -> Vec<Effect> {
        let grown = self.ledger.take_grown();
        let mut effects = std::mem::take(&mut self.effects);
        if std::mem::take(&mut self.fence_moved) || grown {
            let kept = Kept { fence: self.fence, seq_ceiling: self.ledger.ceiling() };
            effects.insert(0, Effect::Persist(kept));
        }
        effects
    }
}

#[cfg(test)]
pub(crate) mod tests;
