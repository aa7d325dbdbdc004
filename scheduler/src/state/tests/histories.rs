//! Random histories: whatever is proposed, in whatever order, no invariant breaks, every replica gets the
//! same state, and a replica that begins from a snapshot goes on exactly like the others.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use spec::protocol::{HealthReport, ReadinessReport};

use super::*;

/// What is proposed; the numbers pick among what exists when it is applied, or just beside it.
#[derive(Clone, Debug)]
pub(crate) enum Move {
    Wait(u64),
    Put { app: usize, instances: u32, command: u8, over: u8, depends: usize, force: bool },
    Remove { app: usize, force: bool },
    Restart { app: usize, force: bool },
    KillAndScale { task: usize },
    Cancel(usize),
    Revert(usize),
    Complete { deployment: usize, ahead: bool },
    Place { app: usize, agent: usize, ports: Vec<u16> },
    Kill { task: usize, wipe: bool, unhealthy: bool },
    Decommission(usize),
    Inactive(usize),
    Expunge(usize),
    Reset(usize),
    Join(usize),
    Lose(usize),
    Forget(usize),
    Say { task: usize, state: TaskState, back: u64, elsewhere: bool, unhealthy: bool, failures: u32 },
    Complain { agent: usize, named: usize },
}

const PATHS: [&str; 5] = ["/a", "/a/b", "/c", "/g/x", "/g/y"];
const STATES: [TaskState; 10] = [
    TaskState::Staging,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Killing,
    TaskState::Finished,
    TaskState::Failed,
    TaskState::Killed,
    TaskState::Error,
    TaskState::Gone,
    TaskState::Dropped,
];

pub(crate) fn moves() -> impl Strategy<Value = Move> {
    let n = || 0..8usize;
    let force = prop::bool::weighted(0.6);
    let put = (0..5usize, 0..5u32, 0..3u8, 0..3u8, 0..7usize, force);
    let say = (n(), 0..STATES.len(), 0..3u64, prop::bool::weighted(0.1), any::<bool>(), 0..4u32);
    prop_oneof![
        2 => (0..200_000u64).prop_map(Move::Wait),
        6 => put.prop_map(|(app, instances, command, over, depends, force)| {
            Move::Put { app, instances, command, over, depends, force }
        }),
        2 => (n(), force).prop_map(|(app, force)| Move::Remove { app, force }),
        1 => (n(), force).prop_map(|(app, force)| Move::Restart { app, force }),
        1 => n().prop_map(|task| Move::KillAndScale { task }),
        1 => n().prop_map(Move::Cancel),
        1 => n().prop_map(Move::Revert),
        6 => (n(), prop::bool::weighted(0.1))
            .prop_map(|(deployment, ahead)| Move::Complete { deployment, ahead }),
        12 => (0..5usize, n(), vec(31_000..31_012u16, 1..4))
            .prop_map(|(app, agent, ports)| Move::Place { app, agent, ports }),
        2 => (n(), any::<bool>(), any::<bool>())
            .prop_map(|(task, wipe, unhealthy)| Move::Kill { task, wipe, unhealthy }),
        2 => n().prop_map(Move::Decommission),
        2 => n().prop_map(Move::Inactive),
        1 => n().prop_map(Move::Expunge),
        1 => n().prop_map(Move::Reset),
        2 => n().prop_map(Move::Join),
        1 => n().prop_map(Move::Lose),
        1 => n().prop_map(Move::Forget),
        16 => say.prop_map(|(task, state, back, elsewhere, unhealthy, failures)| {
            Move::Say { task, state: STATES[state], back, elsewhere, unhealthy, failures }
        }),
        2 => (n(), n()).prop_map(|(agent, named)| Move::Complain { agent, named }),
    ]
}

fn pick<'a, T>(items: impl Iterator<Item = &'a T>, n: usize) -> Option<&'a T> {
    let items: Vec<&T> = items.collect();
    items.get(n.checked_rem(items.len())?).copied()
}

impl Bench {
    fn some_task(&self, n: usize) -> Vec<TaskId> {
        pick(self.state.tasks.keys(), n).cloned().into_iter().collect()
    }

    fn some_agent(&self, n: usize) -> AgentId {
        pick(self.state.agents.keys(), n).cloned().unwrap_or_else(|| AgentId::new("nobody"))
    }

    fn some_deployment(&self, n: usize) -> (DeploymentId, usize) {
        pick(self.state.deployments.values(), n).map_or((deployment(1 << 99), 0), |d| (d.id, d.current))
    }

