//! Tests of the control loop. Here: a closed loop in a few lines, made of the real `step`, the real
//! `State::apply` and agents that answer as they are told to.

mod convergence;
mod properties;
mod rest;
mod single;
mod unreachable;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use spec::app::{App, StoredApp};
use spec::ids::{AgentId, AppId, DeploymentId, TaskId};
use spec::protocol::{HealthReport, ReadinessReport, TaskReport, TaskState};
use spec::time::Timestamp;
use uuid::Uuid;

use super::{Memory, Settings, Step, step};
use crate::placement::fixture::info;
use crate::state::*;

/// Rounds after which a loop that is still busy is stuck.
const ROUNDS_MAX: usize = 3_000;
/// Time a round takes.
const ROUND_MILLIS: u64 = 10;

/// A whole cluster in one value.
pub(super) struct Loop {
    pub(super) state: State,
    pub(super) memory: Memory,
    pub(super) now: Timestamp,
    seed: u64,
    seq: u64,
    /// Apps whose tasks fail as soon as they run.
    pub(super) failing: BTreeSet<AppId>,
    /// Apps whose tasks never get past staging.
    pub(super) hanging: BTreeSet<AppId>,
    /// Apps whose tasks run but fail their health checks.
    pub(super) sick: BTreeSet<AppId>,
    /// Apps whose tasks take no notice of being told to end.
    pub(super) deaf: BTreeSet<AppId>,
    /// Agents that do not answer.
    pub(super) away: BTreeSet<AgentId>,
    /// Events of the last run.
    pub(super) events: Vec<Event>,
    /// After each round: app, tasks that take room, healthy ones.
    pub(super) counts: Vec<BTreeMap<AppId, (usize, usize)>>,
}

impl Loop {
    /// With agents named `a0`, `a1`, ... of the fixture's size.
    pub(super) fn new(agents: usize, seed: u64) -> Self {
        let mut it = Self {
            state: State::default(),
            memory: Memory::default(),
            now: Timestamp::from_millis(1_000_000),
            seed,
            seq: 0,
            failing: BTreeSet::new(),
            hanging: BTreeSet::new(),
            sick: BTreeSet::new(),
            deaf: BTreeSet::new(),
            away: BTreeSet::new(),
            events: Vec::new(),
            counts: Vec::new(),
        };
        it.apply(vec![Command::Found { cluster_id: Uuid::from_u128(7) }]);
        for n in 0..agents {
            let mut info = info(&format!("a{n}"), "");
            info.ports = vec![(31_000, 31_999)];
            it.apply(vec![Command::RegisterAgent { id: None, info }]);
        }
        it
    }

    pub(super) fn apply(&mut self, commands: Vec<Command>) -> Vec<Outcome> {
        let batch = Batch { at: self.now, seed: self.seed, commands };
        let (outcomes, applied) = self.state.apply(self.state.index + 1, batch);
        self.memory.note(&applied);
        self.events.extend(applied.events);
        outcomes
    }

    /// Deploys definitions (new or changed), as the API would.
    pub(super) fn deploy(&mut self, apps: Vec<App>) -> Outcome {
        self.change(apps, |_| {})
    }

    pub(super) fn change(&mut self, apps: Vec<App>, how: impl FnOnce(&mut Deploy)) -> Outcome {
        let expect = |app: &App| match self.state.app(&app.id) {
            Some(entry) => Expect::Version(entry.app.version),
            None => Expect::Absent,
        };
        let put = apps.into_iter().map(|app| PutApp { expect: expect(&app), app: StoredApp(Arc::new(app)) });
        let id = DeploymentId(Uuid::from_u128(u128::from(self.state.index) + 1));
        let mut deploy = Deploy { put: put.collect(), ..Deploy::new(id) };
        how(&mut deploy);
        self.apply(vec![Command::Deploy(deploy)]).remove(0)
    }

