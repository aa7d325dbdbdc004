//! Questions to the state that its readers share. Each costs what its answer costs, never a scan of
//! the whole cluster. No decisions: what follows from an answer is the asker's business.

use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;

use spec::app::App;
use spec::ids::{AgentId, AppId, DeploymentId, InstanceId, TaskId};
use spec::time::Timestamp;
use uuid::Uuid;

use super::{ActionKind, Agent, AppEntry, Condition, Goal, State, Task};

/// How an app's tasks stand against what it wants. A task that nobody can end or count on (inactive, or
/// unreachable and no longer wanted) has no place here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tasks that take up room, those being ended included.
    pub total: u32,
    /// Of these, outdated ones.
    pub outdated: u32,
    /// Up to date, and its instance stays wanted.
    pub current: u32,
    /// Placed and not confirmed by the agent.
    pub provisioned: u32,
    /// At rest; `restless` of the app's entry names all others, also those that have no place here.
    pub resting: u32,
    /// Of these, outdated ones.
    pub resting_outdated: u32,
}

impl Tally {
    /// One task of `app`.
    pub(super) fn of(task: &Task, app: &App) -> Self {
        if !task.takes_room() {
            return Self::default();
        }
        let (outdated, resting) = (task.is_outdated(app), task.is_at_rest());
        Self {
            total: 1,
            outdated: u32::from(outdated),
            current: u32::from(!outdated && task.goal != Goal::Decommissioned),
            provisioned: u32::from(task.condition == Condition::Provisioned),
            resting: u32::from(resting),
            resting_outdated: u32::from(resting && outdated),
        }
    }

    /// Takes one more task of `app` into account.
    pub fn count(&mut self, task: &Task, app: &App) {
        self.add(&Self::of(task, app));
    }

    /// Takes more tasks into account.
    pub(super) fn add(&mut self, more: &Self) {
        self.total += more.total;
        self.outdated += more.outdated;
        self.current += more.current;
        self.provisioned += more.provisioned;
        self.resting += more.resting;
        self.resting_outdated += more.resting_outdated;
    }

    /// Takes tasks out of account that were in it.
    pub(super) fn subtract(&mut self, less: &Self) {
        self.total -= less.total;
        self.outdated -= less.outdated;
        self.current -= less.current;
        self.provisioned -= less.provisioned;
        self.resting -= less.resting;
        self.resting_outdated -= less.resting_outdated;
    }

    /// How many more tasks may be placed at most: never more up-to-date ones than `instances`, and as
    /// long as outdated ones are there, never more in all than `upgradeStrategy` allows.
    pub fn room(&self, app: &App) -> u32 {
        let total_max = if self.outdated == 0 { app.instances } else { max_capacity(app) };
        app.instances.saturating_sub(self.current).min(total_max.saturating_sub(self.total))
    }
}

/// Fewest healthy tasks during an upgrade (reference section 5.2).
pub fn min_healthy(app: &App) -> u32 {
    (f64::from(app.instances) * app.upgrade_strategy.minimum_health_capacity).ceil() as u32
}

/// Most tasks at a time during an upgrade; one more where nothing could ever move (reference section 5.2).
pub fn max_capacity(app: &App) -> u32 {
    let over = 1.0 + app.upgrade_strategy.maximum_over_capacity;
    let most = (f64::from(app.instances) * over).floor() as u32;
    if most == min_healthy(app) { most.saturating_add(1) } else { most }
}

impl Task {
    /// Does it stand in the way of another task of its app?
    pub fn takes_room(&self) -> bool {
        match self.condition {
            Condition::UnreachableInactive => false,
            Condition::Unreachable => self.goal == Goal::Running,
            _ => true,
        }
    }

    /// Is its agent away?
    pub fn is_unreachable(&self) -> bool {
        matches!(self.condition, Condition::Unreachable | Condition::UnreachableInactive)
    }
}

impl AppEntry {
    /// Its definition of that version, if kept.
    pub fn version(&self, version: Timestamp) -> Option<&Arc<App>> {
        self.versions.get(version)
    }
}

impl State {
    /// The app, unless it does not exist or was removed.
    pub fn app(&self, id: &AppId) -> Option<&Arc<AppEntry>> {
        self.app_at(id.as_str())
    }

    /// The app of that id (canonical), unless it does not exist or was removed.
    pub fn app_at(&self, id: &str) -> Option<&Arc<AppEntry>> {
        self.apps.get(id).filter(|entry| !entry.retired)
    }

    /// Existing apps anywhere below the group `path` (canonical, `/` for the root).
    pub fn apps_below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Arc<AppEntry>> {
        let first = format!("{}/", path.trim_end_matches('/'));
        self.apps
            .range::<_, str>((Bound::Included(first.as_str()), Bound::Unbounded))
            .take_while(move |(id, _)| id.is_below(path))
            .map(|(_, entry)| entry)
            .filter(|entry| !entry.retired)
    }

    /// Tasks of an app, removed or not, in order of their ids.
    pub fn tasks_of(&self, app: &AppId) -> impl Iterator<Item = &Arc<Task>> + use<'_> {
        self.tasks.range(tasks_range(app)).map(|(_, task)| task)
    }

    /// Tasks on an agent.
    pub fn tasks_on<'a>(&'a self, agent: &AgentId) -> impl Iterator<Item = &'a Arc<Task>> + use<'a> {
        let ids = self.agents.get(agent).map(|agent| &agent.tasks);
        ids.into_iter().flatten().filter_map(|id| self.tasks.get(id))
    }

    /// The agent of a task.
    pub fn agent_of(&self, task: &TaskId) -> Option<&Arc<Agent>> {
        self.agents.get(&self.tasks.get(task)?.agent)
    }

    /// Running deployments that hold the lock of an app.
    pub fn locks_of(&self, app: &AppId) -> Vec<DeploymentId> {
        self.deployments.values().filter(|deployment| deployment.locks(app)).map(|d| d.id).collect()
    }

    /// Is the app's `RestartApplication` under way?
    pub fn is_restarting(&self, app: &AppId) -> bool {
        self.deployments
            .values()
            .flat_map(|deployment| deployment.current_actions())
            .any(|action| action.kind == ActionKind::RestartApplication && action.app == *app)
    }

    /// Tasks of an app that run.
    pub fn running_count(&self, app: &AppId) -> usize {
        self.tasks_of(app).filter(|task| task.condition == Condition::Running).count()
    }

    /// Marathon's `count` of `/v2/queue`: instances that wait for a place or for their agent's word.
    pub fn queue_count(&self, app: &AppId) -> usize {
        let Some(entry) = self.app(app) else { return 0 };
        let tally = entry.tally;
        let waiting = if tally.outdated == 0 || self.is_restarting(app) {
            tally.room(&entry.app)
        } else {
            entry.app.instances.saturating_sub(tally.total)
        };
        (waiting + tally.provisioned) as usize
    }

    /// Version of the next accepted change: later than every one before it, whatever the clock says.
    pub fn next_version(&self) -> Timestamp {
        self.now.max(self.root_version.plus_millis(1))
    }
}

/// Every id that a task of the app can have.
pub(crate) fn tasks_range(app: &AppId) -> RangeInclusive<TaskId> {
    let bound = |uuid, incarnation| TaskId { instance: InstanceId { app: app.clone(), uuid }, incarnation };
    bound(Uuid::nil(), 0)..=bound(Uuid::max(), u32::MAX)
}
