//! Starting and ending tasks: the trait that the agent's node drives, and its kinds.
//!
//! A runtime knows nothing of leaders or what is wanted. It is told to launch, signal, and remove, and
//! it can list what exists: tasks outlive the agent, and are found again by what the runtime left on disk
//! or on the containers (labels).

pub mod cgroup;
pub mod clock;
pub mod docker;
pub mod hollow;
pub mod key;
pub mod locks;
pub mod meter;
pub mod process;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use spec::app::App;
use spec::ids::{AgentId, TaskId};
use spec::protocol::{LogFile, Measured};
use spec::time::Timestamp;

/// Everything needed to start one task.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The task.
    pub task: TaskId,
    /// Its definition.
    pub app: Arc<App>,
    /// Allocated host ports, in the order of the app's declared ports that get one.
    pub host_ports: Vec<u16>,
    /// The complete environment, computed by `environment`, `MESOS_SANDBOX` included.
    pub env: BTreeMap<String, String>,
    /// This agent.
    pub agent: AgentId,
    /// Directory for the task's files on the host; exists, with fetched artifacts in it. Process tasks
    /// run in it and write `stdout` and `stderr` there; containers see it as `/mnt/mesos/sandbox`.
    pub sandbox: PathBuf,
    /// Resolvers for the task: (for host-network tasks and processes, for bridge-network containers).
    pub resolvers: Resolvers,
}

/// Which DNS server a task is given, by its network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolvers {
    /// Reached from the host's network. `None`: the machine's own resolv.conf stays.
    pub host: Option<IpAddr>,
    /// Reached from Docker's default bridge.
    pub bridge: Option<IpAddr>,
}

/// A task that a runtime found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The task.
    pub task: TaskId,
    /// What it is doing.
    pub status: Status,
    /// When it was started, if it was.
    pub started_at: Option<Timestamp>,
    /// Its own addresses; empty means the agent's.
    pub addresses: Vec<IpAddr>,
    /// Stable name of the thing behind it: container id, or `pid@starttime`.
    pub handle: String,
}

/// What a task's container or process is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// Created, never started.
    Created,
    /// Up.
    Running,
    /// Ended.
    Exited(Exit),
}

/// How a task ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Exit code, 128 + n for a signal; `None` when it is not known.
    pub code: Option<i32>,
    /// Killed for using more memory than its limit.
    pub out_of_memory: bool,
    /// A sentence for people.
    pub message: String,
    /// When, if known.
    pub at: Option<Timestamp>,
}

/// A signal that the agent sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Asks the task to end.
    Term,
    /// Ends it.
    Kill,
}

/// Why a runtime did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The definition cannot run here, now or ever: the task ends as `TASK_ERROR`.
    #[error("{0}")]
    Unsupported(String),
    /// Starting failed: the task ends as `TASK_FAILED` and is tried again after its back-off.
    #[error("{0}")]
    Failed(String),
    /// The thing behind the runtime does not answer (Docker is down): tried again by the agent.
    #[error("{0}")]
    Unavailable(String),
    /// No such task.
    #[error("no such task")]
    NotFound,
}

/// A log as it is read: parts in order, an error last if any.
pub type LogStream = Pin<Box<dyn Stream<Item = Result<Bytes, RuntimeError>> + Send>>;

/// Says what a launch is doing, for the task's status message ("pulling image nginx:1.25").
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// One way of running tasks. Calls for one task never overlap, except `wait`, `log`, `usage` and `exec`.
#[async_trait]
pub trait Runtime: Send + Sync + std::fmt::Debug {
    /// `docker`, `process` or `hollow`.
    fn name(&self) -> &'static str;

    /// Every task of this agent that exists, running or ended and not yet removed.
    async fn list(&self) -> Result<Vec<Found>, RuntimeError>;

    /// Starts a task; returns when it is up. Cleans up after itself when it fails. Dropping the future
    /// (a kill while an image is being pulled) must leave nothing that `remove` does not clean up.
    async fn launch(&self, launch: &Launch, progress: Progress) -> Result<Found, RuntimeError>;

    /// Waits until the task has ended; at once if it has.
    async fn wait(&self, task: &TaskId) -> Result<Exit, RuntimeError>;

    /// Where all ends come together, if there is such a place: then nobody has to wait for each.
    fn ends(&self) -> Option<&dyn Ends> {
        None
    }

    /// Signals a task; `Ok` when it has already ended.
    async fn signal(&self, task: &TaskId, signal: Signal) -> Result<(), RuntimeError>;

    /// Removes every trace but the sandbox, ending the task if it still runs. `Ok` when there is none.
    async fn remove(&self, task: &TaskId) -> Result<(), RuntimeError>;

    /// Measured use of the running ones among `tasks`.
    async fn usage(&self, tasks: &[TaskId]) -> Vec<(TaskId, Measured)>;

    /// Does every task use the same for as long as it runs, and the machine what they use together?
    fn uses_constantly(&self) -> bool {
        false
    }

    /// Runs a shell command in the task's surroundings and returns its exit code.
    async fn exec(&self, task: &TaskId, command: &str) -> Result<i32, RuntimeError>;

    /// Reads a task's log.
    async fn log(
        &self,
        task: &TaskId,
        file: LogFile,
        tail_lines: Option<u32>,
        follow: bool,
    ) -> Result<LogStream, RuntimeError>;
}

/// The ends of all tasks of a runtime in one place. One at a time may listen.
#[async_trait]
pub trait Ends: Send + Sync {
    /// The end of this task is to be told, also when it has ended already.
    fn watch(&self, task: &TaskId);

    /// Waits for the next end of a task that is watched; each is told once.
    async fn next(&self) -> (TaskId, Exit);
}