    /// Runs until nothing is left to do before `millis` have passed.
    pub(super) fn run(&mut self, millis: u64) {
        let end = self.now.plus_millis(millis);
        (self.events, self.counts) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS_MAX {
            let (did, next_due) = self.round();
            self.now = self.now.plus_millis(ROUND_MILLIS);
            match next_due.map(|due| due.max(self.now)) {
                _ if did => {}
                Some(due) if due < end => self.now = due,
                _ => {
                    self.now = self.now.max(end);
                    return;
                }
            }
        }
        panic!("still busy: {:?}", self.step());
    }

    /// Goes on for so many rounds, whether or not anything is left to do.
    pub(super) fn rounds(&mut self, count: usize) {
        for _ in 0..count {
            self.round();
            self.now = self.now.plus_millis(ROUND_MILLIS);
        }
    }

    fn step(&mut self) -> Step {
        rest::assert_left_alone(&self.state, self.now);
        let seed = self.seed ^ self.state.index;
        step(&self.state, &mut self.memory, self.now, seed, &Settings::default())
    }

    /// One step of the control loop and one answer of every agent. Did anything happen?
    fn round(&mut self) -> (bool, Option<Timestamp>) {
        let step = self.step();
        let before = self.state.index;
        if !step.commands.is_empty() {
            self.assert_within_duty(&step.commands);
            let proposed = step.commands.clone();
            let before = self.events.len();
            self.apply(step.commands);
            assert_all_taken(&proposed, &self.events[before..]);
        }
        self.answer();
        self.assert_sound();
        let counts = self.state.apps.keys().map(|app| (app.clone(), self.count(app)));
        self.counts.push(counts.collect());
        (self.state.index > before, step.next_due)
    }

    /// Tasks of an app that take room, and healthy ones.
    pub(super) fn count(&self, app: &AppId) -> (usize, usize) {
        let room = self.state.tasks_of(app).filter(|task| task.takes_room()).count();
        (room, self.state.tasks_of(app).filter(|task| task.is_healthy()).count())
    }

    /// The agents that are there say what has become of their tasks.
    fn answer(&mut self) {
        let there = self
            .state
            .agents
            .values()
            .filter(|agent| agent.presence == Presence::Connected && !self.away.contains(&agent.id));
        for agent in there.cloned().collect::<Vec<_>>() {
            let tasks: Vec<_> = self.state.tasks_on(&agent.id).cloned().collect();
            let reports: Vec<_> = tasks.iter().filter_map(|task| self.report(task)).collect();
            if !reports.is_empty() {
                self.apply(vec![Command::Report { agent: agent.id.clone(), complete: false, reports }]);
            }
        }
    }

    /// What its agent says of a task, if it is news.
    fn report(&mut self, task: &Task) -> Option<TaskReport> {
        let app = task.id.app();
        let sick = self.sick.contains(app);
        let next = match task.condition {
            Condition::Provisioned => TaskState::Staging,
            Condition::Staging if self.hanging.contains(app) => return None,
            Condition::Staging => TaskState::Running,
            Condition::Running if self.failing.contains(app) => TaskState::Failed,
            Condition::Running if !task.app.health_checks.is_empty() && (sick || !task.is_healthy()) => {
                TaskState::Running
            }
            Condition::Running => return None,
            Condition::Killing if self.deaf.contains(app) => return None,
            Condition::Killing => TaskState::Killed,
            Condition::Starting | Condition::Unreachable | Condition::UnreachableInactive => {
                return None;
            }
        };
        Some(self.report_of(task, next, !sick))
    }

    pub(super) fn report_of(&mut self, task: &Task, state: TaskState, alive: bool) -> TaskReport {
        self.seq += 1;
        let checks = 0..task.app.health_checks.len();
        let failures = |check: usize| {
            task.health.get(check).map_or(0, |result: &HealthReport| result.consecutive_failures)
        };
        let health = |check: usize| HealthReport {
            check: u32::try_from(check).expect("few checks"),
            alive,
            consecutive_failures: if alive { 0 } else { failures(check) + 1 },
            first_success: None,
            last_success: None,
            last_failure: None,
            last_failure_cause: None,
        };
        let ready = |name: &str| ReadinessReport { name: name.to_owned(), ready: true, last_response: None };
        let is_up = state == TaskState::Running;
        TaskReport {
            task: task.id.clone(),
            seq: self.seq,
            state,
            at: self.now,
            message: String::new(),
            addresses: Vec::new(),
            health: if is_up { checks.map(health).collect() } else { Vec::new() },
            readiness: if is_up {
                task.app.readiness_checks.iter().map(|check| ready(&check.name)).collect()
            } else {
                Vec::new()
            },
            unhealthy_kill: false,
        }
    }

