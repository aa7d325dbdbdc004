//! A change of apps: first worked out in full against the state as it is, then stored, which cannot
//! fail. So it is accepted as a whole or changes nothing (reference section 5.1).

use std::collections::BTreeSet;
use std::sync::Arc;

use spec::ids::{AppId, DeploymentId, TaskId};
use spec::time::Timestamp;

use super::change::{Changed, Kind};
use super::graph::Target;
use super::{Change, expect, plan, resident, service_ports};
use crate::state::{
    AppEntry, DEPLOYMENTS_MAX, Deploy, Deployment, Event, Goal, KillReason, Originals, Outcome, PutApp,
    Refusal, State, Step, VERSIONS_MAX,
};

/// A change that was checked and worked out.
pub(super) struct Draft {
    changed: Vec<Changed>,
    conflicts: Vec<DeploymentId>,
    deployment: Deployment,
    removed: Vec<AppId>,
}

impl Change<'_> {
    pub(super) fn deploy(&mut self, deploy: Deploy) -> Result<Outcome, Refusal> {
        if let Some(same) = self.state.deployments.get(&deploy.id) {
            // The proposer said it twice.
            return Ok(Outcome::Deployed { id: same.id, version: same.version });
        }
        if self.state.deployments.len() >= DEPLOYMENTS_MAX {
            return Err(Refusal::TooManyDeployments(DEPLOYMENTS_MAX));
        }
        let draft = draft(self.state, deploy)?;
        Ok(self.accept(draft))
    }

    pub(super) fn accept(&mut self, draft: Draft) -> Outcome {
        let Draft { changed, conflicts, deployment, removed } = draft;
        let (id, version) = (deployment.id, deployment.version);
        for conflict in &conflicts {
            self.cancel(conflict, Some(id));
        }
        for changed in changed.iter().filter(|changed| changed.kind != Kind::Unchanged) {
            self.put_app(changed);
        }
        for app in &removed {
            self.retire_app(app);
        }
        self.state.root_version = version;
        self.event(Event::GroupChanged { version });
        self.start_deployment(deployment);
        Outcome::Deployed { id, version }
    }

    fn put_app(&mut self, changed: &Changed) {
        let app = &changed.app;
        self.replace_service_ports(changed.original.as_deref(), app);
        let mut entry = match self.state.apps.get(&app.id) {
            Some(entry) => AppEntry::clone(entry),
            None => AppEntry::new(app.clone()),
        };
        if entry.retired {
            self.end_leftovers(&app.id);
            entry = AppEntry { versions: entry.versions, ..AppEntry::new(app.clone()) };
        }
        if app.instances < entry.app.instances {
            entry.vacant.clear();
        }
        let delayed = changed.kind != Kind::Scaled && entry.delay.take().is_some();
        entry.versions.push(app.clone());
        entry.app = app.clone();
        self.prune_versions(&mut entry, changed.kind);
        self.state.apps.insert(app.id.clone(), Arc::new(entry));
        self.state.recount(&app.id);
        self.event(Event::AppPut { app: app.clone(), created: changed.kind == Kind::Created });
        if delayed {
            self.event(Event::DelayChanged { app: app.id.clone() });
        }
    }

    /// Tasks of an app that was removed and comes back before they have ended: they are not its own.
    fn end_leftovers(&mut self, app: &AppId) {
        let tasks = self.state.tasks_of(app).filter(|task| task.goal != Goal::Decommissioned);
        let tasks: Vec<TaskId> = tasks.map(|task| task.id.clone()).collect();
        self.decommission(&tasks, KillReason::Removed);
    }

    /// Keeps the newest versions and those that tasks still run; of an app that is created anew, only
    /// the latter (reference section 5.9: deleting an app deletes its versions).
    fn prune_versions(&self, entry: &mut AppEntry, kind: Kind) {
        let keep = if kind == Kind::Created { 1 } else { VERSIONS_MAX };
        if entry.versions.len() <= keep {
            return;
        }
        let run: BTreeSet<Timestamp> =
            self.state.tasks_of(&entry.app.id).map(|task| task.app.version).collect();
        entry.versions.drop_oldest(entry.versions.len() - keep, |version| run.contains(&version));
    }

    /// The app is gone for readers at once; its entry goes with its last task.
    fn retire_app(&mut self, id: &AppId) {
        let Some(entry) = self.entry_mut(id) else {
            return;
        };
        entry.retired = true;
        entry.vacant.clear();
        let delayed = entry.delay.take().is_some();
        let app = entry.app.clone();
        self.release_service_ports(&app);
        self.event(Event::AppRemoved { app });
        if delayed {
            self.event(Event::DelayChanged { app: id.clone() });
        }
        self.drop_if_over(id);
    }
}

/// Works a change out, in Marathon's order: what it presumes, ports, versions, rules, plan, locks.
pub(super) fn draft(state: &State, mut deploy: Deploy) -> Result<Draft, Refusal> {
    expect::check_expectations(state, &deploy)?;
    let version = state.next_version();
    let put = std::mem::take(&mut deploy.put);
    let changed = changed_apps(state, put, &deploy, version)?;
    let target = Target::new(state, &changed, &deploy.remove);
    expect::check_ids(&target, changed.iter().map(|changed| &changed.app.id))?;
    let heights = target.heights().ok_or_else(expect::cyclic)?;
    let steps = plan::steps(&changed, &deploy.remove, &heights);
    resident::check(&changed, deploy.force)?;
    let conflicts = conflicts(state, &steps);
    if !deploy.force && !conflicts.is_empty() {
        return Err(Refusal::Locked(conflicts));
    }
    let originals = originals(state, &changed, &deploy.remove);
    deploy.kill.retain(|task| state.tasks.contains_key(task));
    let Deploy { id, kill, remove: removed, .. } = deploy;
    let deployment = Deployment { id, version, steps: steps.into(), current: 0, originals, kill };
    Ok(Draft { changed, conflicts, deployment, removed })
}

fn changed_apps(
    state: &State,
    put: Vec<PutApp>,
    deploy: &Deploy,
    version: Timestamp,
) -> Result<Vec<Changed>, Refusal> {
    let original = |id: &AppId| state.app(id).map(|entry| &entry.app);
    let put = service_ports::assign(state, put, deploy.service_ports)?;
    let put = put.into_iter().map(|app| (original(&app.id), app));
    let put = put.map(|(original, app)| Changed::new(app, original, version));
    let restarted = deploy.restart.iter().filter_map(original);
    Ok(put.chain(restarted.map(|original| Changed::restart(original, version))).collect())
}

/// Running deployments that hold the lock of an app which the steps touch.
fn conflicts(state: &State, steps: &[Step]) -> Vec<DeploymentId> {
    if state.deployments.is_empty() {
        return Vec::new();
    }
    let touched: BTreeSet<&AppId> =
        steps.iter().flat_map(|step| &step.actions).map(|action| &action.app).collect();
    let holders = state.deployments.values();
    let holders = holders.filter(|held| held.actions().any(|action| touched.contains(&action.app)));
    holders.map(|deployment| deployment.id).collect()
}

/// What a revert goes back to: the definitions of all apps that the change touches.
fn originals(state: &State, changed: &[Changed], removed: &[AppId]) -> Originals {
    let changed = changed.iter().filter(|changed| changed.kind != Kind::Unchanged);
    let changed = changed.map(|changed| (changed.app.id.clone(), changed.original.clone()));
    let removed = removed.iter().map(|id| (id.clone(), state.app(id).map(|entry| entry.app.clone())));
    changed.chain(removed).collect()
}
