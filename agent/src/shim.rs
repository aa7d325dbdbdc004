//! The parent of one process task: starts it, waits for it, writes down how it ended.
//!
//! A hidden verb of the program (`clusterctl shim --spec FILE`), a process per task. It outlives the agent
//! and is all that must stay alive for an exit code to be known; so it has one thread, holds no file open
//! and decides nothing.

mod confine;
mod watch;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::runtime::process::files::{self, SPEC, Spec};

/// What the shim says on its standard output once the task runs. Anything else is why it does not.
pub const READY: &str = "ready";

/// Runs one task, in a process that has left the caller's. Must be called before the program starts any
/// thread. `args` come after the verb: `--spec FILE`.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    match prepare(args).and_then(|(directory, spec)| leave(&directory, &spec)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn prepare(mut args: impl Iterator<Item = OsString>) -> Result<(PathBuf, Spec), String> {
    let (Some(option), Some(path), None) = (args.next(), args.next(), args.next()) else {
        return Err("usage: shim --spec FILE (started by the agent, for one task)".to_owned());
    };
    let path = PathBuf::from(path);
    let directory = path.parent().filter(|_| option == "--spec" && path.ends_with(SPEC));
    let directory = directory.ok_or_else(|| format!("expected --spec DIRECTORY/{SPEC}"))?;
    match files::read(directory, SPEC) {
        Ok(Some(spec)) => Ok((directory.to_owned(), spec)),
        Ok(None) => Err(format!("{} does not exist", path.display())),
        Err(error) => Err(error.to_string()),
    }
}

/// Forks, so that the task's parent is a child of init from the start and the agent has nothing to reap.
fn leave(directory: &Path, spec: &Spec) -> Result<(), String> {
    let threads = fs::read_dir("/proc/self/task").map_err(|error| error.to_string())?.count();
    if threads != 1 {
        return Err(format!("the shim was started with {threads} threads"));
    }
    // SAFETY: with one thread the child is a complete copy, no lock is held by anybody else.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error().to_string()),
        0 => {
            watch::run(directory, spec);
            Ok(())
        }
        _ => Ok(()),
    }
}
