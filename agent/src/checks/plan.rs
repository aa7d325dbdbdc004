//! What to probe, where and when, from an app's checks. Pure.
//!
//! Checks that Marathon ran itself (HTTP, HTTPS, TCP) go where its clients go: the agent's address and the
//! host port, or the container's own address on a container network. Checks that Mesos ran inside the
//! task's network (MESOS_*) go to the container port, or to loopback when the task shares the host's
//! network (reference sections 2.8, 5.4 and 5.6).
//!
//! HTTPS probes only connect: no TLS is spoken yet, so that the status of an HTTPS endpoint is not seen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use spec::app::{HealthCheck, HealthProtocol, HttpScheme, IpProtocol, NetworkMode, ReadinessCheck};

use super::CheckKey;
use crate::core::{CheckTarget, RuntimeKind};
use crate::environment::{TaskPort, task_ports};

/// Marathon's own checks begin no later than this, whatever their interval.
const FIRST_SECONDS_MAX: u32 = 5;
/// An interval of 0 is taken as this: a check is no busy loop.
const INTERVAL_SECONDS_MIN: u32 = 1;
/// A timeout of 0 is taken as this, the default: nothing waits for ever.
const TIMEOUT_SECONDS_DEFAULT: u32 = 20;

/// One check of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which.
    pub key: CheckKey,
    /// From the task's start to the first probe.
    pub first: Duration,
    /// From one probe to the next.
    pub interval: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// What a probe does.
    pub probe: Probe,
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// GET, judged by status.
    Http(HttpProbe),
    /// A TCP connection.
    Connect(SocketAddr),
    /// A shell command in the task's surroundings.
    Command(String),
    /// Nothing can be probed, and why.
    Impossible(String),
    /// The task is simulated and always well.
    Simulated,
}

/// A GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// Where.
    pub target: SocketAddr,
    /// With a leading slash.
    pub path: String,
    /// Status codes that pass; empty: 200 to 399.
    pub codes: Vec<u16>,
    /// Informational answers count as nothing, neither passed nor failed.
    pub ignore_1xx: bool,
    /// The body is wanted.
    pub keep_body: bool,
}

/// The checks of a task on the agent at `agent`.
pub fn plans(target: &CheckTarget, agent: IpAddr) -> Vec<Plan> {
    let place = Place {
        agent,
        target,
        ports: task_ports(&target.task, &target.app, &target.host_ports),
        container_network: target.app.networks.iter().any(|network| network.mode == NetworkMode::Container),
    };
    let health = (0..).zip(&target.app.health_checks).map(|(index, check)| health_plan(index, check, &place));
    let readiness =
        (0..).zip(&target.app.readiness_checks).map(|(index, check)| readiness_plan(index, check, &place));
    let mut plans: Vec<Plan> = health.chain(readiness).collect();
    if target.runtime == RuntimeKind::Hollow {
        plans.iter_mut().for_each(|plan| plan.probe = Probe::Simulated);
    }
    plans
}

/// Where a task can be reached.
struct Place<'a> {
    agent: IpAddr,
    target: &'a CheckTarget,
    ports: Vec<TaskPort>,
    container_network: bool,
}

impl Place<'_> {
    /// As the task's clients reach it.
    fn outside(&self, port: Port) -> Result<SocketAddr, String> {
        if !self.container_network {
            return Ok(SocketAddr::new(self.agent, self.number(port, |port| port.effective)?));
        }
        let address = self.target.addresses.first().ok_or("the container has no address of its own")?;
        Ok(SocketAddr::new(*address, self.number(port, container_port)?))
    }

    /// As the task reaches itself.
    fn inside(&self, port: Port, family: IpProtocol) -> Result<SocketAddr, String> {
        let v6 = family == IpProtocol::V6;
        if self.target.app.is_host_mode() {
            let loopback = if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
            return Ok(SocketAddr::new(loopback, self.number(port, |port| port.effective)?));
        }
        match self.target.addresses.iter().find(|address| address.is_ipv6() == v6) {
            Some(address) => Ok(SocketAddr::new(*address, self.number(port, container_port)?)),
            None => self.outside(port),
        }
    }

    fn number(&self, port: Port, of: impl Fn(&TaskPort) -> u16) -> Result<u16, String> {
        match port {
            Port::Number(number) => Ok(number),
            Port::Index(index) => {
                let port =
                    self.ports.get(index).ok_or_else(|| format!("the app has no port of index {index}"))?;
                Ok(of(port))
            }
        }
    }
}

/// 0 means: as the host port.
fn container_port(port: &TaskPort) -> u16 {
    if port.declared == 0 { port.effective } else { port.declared }
}

#[derive(Clone, Copy)]
enum Port {
    Number(u16),
    Index(usize),
}

fn health_plan(index: u32, check: &HealthCheck, place: &Place<'_>) -> Plan {
    use HealthProtocol as P;
    let by_leader = matches!(check.protocol, P::Http | P::Https | P::Tcp);
    let first = if by_leader { check.interval_seconds.min(FIRST_SECONDS_MAX) } else { check.delay_seconds };
    Plan {
        key: CheckKey::Health(index),
        first: seconds(first),
        interval: seconds(check.interval_seconds.max(INTERVAL_SECONDS_MIN)),
        timeout: timeout(check.timeout_seconds),
        probe: health_probe(check, by_leader, place).unwrap_or_else(Probe::Impossible),
    }
}

fn health_probe(check: &HealthCheck, by_leader: bool, place: &Place<'_>) -> Result<Probe, String> {
    use HealthProtocol as P;
    if check.protocol == P::Command {
        let command = check.command.as_ref().ok_or("the check has no command")?;
        return Ok(Probe::Command(command.value.clone()));
    }
    let index = usize::try_from(check.port_index.unwrap_or(0)).unwrap_or(usize::MAX);
    let port = check.port.map_or(Port::Index(index), Port::Number);
    let target = if by_leader { place.outside(port)? } else { place.inside(port, check.ip_protocol)? };
    Ok(match check.protocol {
        P::Http | P::MesosHttp => Probe::Http(HttpProbe {
            target,
            path: slashed(check.path.as_deref().unwrap_or_default()),
            codes: Vec::new(),
            ignore_1xx: check.ignore_http1xx.unwrap_or(false),
            keep_body: false,
        }),
        _ => Probe::Connect(target),
    })
}

fn readiness_plan(index: u32, check: &ReadinessCheck, place: &Place<'_>) -> Plan {
    Plan {
        key: CheckKey::Readiness(index),
        first: Duration::ZERO,
        interval: seconds(check.interval_seconds.max(INTERVAL_SECONDS_MIN)),
        timeout: timeout(check.timeout_seconds),
        probe: readiness_probe(check, place).unwrap_or_else(Probe::Impossible),
    }
}

fn readiness_probe(check: &ReadinessCheck, place: &Place<'_>) -> Result<Probe, String> {
    let named = place.target.app.ports().iter().position(|port| port.name == Some(check.port_name.as_str()));
    let index = named.ok_or_else(|| format!("the app has no port named '{}'", check.port_name))?;
    let target = place.outside(Port::Index(index))?;
    Ok(match check.protocol {
        HttpScheme::Https => Probe::Connect(target),
        HttpScheme::Http => Probe::Http(HttpProbe {
            target,
            path: slashed(&check.path),
            codes: check.http_status_codes_for_ready.clone(),
            ignore_1xx: false,
            keep_body: check.preserve_last_response,
        }),
    })
}

fn slashed(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

fn timeout(of: u32) -> Duration {
    seconds(if of == 0 { TIMEOUT_SECONDS_DEFAULT } else { of })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
