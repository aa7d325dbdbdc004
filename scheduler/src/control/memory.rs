//! Where to look next. Soft: it says nothing that the state does not, and is made anew after an election.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use spec::app::App;
use spec::ids::{AppId, DeploymentId};
use spec::time::Timestamp;

use super::subject::Lock;
use crate::placement::{Index, Look, Waiting};
use crate::state::{ActionKind, Applied, Deployment, Event, State};

/// Apps that found no place look again when something was freed, but not more often than this: with many
/// of them each look costs, and in a busy cluster something is freed all the time.
const RETRY_MILLIS: u64 = 250;

/// What the control loop remembers between two steps.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Apps to look at.
    dirty: BTreeSet<AppId>,
    /// The last app looked at: the next one comes after it, so that none starves.
    cursor: Option<AppId>,
    /// Apps to look at when their time comes, both ways round.
    timers: BTreeSet<(Timestamp, AppId)>,
    timer_of: BTreeMap<AppId, Timestamp>,
    /// Apps that found no place, with the version that did not.
    blocked: BTreeMap<AppId, Timestamp>,
    /// Something was freed since they looked.
    is_room: bool,
    retried_at: Timestamp,
    locks: Locks,
    progress: BTreeMap<DeploymentId, Progress>,
    /// Deployments one of whose apps was looked at in this step.
    touched: BTreeSet<DeploymentId>,
    waiting: OrdMap<AppId, Arc<Waiting>>,
    index: Index,
}

/// Which actions of a deployment's running step were complete when last looked at.
#[derive(Clone, Debug, Default)]
struct Progress {
    step: usize,
    done: BTreeSet<AppId>,
}

/// Who locks which app: derived from the deployments, anew whenever they change.
#[derive(Clone, Debug, Default)]
struct Locks {
    source: OrdMap<DeploymentId, Arc<Deployment>>,
    by_app: BTreeMap<AppId, (DeploymentId, Option<ActionKind>)>,
}

impl Memory {
    /// Why tasks wait, by app.
    pub fn waiting(&self) -> OrdMap<AppId, Arc<Waiting>> {
        self.waiting.clone()
    }

    /// The agents as placement left them.
    pub(super) fn index(&mut self) -> &mut Index {
        &mut self.index
    }

    /// An entry was applied: what it changed is to be looked at.
    pub fn note(&mut self, applied: &Applied) {
        applied.events.iter().for_each(|event| self.note_event(event));
    }

    /// After an election, or when an entry was missed: everything is to be looked at.
    pub fn note_everything(&mut self, state: &State) {
        let waiting = std::mem::take(&mut self.waiting);
        let index = std::mem::take(&mut self.index);
        *self = Self { is_room: true, index, ..Self::default() };
        self.waiting = waiting.into_iter().filter(|(app, _)| state.apps.contains_key(app)).collect();
        self.dirty.extend(state.apps.keys().cloned());
        // Also of apps that are gone already: their action is then complete.
        let actions = state.deployments.values().flat_map(|deployment| deployment.current_actions());
        self.dirty.extend(actions.map(|action| action.app.clone()));
    }

    fn note_event(&mut self, event: &Event) {
        match event {
            Event::AppPut { app, .. } | Event::AppRemoved { app } => self.look_again(&app.id),
            Event::AppGone { id } | Event::DelayChanged { app: id } => {
                self.look_again(id);
            }
            Event::TaskEnded { task, .. } | Event::TaskExpunged { task } => {
                self.is_room = true;
                self.look_again(task.id.app());
            }
            Event::TaskPlaced { task }
            | Event::TaskKill { task, .. }
            | Event::TaskChanged { task, .. }
            | Event::TaskHealth { task, .. } => self.look_again(task.id.app()),
            Event::AgentJoined { .. } => self.is_room = true,
            Event::StepStarted { deployment } => {
                deployment.current_actions().iter().for_each(|action| self.look_again(&action.app));
            }
            Event::DeploymentDone { deployment } | Event::DeploymentCancelled { deployment, .. } => {
                deployment.actions().for_each(|action| self.look_again(&action.app));
            }
            Event::GroupChanged { .. }
            | Event::TaskUnknown { .. }
            | Event::TaskUnknownEnded { .. }
            | Event::AgentLost { .. }
            | Event::AgentForgotten { .. }
            | Event::MastersChanged
            | Event::DeploymentStarted { .. }
            | Event::StepDone { .. } => {}
        }
    }

    /// The app is to be looked at.
    pub(super) fn look_again(&mut self, app: &AppId) {
        if !self.dirty.contains(app) {
            self.dirty.insert(app.clone());
        }
    }

