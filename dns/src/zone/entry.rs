//! A running task as the zone keeps it, beside its id: there are very many, so nothing is there twice. At which
//! of its addresses it is reached is decided here.

use std::net::IpAddr;

use spec::ids::{AgentId, AppId};

use super::question::Place;
use super::{ZonePort, ZoneTask};
use crate::names::TaskHash;

/// See [`ZoneTask`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) app: AppId,
    pub(super) agent: AgentId,
    agent_ip: IpAddr,
    addresses: Box<[IpAddr]>,
    pub(super) ports: Box<[ZonePort]>,
    pub(super) host_ports: Box<[u16]>,
    pub(super) hash: TaskHash,
}

impl Entry {
    pub(super) fn new(task: ZoneTask, hash: TaskHash) -> Self {
        let ZoneTask { task, agent, agent_ip, addresses, ports, host_ports } = task;
        Self {
            app: task.instance.app,
            agent,
            agent_ip,
            addresses: addresses.into(),
            ports: ports.into(),
            host_ports: host_ports.into(),
            hash,
        }
    }

    /// Where the task is reached. Mesos-DNS gives the task's own address whenever there is one, and so
    /// publishes bridge addresses that nobody outside the agent can reach, together with ports of the agent:
    /// its most reported fault. Here the agent's address goes with the agent's ports, and the task's own
    /// addresses are given when at least one port is its own, or when it publishes none.
    fn reached_at(&self) -> &[IpAddr] {
        let by_agent = !self.ports.is_empty() && self.ports.iter().all(|port| self.is_host_port(port));
        if self.addresses.is_empty() || by_agent {
            std::slice::from_ref(&self.agent_ip)
        } else {
            &self.addresses
        }
    }

    fn is_host_port(&self, port: &ZonePort) -> bool {
        self.host_ports.contains(&port.number)
    }

    pub(super) fn at(&self, place: Place) -> &[IpAddr] {
        match place {
            Place::Task => self.reached_at(),
            Place::Agent => std::slice::from_ref(&self.agent_ip),
        }
    }

    /// Which of the two canonical names a port belongs to: a task that mixes its own ports with ports of the
    /// agent has the latter at the agent's address.
    pub(super) fn place_of(&self, port: &ZonePort) -> Place {
        let own = self.reached_at() != std::slice::from_ref(&self.agent_ip);
        if own && self.is_host_port(port) { Place::Agent } else { Place::Task }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_takes_little() {
        assert!(size_of::<Entry>() <= 104, "{}", size_of::<Entry>());
    }
}
