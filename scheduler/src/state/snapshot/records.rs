//! What a snapshot says, formats 1 to 3: types of its own, so that those of the state can change without
//! changing what was written. A definition is written once, with its app, and named by its version.

use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use spec::app::{App, AppDocument, StoredApp};
use spec::ids::{AgentId, AppId, DeploymentId, MasterId, TaskId};
use spec::protocol::{AgentInfo, HealthReport, ReadinessReport, TaskState};
use spec::time::Timestamp;
use uuid::Uuid;

use crate::state::{
    Agent, AppEntry, Condition, Deployment, Form, Goal, MasterInfo, Presence, State, Step, Task, TaskFailure,
    Versions,
};

/// One record; in this order, and of each kind as many as the header says.
#[derive(Serialize, Deserialize)]
pub(super) enum Record {
    Header(Header),
    Agent(AgentRecord),
    App(AppRecord),
    Task(TaskRecord),
    Deployment(DeploymentRecord),
    /// Follows the header. Format 1 has none.
    Masters(MastersRecord),
}

#[derive(Serialize, Deserialize)]
pub(super) struct MastersRecord {
    pub(super) last_master: u64,
    pub(super) masters: Vec<(MasterId, Uuid, MasterInfo)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) index: u64,
    pub(super) now: Timestamp,
    pub(super) cluster_id: Uuid,
    pub(super) root_version: Timestamp,
    pub(super) next_agent: u64,
    pub(super) agents: u64,
    pub(super) apps: u64,
    pub(super) tasks: u64,
    pub(super) deployments: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct AgentRecord {
    pub(super) id: AgentId,
    pub(super) info: Arc<AgentInfo>,
    pub(super) presence: Presence,
    pub(super) since: Timestamp,
}

#[derive(Serialize, Deserialize)]
pub(super) struct AppRecord {
    pub(super) current: Timestamp,
    pub(super) retired: bool,
    pub(super) versions: Vec<Definition>,
    pub(super) delay: Option<(u64, Timestamp)>,
    pub(super) vacant: Vec<(Uuid, u32)>,
    pub(super) last_failure: Option<FailureRecord>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct FailureRecord {
    pub(super) task: TaskId,
    pub(super) host: String,
    pub(super) agent: AgentId,
    pub(super) message: String,
    pub(super) state: TaskState,
    pub(super) at: Timestamp,
    pub(super) version: Timestamp,
}

#[derive(Serialize, Deserialize)]
pub(super) struct TaskRecord {
    pub(super) id: TaskId,
    pub(super) version: Timestamp,
    pub(super) agent: AgentId,
    pub(super) host_ports: Vec<u16>,
    pub(super) condition: Condition,
    pub(super) goal: Goal,
    pub(super) staged_at: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) since: Timestamp,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) health: Vec<HealthReport>,
    pub(super) readiness: Vec<ReadinessReport>,
    pub(super) seq: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct DeploymentRecord {
    pub(super) id: DeploymentId,
    pub(super) version: Timestamp,
    pub(super) steps: Vec<Step>,
    pub(super) current: u64,
    pub(super) originals: Vec<(AppId, Original)>,
    pub(super) kill: Vec<TaskId>,
}

/// What an app was before a deployment.
#[derive(Serialize, Deserialize)]
pub(super) enum Original {
    /// It did not exist.
    Absent,
    /// Among the versions of the app.
    Kept(Timestamp),
    /// No longer among them: the app was removed, or has had many versions since.
    Whole(Definition),
}

/// A definition in the form of the snapshot; either is read.
pub(super) enum Definition {
    Json(AppDocument),
    Packed(StoredApp),
}

impl Definition {
    fn of(app: &Arc<App>, form: Form) -> Self {
        match form {
            Form::Json => Self::Json(AppDocument(app.clone())),
            Form::Packed => Self::Packed(StoredApp(app.clone())),
        }
    }

    pub(super) fn into_app(self) -> Arc<App> {
        match self {
            Self::Json(AppDocument(app)) | Self::Packed(StoredApp(app)) => app,
        }
    }
}

impl Serialize for Definition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Json(app) => app.serialize(serializer),
            Self::Packed(app) => app.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Definition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StoredApp::deserialize(deserializer).map(Self::Packed)
    }
}

