//! The life of a shim: start the task, say so, wait, clean up, write down the end.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, setsid, wait};
use rustix::stdio::{dup2_stderr, dup2_stdout};

use super::{READY, confine};
use crate::runtime::Exit;
use crate::runtime::cgroup::{Group, Limits};
use crate::runtime::clock::now;
use crate::runtime::process::files::{self, EXIT, Ended, FAILURE, Spec};
use crate::runtime::process::{SHIMS_GROUP, proc};

/// How long what the task left may take to die of SIGKILL.
const LEFTOVERS_MAX: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(2);
/// Everybody may read a task's output, as in Mesos' sandboxes.
const LOG_MODE: u32 = 0o644;

/// Returns when the task is over, however it went.
pub(super) fn run(directory: &Path, spec: &Spec) {
    detach();
    match start(directory, spec) {
        Ok(task) => {
            println!("{READY}");
            close_output();
            let status = reap_until(task);
            let group = spec.group.as_deref().map(Group::new);
            let exit = exit(status, group.as_ref().map_or(0, Group::oom_kills) > 0);
            end_leftovers(group.as_ref());
            // Without the file the agent says that the end is not known; there is nobody else to tell.
            let _directory_gone = files::write(directory, EXIT, &Ended::from(exit));
        }
        Err(error) => println!("{}", reason(directory, spec, &error)),
    }
}

/// The standard library brings an error of the child over by its number alone; the words are in a file.
fn reason(directory: &Path, spec: &Spec, error: &io::Error) -> String {
    match std::fs::read_to_string(directory.join(FAILURE)) {
        Ok(words) => words,
        Err(_) => format!("cannot run {}: {error}", spec.command.first().map_or("nothing", String::as_str)),
    }
}

/// Leaves the agent's session, directory, signals and control group; becomes the parent of every orphan
/// below, so that none can get away.
fn detach() {
    close_inherited();
    let _already_leading = setsid();
    let _best_effort = std::env::set_current_dir("/");
    let _since_linux_3_4 = set_child_subreaper(Some(getpid()));
    for signal in confine::IGNORED {
        // SAFETY: `SIG_IGN` is a valid disposition.
        unsafe {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
    let shelter = Group::new(SHIMS_GROUP);
    if shelter.exists() || shelter.create(&Limits::NONE).is_ok() {
        for entrance in shelter.entrances() {
            let _without_rights_it_stays = std::fs::write(entrance, "0");
        }
    }
}

/// The agent's own files close themselves on exec; what whoever started the agent left open does not, and
/// must reach neither the shim nor the task.
fn close_inherited() {
    // SAFETY: nothing of this process is open yet but the three standard streams. A kernel without the
    // call (before 5.9) refuses it.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
    }
}

fn start(directory: &Path, spec: &Spec) -> io::Result<Pid> {
    let Some((program, arguments)) = spec.command.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program"));
    };
    let entrances = confine::entrances(spec);
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(&spec.env)
        .current_dir(&spec.sandbox)
        .stdin(Stdio::null())
        .stdout(output(spec, "stdout")?)
        .stderr(output(spec, "stderr")?);
    let (directory, spec) = (directory.to_owned(), spec.clone());
    // SAFETY: this process has one thread, so its child may allocate and use files.
    unsafe {
        command.pre_exec(move || {
            confine::confine(&directory, &spec, &entrances)
                .inspect_err(|error| drop(std::fs::write(directory.join(FAILURE), error.to_string())))
        });
    }
    let child = command.spawn()?;
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("no process id"))
}

/// A log in the sandbox, which belongs to the task's user: a link there must not lead anywhere. It is only
/// appended to, so that the agent may cut it when it grows too large (`sandbox/rotate.rs`); the disk that an
/// app reserves is not enforced.
fn output(spec: &Spec, name: &str) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let path = spec.sandbox.join(name);
    let file = OpenOptions::new().append(true).create(true).mode(LOG_MODE).custom_flags(flags).open(&path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("{} is not a file", path.display())));
    }
    rustix::fs::fcntl_setfl(&file, rustix::fs::OFlags::APPEND)?;
    if let Some(identity) = spec.identity.as_ref().filter(|identity| !identity.is_current()) {
        fchown(&file, Some(identity.uid), Some(identity.gid))?;
    }
    Ok(file)
}

/// Lets the agent go: it reads the standard output to its end.
fn close_output() {
    let _reader_gone = io::stdout().flush();
    if let Ok(null) = OpenOptions::new().write(true).open("/dev/null") {
        let _best_effort = dup2_stdout(null.as_fd());
        let _best_effort = dup2_stderr(null.as_fd());
    }
}

/// Waits for the task, and for every orphan that ends before it.
fn reap_until(task: Pid) -> Option<ExitStatus> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == task => {
                return Some(ExitStatus::from_raw(status.as_raw()));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// Ends what the task left running: all in its group, then all below this process.
fn end_leftovers(group: Option<&Group>) {
    if let Some(group) = group {
        group.kill_all();
    }
    let deadline = Instant::now() + LEFTOVERS_MAX;
    while Instant::now() < deadline {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => {
                kill_descendants();
                sleep(STEP);
            }
            Err(_) => return,
        }
    }
}

fn kill_descendants() {
    for pid in proc::descendants(&proc::all(), getpid().as_raw_pid()) {
        if let Some(pid) = Pid::from_raw(pid) {
            let _gone_already = kill_process(pid, Signal::KILL);
        }
    }
}

/// In the words of Mesos' command executor.
fn exit(status: Option<ExitStatus>, out_of_memory: bool) -> Exit {
    let code = status.and_then(|status| status.code().or_else(|| Some(128 + status.signal()?)));
    let message =
        match (out_of_memory, status.and_then(|status| status.code()), status.and_then(|s| s.signal())) {
            (true, ..) => "Command used more memory than its limit and was killed".to_owned(),
            (_, Some(code), _) => format!("Command exited with status {code}"),
            (_, _, Some(signal)) => format!("Command terminated with signal {signal}"),
            _ => "Command ended, its status is not known".to_owned(),
        };
    Exit { code, out_of_memory, message, at: Some(now()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits() {
        let of = |raw: i32, oom| {
            let exit = exit(Some(ExitStatus::from_raw(raw)), oom);
            (exit.code, exit.out_of_memory, exit.message)
        };
        assert_eq!(of(3 << 8, false), (Some(3), false, "Command exited with status 3".to_owned()));
        assert_eq!(of(9, false), (Some(137), false, "Command terminated with signal 9".to_owned()));
        let (code, oom, message) = of(0, true);
        assert_eq!((code, oom), (Some(0), true));
        assert!(message.contains("memory"));
        assert_eq!(exit(None, false).code, None);
    }
}
