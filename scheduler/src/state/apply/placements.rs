//! Tasks come into being. The control loop decided on a state that may have moved on: each placement is
//! checked again by the same function that chose it, and dropped when it no longer holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use spec::app::App;
use spec::ids::{AgentId, AppId, InstanceId, TaskId};

use super::Change;
use crate::mutants::{self, Mutant};
use crate::placement::Checker;
use crate::state::{Condition, Event, Goal, Outcome, Placement, Task};

impl Change<'_> {
    pub(super) fn place(&mut self, placements: &[Placement]) -> Outcome {
        let mut checkers: BTreeMap<&AppId, Checker> = BTreeMap::new();
        for placement in placements {
            let Some((app, agent)) = self.admitted(placement, &mut checkers) else {
                continue;
            };
            let task = Arc::new(self.new_task(app, agent, &placement.host_ports));
            self.state.enter(task.clone());
            self.event(Event::TaskPlaced { task });
        }
        Outcome::Done
    }

    /// The app's definition and the agent, if the task is still wanted and fits. Both as the state has them: a
    /// million tasks share their ids.
    fn admitted<'a>(
        &self,
        placement: &'a Placement,
        checkers: &mut BTreeMap<&'a AppId, Checker>,
    ) -> Option<(Arc<App>, AgentId)> {
        let entry = self.state.app(&placement.app)?;
        let app = &entry.app;
        let agent = self.state.agents.get(&placement.agent)?;
        let checker = checkers.entry(&placement.app).or_insert_with(|| Checker::of(app));
        let is_wanted = app.version == placement.version && entry.tally.room(app) > 0;
        let fits = checker.check(agent, &entry.crowds, &placement.host_ports).is_ok();
        let passes = (is_wanted || mutants::is(Mutant::DropWantedCheck))
            && (fits || mutants::is(Mutant::DropFitCheck));
        passes.then(|| (app.clone(), agent.id.clone()))
    }

    fn new_task(&mut self, app: Arc<App>, agent: AgentId, host_ports: &[u16]) -> Task {
        let now = self.state.now;
        Task {
            id: self.next_task_id(&app.id),
            app,
            agent,
            host_ports: host_ports.into(),
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
