//! Tests of the API over a real replicated state. What they share is here: a cluster whose "log" is one
//! task that applies commands as they come, and words to speak to it.

mod apps;
mod clients;
mod cluster;
mod errors;
mod event_shapes;
mod events;
mod failover;
mod fake;
mod kills;
mod masters;
mod proxy;
mod resuming;
mod serving;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use spec::ids::{AgentId, TaskId};
use spec::protocol::{AgentInfo, HealthReport, Runtimes, TaskReport, TaskState};
use spec::resources::Resources;
use spec::time::Timestamp;
use tower::ServiceExt;
use uuid::Uuid;

use self::fake::Fake;
use crate::cluster::{Cluster, Inlets, Leadership, LogRequest, Options};
use crate::state::{Batch, Command, Outcome, Placement, State};

/// 2020-01-01; each command comes a second after the one before.
const EPOCH: u64 = 1_577_836_800_000;

pub(super) struct Bench {
    pub(super) cluster: Arc<Cluster>,
    pub(super) fake: Arc<Fake>,
    pub(super) routes: Router,
    pub(super) logs: tokio::sync::mpsc::Receiver<LogRequest>,
    seq: u64,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks the status and gives the body.
    pub(super) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.json()
    }
}

pub(super) fn options() -> Options {
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Options {
        http: local(8080),
        rpc: local(5050),
        dns: local(53),
        advertised_http: "127.0.0.1:8080".to_owned(),
        agent_timeout_millis: 10_000,
        ..Options::on_free_ports("m1")
    }
}

/// Applies commands in the order they come, one log entry each.
async fn drive(
    cluster: Arc<Cluster>,
    fake: Arc<Fake>,
    mut commands: tokio::sync::mpsc::Receiver<crate::cluster::Asked>,
) {
    let mut state = State::default();
    let mut index = 0;
    while let Some(asked) = commands.recv().await {
        if let Some(error) = fake.fails() {
            let _ = asked.answer.send(Err(error));
            continue;
        }
        index += 1;
        let at = Timestamp::from_millis(EPOCH + index * 1000);
        let commands = vec![asked.command];
        let (outcomes, applied) = state.apply(index, Batch { at, seed: index, commands });
        cluster.publish(state.clone(), [applied]);
        let outcome = outcomes.into_iter().next().expect("one command, one outcome");
        let _ = asked.answer.send(Ok(outcome));
    }
}

/// Of the master that leads.
pub(super) fn leads(term: u64, advertised: &str) -> Leadership {
    Leadership { term, leading: true, leader_http: Some(advertised.to_owned()) }
}

/// Of one that does not.
pub(super) fn follows(term: u64, leader: Option<&str>) -> Leadership {
    Leadership { term, leading: false, leader_http: leader.map(str::to_owned) }
}

impl Bench {
    /// With a leader and as many agents of 10 cores each.
    pub(super) async fn new(agents: usize) -> Self {
        Self::at("127.0.0.1:8080", agents).await
    }

    /// The same, which others reach at `advertised`.
    pub(super) async fn at(advertised: &str, agents: usize) -> Self {
        let options = Options { advertised_http: advertised.to_owned(), ..options() };
        let (cluster, Inlets { commands, logs, masters }) = Cluster::new(options);
        let fake = Arc::new(Fake::default());
        tokio::spawn(drive(cluster.clone(), fake.clone(), commands));
        tokio::spawn(fake.clone().serve(cluster.clone(), masters));
        cluster.set_leadership(leads(1, advertised));
        let routes = super::router(cluster.clone());
        let bench = Self { cluster, fake, routes, logs, seq: 0 };
        bench.ask(Command::Found { cluster_id: Uuid::from_u128(7) }).await;
        for n in 1..=agents {
            bench.ask(Command::RegisterAgent { id: None, info: info(n) }).await;
        }
        bench
    }

