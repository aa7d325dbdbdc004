//! Tasks as processes of this machine, without Docker: as Mesos' own containerizer ran Marathon's `cmd`
//! apps.
//!
//! Each task has a directory `<data dir>/process/<task>/` that says what it is, that it was started and how
//! it ended; a [`shim`](crate::shim) for a parent, which outlives the agent; a control group for its limits
//! and its end. The agent keeps nothing in memory that it could not read again.

mod exec;
pub mod files;
pub mod identity;
mod launch;
pub mod proc;
mod record;
mod spawn;
mod watch;

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use spec::ids::TaskId;
use spec::protocol::{LogFile, Measured};

use self::record::Record;
pub use self::spawn::ShimCommand;
use super::cgroup::{Group, Limits, Reading};
use super::key::task_key;
use super::locks::TaskLocks;
use super::meter::Meter;
use super::{Exit, Found, Launch, LogStream, Progress, Runtime, RuntimeError, Signal, Status};
use crate::sandbox;

/// Control group of the shims: apart from the agent's service, whose stop must not end them.
pub const SHIMS_GROUP: &str = "gantry/shims";

/// Control group of one task.
pub fn group_name(task: &TaskId) -> String {
    format!("gantry/{}", task_key(task))
}

/// The runtime of one agent.
#[derive(Debug)]
pub struct Process {
    directory: PathBuf,
    shim: ShimCommand,
    boot_id: String,
    /// Can this process make control groups?
    groups: bool,
    told_of_no_groups: AtomicBool,
    locks: TaskLocks,
    meter: Meter,
}

impl Process {
    /// The runtime of the agent with this data directory.
    pub fn open(data_dir: &Path, shim: ShimCommand) -> io::Result<Self> {
        let directory = data_dir.join("process");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        Ok(Self {
            directory,
            shim,
            boot_id: proc::boot_id()?,
            groups: can_make_groups(),
            told_of_no_groups: AtomicBool::new(false),
            locks: TaskLocks::default(),
            meter: Meter::default(),
        })
    }

    /// What is on disk of a task.
    fn record(&self, task: &TaskId) -> Record {
        Record::new(self.directory.join(task_key(task)), &self.boot_id)
    }

    /// Says once that tasks run without limits.
    fn tell_of_no_groups(&self, progress: &Progress) {
        if !self.groups && !self.told_of_no_groups.swap(true, Ordering::Relaxed) {
            tracing::warn!("no rights to make control groups: tasks run without CPU and memory limits");
            progress("running without CPU and memory limits: the agent may not make control groups");
        }
    }
}

/// What a task on disk is; `None` when there is none.
fn find(record: &Record) -> Result<Option<Found>, RuntimeError> {
    let Some(spec) = record.spec()? else {
        return Ok(None);
    };
    let (started, status) = record.status(&spec)?;
    let handle = started.as_ref().map(|started| format!("{}@{}", started.process.pid, started.process.start));
    Ok(Some(Found {
        task: spec.task,
        status,
        started_at: started.map(|started| started.at),
        addresses: Vec::new(),
        handle: handle.unwrap_or_default(),
    }))
}

fn find_all(directory: &Path, boot_id: &str) -> Result<Vec<Found>, RuntimeError> {
    let entries = std::fs::read_dir(directory).map_err(|error| failed("listing tasks", &error))?;
    let mut found = Vec::new();
    for entry in entries.flatten() {
        match find(&Record::new(entry.path(), boot_id)) {
            Ok(one) => found.extend(one),
            // One unreadable task must not hide the others.
            Err(error) => {
                tracing::warn!(path = %entry.path().display(), %error, "cannot read a task")
            }
        }
    }
    Ok(found)
}

/// Making one is the only answer that counts: rights, namespaces and read-only mounts all have a say.
fn can_make_groups() -> bool {
    let probe = Group::new(format!("gantry/probe-{}", std::process::id()));
    let result = probe.create(&Limits::NONE);
    probe.remove();
    result.inspect_err(|error| tracing::debug!(%error, "no control groups")).is_ok()
}

/// Runs what blocks (files, waiting for processes to die) off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RuntimeError> + Send + 'static,
) -> Result<T, RuntimeError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| RuntimeError::Failed(error.to_string()))?
}

fn failed(what: &str, error: &io::Error) -> RuntimeError {
    RuntimeError::Failed(format!("{what}: {error}"))
}

