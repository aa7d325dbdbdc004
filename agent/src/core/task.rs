//! One task's life on this agent: what each event makes of it. Pure.
//!
//! ```text
//! Blocked -> Launching -> Running -> Ending -> Ended -> Removing -> Forgotten
//!             |  ^  \________________________/ ^
//!             |  Waiting (runtime away)        |
//!             Cancelling -> Clearing __________/      after a restart: Unsure -> any of these
//! ```

use std::sync::Arc;

use spec::app::App;
use spec::ids::TaskId;
use spec::protocol::{TaskReport, TaskState};
use spec::time::Timestamp;

use super::choice::RuntimeKind;
use super::effect::{Effect, LaunchOrder};
use super::ending::{cut, ending};
use super::ledger::Ledger;
use super::record::{Record, Stage};
use crate::mutants::{self, Mutant};
use crate::runtime::{Exit, Found, RuntimeError, Signal};

/// First pause before a runtime that did not answer is asked again; doubles each time.
const RETRY_MILLIS_MIN: u64 = 1_000;
/// Longest such pause.
const RETRY_MILLIS_MAX: u64 = 30_000;
/// SIGKILL is sent again this often until the task has ended.
const KILL_REPEAT_MILLIS: u64 = 10_000;
/// Progress of a launch is reported at most this often.
const PROGRESS_MILLIS_MIN: u64 = 1_000;

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Known from disk; its runtime has not said yet what exists.
    Unsure,
    /// What an interrupted launch left is being removed; then launched, or ended when it is to be killed.
    Clearing,
    /// To be launched; waits if tasks that are being ended still have what it needs.
    Blocked,
    /// Waits until the runtime is asked again.
    Waiting,
    /// Being launched.
    Launching,
    /// Its launch is being called off.
    Cancelling,
    /// Up.
    Running,
    /// Told to end.
    Ending,
    /// Ended; the leader has not taken note.
    Ended,
    /// The leader has taken note; its traces are being removed.
    Removing,
    /// Nothing is left of it.
    Forgotten,
}

/// What a task's transitions may touch.
pub(super) struct Context<'a> {
    pub(super) now: Timestamp,
    pub(super) ledger: &'a mut Ledger,
    pub(super) effects: &'a mut Vec<Effect>,
}

/// One task.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) app: Option<Arc<App>>,
    pub(super) host_ports: Vec<u16>,
    /// `None`: nothing was ever started.
    pub(super) runtime: Option<RuntimeKind>,
    pub(super) phase: Phase,
    pub(super) kill_grace_millis: Option<u64>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) timer: Option<Timestamp>,
    retries: u32,
    progress_at: Option<Timestamp>,
    pub(super) report: TaskReport,
}

impl Task {
    pub(super) fn new(task: TaskId, runtime: Option<RuntimeKind>, now: Timestamp) -> Self {
        let report = TaskReport {
            task,
            seq: 0,
            state: TaskState::Staging,
            at: now,
            message: String::new(),
            addresses: Vec::new(),
            health: Vec::new(),
            readiness: Vec::new(),
            // The leader decides on kills for health and knows its reason; the agent never does.
            unhealthy_kill: false,
        };
        Self {
            app: None,
            host_ports: Vec::new(),
            runtime,
            phase: Phase::Unsure,
            kill_grace_millis: None,
            started_at: None,
            timer: None,
            retries: 0,
            progress_at: None,
            report,
        }
    }

    pub(super) fn id(&self) -> &TaskId {
        &self.report.task
    }

