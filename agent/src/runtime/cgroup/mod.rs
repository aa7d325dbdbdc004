//! One control group of the kernel, on v1 and v2: limits, use, the out-of-memory counter, killing all in
//! it. Plain blocking calls on a virtual file system, each of microseconds; the shim uses them too.

mod limits;
mod parse;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub use limits::Limits;

const ROOT: &str = "/sys/fs/cgroup";
/// `CGROUP2_SUPER_MAGIC`: the whole of [`ROOT`] is the unified hierarchy.
const CGROUP2_MAGIC: i64 = 0x6367_7270;
/// Hierarchies of v1 that a group lives in. `systemd` holds no resource: being there takes the group out
/// of the agent's own service, whose stop would otherwise kill it.
const V1_HIERARCHIES: [&str; 6] = ["memory", "cpu", "cpuacct", "freezer", "systemd", "unified"];
/// What a group needs of v2.
const V2_CONTROLLERS: &str = "+cpu +memory";
/// Freezing usually takes a millisecond; a process in uninterruptible sleep is killed unfrozen.
const FREEZE_MAX: Duration = Duration::from_millis(500);
/// From SIGKILL to an empty group. More only when the kernel itself hangs.
const EMPTY_MAX: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(2);

/// Which interface the kernel offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy per controller.
    V1,
    /// One hierarchy.
    V2,
}

static VERSION: LazyLock<Version> = LazyLock::new(|| match rustix::fs::statfs(ROOT) {
    Ok(stat) if stat.f_type == CGROUP2_MAGIC => Version::V2,
    _ => Version::V1,
});

/// CPU used since the group was made, and memory in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Nanoseconds of CPU.
    pub cpu_nanos: u64,
    /// Bytes that cannot be dropped at once: without the inactive file cache, as Docker and Kubernetes
    /// count a working set.
    pub mem_bytes: u64,
}

/// A group by its path below the root of the hierarchies, such as `gantry/<task>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    name: String,
    version: Version,
}

impl Group {
    /// The group of this name, whether it exists or not.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), version: *VERSION }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the group with its limits; leaves nothing behind when that fails.
    pub fn create(&self, limits: &Limits) -> io::Result<()> {
        self.make(limits).inspect_err(|_| self.remove())
    }

    fn make(&self, limits: &Limits) -> io::Result<()> {
        if self.version == Version::V2 {
            enable_controllers(Path::new(&self.name))?;
        }
        for directory in self.directories() {
            fs::create_dir_all(&directory).map_err(|error| named(&directory, error))?;
        }
        for (hierarchy, file, value) in limits.writes(self.version) {
            let path = self.directory(hierarchy).join(file);
            fs::write(&path, value).map_err(|error| named(&path, error))?;
        }
        Ok(())
    }

    /// Files to write `0` to, in order to enter the group.
    pub fn entrances(&self) -> Vec<PathBuf> {
        self.directories().into_iter().map(|directory| directory.join("cgroup.procs")).collect()
    }

    /// Does it exist?
    pub fn exists(&self) -> bool {
        self.directory("memory").is_dir()
    }

    /// Its use now; `None` when it does not exist.
    pub fn reading(&self) -> Option<Reading> {
        let (cpu, mem, inactive) = match self.version {
            Version::V1 => (
                self.read("cpuacct", "cpuacct.usage").and_then(|text| parse::number(&text))?,
                self.read("memory", "memory.usage_in_bytes").and_then(|text| parse::number(&text))?,
                self.read("memory", "memory.stat")
                    .and_then(|text| parse::field(&text, "total_inactive_file")),
            ),
            Version::V2 => (
                self.read("", "cpu.stat")
                    .and_then(|text| parse::field(&text, "usage_usec"))?
                    .saturating_mul(1000),
                self.read("", "memory.current").and_then(|text| parse::number(&text))?,
                self.read("", "memory.stat").and_then(|text| parse::field(&text, "inactive_file")),
            ),
        };
        Some(Reading { cpu_nanos: cpu, mem_bytes: mem.saturating_sub(inactive.unwrap_or_default()) })
    }

