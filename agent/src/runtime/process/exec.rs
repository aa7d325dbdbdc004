//! Commands in the surroundings of a task (COMMAND health checks): its directory, environment, user,
//! control group and view of mounts.

use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};

use super::files::{Spec, Started};
use super::identity::Identity;
use crate::runtime::RuntimeError;
use crate::runtime::cgroup::Group;

/// What one writes to enter a control group.
const MYSELF: &CStr = c"0";

/// Runs a shell command and returns its exit code. When the future is dropped, the command and what it
/// started are killed.
pub(super) async fn run(spec: &Spec, started: &Started, command: &str) -> Result<i32, RuntimeError> {
    let entry = Entry::open(spec, started).map_err(|error| failed(&error))?;
    let mut shell = std::process::Command::new("/bin/sh");
    shell
        .args(["-c", command])
        .env_clear()
        .envs(&spec.env)
        .current_dir(&spec.sandbox)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY: `enter` makes system calls only, on what was opened before the fork.
    unsafe {
        shell.pre_exec(move || entry.enter());
    }
    let mut child = tokio::process::Command::from(shell).spawn().map_err(|error| failed(&error))?;
    let mut guard = KillOnDrop(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let status = child.wait().await.map_err(|error| failed(&error))?;
    guard.0 = None;
    Ok(status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(-1))
}

fn failed(error: &io::Error) -> RuntimeError {
    RuntimeError::Failed(format!("the command could not be run: {error}"))
}

/// All that takes memory or names, made ready before the fork.
struct Entry {
    entrances: Vec<File>,
    mounts: Option<File>,
    sandbox: CString,
    identity: Option<Identity>,
}

impl Entry {
    fn open(spec: &Spec, started: &Started) -> io::Result<Self> {
        let paths = spec.group.as_ref().map(|name| Group::new(name).entrances()).unwrap_or_default();
        let entrances = paths.iter().map(|path| OpenOptions::new().write(true).open(path));
        let mounts =
            (!spec.mounts.is_empty()).then(|| File::open(format!("/proc/{}/ns/mnt", started.process.pid)));
        Ok(Self {
            entrances: entrances.collect::<io::Result<_>>()?,
            mounts: mounts.transpose()?,
            sandbox: CString::new(spec.sandbox.as_os_str().as_bytes())?,
            identity: spec.identity.clone().filter(|identity| !identity.is_current()),
        })
    }

    /// Between fork and exec.
    fn enter(&self) -> io::Result<()> {
        rustix::process::setsid()?;
        for entrance in &self.entrances {
            rustix::io::write(entrance, MYSELF.to_bytes())?;
        }
        if let Some(mounts) = &self.mounts {
            // SAFETY: an open descriptor and a constant.
            if unsafe { libc::setns(mounts.as_raw_fd(), libc::CLONE_NEWNS) } != 0 {
                return Err(io::Error::last_os_error());
            }
            // Entering leads to the root directory.
            rustix::process::chdir(self.sandbox.as_c_str())?;
        }
        self.identity.as_ref().map_or(Ok(()), Identity::assume)
    }
}

/// Kills the command's process group.
struct KillOnDrop(Option<Pid>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _gone_already = kill_process_group(pid, Signal::KILL);
        }
    }
}