    pub(super) async fn ask(&self, command: Command) -> Outcome {
        self.cluster.ask(command).await.unwrap()
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.routes.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub(super) async fn call(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header("host", "127.0.0.1:8080")
            .header("content-type", "application/json");
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "").await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, body.to_string()).await
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Answer {
        self.call("PUT", path, body.to_string()).await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, "").await
    }

    /// Posts an app that sleeps, with `fields` laid over it, and finishes its deployment.
    pub(super) async fn app(&self, id: &str, fields: Value) {
        let mut document = serde_json::json!({"id": id, "cmd": "sleep 1000"});
        document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.post("/v2/apps", document).await.expect(201);
        self.settle().await;
    }

    /// Completes every running deployment.
    pub(super) async fn settle(&self) {
        while let Some(deployment) = self.cluster.state().deployments.values().next().cloned() {
            let command = Command::CompleteStep { id: deployment.id, step: deployment.current };
            assert_eq!(self.ask(command).await, Outcome::Done);
        }
    }

    pub(super) fn agent(&self, n: usize) -> AgentId {
        self.cluster.state().agents.keys().nth(n - 1).unwrap().clone()
    }

    /// Places one task of the app on agent `n` with one port, and has it report `state`.
    pub(super) async fn task(&mut self, app: &str, n: usize, state: TaskState) -> TaskId {
        let now = self.cluster.state();
        let entry = now.app(&app.parse().unwrap()).unwrap();
        let before: Vec<TaskId> = now.tasks.keys().cloned().collect();
        let agent = self.agent(n);
        let taken = &now.agents.get(&agent).unwrap().ports;
        let port = (31_000..=32_000).find(|port| !taken.contains_key(port)).unwrap();
        let needs = entry.app.ports().iter().filter(|p| p.host != spec::app::HostPort::None).count();
        let host_ports = (0..needs as u16).map(|n| port + n).collect();
        let (app, version) = (entry.app.id.clone(), entry.app.version);
        let placement = Placement { app, version, agent, host_ports };
        self.ask(Command::Place(vec![placement])).await;
        let now = self.cluster.state();
        let id = now.tasks.keys().find(|id| !before.contains(id)).expect("placed").clone();
        self.report(&id, state).await;
        id
    }

    pub(super) async fn report(&mut self, task: &TaskId, state: TaskState) {
        self.report_health(task, state, vec![]).await;
    }

    pub(super) async fn report_health(&mut self, task: &TaskId, state: TaskState, health: Vec<HealthReport>) {
        self.seq += 1;
        let agent = self.cluster.state().tasks[task].agent.clone();
        let report = TaskReport {
            task: task.clone(),
            seq: self.seq,
            state,
            at: Timestamp::from_millis(EPOCH + self.seq),
            message: format!("it is {state:?}"),
            addresses: vec![],
            health,
            readiness: vec![],
            unhealthy_kill: false,
        };
        self.ask(Command::Report { agent, complete: false, reports: vec![report] }).await;
    }
}

pub(super) fn alive(alive: bool) -> HealthReport {
    HealthReport {
        check: 0,
        alive,
        consecutive_failures: u32::from(!alive),
        first_success: alive.then(|| Timestamp::from_millis(EPOCH)),
        last_success: alive.then(|| Timestamp::from_millis(EPOCH)),
        last_failure: (!alive).then(|| Timestamp::from_millis(EPOCH)),
        last_failure_cause: (!alive).then(|| "refused".to_owned()),
    }
}

fn info(n: usize) -> AgentInfo {
    let n = u8::try_from(n).unwrap();
    AgentInfo {
        hostname: format!("node-{n}"),
        ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)),
        capacity: Resources { cpus_milli: 10_000, mem_mib: 8192, disk_mib: 0, gpus: 0 },
        ports: vec![(31_000, 32_000)],
        attributes: [("rack".to_owned(), "r1".to_owned())].into(),
        runtimes: Runtimes::default(),
        version: "0.1.0".to_owned(),
    }
}

/// Every key of every object of a document, with its value's type, for comparisons of shape.
pub(super) fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Fails when there is a `null` anywhere.
pub(super) fn assert_no_nulls(value: &Value) {
    match value {
        Value::Null => panic!("a null"),
        Value::Array(list) => list.iter().for_each(assert_no_nulls),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            assert!(!value.is_null(), "null at {key}");
            assert_no_nulls(value);
        }),
        _ => {}
    }
}

/// Waits for something that must come.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), what).await.expect("soon")
}