#[async_trait]
impl Runtime for Process {
    fn name(&self) -> &'static str {
        "process"
    }

    async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        let (directory, boot_id) = (self.directory.clone(), self.boot_id.clone());
        blocking(move || find_all(&directory, &boot_id)).await
    }

    async fn launch(&self, launch: &Launch, progress: Progress) -> Result<Found, RuntimeError> {
        self.tell_of_no_groups(&progress);
        let record = self.record(&launch.task);
        let guard = self.locks.hold(&launch.task).await;
        let plan = launch::plan(launch, self.groups, record.directory())?;
        let shim = self.shim.clone();
        // Of its own, so that a caller who loses interest leaves nothing half done: `remove` waits for it.
        let step = tokio::spawn(async move {
            let _until_done = guard;
            launch::carry_out(record, plan, shim).await
        });
        let record = step.await.map_err(|error| RuntimeError::Failed(error.to_string()))??;
        blocking(move || find(&record)).await?.ok_or(RuntimeError::NotFound)
    }

    async fn wait(&self, task: &TaskId) -> Result<Exit, RuntimeError> {
        let record = self.record(task);
        loop {
            let look = record.clone();
            let looked = blocking(move || look.spec()?.map(|spec| look.status(&spec)).transpose()).await?;
            match looked.ok_or(RuntimeError::NotFound)? {
                (_, Status::Exited(exit)) => return Ok(exit),
                (Some(started), _) => watch::until_dead(started.shim).await,
                (None, _) => {
                    let message = "Command was never started".to_owned();
                    return Ok(Exit { message, ..Exit::default() });
                }
            }
        }
    }

    /// `Term` goes to the task's process group, as Mesos' executor does; `Kill` to all of it.
    async fn signal(&self, task: &TaskId, signal: Signal) -> Result<(), RuntimeError> {
        let record = self.record(task);
        let Some(spec) = record.spec()? else {
            return Err(RuntimeError::NotFound);
        };
        match (record.status(&spec)?, signal) {
            ((Some(started), Status::Running), Signal::Term) => record::terminate(&started),
            ((Some(started), Status::Running), Signal::Kill) => {
                return blocking(move || {
                    record::kill(&spec, &started);
                    Ok(())
                })
                .await;
            }
            _ => {}
        }
        Ok(())
    }

    async fn remove(&self, task: &TaskId) -> Result<(), RuntimeError> {
        let guard = self.locks.hold(task).await;
        let record = self.record(task);
        let task = task.clone();
        blocking(move || {
            let _no_launch_meanwhile = guard;
            record.remove(&task)
        })
        .await
    }

    async fn usage(&self, tasks: &[TaskId]) -> Vec<(TaskId, Measured)> {
        let all = if self.groups { None } else { Some(proc::all()) };
        let reading = |task: &TaskId| -> Option<Reading> {
            match &all {
                None => Group::new(group_name(task)).reading(),
                Some(all) => {
                    let started = self.record(task).started().ok()??;
                    proc::reading_of_session(all, started.process.pid)
                }
            }
        };
        let readings = tasks.iter().filter_map(|task| Some((task.clone(), reading(task)?)));
        self.meter.measure(readings.collect())
    }

    async fn exec(&self, task: &TaskId, command: &str) -> Result<i32, RuntimeError> {
        let record = self.record(task);
        let Some(spec) = record.spec()? else {
            return Err(RuntimeError::NotFound);
        };
        match record.status(&spec)? {
            (Some(started), Status::Running) => exec::run(&spec, &started, command).await,
            _ => Err(RuntimeError::Failed("the task is not running".to_owned())),
        }
    }

    async fn log(
        &self,
        task: &TaskId,
        file: LogFile,
        tail_lines: Option<u32>,
        follow: bool,
    ) -> Result<LogStream, RuntimeError> {
        let record = Arc::new(self.record(task));
        let Some(spec) = record.spec()? else {
            return Err(RuntimeError::NotFound);
        };
        let sandbox = spec.sandbox.clone();
        let has_ended = move || !matches!(record.status(&spec), Ok((_, Status::Running)));
        sandbox::log::read(&sandbox, file, tail_lines, follow.then_some(Box::new(has_ended)))
            .await
            .map_err(|error| failed("opening the log", &error))
    }
}
