//! Tests of the state, a file a topic. What they share is here: a small cluster and words to speak to it.

mod agents;
mod deploy;
mod deployments;
mod formats;
pub(crate) mod histories;
mod kills;
mod placements;
mod queries;
mod reports;
mod resident;
mod snapshots;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde_json::{Value, json};
use spec::app::{App, StoredApp};
use spec::ids::{AgentId, AppId, DeploymentId, TaskId};
use spec::protocol::{AgentInfo, Runtimes, TaskReport, TaskState};
use spec::resources::Resources;
use spec::time::Timestamp;
use uuid::Uuid;

use super::*;

/// A canonical definition: 0.1 cores, one dynamic port, 3 instances, no surplus and no shortage allowed
/// in upgrades. `fields` are laid over it.
pub(super) fn app(id: &str, fields: Value) -> App {
    let mut document = json!({
        "id": id, "backoffFactor": 2, "backoffSeconds": 10, "cmd": "sleep 1000", "cpus": 0.1, "disk": 0,
        "executor": "", "gpus": 0, "instances": 3, "killSelection": "YOUNGEST_FIRST", "labels": {},
        "maxLaunchDelaySeconds": 300, "mem": 32, "networks": [{"mode": "host"}],
        "portDefinitions": [{"labels": {}, "port": 0, "protocol": "tcp"}], "requirePorts": false,
        "role": "*", "unreachableStrategy": {"inactiveAfterSeconds": 60, "expungeAfterSeconds": 120},
        "upgradeStrategy": {"maximumOverCapacity": 0, "minimumHealthCapacity": 1},
        "version": "1970-01-01T00:00:00.000Z"
    });
    let fields = fields.as_object().expect("an object").clone();
    document.as_object_mut().expect("an object").extend(fields);
    serde_json::from_value(document).expect("a canonical definition")
}

pub(super) fn id(path: &str) -> AppId {
    AppId::parse(path).unwrap()
}

pub(super) fn deployment(n: u128) -> DeploymentId {
    DeploymentId(Uuid::from_u128(n))
}

pub(super) fn info(cpus_milli: u64) -> AgentInfo {
    AgentInfo {
        hostname: "10.0.0.1".to_owned(),
        ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        capacity: Resources { cpus_milli, mem_mib: 8192, disk_mib: 0, gpus: 0 },
        ports: vec![(31_000, 32_000)],
        attributes: [("rack".to_owned(), "r1".to_owned())].into(),
        runtimes: Runtimes::default(),
        version: "0.1.0".to_owned(),
    }
}

/// A state under test. Time only moves when told to.
pub(super) struct Bench {
    pub(super) state: State,
    pub(super) at: u64,
    pub(super) events: Vec<Event>,
    deployments: u128,
}

impl Bench {
    /// With as many agents of 10 cores each.
    pub(super) fn new(agents: usize) -> Self {
        let mut bench = Self { state: State::default(), at: 1_000_000, events: vec![], deployments: 0 };
        bench.run(Command::Found { cluster_id: Uuid::from_u128(7) });
        for _ in 0..agents {
            bench.run(Command::RegisterAgent { id: None, info: info(10_000) });
        }
        bench
    }

    /// Applies one command and keeps its events.
    pub(super) fn run(&mut self, command: Command) -> Outcome {
        let batch = Batch { at: Timestamp::from_millis(self.at), seed: 1, commands: vec![command] };
        let (mut outcomes, applied) = self.state.apply(self.state.index + 1, batch);
        assert_eq!(applied.index, self.state.index);
        self.events = applied.events;
        outcomes.remove(0)
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.at += millis;
    }

    /// A change with the next deployment id and all expectations as they must be.
    pub(super) fn change(&mut self, put: Vec<App>) -> Deploy {
        self.deployments += 1;
        let expect = |app: &App| self.state.app(&app.id).map(|entry| entry.app.version);
        let put = put.into_iter().map(|app| PutApp {
            expect: expect(&app).map_or(Expect::Absent, Expect::Version),
            app: StoredApp(Arc::new(app)),
        });
        Deploy { put: put.collect(), ..Deploy::new(deployment(self.deployments)) }
    }

    pub(super) fn deploy(&mut self, put: Vec<App>) -> Outcome {
        let deploy = self.change(put);
        self.run(Command::Deploy(deploy))
    }

    /// Deploys and completes the deployment's steps.
    pub(super) fn settle(&mut self, put: Vec<App>) {
        let outcome = self.deploy(put);
        assert!(matches!(outcome, Outcome::Deployed { .. }), "{outcome:?}");
        self.complete_all();
    }

    pub(super) fn complete_all(&mut self) {
        while let Some((id, step)) = self.state.deployments.values().next().map(|d| (d.id, d.current)) {
            self.run(Command::CompleteStep { id, step });
        }
    }

    pub(super) fn agent(&self, n: usize) -> AgentId {
        self.state.agents.keys().nth(n).unwrap().clone()
    }

    pub(super) fn entry(&self, path: &str) -> &AppEntry {
        self.state.apps.get(&id(path)).unwrap()
    }

    pub(super) fn placement(&self, path: &str, agent: usize, port: u16) -> Placement {
        let version = self.entry(path).app.version;
        Placement { app: id(path), version, agent: self.agent(agent), host_ports: vec![port] }
    }

    /// Places `ports.len()` tasks of the app on an agent and returns all tasks of the app.
    pub(super) fn place(&mut self, path: &str, agent: usize, ports: &[u16]) -> Vec<TaskId> {
        let placements = ports.iter().map(|port| self.placement(path, agent, *port)).collect();
        self.run(Command::Place(placements));
        self.tasks(path)
    }

    pub(super) fn tasks(&self, path: &str) -> Vec<TaskId> {
        self.state.tasks_of(&id(path)).map(|task| task.id.clone()).collect()
    }

    pub(super) fn task(&self, id: &TaskId) -> &Task {
        &self.state.tasks[id]
    }

    pub(super) fn news(&self, task: &TaskId, seq: u64, state: TaskState) -> TaskReport {
        TaskReport {
            task: task.clone(),
            seq,
            state,
            at: Timestamp::from_millis(self.at),
            message: "so it is".to_owned(),
            addresses: vec![],
            health: vec![],
            readiness: vec![],
            unhealthy_kill: false,
        }
    }

    pub(super) fn report(&mut self, report: TaskReport) -> Outcome {
        let agent = match self.state.tasks.get(&report.task) {
            Some(task) => task.agent.clone(),
            None => self.agent(0),
        };
        self.run(Command::Report { agent, complete: false, reports: vec![report] })
    }

    /// Reports a state of a task, by its agent, with the next sequence number.
    pub(super) fn say(&mut self, task: &TaskId, state: TaskState) {
        let seq = self.state.tasks.get(task).map_or(1, |task| task.seq + 1);
        let report = self.news(task, seq, state);
        self.report(report);
    }

    /// An app that is settled and runs, with its tasks on agent 0.
    pub(super) fn with_running(app: App) -> (Self, Vec<TaskId>) {
        let (mut bench, path, instances) = (Self::new(2), app.id.to_string(), app.instances as u16);
        bench.settle(vec![app]);
        let ports: Vec<u16> = (31_000..31_000 + instances).collect();
        let tasks = bench.place(&path, 0, &ports);
        assert_eq!(tasks.len(), instances as usize);
        tasks.iter().for_each(|task| bench.say(task, TaskState::Running));
        (bench, tasks)
    }
}