    /// How many of its processes the kernel has killed for memory. An exit status alone does not say:
    /// a shell lives on when its child was the one.
    pub fn oom_kills(&self) -> u64 {
        let file = match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        self.read("memory", file).and_then(|text| parse::field(&text, "oom_kill")).unwrap_or_default()
    }

    /// Processes in it now.
    pub fn pids(&self) -> Vec<i32> {
        let hierarchy = if self.directory("freezer").is_dir() { "freezer" } else { "memory" };
        let text = self.read(hierarchy, "cgroup.procs").unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
    }

    /// Kills everything in it, so that nothing escapes by forking, and waits until it is empty. `false`
    /// when something is left.
    pub fn kill_all(&self) -> bool {
        let deadline = Instant::now() + EMPTY_MAX;
        while !self.pids().is_empty() {
            if Instant::now() > deadline {
                return false;
            }
            self.kill_once();
            sleep(STEP);
        }
        true
    }

    fn kill_once(&self) {
        if self.version == Version::V2 && self.write("", "cgroup.kill", "1").is_ok() {
            return;
        }
        // Frozen processes cannot fork while they are killed one by one.
        let frozen = self.freeze(true);
        for pid in self.pids() {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _gone_already = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        if frozen {
            self.freeze(false);
        }
    }

    /// Freezes or thaws; `true` when the kernel took the order.
    fn freeze(&self, freeze: bool) -> bool {
        let (file, value, state) = match (self.version, freeze) {
            (Version::V1, true) => ("freezer.state", "FROZEN", "FROZEN"),
            (Version::V1, false) => ("freezer.state", "THAWED", ""),
            (Version::V2, true) => ("cgroup.freeze", "1", "frozen 1"),
            (Version::V2, false) => ("cgroup.freeze", "0", ""),
        };
        if self.write("freezer", file, value).is_err() {
            return false;
        }
        let report = if self.version == Version::V1 { "freezer.state" } else { "cgroup.events" };
        let deadline = Instant::now() + FREEZE_MAX;
        while !self.read("freezer", report).is_some_and(|text| text.contains(state))
            && Instant::now() < deadline
        {
            sleep(STEP);
        }
        true
    }

    /// Removes the empty group; what still holds it stays.
    pub fn remove(&self) {
        for directory in self.directories() {
            let _absent_or_busy = fs::remove_dir(&directory);
        }
    }

    /// Its directories, in the hierarchies that this kernel has mounted.
    fn directories(&self) -> Vec<PathBuf> {
        match self.version {
            Version::V2 => vec![self.directory("")],
            Version::V1 => V1_HIERARCHIES
                .iter()
                .filter(|hierarchy| Path::new(ROOT).join(hierarchy).is_dir())
                .map(|hierarchy| self.directory(hierarchy))
                .collect(),
        }
    }

    /// On v2 there is one directory, whatever the controller.
    fn directory(&self, hierarchy: &str) -> PathBuf {
        match self.version {
            Version::V1 => Path::new(ROOT).join(hierarchy).join(&self.name),
            Version::V2 => Path::new(ROOT).join(&self.name),
        }
    }

    fn read(&self, hierarchy: &str, file: &str) -> Option<String> {
        fs::read_to_string(self.directory(hierarchy).join(file)).ok()
    }

    fn write(&self, hierarchy: &str, file: &str, value: &str) -> io::Result<()> {
        fs::write(self.directory(hierarchy).join(file), value)
    }
}

/// On v2 a controller works in a group when all above it pass it on.
fn enable_controllers(name: &Path) -> io::Result<()> {
    let above: Vec<_> = name.ancestors().skip(1).collect();
    for ancestor in above.into_iter().rev() {
        let directory = Path::new(ROOT).join(ancestor);
        fs::create_dir_all(&directory).map_err(|error| named(&directory, error))?;
        let path = directory.join("cgroup.subtree_control");
        fs::write(&path, V2_CONTROLLERS).map_err(|error| named(&path, error))?;
    }
    Ok(())
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