    fn put_move(&self, app: usize, instances: u32, command: u8, over: u8, depends: usize) -> App {
        let depends: Vec<&str> = ["/a", "/c", "/g"].get(depends).copied().into_iter().collect();
        // One of the three has checks.
        let checks = if command == 2 { json!([check()]) } else { json!([]) };
        let readiness = if command == 2 { json!([readiness_check()]) } else { json!([]) };
        super::app(
            PATHS[app],
            json!({
                "instances": instances, "cmd": format!("c{command}"), "cpus": 1.5, "dependencies": depends,
                "healthChecks": checks, "readinessChecks": readiness,
                "upgradeStrategy": {"maximumOverCapacity": f64::from(over) / 2.0, "minimumHealthCapacity": 1}
            }),
        )
    }

    fn kill_and_scale(&mut self, task: usize) -> Option<Deploy> {
        let kill = self.some_task(task);
        let entry = self.state.app(kill.first()?.app())?.clone();
        let instances = entry.app.instances.saturating_sub(1);
        let app = App { instances, ..App::clone(&entry.app) };
        Some(Deploy { kill, ..self.change(vec![app]) })
    }

    /// The command of a move in the state as it is; `None` when there is nothing to say.
    fn command(&mut self, step: &Move) -> Option<Command> {
        let reason = KillReason::Surplus;
        Some(match step.clone() {
            Move::Wait(millis) => {
                self.pass(millis);
                return None;
            }
            Move::Put { app, instances, command, over, depends, force } => {
                let put = vec![self.put_move(app, instances, command, over, depends)];
                Command::Deploy(Deploy { force, ..self.change(put) })
            }
            Move::Remove { app, force } => {
                Command::Deploy(Deploy { force, remove: vec![id(PATHS[app % 5])], ..self.change(vec![]) })
            }
            Move::Restart { app, force } => {
                Command::Deploy(Deploy { force, restart: vec![id(PATHS[app % 5])], ..self.change(vec![]) })
            }
            Move::KillAndScale { task } => Command::Deploy(self.kill_and_scale(task)?),
            Move::Cancel(n) => Command::CancelDeployment { id: self.some_deployment(n).0 },
            Move::Revert(n) => {
                let deployment = self.change(vec![]).id;
                Command::RevertDeployment { id: self.some_deployment(n).0, deployment }
            }
            Move::Complete { deployment, ahead } => {
                let (id, step) = self.some_deployment(deployment);
                Command::CompleteStep { id, step: step + usize::from(ahead) }
            }
            Move::Place { app, agent, ports } => Command::Place(self.placements(app, agent, &ports)?),
            Move::Kill { task, wipe, unhealthy } => {
                let reason = if unhealthy { KillReason::Unhealthy } else { KillReason::Asked };
                Command::KillTasks { tasks: self.some_task(task), wipe, reason }
            }
            Move::Decommission(n) => Command::Decommission { tasks: self.some_task(n), reason },
            Move::Inactive(n) => Command::MarkInactive { tasks: self.some_task(n) },
            Move::Expunge(n) => Command::Expunge { tasks: self.some_task(n) },
            Move::Reset(n) => Command::ResetDelay { app: id(PATHS[n % 5]) },
            Move::Join(n) => {
                let known = (n < 6).then(|| self.some_agent(n));
                Command::RegisterAgent { id: known, info: info(10_000) }
            }
            Move::Lose(n) => Command::LoseAgent { id: self.some_agent(n) },
            Move::Forget(n) => Command::ForgetAgent { id: self.some_agent(n) },
            Move::Say { .. } | Move::Complain { .. } => return self.report_of(step),
        })
    }

    fn placements(&self, app: usize, agent: usize, ports: &[u16]) -> Option<Vec<Placement>> {
        let version = self.state.apps.get(&id(PATHS[app]))?.app.version;
        let agent = self.some_agent(agent);
        let place = |port: &u16| Placement {
            app: id(PATHS[app]),
            version,
            agent: agent.clone(),
            host_ports: vec![*port],
        };
        Some(ports.iter().map(place).collect())
    }

    fn report_of(&self, step: &Move) -> Option<Command> {
        Some(match step {
            Move::Say { task, state, back, elsewhere, unhealthy, failures } => {
                let task = self.state.tasks.get(self.some_task(*task).first()?)?;
                let stranger = TaskId { incarnation: u32::MAX, ..task.id.clone() };
                let who = if *elsewhere && *unhealthy { &stranger } else { &task.id };
                let news = self.news(who, (task.seq + 1).saturating_sub(*back), *state);
                let agent = if *elsewhere { self.some_agent(0) } else { task.agent.clone() };
                let health = vec![health(0, *failures)];
                let readiness = vec![ready(*failures != 1)];
                let reports = vec![TaskReport { unhealthy_kill: *unhealthy, health, readiness, ..news }];
                Command::Report { agent, complete: false, reports }
            }
            Move::Complain { agent, named } => {
                let agent = self.some_agent(*agent);
                let known = self.state.tasks_on(&agent).take(*named);
                let reports = known.map(|task| self.news(&task.id, task.seq, TaskState::Running)).collect();
                Command::Report { agent, complete: true, reports }
            }
            _ => return None,
        })
    }
}

