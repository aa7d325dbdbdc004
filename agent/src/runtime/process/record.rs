//! One task on disk, and what its files together with the processes of the machine mean.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Signal as Unix, kill_process, kill_process_group};
use spec::ids::TaskId;

use super::files::{self, EXIT, Ended, SPEC, STARTED, Spec, Started};
use super::{failed, group_name};
use crate::runtime::cgroup::Group;
use crate::runtime::clock::now;
use crate::runtime::{Exit, RuntimeError, Status};

/// How long a shim may take to write down a killed task's end. It kills what is left for five seconds.
const SHIM_END_MAX: Duration = Duration::from_secs(8);
const STEP: Duration = Duration::from_millis(2);

/// The directory of one task.
#[derive(Clone, Debug)]
pub(super) struct Record {
    directory: PathBuf,
    boot_id: String,
}

impl Record {
    pub(super) fn new(directory: PathBuf, boot_id: &str) -> Self {
        Self { directory, boot_id: boot_id.to_owned() }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What to run; `None` when there is no such task.
    pub(super) fn spec(&self) -> Result<Option<Spec>, RuntimeError> {
        files::read(&self.directory, SPEC).map_err(|error| failed("reading the task", &error))
    }

    /// What was started.
    pub(super) fn started(&self) -> Result<Option<Started>, RuntimeError> {
        files::read(&self.directory, STARTED).map_err(|error| failed("reading the task", &error))
    }

    /// Whether it runs. The shim is looked at before its last file: one that has ended has written it.
    pub(super) fn status(&self, spec: &Spec) -> Result<(Option<Started>, Status), RuntimeError> {
        let started = self.started()?;
        let watched = started.as_ref().is_some_and(|started| started.is_watched(&self.boot_id));
        let ended: Option<Ended> =
            files::read(&self.directory, EXIT).map_err(|error| failed("reading the task", &error))?;
        let status = match (&started, ended) {
            (_, Some(ended)) => Status::Exited(ended.into()),
            (None, None) => Status::Created,
            (Some(_), None) if watched => Status::Running,
            (Some(started), None) => Status::Exited(self.conclude(spec, started)),
        };
        Ok((started, status))
    }

    /// The shim is gone without a word: ends what is left of the task and writes down what is known, so
    /// that the answer stays the same.
    fn conclude(&self, spec: &Spec, started: &Started) -> Exit {
        let message = if started.boot_id == self.boot_id {
            kill(spec, started);
            "Command ended, its status is not known: the process that watched it was killed"
        } else {
            "Command ended when the machine was restarted"
        };
        let exit = Exit { message: message.to_owned(), at: Some(now()), ..Exit::default() };
        if let Err(error) = files::write(&self.directory, EXIT, &Ended::from(exit.clone())) {
            tracing::warn!(task = %spec.task, %error, "cannot write down the end of a task");
        }
        exit
    }

    /// Ends the task if it runs, then removes its group and its directory.
    pub(super) fn remove(&self, task: &TaskId) -> Result<(), RuntimeError> {
        let group = Group::new(group_name(task));
        if let Some(started) = self.started()?.filter(|started| started.boot_id == self.boot_id) {
            group.kill_all();
            kill_group_of(&started);
            end_shim(&started);
        }
        if !group.kill_all() {
            return Err(RuntimeError::Failed(format!("processes of {task} do not die")));
        }
        group.remove();
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing the task", &error)),
            _ => Ok(()),
        }
    }
}

/// Waits for the shim of a task that was just killed; kills one that hangs.
fn end_shim(started: &Started) {
    let deadline = Instant::now() + SHIM_END_MAX;
    while started.shim.is_alive() {
        if Instant::now() > deadline
            && let Some(pid) = started.shim.raw()
        {
            let _gone_already = kill_process(pid, Unix::KILL);
        }
        sleep(STEP);
        if Instant::now() > deadline + STEP * 100 {
            return;
        }
    }
}

/// Asks the task to end.
pub(super) fn terminate(started: &Started) {
    signal_group(started, Unix::TERM);
}

/// Ends everything that belongs to the task.
pub(super) fn kill(spec: &Spec, started: &Started) {
    match &spec.group {
        Some(group) => drop(Group::new(group).kill_all()),
        None => kill_group_of(started),
    }
}

/// Without a control group: the process group. Who left it is killed by the shim, its subreaper.
fn kill_group_of(started: &Started) {
    signal_group(started, Unix::KILL);
}

/// The group's number cannot be another's while its first process is there.
fn signal_group(started: &Started, signal: Unix) {
    if let (true, Some(pid)) = (started.process.is_alive(), started.process.raw()) {
        let _gone_already = kill_process_group(pid, signal);
    }
}
