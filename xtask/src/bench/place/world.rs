//! A cluster as placement sees it, without processes: the replicated state, changed only by its own `apply`, and
//! shapes of work. What is measured is the real code; agents and apps are made up.

use std::sync::Arc;

use anyhow::Context;
use scheduler::placement::Demand;
use scheduler::state::{AppEntry, Batch, Command, Outcome, Placement, State};
use serde_json::{Value, json};
use spec::app::App;
use spec::protocol::{AgentInfo, Runtimes};
use spec::resources::Resources;
use spec::time::Timestamp;

/// Agents in a rack.
const RACK: usize = 40;
/// The lowest port of tasks; there are a thousand more.
const FIRST_PORT: u16 = 31_000;
/// Every entry of the log is a millisecond after the one before.
const MILLIS: u64 = 1;

/// The state and the place in its log.
#[derive(Clone)]
pub struct World {
    /// As after the last entry.
    pub state: State,
    now: Timestamp,
}

impl World {
    /// A cluster of so many equal agents, in racks.
    pub fn of(agents: usize) -> Self {
        let infos = (0..agents).map(|n| info(n, Resources { gpus: 0, ..AGENT }));
        Self::with(infos)
    }

    /// A cluster of these agents.
    pub fn with(agents: impl IntoIterator<Item = AgentInfo>) -> Self {
        let mut world = Self { state: State::default(), now: Timestamp::from_millis(1_000) };
        let register = |info| Command::RegisterAgent { id: None, info };
        world.apply(agents.into_iter().map(register).collect());
        world
    }

    /// The time of the next entry.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Stores a definition, as an accepted deployment would.
    pub fn put(&mut self, document: Value) -> anyhow::Result<Arc<App>> {
        let app: App = serde_json::from_value(document).context("not an app")?;
        let app = Arc::new(app);
        self.state.apps.insert(app.id.clone(), Arc::new(AppEntry::new(app.clone())));
        Ok(app)
    }

    /// Stores an app; all its tasks are missing.
    pub fn demand(&mut self, document: Value) -> anyhow::Result<Demand> {
        let app = self.put(document)?;
        Ok(Demand { count: app.instances, app })
    }

    /// Puts `each` tasks of an app on the agents that are meant, by number.
    pub fn fill(&mut self, app: Value, each: u16, is_meant: impl Fn(usize) -> bool) -> anyhow::Result<()> {
        let app = self.put(app)?;
        let agents: Vec<_> = self.state.agents.keys().cloned().enumerate().collect();
        let placement = |agent: &spec::AgentId, port| Placement {
            app: app.id.clone(),
            version: app.version,
            agent: agent.clone(),
            host_ports: vec![FIRST_PORT + port],
        };
        for port in 0..each {
            let meant = agents.iter().filter(|(number, _)| is_meant(*number));
            self.place(meant.map(|(_, agent)| placement(agent, port)).collect());
        }
        Ok(())
    }

    /// Places tasks as the log would.
    pub fn place(&mut self, placements: Vec<Placement>) {
        self.apply(vec![Command::Place(placements)]);
    }

    fn apply(&mut self, commands: Vec<Command>) -> Vec<Outcome> {
        self.now = self.now.plus_millis(MILLIS);
        let index = self.state.index + 1;
        self.state.apply(index, Batch { at: self.now, seed: index, commands }).0
    }
}

/// What an agent has: 32 cores, 128 GiB, 1 TiB.
pub const AGENT: Resources = Resources { cpus_milli: 32_000, mem_mib: 131_072, disk_mib: 1_048_576, gpus: 0 };

/// The agent of that number.
pub fn info(n: usize, capacity: Resources) -> AgentInfo {
    let attributes = [("rack", format!("r{}", n / RACK)), ("zone", format!("z{}", n % 3))];
    AgentInfo {
        hostname: format!("node-{n:05}"),
        ip: [127, 0, 0, 1].into(),
        capacity,
        ports: vec![(FIRST_PORT, FIRST_PORT + 1000)],
        attributes: attributes.map(|(name, value)| (name.to_owned(), value)).into(),
        runtimes: Runtimes { docker: None, process: None, hollow: true },
        version: "bench".to_owned(),
    }
}

/// An app of `instances` tasks with one dynamic port, as `POST /v2/apps` would have made it; `changes` are
/// merged into its document.
pub fn document(id: &str, instances: usize, changes: Value) -> Value {
    let mut document = json!({
        "id": id, "cmd": "sleep 1", "cpus": 0.1, "mem": 128, "disk": 0, "gpus": 0, "instances": instances,
        "backoffFactor": 1.15, "backoffSeconds": 1, "maxLaunchDelaySeconds": 300, "executor": "",
        "killSelection": "YOUNGEST_FIRST", "labels": {}, "networks": [{"mode": "host"}],
        "portDefinitions": [{"port": 0, "protocol": "tcp"}], "requirePorts": false, "role": "*",
        "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
        "upgradeStrategy": {"maximumOverCapacity": 1, "minimumHealthCapacity": 1},
        "version": "1970-01-01T00:00:01.000Z"
    });
    let changes = changes.as_object().into_iter().flatten();
    changes.for_each(|(field, value)| document[field] = value.clone());
    document
}