    /// Apps whose time has come are to be looked at, and those without a place if there may be one now.
    pub(super) fn wake(&mut self, now: Timestamp) {
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, app)) = self.timers.pop_first() {
                self.timer_of.remove(&app);
                self.dirty.insert(app);
            }
        }
        if self.is_room && now >= self.retry_at() {
            self.is_room = false;
            self.retried_at = now;
            self.dirty.extend(std::mem::take(&mut self.blocked).into_keys());
        }
    }

    fn retry_at(&self) -> Timestamp {
        self.retried_at.plus_millis(RETRY_MILLIS)
    }

    /// When there is something to look at without anything being applied.
    pub(super) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let dirty = (!self.dirty.is_empty()).then_some(now);
        let timer = self.timers.first().map(|(at, _)| *at);
        let retry = (self.is_room && !self.blocked.is_empty()).then(|| self.retry_at());
        [dirty, timer, retry].into_iter().flatten().min()
    }

    /// The next app to look at, going round.
    pub(super) fn next_dirty(&mut self) -> Option<AppId> {
        let after = self.cursor.take().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.dirty.range((after, Bound::Unbounded)).next();
        let next = next.or_else(|| self.dirty.first()).cloned()?;
        self.dirty.remove(&next);
        self.cursor = Some(next.clone());
        Some(next)
    }

    /// Looks at the app then, and no earlier unless it changes.
    pub(super) fn set_timer(&mut self, app: &AppId, at: Option<Timestamp>) {
        if let Some(before) = self.timer_of.remove(app) {
            self.timers.remove(&(before, app.clone()));
        }
        if let Some(at) = at {
            self.timers.insert((at, app.clone()));
            self.timer_of.insert(app.clone(), at);
        }
    }

    /// Derives the locks anew if the deployments have changed.
    pub(super) fn read_locks(&mut self, state: &State) {
        if self.locks.source.ptr_eq(&state.deployments) {
            return;
        }
        let mut by_app = BTreeMap::new();
        for deployment in state.deployments.values() {
            for action in deployment.actions() {
                by_app.entry(action.app.clone()).or_insert((deployment.id, None));
            }
            for action in deployment.current_actions() {
                by_app.insert(action.app.clone(), (deployment.id, Some(action.kind)));
            }
        }
        self.locks = Locks { source: state.deployments.clone(), by_app };
        self.progress.retain(|id, _| state.deployments.contains_key(id));
    }

    /// The lock of an app.
    pub(super) fn duty_of<'a>(&self, state: &'a State, app: &AppId) -> Lock<'a> {
        let (id, kind) = self.locks.by_app.get(app)?;
        state.deployments.get(id).map(|deployment| (deployment, *kind))
    }

    /// Whether the running action of the app is complete.
    pub(super) fn note_progress(&mut self, app: &AppId, deployment: Option<&Arc<Deployment>>, is_done: bool) {
        let Some(deployment) = deployment else { return };
        let progress = self.progress.entry(deployment.id).or_default();
        if progress.step != deployment.current {
            *progress = Progress { step: deployment.current, ..Progress::default() };
        }
        if is_done {
            progress.done.insert(app.clone());
        } else {
            progress.done.remove(app);
        }
        self.touched.insert(deployment.id);
    }

    /// Deployments one of whose apps was looked at since this was asked last.
    pub(super) fn take_touched(&mut self) -> BTreeSet<DeploymentId> {
        std::mem::take(&mut self.touched)
    }

    /// Apps whose actions in the running step are complete.
    pub(super) fn done_of(&self, deployment: &Deployment) -> &BTreeSet<AppId> {
        static NONE: BTreeSet<AppId> = BTreeSet::new();
        let progress = self.progress.get(&deployment.id);
        progress
            .filter(|progress| progress.step == deployment.current)
            .map_or(&NONE, |progress| &progress.done)
    }

    /// Did this version find no place, and nothing was freed since?
    pub(super) fn is_blocked(&self, app: &App) -> bool {
        self.blocked.get(&app.id) == Some(&app.version)
    }

    /// It found no place.
    pub(super) fn block(&mut self, app: &App) {
        self.blocked.insert(app.id.clone(), app.version);
    }

    /// Tasks of the app wait.
    pub(super) fn waits(&mut self, app: &AppId, now: Timestamp) {
        if !self.waiting.contains_key(app) {
            self.waiting.insert(app.clone(), Arc::new(Waiting::begun(now)));
        }
    }

    /// No task of the app waits.
    pub(super) fn waits_no_more(&mut self, app: &AppId) {
        self.waiting.remove(app);
        self.blocked.remove(app);
    }

    /// Every agent was looked at, in vain.
    pub(super) fn found_no_place(&mut self, app: &AppId, look: &Look) {
        let mut report = self.waiting.get(app).map_or_else(|| Waiting::begun(look.at), |it| (**it).clone());
        report.absorb(look);
        self.waiting.insert(app.clone(), Arc::new(report));
    }
}
