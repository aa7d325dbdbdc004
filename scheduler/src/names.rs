//! Feeds the zone from applied entries: a name answers as soon as its task runs and stops when it does
//! not. What a record looks like is the dns crate's business.

use std::sync::Arc;

use arc_swap::ArcSwap;
use dns::{Zone, ZonePort, ZoneTask};
use spec::app::{DeclaredPort, HostPort, Protocol};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::state::{Condition, Event, State, Task};

/// Keeps `zone` in step with the state until `shutdown`.
pub async fn run(cluster: Arc<Cluster>, zone: Arc<ArcSwap<Zone>>, empty: Zone, shutdown: CancellationToken) {
    let mut news = cluster.subscribe();
    zone.store(Arc::new(whole(&empty, &cluster.state())));
    loop {
        let applied = tokio::select! {
            () = shutdown.cancelled() => return,
            applied = news.recv() => applied,
        };
        match applied {
            Ok(applied) => {
                let mut next = Zone::clone(&zone.load());
                let state = cluster.state();
                let mut changed = false;
                for event in &applied.events {
                    changed |= follow(&mut next, &state, event);
                }
                if changed {
                    zone.store(Arc::new(next));
                }
            }
            Err(RecvError::Lagged(_)) => zone.store(Arc::new(whole(&empty, &cluster.state()))),
            Err(RecvError::Closed) => return,
        }
    }
}

/// The zone of a whole state.
fn whole(empty: &Zone, state: &State) -> Zone {
    let mut zone = empty.clone();
    for task in state.tasks.values().filter(|task| task.condition == Condition::Running) {
        if let Some(records) = zone_task(state, task) {
            zone.put(records);
        }
    }
    zone
}

/// Carries one event into the zone; true when it changed.
fn follow(zone: &mut Zone, state: &State, event: &Event) -> bool {
    match event {
        Event::TaskChanged { task, .. } | Event::TaskKill { task, .. } => {
            let running = task.condition == Condition::Running;
            match zone_task(state, task).filter(|_| running) {
                Some(records) => zone.put(records),
                None => zone.remove(&task.id),
            }
            true
        }
        Event::TaskEnded { task, .. } | Event::TaskExpunged { task } => {
            zone.remove(&task.id);
            true
        }
        _ => false,
    }
}

/// What the zone needs to know of a task; `None` when its agent is gone.
fn zone_task(state: &State, task: &Task) -> Option<ZoneTask> {
    let agent = state.agents.get(&task.agent)?;
    let ports = task.app.ports();
    Some(ZoneTask {
        task: task.id.clone(),
        agent: task.agent.clone(),
        agent_ip: agent.info.ip,
        addresses: task.addresses.to_vec(),
        ports: zone_ports(&ports, &task.host_ports),
        host_ports: task.host_ports.to_vec(),
    })
}

/// One entry a declared port and protocol: the host port where one was given, else the container's.
fn zone_ports(declared: &[DeclaredPort<'_>], host_ports: &[u16]) -> Vec<ZonePort> {
    let mut given = host_ports.iter().copied();
    let mut ports = Vec::new();
    for port in declared {
        let number = match port.host {
            HostPort::None => port.container_port,
            HostPort::Dynamic | HostPort::Fixed(_) => given.next(),
        };
        let Some(number) = number.filter(|number| *number != 0) else { continue };
        for &protocol in transports(port.protocol) {
            ports.push(ZonePort { number, protocol, name: port.name.map(str::to_owned) });
        }
    }
    ports
}

fn transports(protocol: Protocol) -> &'static [dns::Protocol] {
    match protocol {
        Protocol::Tcp => &[dns::Protocol::Tcp],
        Protocol::Udp => &[dns::Protocol::Udp],
        Protocol::UdpTcp => &[dns::Protocol::Udp, dns::Protocol::Tcp],
    }
}