fn check() -> Value {
    json!({"protocol": "HTTP", "delaySeconds": 0, "gracePeriodSeconds": 300, "timeoutSeconds": 5,
        "intervalSeconds": 60, "ipProtocol": "IPv4", "maxConsecutiveFailures": 2})
}

fn readiness_check() -> Value {
    json!({"name": "ready", "protocol": "HTTP", "path": "/", "portName": "web", "intervalSeconds": 30,
        "timeoutSeconds": 10, "httpStatusCodesForReady": [200], "preserveLastResponse": false})
}

/// What a check says that has failed so often, at last.
pub(crate) fn health(check: u32, failures: u32) -> HealthReport {
    HealthReport {
        check,
        alive: failures == 0,
        consecutive_failures: failures,
        first_success: None,
        last_success: None,
        last_failure: None,
        last_failure_cause: None,
    }
}

fn ready(ready: bool) -> ReadinessReport {
    ReadinessReport { name: "ready".to_owned(), ready, last_response: None }
}

/// The states that a history goes through.
pub(crate) fn states(steps: &[Move]) -> Vec<State> {
    let mut bench = Bench::new(2);
    let state = |step| {
        if let Some(command) = bench.command(step) {
            bench.run(command);
        }
        bench.state.clone()
    };
    steps.iter().map(state).collect()
}

/// Applies a history command by command and checks after each; what was applied.
fn live(bench: &mut Bench, steps: &[Move]) -> Result<Vec<Batch>, TestCaseError> {
    let mut batches = Vec::new();
    for step in steps {
        let Some(command) = bench.command(step) else {
            continue;
        };
        let batch = Batch { at: Timestamp::from_millis(bench.at), seed: 3, commands: vec![command] };
        let (root, index) = (bench.state.root_version, bench.state.index + 1);
        let before = bench.state.clone();
        let (outcomes, applied) = bench.state.apply(index, batch.clone());
        if let [Outcome::Refused(_)] = &outcomes[..] {
            let same = State { index: before.index, now: before.now, ..bench.state.clone() };
            prop_assert!(
                same == before && applied.events.is_empty(),
                "a refusal changed something: {step:?}"
            );
        }
        if let [Outcome::Deployed { version, .. }] = &outcomes[..] {
            prop_assert!(*version > root, "versions must grow");
        }
        let mut found = violations(&bench.state);
        found.extend(violations_after(&bench.state, &applied));
        prop_assert!(found.is_empty(), "{step:?}: {found:#?}");
        batches.push(batch);
    }
    Ok(batches)
}

fn bytes(state: &State) -> Vec<Vec<u8>> {
    state.snapshot().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_history_breaks_an_invariant_and_replicas_agree(steps in vec(moves(), 1..120)) {
        let mut bench = Bench::new(2);
        let start = bench.state.clone();
        let batches = live(&mut bench, &steps)?;
        let (mut replica, mut late) = (start, None);
        for (n, batch) in batches.iter().enumerate() {
            let form = if n % 2 == 0 { Form::Json } else { Form::Packed };
            let read = Batch::decode(&batch.encode(form)).unwrap();
            prop_assert_eq!(&read, batch);
            let expected = replica.apply(replica.index + 1, read);
            if let Some(late) = &mut late {
                let late: &mut State = late;
                prop_assert!(late.apply(late.index + 1, batch.clone()) == expected);
            }
            if n == batches.len() / 2 {
                late = Some(State::restore(&bytes(&replica)).unwrap());
            }
        }
        prop_assert!(replica == bench.state);
        prop_assert_eq!(bytes(&replica), bytes(&bench.state));
        if let Some(late) = late {
            prop_assert!(late == bench.state);
        }
    }
}

/// The generator must reach what the property is about; else the property says little.
#[test]
fn histories_reach_every_kind_of_event() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let steps = vec(moves(), 120).new_tree(&mut runner).unwrap().current();
        let mut bench = Bench::new(2);
        for step in &steps {
            if let Some(command) = bench.command(step) {
                bench.run(command);
                let name = |event: &Event| format!("{event:?}").split(' ').next().unwrap().to_owned();
                seen.extend(bench.events.iter().map(name));
            }
        }
    }
    let all = [
        "AgentForgotten",
        "AgentJoined",
        "AgentLost",
        "AppGone",
        "AppPut",
        "AppRemoved",
        "DelayChanged",
        "DeploymentCancelled",
        "DeploymentDone",
        "DeploymentStarted",
        "GroupChanged",
        "StepDone",
        "StepStarted",
        "TaskChanged",
        "TaskEnded",
        "TaskExpunged",
        "TaskHealth",
        "TaskKill",
        "TaskPlaced",
        "TaskUnknown",
        "TaskUnknownEnded",
    ];
    assert!(seen.iter().eq(all), "{seen:?}");
}