    /// Nothing is overfilled, whatever the loop did.
    fn assert_sound(&self) {
        for agent in self.state.agents.values() {
            assert!(agent.reserved.fits(&agent.info.capacity), "overfilled: {agent:?}");
            let ports: usize = self.state.tasks_on(&agent.id).map(|task| task.host_ports.len()).sum();
            assert_eq!(agent.ports.len(), ports, "a port given twice: {agent:?}");
        }
    }

    /// The number of an app's tasks is nobody's business but its own when it is unlocked, and its
    /// deployment's when that has come to it.
    fn assert_within_duty(&self, commands: &[Command]) {
        let may = |app: &AppId| {
            let locks: Vec<_> = self.state.deployments.values().filter(|it| it.locks(app)).collect();
            let retired = self.state.app(app).is_none();
            let is_current = |it: &&Arc<Deployment>| it.current_actions().iter().any(|a| a.app == *app);
            retired || locks.is_empty() || locks.iter().any(is_current)
        };
        for command in commands {
            match command {
                Command::Place(places) => places.iter().for_each(|p| assert!(may(&p.app), "{p:?}")),
                Command::Decommission { tasks, .. } => {
                    tasks.iter().for_each(|task| assert!(may(task.app()), "{task:?}"));
                }
                _ => {}
            }
        }
    }

    /// Loses an agent: its session is gone and the fleet has given it up.
    pub(super) fn lose(&mut self, agent: &AgentId) {
        self.away.insert(agent.clone());
        self.apply(vec![Command::LoseAgent { id: agent.clone() }]);
    }

    /// It comes back with every task still running.
    pub(super) fn bring_back(&mut self, agent: &AgentId) {
        self.away.remove(agent);
        let info = self.state.agents[agent].info.as_ref().clone();
        let tasks: Vec<_> = self.state.tasks_on(agent).cloned().collect();
        let reports = tasks.iter().map(|task| self.report_of(task, TaskState::Running, true)).collect();
        self.apply(vec![
            Command::RegisterAgent { id: Some(agent.clone()), info },
            Command::Report { agent: agent.clone(), complete: true, reports },
        ]);
    }

    /// Ids of the tasks of an app, sorted.
    pub(super) fn ids(&self, app: &AppId) -> Vec<TaskId> {
        self.state.tasks_of(app).map(|task| task.id.clone()).collect()
    }

    /// Exactly so many tasks, all of the current definition, healthy and wanted; nothing under way.
    pub(super) fn assert_settled(&self, app: &AppId, count: usize) {
        let tasks: Vec<_> = self.state.tasks_of(app).collect();
        let current = self.state.app(app).map(|entry| entry.app.clone());
        let is_right = |task: &&Arc<Task>| {
            task.goal == Goal::Running
                && task.is_healthy()
                && current.as_ref().is_some_and(|app| !task.is_outdated(app))
        };
        assert!(tasks.iter().all(is_right), "{tasks:#?}");
        assert_eq!(tasks.len(), count, "tasks of {app}");
        assert!(self.state.deployments.is_empty(), "{:#?}", self.state.deployments);
    }
}

/// Nothing was proposed that `apply` refused: the state had not moved on.
fn assert_all_taken(commands: &[Command], events: &[Event]) {
    let wanted: usize = commands
        .iter()
        .map(|command| match command {
            Command::Place(placements) => placements.len(),
            _ => 0,
        })
        .sum();
    let placed = events.iter().filter(|event| matches!(event, Event::TaskPlaced { .. })).count();
    assert_eq!(placed, wanted, "placements refused: {commands:?}");
    assert!(events.len() >= commands.len(), "a proposal changed nothing: {commands:?}");
}
