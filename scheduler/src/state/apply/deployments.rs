//! A deployment from accepted to over: its steps, its cancellation, its reversal.

use std::sync::Arc;

use spec::app::StoredApp;
use spec::ids::DeploymentId;

use super::{Change, deploy};
use crate::state::{ActionKind, Deploy, Deployment, Event, Expect, Outcome, PutApp, Refusal, State, Step};

impl Change<'_> {
    pub(super) fn start_deployment(&mut self, deployment: Deployment) {
        let deployment = Arc::new(deployment);
        self.event(Event::DeploymentStarted { deployment: deployment.clone() });
        self.run_from_current(deployment);
    }

    /// What asks for no task and meets none is complete at once: nobody has to look at it and say so, which
    /// would cost another entry of the log, and who changes the app again at once meets no lock that nothing
    /// waits for.
    fn is_instant(&self, step: &Step) -> bool {
        let has_tasks = |app| self.state.tasks_of(app).next().is_some();
        let wants_tasks = |app| self.state.app(app).is_some_and(|entry| entry.app.instances > 0);
        step.actions.iter().all(|action| match action.kind {
            ActionKind::StartApplication => true,
            ActionKind::StopApplication => !has_tasks(&action.app),
            ActionKind::ScaleApplication => !wants_tasks(&action.app) && !has_tasks(&action.app),
            ActionKind::RestartApplication => false,
        })
    }

    /// Begins the current step. A step that is complete at once is passed over, its events included.
    fn run_from_current(&mut self, mut deployment: Arc<Deployment>) {
        while let Some(step) = deployment.steps.get(deployment.current) {
            let instant = self.is_instant(step);
            self.event(Event::StepStarted { deployment: deployment.clone() });
            if !instant {
                self.state.deployments.insert(deployment.id, deployment);
                return;
            }
            self.event(Event::StepDone { deployment: deployment.clone() });
            Arc::make_mut(&mut deployment).current += 1;
        }
        self.state.deployments.remove(&deployment.id);
        self.event(Event::DeploymentDone { deployment });
    }

    pub(super) fn complete_step(&mut self, id: &DeploymentId, step: usize) -> Outcome {
        let running = self.state.deployments.get(id).filter(|deployment| deployment.current == step);
        if let Some(done) = running.cloned() {
            let next = Deployment { current: step + 1, ..Deployment::clone(&done) };
            self.event(Event::StepDone { deployment: done });
            self.run_from_current(Arc::new(next));
        }
        Outcome::Done
    }

    pub(super) fn cancel_deployment(&mut self, id: &DeploymentId) -> Result<Outcome, Refusal> {
        self.cancel(id, None).then_some(Outcome::Done).ok_or(Refusal::NoDeployment(*id))
    }

    /// Ends a deployment where it stands; nothing is rolled back.
    pub(super) fn cancel(&mut self, id: &DeploymentId, by: Option<DeploymentId>) -> bool {
        let cancelled = self.state.deployments.remove(id);
        cancelled.map(|deployment| self.event(Event::DeploymentCancelled { deployment, by })).is_some()
    }

    /// Ends a deployment and deploys what was before it, forced. Changes of other apps since then stay.
    /// No deployment limit: one goes and one comes.
    pub(super) fn revert_deployment(
        &mut self,
        id: &DeploymentId,
        by: DeploymentId,
    ) -> Result<Outcome, Refusal> {
        let found = self.state.deployments.get(id).ok_or(Refusal::NoDeployment(*id))?;
        let draft = deploy::draft(self.state, reversal(self.state, found, by))?;
        self.cancel(id, Some(by));
        Ok(self.accept(draft))
    }
}

/// The change that puts the originals back into the state as it is now.
fn reversal(state: &State, reverted: &Deployment, id: DeploymentId) -> Deploy {
    let mut deploy = Deploy { force: true, ..Deploy::new(id) };
    for (app, original) in &*reverted.originals {
        let now = state.app(app).map(|entry| entry.app.version);
        match original {
            Some(original) => deploy.put.push(PutApp {
                app: StoredApp(original.clone()),
                expect: now.map_or(Expect::Absent, Expect::Version),
            }),
            None if now.is_some() => deploy.remove.push(app.clone()),
            None => {}
        }
    }
    deploy
}