/// Every record of a state, made as it is asked for.
pub(super) fn of(state: &State, form: Form) -> impl Iterator<Item = Record> + Send + use<> {
    let State { agents, apps, tasks, deployments, .. } = state.clone();
    let kept = apps.clone();
    let header = std::iter::once(Record::Header(Header::of(state)));
    let agents = agents.into_iter().map(|(_, agent)| Record::Agent(AgentRecord::of(&agent)));
    let apps = apps.into_iter().map(move |(_, entry)| Record::App(AppRecord::of(&entry, form)));
    let tasks = tasks.into_iter().map(|(_, task)| Record::Task(TaskRecord::of(&task)));
    let deployments = deployments.into_iter();
    let deployments =
        deployments.map(move |(_, one)| Record::Deployment(DeploymentRecord::of(&one, &kept, form)));
    let masters = std::iter::once(Record::Masters(MastersRecord::of(state)));
    header.chain(masters).chain(agents).chain(apps).chain(tasks).chain(deployments)
}

impl Header {
    fn of(state: &State) -> Self {
        Self {
            index: state.index,
            now: state.now,
            cluster_id: state.cluster_id,
            root_version: state.root_version,
            next_agent: state.next_agent,
            agents: state.agents.len() as u64,
            apps: state.apps.len() as u64,
            tasks: state.tasks.len() as u64,
            deployments: state.deployments.len() as u64,
        }
    }
}

impl MastersRecord {
    fn of(state: &State) -> Self {
        let masters = state.masters.values();
        Self {
            last_master: state.last_master,
            masters: masters.map(|master| (master.id, master.ticket, master.info.clone())).collect(),
        }
    }
}

impl AgentRecord {
    fn of(agent: &Agent) -> Self {
        let Agent { id, info, presence, since, reserved: _, ports: _, tasks: _ } = agent;
        Self { id: id.clone(), info: info.clone(), presence: *presence, since: *since }
    }
}

impl AppRecord {
    fn of(entry: &AppEntry, form: Form) -> Self {
        Self {
            current: entry.app.version,
            retired: entry.retired,
            versions: entry.versions.iter().map(|app| Definition::of(app, form)).collect(),
            delay: entry.delay.map(|delay| (delay.millis, delay.since)),
            vacant: entry.vacant.iter().map(|vacant| (vacant.uuid, vacant.incarnation)).collect(),
            last_failure: entry.last_failure.as_deref().map(FailureRecord::of),
        }
    }
}

impl FailureRecord {
    fn of(failure: &TaskFailure) -> Self {
        let TaskFailure { task, host, agent, message, state, at, version } = failure.clone();
        Self { task, host, agent, message, state, at, version }
    }
}

impl TaskRecord {
    fn of(task: &Task) -> Self {
        Self {
            id: task.id.clone(),
            version: task.app.version,
            agent: task.agent.clone(),
            host_ports: task.host_ports.to_vec(),
            condition: task.condition,
            goal: task.goal,
            staged_at: task.staged_at,
            started_at: task.started_at,
            since: task.since,
            addresses: task.addresses.to_vec(),
            health: task.health.to_vec(),
            readiness: task.readiness.to_vec(),
            seq: task.seq,
        }
    }
}

impl DeploymentRecord {
    fn of(deployment: &Deployment, apps: &OrdMap<AppId, Arc<AppEntry>>, form: Form) -> Self {
        let originals = deployment.originals.iter();
        let original = |(id, original): &(AppId, Option<Arc<App>>)| {
            let kept = apps.get(id).map(|entry| &entry.versions);
            (id.clone(), Original::of(original.as_ref(), kept, form))
        };
        Self {
            id: deployment.id,
            version: deployment.version,
            steps: deployment.steps.to_vec(),
            current: deployment.current as u64,
            originals: originals.map(original).collect(),
            kill: deployment.kill.clone(),
        }
    }
}

impl Original {
    fn of(original: Option<&Arc<App>>, kept: Option<&Versions>, form: Form) -> Self {
        match original {
            None => Self::Absent,
            Some(app) if kept.is_some_and(|kept| kept.get(app.version) == Some(app)) => {
                Self::Kept(app.version)
            }
            Some(app) => Self::Whole(Definition::of(app, form)),
        }
    }
}