    /// Has it ended, as far as this agent is concerned?
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended | Phase::Removing | Phase::Forgotten)
    }

    /// Nothing exists of it, and it is to be launched as soon as there is room.
    pub(super) fn ready(&mut self) {
        self.phase = Phase::Blocked;
        self.timer = None;
    }

    /// Begins the launch of a task that nothing exists of.
    pub(super) fn launch(&mut self, cx: &mut Context<'_>) {
        let (Some(app), Some(runtime)) = (self.app.clone(), self.runtime) else {
            return self.end(TaskState::Gone, "its definition was lost", cx.now, cx);
        };
        self.phase = Phase::Launching;
        let (task, host_ports) = (self.id().clone(), self.host_ports.clone());
        cx.effects.push(Effect::Launch(LaunchOrder { task, runtime, app, host_ports }));
    }

    /// The launch says what it is doing.
    pub(super) fn progress(&mut self, message: &str, cx: &mut Context<'_>) {
        let recent = self.progress_at.is_some_and(|at| cx.now.millis_since(at) < PROGRESS_MILLIS_MIN);
        if self.phase == Phase::Launching && !recent {
            self.progress_at = Some(cx.now);
            self.say(TaskState::Staging, message, cx);
        }
    }

    /// The task is up.
    pub(super) fn launched(&mut self, found: Found, cx: &mut Context<'_>) {
        if matches!(self.phase, Phase::Launching | Phase::Cancelling) {
            self.run(found, cx);
        }
    }

    /// Goes on with a task that is up: watches and checks it, or ends it when that was asked for.
    pub(super) fn run(&mut self, found: Found, cx: &mut Context<'_>) {
        self.phase = Phase::Running;
        self.timer = None;
        self.retries = 0;
        let changed = self.report.addresses != found.addresses;
        self.report.addresses = found.addresses;
        self.started_at = Some(found.started_at.or(self.started_at).unwrap_or(cx.now));
        if let Some(runtime) = self.runtime {
            cx.effects.push(Effect::Watch { task: self.id().clone(), runtime });
        }
        self.record(cx);
        match self.kill_grace_millis {
            Some(grace_millis) => self.begin_ending(grace_millis, cx),
            None => {
                self.start_checks(cx);
                if !self.say(TaskState::Running, "", cx) && changed {
                    self.publish(cx);
                }
            }
        }
    }

    /// The launch did not succeed.
    pub(super) fn launch_failed(&mut self, error: &RuntimeError, cx: &mut Context<'_>) {
        match (self.phase, error) {
            (Phase::Cancelling, _) => self.clear(cx),
            (Phase::Launching, RuntimeError::Unavailable(reason)) => {
                self.phase = Phase::Waiting;
                self.timer = Some(cx.now.plus_millis(self.retry_millis()));
                self.say(TaskState::Staging, &format!("{reason}; trying again"), cx);
            }
            (Phase::Launching, RuntimeError::Unsupported(reason)) => {
                self.end(TaskState::Error, reason, cx.now, cx);
            }
            (Phase::Launching, error) => self.end(TaskState::Failed, &error.to_string(), cx.now, cx),
            _ => {}
        }
    }

    /// The launch was called off before the task was up.
    pub(super) fn launch_cancelled(&mut self, cx: &mut Context<'_>) {
        if self.phase == Phase::Cancelling {
            self.clear(cx);
        }
    }

    /// Removes what a launch may have left, before anything else.
    pub(super) fn clear(&mut self, cx: &mut Context<'_>) {
        self.phase = Phase::Clearing;
        self.timer = None;
        self.remove(cx);
    }

    fn remove(&self, cx: &mut Context<'_>) {
        if let Some(runtime) = self.runtime {
            cx.effects.push(Effect::Remove { task: self.id().clone(), runtime });
        }
    }

    /// Ends the task, if it has not: SIGTERM, after the grace period SIGKILL. A second demand can only
    /// shorten the grace period.
    pub(super) fn kill(&mut self, grace_millis: u64, cx: &mut Context<'_>) {
        if self.has_ended() {
            return;
        }
        let asked_before = self.kill_grace_millis.is_some();
        self.kill_grace_millis = Some(self.kill_grace_millis.unwrap_or(u64::MAX).min(grace_millis));
        match self.phase {
            Phase::Running => self.begin_ending(grace_millis, cx),
            Phase::Ending => self.timer = self.timer.min(Some(cx.now.plus_millis(grace_millis))),
            Phase::Waiting | Phase::Blocked => {
                self.end(TaskState::Killed, "Killed before it was started", cx.now, cx);
            }
            Phase::Launching => {
                self.phase = Phase::Cancelling;
                cx.effects.push(Effect::CancelLaunch(self.id().clone()));
                self.say(TaskState::Killing, "", cx);
            }
            _ => {
                self.say(TaskState::Killing, "", cx);
            }
        }
        if !asked_before && !self.has_ended() {
            self.record(cx);
        }
    }

    fn begin_ending(&mut self, grace_millis: u64, cx: &mut Context<'_>) {
        self.phase = Phase::Ending;
        cx.effects.push(Effect::StopChecks(self.id().clone()));
        self.signal(Signal::Term, cx);
        self.timer = Some(cx.now.plus_millis(grace_millis));
        self.say(TaskState::Killing, "", cx);
    }

    fn signal(&self, signal: Signal, cx: &mut Context<'_>) {
        if let Some(runtime) = self.runtime {
            cx.effects.push(Effect::Signal { task: self.id().clone(), runtime, signal });
        }
    }

    /// The task has ended by itself or after a signal.
    pub(super) fn exited(&mut self, exit: &Exit, cx: &mut Context<'_>) {
        if matches!(self.phase, Phase::Running | Phase::Ending | Phase::Unsure) {
            let (state, message) = ending(exit, self.kill_grace_millis.is_some());
            self.end(state, &message, exit.at.unwrap_or(cx.now), cx);
        }
    }

    /// The task is not there any more, and nobody knows how it ended.
    pub(super) fn vanished(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.phase, Phase::Running | Phase::Ending | Phase::Unsure) {
            return;
        }
        let asked = self.kill_grace_millis.is_some();
        let state = if asked { TaskState::Killed } else { TaskState::Gone };
        self.end(state, "Its container or process is gone without a trace", cx.now, cx);
    }

    /// Notes the ending; reported until it is acknowledged.
    pub(super) fn end(&mut self, state: TaskState, message: &str, at: Timestamp, cx: &mut Context<'_>) {
        if matches!(self.phase, Phase::Running | Phase::Ending) {
            cx.effects.push(Effect::StopChecks(self.id().clone()));
        }
        self.phase = Phase::Ended;
        self.timer = None;
        self.report.state = state;
        self.report.message = cut(message);
        self.report.at = at;
        self.record(cx);
        if mutants::is(Mutant::ForgetEnding) {
            return self.acknowledged(cx);
        }
        self.publish(cx);
    }

    /// The leader has taken note of the ending: its traces may go.
    pub(super) fn acknowledged(&mut self, cx: &mut Context<'_>) {
        if self.phase != Phase::Ended {
            return;
        }
        cx.ledger.forget(self.report.seq);
        self.phase = Phase::Removing;
        self.retries = 0;
        if self.runtime.is_some() { self.remove(cx) } else { self.forget(cx) }
    }

    fn forget(&mut self, cx: &mut Context<'_>) {
        self.phase = Phase::Forgotten;
        self.timer = None;
        cx.effects.push(Effect::Forget(self.id().clone()));
    }

    /// Its traces are removed.
    pub(super) fn removed(&mut self, cx: &mut Context<'_>) {
        match self.phase {
            Phase::Removing => self.forget(cx),
            Phase::Clearing if self.kill_grace_millis.is_some() => {
                self.end(TaskState::Killed, "Killed before it was started", cx.now, cx);
            }
            Phase::Clearing => self.ready(),
            _ => {}
        }
    }

    /// Its traces could not be removed: tried again.
    pub(super) fn remove_failed(&mut self, cx: &mut Context<'_>) {
        if matches!(self.phase, Phase::Removing | Phase::Clearing) {
            self.timer = Some(cx.now.plus_millis(self.retry_millis()));
        }
    }

    fn retry_millis(&mut self) -> u64 {
        self.retries = self.retries.saturating_add(1);
        (RETRY_MILLIS_MIN << (self.retries - 1).min(10)).min(RETRY_MILLIS_MAX)
    }

    /// The time that it waited for has come.
    pub(super) fn due(&mut self, cx: &mut Context<'_>) {
        self.timer = None;
        match self.phase {
            Phase::Waiting => self.ready(),
            Phase::Clearing | Phase::Removing => self.remove(cx),
            Phase::Ending => {
                self.signal(Signal::Kill, cx);
                self.timer = Some(cx.now.plus_millis(KILL_REPEAT_MILLIS));
            }
            _ => {}
        }
    }

    /// A task that was adopted is explained.
    pub(super) fn learn(&mut self, app: Arc<App>, host_ports: Vec<u16>, cx: &mut Context<'_>) {
        if self.app.is_some() || self.has_ended() {
            return;
        }
        self.app = Some(app);
        self.host_ports = host_ports;
        self.record(cx);
        if self.phase == Phase::Running {
            self.start_checks(cx);
        }
    }

    /// Changes state or message; false when that is what was said last.
    pub(super) fn say(&mut self, state: TaskState, message: &str, cx: &mut Context<'_>) -> bool {
        let message = cut(message);
        if self.report.seq != 0 && self.report.state == state && self.report.message == message {
            return false;
        }
        if self.report.state != state {
            self.report.at = cx.now;
        }
        self.report.state = state;
        self.report.message = message;
        self.publish(cx);
        true
    }

    pub(super) fn publish(&mut self, cx: &mut Context<'_>) {
        cx.ledger.number(&mut self.report);
    }

    /// Keeps on disk what a restart needs. Simulated tasks do not outlive the agent.
    pub(super) fn record(&self, cx: &mut Context<'_>) {
        if self.runtime == Some(RuntimeKind::Hollow) || (self.app.is_none() && self.runtime.is_none()) {
            return;
        }
        let stage = match (self.phase, self.started_at) {
            (Phase::Ended, _) => Stage::Ended(self.report.state, self.report.message.clone(), self.report.at),
            (_, Some(at)) => Stage::Started(at),
            (_, None) => Stage::Accepted,
        };
        cx.effects.push(Effect::Record(Box::new(Record {
            task: self.id().clone(),
            app: self.app.clone(),
            host_ports: self.host_ports.clone(),
            runtime: self.runtime,
            kill_grace_millis: self.kill_grace_millis,
            stage,
        })));
    }
}
