//! A house of one's own for a cluster of processes: namespaces for processes, mounts and network, made by
//! running this program again inside. The machine's own network is not touched, `/proc` shows nothing but the
//! cluster, and whatever happens to the program, the kernel ends all that is inside with it.
//!
//! What is left then are empty control groups and a scratch directory; both carry this module's names, and the
//! next house removes them.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::{docker, stop};

/// Set inside; its value is the scratch directory.
const INSIDE: &str = "GANTRY_HOUSE";
/// Scratch directories are called so, and the process that made them.
const PREFIX: &str = "gantry-house-";
/// Apps in a house begin with this, and so do their control groups.
pub const APPS: &str = "gantry-house";
/// Time to end in order before everything is killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The scratch directory, if this process is inside.
pub fn inside() -> Option<PathBuf> {
    std::env::var_os(INSIDE).map(PathBuf::from)
}

/// Runs this program once more, with these arguments, in a house of its own.
pub fn enter(args: &[OsString]) -> anyhow::Result<ExitStatus> {
    if !docker::is_root() {
        bail!("cutting networks takes namespaces, and making these takes root: run this as root");
    }
    let missing: Vec<&str> =
        ["unshare", "nsenter", "ip", "tc"].into_iter().filter(|name| docker::which(name).is_none()).collect();
    if !missing.is_empty() {
        bail!("{} not found: install util-linux and iproute2", missing.join(", "));
    }
    sweep();
    let scratch = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
    std::fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    stop::catch();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    // The shell is the first process inside: it takes in orphans and waits for them.
    command.args(["sh", "-c", "\"$0\" \"$@\"; exit $?"]).arg(std::env::current_exe()?).args(args);
    let child = command.env(INSIDE, &scratch).stdin(Stdio::piped()).spawn().context("cannot run unshare")?;
    let status = wait(child)?;
    let _ = std::fs::remove_dir_all(&scratch);
    sweep();
    Ok(status)
}

/// Whoever is inside ends in order when its standard input does, so also when this program is killed.
fn wait(mut child: Child) -> anyhow::Result<ExitStatus> {
    let mut deadline = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if stop::asked() && deadline.is_none() {
            deadline = Some(Instant::now() + PATIENCE);
            drop(child.stdin.take());
        }
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Inside: from now on the end of the standard input, like Ctrl-C, raises the flag of [`stop`].
pub fn settle_in() -> anyhow::Result<()> {
    stop::catch();
    std::thread::spawn(|| {
        let mut stdin = std::io::stdin();
        let mut bytes = [0; 64];
        while stdin.read(&mut bytes).is_ok_and(|read| read > 0) {}
        stop::ask();
    });
    // Names of networks are mounts in a directory: one that only this house sees.
    std::fs::create_dir_all("/run/netns").context("cannot create /run/netns")?;
    crate::cargo::must(Command::new("mount").args(["-t", "tmpfs", "gantry-house", "/run/netns"]))
}

/// Removes what houses left behind whose process is gone.
fn sweep() {
    for entry in entries(&std::env::temp_dir()) {
        let owner =
            entry.file_name().and_then(|name| name.to_str()?.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner.to_string()).exists()) {
            let _ = std::fs::remove_dir_all(entry);
        }
    }
    // A group that still holds a process cannot be removed, so another house keeps its own.
    let roots = entries(Path::new("/sys/fs/cgroup")).into_iter().chain([PathBuf::from("/sys/fs/cgroup")]);
    for group in roots.flat_map(|root| entries(&root.join("gantry"))) {
        if group.file_name().is_some_and(|name| name.to_string_lossy().starts_with(APPS)) {
            let _ = std::fs::remove_dir(group);
        }
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
