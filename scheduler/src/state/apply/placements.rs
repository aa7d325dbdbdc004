//! Tasks come into being. The control loop decided on a state that may have moved on: each placement is
//! checked again by the same function that chose it, and dropped when it no longer holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use spec::app::App;
use spec::ids::{AppId, InstanceId, TaskId};

use super::Change;
use crate::mutants::{self, Mutant};
use crate::placement::Checker;
use crate::state::{Condition, Event, Goal, Outcome, Placement, State, Tally, Task};

/// What one command may still place of one app, counted once: it places many tasks of few apps.
struct Admission {
    tally: Tally,
    checker: Checker,
}

impl Admission {
    fn count(&mut self, state: &State, task: &Task) {
        self.tally.count(task, &task.app);
        if let Some(agent) = state.agents.get(&task.agent) {
            self.checker.count(agent);
        }
    }
}

impl Change<'_> {
    pub(super) fn place(&mut self, placements: &[Placement]) -> Outcome {
        let mut admissions: BTreeMap<&AppId, Admission> = BTreeMap::new();
        for placement in placements {
            let Some(app) = self.admitted(placement, &mut admissions) else {
                continue;
            };
            let task = Arc::new(self.new_task(&app, placement));
            if let Some(admission) = admissions.get_mut(&placement.app) {
                admission.count(self.state, &task);
            }
            self.insert_task(task.clone());
            self.event(Event::TaskPlaced { task });
        }
        Outcome::Done
    }

    /// The app's definition, if the task is still wanted and fits.
    fn admitted<'a>(
        &self,
        placement: &'a Placement,
        admissions: &mut BTreeMap<&'a AppId, Admission>,
    ) -> Option<Arc<App>> {
        let entry = self.state.app(&placement.app)?;
        let app = &entry.app;
        let agent = self.state.agents.get(&placement.agent)?;
        let admission = admissions.entry(&placement.app).or_insert_with(|| Admission {
            tally: self.state.tally(entry),
            checker: Checker::new(self.state, app),
        });
        let is_wanted = app.version == placement.version && admission.tally.room(app) > 0;
        let fits = admission.checker.check(agent, &placement.host_ports).is_ok();
        let passes = (is_wanted || mutants::is(Mutant::DropWantedCheck))
            && (fits || mutants::is(Mutant::DropFitCheck));
        passes.then(|| app.clone())
    }

    fn new_task(&mut self, app: &Arc<App>, placement: &Placement) -> Task {
        let now = self.state.now;
        Task {
            id: self.next_task_id(&app.id),
            app: app.clone(),
            agent: placement.agent.clone(),
            host_ports: placement.host_ports.as_slice().into(),
            condition: Condition::Provisioned,
            goal: Goal::Running,
            staged_at: now,
            started_at: None,
            since: now,
            addresses: Box::default(),
            health: Box::default(),
            readiness: Box::default(),
            seq: 0,
        }
    }

    /// The next run of a vacant instance, or the first of a new one.
    fn next_task_id(&mut self, app: &AppId) -> TaskId {
        let instance = |uuid| InstanceId { app: app.clone(), uuid };
        if let Some(vacant) = self.entry_mut(app).and_then(|entry| entry.vacant.pop_front()) {
            return TaskId { instance: instance(vacant.uuid), incarnation: vacant.incarnation };
        }
        TaskId { instance: instance(self.ids.draw()), incarnation: 1 }
    }
}
