//! Tasks as the machine has them, not as the cluster says: processes by their environment, in a house where
//! `/proc` shows nothing else.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What tells a task's process.
const VARIABLE: &[u8] = b"MESOS_TASK_ID=";

/// Numbers of all processes.
fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The task of a process; none when it is no task's, or ended.
fn task_of(pid: u32) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(VARIABLE))?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// Processes of every task that runs.
pub fn running() -> BTreeMap<String, Vec<u32>> {
    let mut tasks: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for pid in pids() {
        if let Some(task) = task_of(pid) {
            tasks.entry(task).or_default().push(pid);
        }
    }
    tasks
}

/// Processes in the network namespace of this name.
pub fn processes_of_network(name: &Path) -> anyhow::Result<Vec<u32>> {
    let wanted = std::fs::metadata(name)?;
    let is_there = |pid: &u32| {
        let found = std::fs::metadata(format!("/proc/{pid}/ns/net"));
        found.is_ok_and(|found| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino()))
    };
    // A zombie has no namespace any more.
    Ok(pids().filter(is_there).collect())
}

/// Every process of this house but the given one, by its command line.
pub fn others(own: u32) -> Vec<String> {
    let shown = |pid: u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        // A zombie has no command line.
        (!line.is_empty()).then(|| format!("{pid} {}", words.collect::<Vec<_>>().join(" ").trim_end()))
    };
    pids().filter(|pid| *pid != own && *pid != 1).filter_map(shown).collect()
}
