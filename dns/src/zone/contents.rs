//! What a zone is told: how it is called, and each task with its ports and addresses.

use std::net::IpAddr;

use spec::ids::{AgentId, TaskId};

/// What a zone is called and how long its answers may be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The domain, `mesos`: lower case, no dot at either end.
    pub domain: String,
    /// The label under which tasks stand, `marathon`.
    pub framework: String,
    /// Seconds an answer may be kept. Mesos-DNS says 60; here a name must stop when its task stops, and
    /// five seconds are what a connection attempt to a task that is gone may cost. Zero makes some stubs
    /// misbehave.
    pub ttl: u32,
    /// Seconds the absence of a name may be kept: short, since people ask for a name right before it appears.
    pub negative_ttl: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { domain: "mesos".to_owned(), framework: "marathon".to_owned(), ttl: 5, negative_ttl: 1 }
    }
}

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `_tcp`.
    Tcp,
    /// `_udp`.
    Udp,
}

/// A port that a task publishes (Marathon's discovery port).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ZonePort {
    /// The host port where there is one, else the container's.
    pub number: u16,
    /// `tcp,udp` in an app document is two ports here.
    pub protocol: Protocol,
    /// The name from the port definition or mapping.
    pub name: Option<String>,
}

/// A running task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneTask {
    /// The task; its app gives the names.
    pub task: TaskId,
    /// Where it runs.
    pub agent: AgentId,
    /// The address of that agent.
    pub agent_ip: IpAddr,
    /// The task's own addresses: none with host networking.
    pub addresses: Vec<IpAddr>,
    /// The ports it publishes.
    pub ports: Vec<ZonePort>,
    /// All ports of the agent that it holds.
    pub host_ports: Vec<u16>,
}
