//! From the fork to the program: what the child does to itself before it becomes the task.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, mount_bind_recursive, mount_change, mount_remount};
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal, setsid};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::runtime::cgroup::Group;
use crate::runtime::clock::now;
use crate::runtime::process::files::{self, Mount, STARTED, Spec, Started};
use crate::runtime::process::proc::{ProcessRef, boot_id};

/// Signals that the shim ignores and the task does not.
pub(super) const IGNORED: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGPIPE];

/// The parts that need more rights than the task has come first, then the rights go. The shim has one
/// thread, so its forked child may do anything here, not only what is safe after a fork.
pub(super) fn confine(directory: &Path, spec: &Spec, entrances: &[PathBuf]) -> io::Result<()> {
    let shim = getppid();
    restore_signals();
    setsid()?;
    for entrance in entrances {
        fs::write(entrance, "0")
            .map_err(|error| during(&format!("entering {}", entrance.display()), error))?;
    }
    mount(&spec.mounts)?;
    announce(directory).map_err(|error| during("writing down the start", error))?;
    if let Some(identity) = spec.identity.as_ref().filter(|identity| !identity.is_current()) {
        identity.assume().map_err(|error| during(&format!("becoming user {}", identity.uid), error))?;
    }
    // After the change of user, which clears it. Without its shim nobody would know of the task's end.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() == shim { Ok(()) } else { Err(io::Error::other("the shim has ended")) }
}

fn restore_signals() {
    for signal in IGNORED {
        // SAFETY: the default disposition is always valid.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Mounts in a namespace of the task's own: nothing of it is seen outside.
fn mount(mounts: &[Mount]) -> io::Result<()> {
    if mounts.is_empty() {
        return Ok(());
    }
    // SAFETY: file descriptors are not unshared, only the view of mounts.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }
        .map_err(|error| during("leaving the mount namespace", error.into()))?;
    // What is mounted on the machine later still appears here, and never the other way round.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    for Mount { source, target, read_only } in mounts {
        let bind = || {
            mount_bind_recursive(source, target)?;
            if *read_only {
                mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, "")?;
            }
            Ok(())
        };
        let what = format!("mounting {} on {}", source.display(), target.display());
        bind().map_err(|error: rustix::io::Errno| during(&what, error.into()))?;
    }
    Ok(())
}

/// The task is known from here on. When its directory is gone it is not wanted any more, and this fails.
fn announce(directory: &Path) -> io::Result<()> {
    let reference = |pid: Option<rustix::process::Pid>| {
        let pid = pid.map_or(0, rustix::process::Pid::as_raw_pid);
        ProcessRef::of(pid).ok_or_else(|| io::Error::other(format!("process {pid} is not in /proc")))
    };
    let started = Started {
        shim: reference(getppid())?,
        process: reference(Some(getpid()))?,
        boot_id: boot_id()?,
        at: now(),
    };
    files::write(directory, STARTED, &started)
}

/// The files through which the task enters its control group.
pub(super) fn entrances(spec: &Spec) -> Vec<PathBuf> {
    spec.group.as_ref().map(|name| Group::new(name).entrances()).unwrap_or_default()
}

fn during(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
