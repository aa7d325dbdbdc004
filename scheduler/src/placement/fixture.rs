//! States for the tests of the pure parts, in few words.

use std::sync::Arc;

use serde_json::{Value, json};
use spec::app::App;
use spec::ids::{AgentId, AppId, InstanceId, TaskId};
use spec::protocol::{AgentInfo, Runtimes};
use spec::resources::Resources;
use spec::time::Timestamp;
use uuid::Uuid;

use crate::state::{Agent, AppEntry, Condition, Goal, Presence, State, Task};

/// A command app of one core's tenth and 32 MiB without ports; `changes` are merged into its document.
pub(crate) fn app(id: &str, changes: Value) -> App {
    let mut document = json!({
        "id": id, "cmd": "sleep 1", "cpus": 0.1, "mem": 32, "disk": 0, "gpus": 0, "instances": 1,
        "backoffFactor": 1.15, "backoffSeconds": 1, "maxLaunchDelaySeconds": 300, "executor": "",
        "killSelection": "YOUNGEST_FIRST", "labels": {}, "networks": [{"mode": "host"}],
        "portDefinitions": [], "requirePorts": false, "role": "*",
        "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
        "upgradeStrategy": {"maximumOverCapacity": 1, "minimumHealthCapacity": 1},
        "version": "1970-01-01T00:00:01.000Z"
    });
    for (field, value) in changes.as_object().expect("an object") {
        document[field] = value.clone();
    }
    serde_json::from_value(document).expect("a valid app")
}

/// `n` dynamic host-mode ports.
pub(crate) fn dynamic_ports(n: usize) -> Value {
    Value::Array(vec![json!({"port": 0, "protocol": "tcp"}); n])
}

/// What an agent of 4 cores, 1000 MiB and ports 31000-31009 says; attributes as `rack=a zone=z`.
pub(crate) fn info(name: &str, attributes: &str) -> AgentInfo {
    AgentInfo {
        hostname: name.to_owned(),
        ip: [127, 0, 0, 1].into(),
        capacity: Resources { cpus_milli: 4000, mem_mib: 1000, disk_mib: 10_000, gpus: 0 },
        ports: vec![(31_000, 31_004), (31_010, 31_014)],
        attributes: attributes
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        runtimes: Runtimes { docker: Some("no daemon".to_owned()), process: None, hollow: false },
        version: "test".to_owned(),
    }
}

/// Adds a connected agent.
pub(crate) fn join(state: &mut State, info: AgentInfo) -> AgentId {
    let id = AgentId::new(info.hostname.clone());
    let agent = Agent {
        id: id.clone(),
        info: Arc::new(info),
        presence: Presence::Connected,
        since: Timestamp::default(),
        reserved: Resources::default(),
        ports: Default::default(),
        tasks: Default::default(),
    };
    state.agents.insert(id.clone(), Arc::new(agent));
    id
}

/// A state with these agents: `("a", "rack=r1")`.
pub(crate) fn cluster(agents: &[(&str, &str)]) -> State {
    let mut state = State::default();
    for (name, attributes) in agents {
        join(&mut state, info(name, attributes));
    }
    state
}

/// Stores a definition.
pub(crate) fn put(state: &mut State, app: App) -> Arc<App> {
    let app = Arc::new(app);
    let entry = AppEntry::new(app.clone());
    state.apps.insert(app.id.clone(), Arc::new(entry));
    state.recount(&app.id);
    app
}

/// Adds a running task of `app` on an agent, reserving what it needs.
pub(crate) fn run(state: &mut State, app: &Arc<App>, agent: &AgentId, host_ports: &[u16]) -> TaskId {
    let uuid = Uuid::from_u128(state.tasks.len() as u128 + 1);
    let id = TaskId { instance: InstanceId { app: app.id.clone(), uuid }, incarnation: 1 };
    let staged_at = Timestamp::from_millis(1000 + state.tasks.len() as u64);
    let task = Task {
        id: id.clone(),
        app: app.clone(),
        agent: agent.clone(),
        host_ports: host_ports.into(),
        condition: Condition::Running,
        goal: Goal::Running,
        staged_at,
        started_at: Some(staged_at),
        since: staged_at,
        addresses: Box::default(),
        health: Box::default(),
        readiness: Box::default(),
        seq: 0,
    };
    assert!(state.agents.contains_key(agent), "an agent");
    state.enter(Arc::new(task));
    id
}

/// Changes a task.
pub(crate) fn change(state: &mut State, id: &TaskId, how: impl FnOnce(&mut Task)) {
    state.change(id, how).expect("a task");
}

/// An app id.
pub(crate) fn app_id(text: &str) -> AppId {
    AppId::parse(text).expect("an app id")
}
