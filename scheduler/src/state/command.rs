//! What may be asked of the state. A log entry is one [`Batch`]: commands stamped by the leader, since
//! `apply` reads no clock and draws no random numbers. Enums only grow at the end.

#![allow(missing_docs, reason = "the fields of commands say what they are")]

use serde::{Deserialize, Serialize};
use spec::app::StoredApp;
use spec::ids::{AgentId, AppId, DeploymentId, MasterId, TaskId};
use spec::protocol::{AgentInfo, TaskReport};
use spec::time::Timestamp;
use uuid::Uuid;

use super::MasterInfo;

/// Commands that share a log entry, applied in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// The leader's clock. `apply` uses the later of this and the time it has already seen.
    pub at: Timestamp,
    /// Source of instance ids, drawn by the leader's shell.
    pub seed: u64,
    /// What to do.
    pub commands: Vec<Command>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// First command of a new cluster. Ignored when it has an id already.
    Found { cluster_id: Uuid },
    /// A change of apps: accepted as a whole or refused as a whole.
    Deploy(Deploy),
    /// End a deployment where it stands.
    CancelDeployment { id: DeploymentId },
    /// Undo a deployment: end it and deploy the originals as `deployment`, forced.
    RevertDeployment { id: DeploymentId, deployment: DeploymentId },
    /// End tasks; each is replaced at once (its instance stays wanted). `wipe`: the instance goes too.
    KillTasks { tasks: Vec<TaskId>, wipe: bool, reason: KillReason },
    /// Forget an app's launch delay.
    ResetDelay { app: AppId },

    /// Tasks put on agents by the control loop. Checked again one by one; what no longer holds is dropped.
    Place(Vec<Placement>),
    /// Tasks that a deployment or a scale-down has chosen to end for good.
    Decommission { tasks: Vec<TaskId>, reason: KillReason },
    /// The running step `step` of the deployment is complete.
    CompleteStep { id: DeploymentId, step: usize },
    /// Tasks unreachable for long enough to be replaced.
    MarkInactive { tasks: Vec<TaskId> },
    /// Tasks unreachable for long enough to be forgotten.
    Expunge { tasks: Vec<TaskId> },

    /// An agent has opened a session. A `None` id asks for a new one; `key` finds it again in the outcome.
    RegisterAgent { id: Option<AgentId>, info: AgentInfo },
    /// An agent was silent for too long.
    LoseAgent { id: AgentId },
    /// An agent is not coming back: forget it. Refused while it has tasks or a session.
    ForgetAgent { id: AgentId },
    /// News of tasks from one agent. With `complete` (after a reconnect) tasks that the agent was told of
    /// and does not name are gone.
    Report { agent: AgentId, complete: bool, reports: Vec<TaskReport> },

    /// A master asks to join: gives it an id, the same one for the same `ticket`. It becomes a member of the
    /// replicated group by other means (`consensus`).
    AddMaster { info: MasterInfo, ticket: Uuid },
    /// How a master is reached, now.
    SetMaster { id: MasterId, info: MasterInfo },
    /// A master is no member any more: forget it.
    RemoveMaster { id: MasterId },
}

impl Command {
    /// About how many tasks it is: what applying it takes grows with them.
    pub fn tasks(&self) -> usize {
        match self {
            Command::KillTasks { tasks, .. }
            | Command::Decommission { tasks, .. }
            | Command::MarkInactive { tasks }
            | Command::Expunge { tasks } => tasks.len(),
            Command::Place(placements) => placements.len(),
            Command::Report { reports, .. } => reports.len(),
            Command::Deploy(deploy) => deploy.kill.len(),
            _ => 0,
        }
    }
}

/// A change of apps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deploy {
    /// Id of the deployment that carries it out.
    pub id: DeploymentId,
    /// Cancel conflicting deployments instead of refusing.
    pub force: bool,
    /// New definitions, normalised and valid; version and service ports are assigned by `apply`.
    pub put: Vec<PutApp>,
    /// Apps to remove.
    pub remove: Vec<AppId>,
    /// Apps to restart with their definition unchanged.
    pub restart: Vec<AppId>,
    /// "Kill and scale": end these for good, `instances` going down with them.
    pub kill: Vec<TaskId>,
    /// Service ports that are 0 are assigned from here (`features.service_ports`): first, last.
    pub service_ports: (u16, u16),
}

impl Deploy {
    /// A change of nothing, for struct update syntax: `Deploy { put, ..Deploy::new(id) }`.
    pub fn new(id: DeploymentId) -> Self {
        Self {
            id,
            force: false,
            put: Vec::new(),
            remove: Vec::new(),
            restart: Vec::new(),
            kill: Vec::new(),
            service_ports: SERVICE_PORTS,
        }
    }
}

/// Marathon's `--local_port_min` and `--local_port_max`.
pub const SERVICE_PORTS: (u16, u16) = (10_000, 20_000);

/// One new definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PutApp {
    /// The definition.
    pub app: StoredApp,
    /// What it was computed from; anything else is [`Refusal::Changed`], and the caller looks again.
    pub expect: Expect,
}

/// What a new definition replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// The app must not exist.
    Absent,
    /// The app must exist in this version.
    Version(Timestamp),
}

/// One task to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The app, in the version the decision was made for.
    pub app: AppId,
    /// A version other than the current one is refused.
    pub version: Timestamp,
    /// Where.
    pub agent: AgentId,
    /// Host ports, for each declared port that gets one, in order.
    pub host_ports: Vec<u16>,
}

/// Why a task is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KillReason {
    /// A user asked.
    Asked,
    /// More tasks than wanted.
    Surplus,
    /// Replaced by a newer definition.
    Outdated,
    /// The app is removed.
    Removed,
    /// Its health check failed too often.
    Unhealthy,
    /// It did not start in time.
    Overdue,
    /// Its agent came back after it was replaced.
    Returned,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Done (possibly nothing to do).
    Done,
    /// A deployment was accepted.
    Deployed { id: DeploymentId, version: Timestamp },
    /// An agent has its id.
    Registered { id: AgentId },
    /// A master has its id.
    MasterAdded { id: MasterId },
    /// Nothing changed.
    Refused(Refusal),
}

/// Why a command changed nothing. The API says each in Marathon's words and status (reference section 3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("An app with id [{0}] already exists.")]
    AppExists(AppId),
    #[error("App '{0}' does not exist")]
    NoApp(AppId),
    #[error("App '{0}' has changed meanwhile")]
    Changed(AppId),
    #[error("App is locked by one or more deployments.")]
    Locked(Vec<DeploymentId>),
    #[error("Max number ({0}) of running deployments is achieved.")]
    TooManyDeployments(usize),
    #[error("DeploymentPlan {0} does not exist")]
    NoDeployment(DeploymentId),
    #[error("Task '{0}' does not exist")]
    NoTask(TaskId),
    #[error("Agent '{0}' does not exist")]
    NoAgent(AgentId),
    #[error("Agent '{0}' still has tasks or a session")]
    AgentBusy(AgentId),
    #[error("{0}")]
    Invalid(spec::Violations),
    #[error("All ports in the range [{0}-{1}) are already in use")]
    NoServicePort(u16, u32),
    #[error("Master {0} does not exist")]
    NoMaster(MasterId),
    #[error("There are {0} masters already; remove those that are gone")]
    TooManyMasters(usize),
}
