//! What an agent is started with, and the text forms of its parts. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::runtime::process::ShimCommand;

/// Ports that placement may hand out unless told otherwise, as Mesos.
pub const PORTS: (u16, u16) = (31_000, 32_000);

/// Everything an agent is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the masters take agents; tried in turn until the leader answers.
    pub masters: Vec<SocketAddr>,
    /// Identity, sandboxes and what is kept about tasks. One agent a directory.
    pub data_dir: PathBuf,
    /// Where the agent's tasks are reached.
    pub ip: IpAddr,
    /// `HOST` of its tasks; the address unless given.
    pub hostname: Option<String>,
    /// Ports that placement may hand out, inclusive.
    pub ports: Vec<(u16, u16)>,
    /// What there is to hand out, where it differs from what is found.
    pub capacity: CapacityOptions,
    /// For constraints.
    pub attributes: BTreeMap<String, String>,
    /// Which runtimes to use.
    pub runtime: RuntimeChoice,
    /// The name server that tasks get.
    pub resolver: ResolverChoice,
    /// Docker's socket; `None`: `DOCKER_HOST` or the usual one.
    pub docker_socket: Option<PathBuf>,
    /// How the parent of a process task is called: a verb of this program, unless told otherwise.
    pub shim: ShimCommand,
    /// How simulated tasks behave.
    pub hollow: HollowOptions,
    /// Time between two measurements of use.
    pub usage_interval: Duration,
    /// Prefix of the port variables (Marathon's `--env_vars_prefix`).
    pub env_vars_prefix: String,
    /// On shutdown end all tasks, instead of leaving them running.
    pub kill_tasks_on_exit: bool,
}

impl Options {
    /// An agent at `ip` with everything else as usual.
    pub fn new(masters: Vec<SocketAddr>, data_dir: PathBuf, ip: IpAddr) -> Self {
        Self {
            masters,
            data_dir,
            ip,
            hostname: None,
            ports: vec![PORTS],
            capacity: CapacityOptions::default(),
            attributes: BTreeMap::new(),
            runtime: RuntimeChoice::Auto,
            resolver: ResolverChoice::Auto,
            docker_socket: None,
            shim: ShimCommand::of_this_program(),
            hollow: HollowOptions::default(),
            usage_interval: Duration::from_secs(5),
            env_vars_prefix: String::new(),
            kill_tasks_on_exit: false,
        }
    }
}

/// Capacity that is given instead of found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CapacityOptions {
    /// Cores.
    pub cpus: Option<f64>,
    /// Memory in MiB.
    pub mem_mib: Option<u64>,
    /// Disk in MiB.
    pub disk_mib: Option<u64>,
    /// GPUs; none are looked for.
    pub gpus: Option<u32>,
}

/// Which runtimes to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// Docker when it answers, and processes.
    #[default]
    Auto,
    /// Docker alone.
    Docker,
    /// Processes alone.
    Process,
    /// Nothing real.
    Hollow,
}

impl std::str::FromStr for RuntimeChoice {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        Ok(match text {
            "auto" => Self::Auto,
            "docker" => Self::Docker,
            "process" => Self::Process,
            "hollow" => Self::Hollow,
            _ => {
                return Err(OptionError(format!("'{text}' is no runtime: auto, docker, process or hollow")));
            }
        })
    }
}

/// The name server that tasks get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResolverChoice {
    /// The agent's own, on a free loopback address and on Docker's bridge.
    #[default]
    Auto,
    /// The agent's own, on port 53 of this address.
    On(IpAddr),
    /// The machine's; names of the cluster do not resolve in tasks.
    Off,
}

/// How simulated tasks behave. All of it follows from the seed and the task's id.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HollowOptions {
    /// Longest time from launch to running; each task takes a share of it.
    pub start_delay: Duration,
    /// Fraction of launches that fail, 0 to 1.
    pub failure_rate: f64,
    /// Tasks end by themselves, this long after they started on average: as likely in one second as in any other.
    pub exit_after: Option<Duration>,
    /// With which exit code.
    pub exit_code: i32,
    /// Makes runs differ.
    pub seed: u64,
    /// Of many agents in one process, so many share the racks: each has an attribute `rack`, `r0`, `r1` and so on.
    pub racks: Option<u32>,
}

/// A text that says nothing sensible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OptionError(String);

/// Reads `rack:r1;zone:z1`, Mesos' form of attributes.
pub fn parse_attributes(text: &str) -> Result<BTreeMap<String, String>, OptionError> {
    let mut attributes = BTreeMap::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, value) = part
            .split_once(':')
            .map(|(name, value)| (name.trim(), value.trim()))
            .filter(|(name, value)| !name.is_empty() && !value.is_empty())
            .ok_or_else(|| OptionError(format!("'{part}' is no attribute: write name:value;name:value")))?;
        if attributes.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(OptionError(format!("attribute '{name}' is given twice")));
        }
    }
    Ok(attributes)
}

/// Reads `31000-32000,33000`: inclusive ranges, brought into order, overlaps and neighbours joined.
pub fn parse_ports(text: &str) -> Result<Vec<(u16, u16)>, OptionError> {
    let wrong = |part: &str| OptionError(format!("'{part}' is no range of ports: write 31000-32000,33000"));
    let mut ranges = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port != 0);
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => ranges.push((first, last)),
            _ => return Err(wrong(part)),
        }
    }
    Ok(join(ranges))
}

fn join(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes() {
        let read =
            |text| parse_attributes(text).map(|map| format!("{map:?}")).map_err(|error| error.to_string());
        assert_eq!(read("rack:r1; zone : z:1;").unwrap(), r#"{"rack": "r1", "zone": "z:1"}"#);
        assert_eq!(read("").unwrap(), "{}");
        for wrong in ["rack", "rack:", ":r1", "a:1;a:2"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ports() {
        for (text, ranges) in [
            ("31000-32000", vec![(31000, 32000)]),
            ("5,1-3, 4 ,9-10,2-3", vec![(1, 5), (9, 10)]),
            ("65535", vec![(65535, 65535)]),
            ("", vec![]),
        ] {
            assert_eq!(parse_ports(text).unwrap(), ranges);
        }
        for wrong in ["0", "2-1", "x", "1-2-3", "70000"] {
            assert!(parse_ports(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn runtimes() {
        assert_eq!("docker".parse(), Ok(RuntimeChoice::Docker));
        assert!("Docker".parse::<RuntimeChoice>().is_err());
    }
}
