//! Feeds the zone from applied entries: a name answers as soon as its task runs and stops when it does
//! not. What a record looks like is the dns crate's business.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use dns::{Zone, ZonePort, ZoneTask};
use spec::app::{DeclaredPort, HostPort, Protocol};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, Leadership};
use crate::mutants::{self, Mutant};
use crate::state::{Applied, Condition, Event, MasterInfo, Presence, State, Task};

/// Entries that are followed before readers see the zone.
const ENTRIES_MAX: usize = 64;

/// Keeps `zone` in step with the state until `shutdown`.
pub async fn run(cluster: Arc<Cluster>, zone: Arc<ArcSwap<Zone>>, empty: Zone, shutdown: CancellationToken) {
    let (mut news, mut leadership) = (cluster.subscribe(), cluster.leadership());
    let mut restored = cluster.restored();
    let own = cluster.options.info();
    let mut next = whole(&empty, &cluster.state());
    let mut changed = true;
    loop {
        if changed {
            set_masters(&mut next, &leadership.borrow_and_update(), &own, &cluster.state());
            zone.store(Arc::new(next.clone()));
        }
        changed = tokio::select! {
            () = shutdown.cancelled() => return,
            told = leadership.changed() => if told.is_err() { return } else { true },
            told = restored.changed() => {
                if told.is_err() {
                    return;
                }
                // No entry says what a snapshot has changed.
                next = whole(&empty, &cluster.state());
                true
            }
            applied = news.recv() => {
                let first = match applied {
                    Ok(applied) => Some(applied),
                    Err(RecvError::Lagged(_)) => None,
                    Err(RecvError::Closed) => return,
                };
                follow_waiting(&mut next, &empty, &cluster, first, &mut news)
            }
        };
    }
}

/// Follows an entry and those that wait behind it, `None` where some were missed: a zone that readers have is copied
/// where it changes, once for all of them. True when it changed.
fn follow_waiting(
    zone: &mut Zone,
    empty: &Zone,
    cluster: &Cluster,
    first: Option<Arc<Applied>>,
    news: &mut Receiver<Arc<Applied>>,
) -> bool {
    let waiting = std::iter::from_fn(|| match news.try_recv() {
        Ok(applied) => Some(Some(applied)),
        Err(TryRecvError::Lagged(_)) => Some(None),
        Err(TryRecvError::Empty | TryRecvError::Closed) => None,
    });
    let mut changed = false;
    for heard in std::iter::once(first).chain(waiting.take(ENTRIES_MAX - 1)) {
        // The state was there before the news of it.
        let state = cluster.state();
        match heard {
            Some(applied) => changed |= follow(zone, &state, &applied),
            None => (*zone, changed) = (whole(empty, &state), true),
        }
    }
    changed
}

/// Waits until this master leads: then it knows all names. False when `shutdown` came first.
pub async fn complete(cluster: &Cluster, shutdown: &CancellationToken) -> bool {
    let mut leadership = cluster.leadership();
    tokio::select! {
        () = shutdown.cancelled() => false,
        leads = leadership.wait_for(|now| now.leading) => leads.is_ok(),
    }
}

/// Who leads, and all masters. Nobody reaches the address that means all.
fn set_masters(zone: &mut Zone, leadership: &Leadership, own: &MasterInfo, state: &State) {
    let mut masters: Vec<&MasterInfo> = state.masters.values().map(|entry| &entry.info).collect();
    if masters.is_empty() {
        masters.push(own);
    }
    let told = leadership.leader_http.as_deref();
    let leader = masters.iter().copied().find(|master| told == Some(&*master.http));
    let leader = leader.or_else(|| told.filter(|told| *told == own.http).map(|_| own));
    let reached = |master: &MasterInfo| Some(rest(master)).filter(|address| !address.ip().is_unspecified());
    zone.set_masters(leader.and_then(reached), masters.into_iter().filter_map(reached).collect());
}

/// Where REST of a master answers; where that is told by name, at the address of the rest of it.
fn rest(master: &MasterInfo) -> SocketAddr {
    master.http.parse().unwrap_or_else(|_| {
        let port = master.http.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        SocketAddr::new(master.rpc.ip(), port.unwrap_or(0))
    })
}

/// The zone of a whole state: `empty` with everything that runs.
pub fn whole(empty: &Zone, state: &State) -> Zone {
    let mut zone = empty.clone();
    state.tasks.values().for_each(|task| show(&mut zone, state, task));
    set_agents(&mut zone, state);
    zone.set_serial(serial(state.index));
    zone
}

/// Carries one applied entry into the zone; true when it changed. The state may be a later one: what it says of an
/// agent is at least as new.
pub fn follow(zone: &mut Zone, state: &State, applied: &Applied) -> bool {
    let (mut changed, mut agents_changed) = (false, false);
    for event in &applied.events {
        match event {
            Event::TaskChanged { task, .. } | Event::TaskKill { task, .. } => show(zone, state, task),
            Event::TaskEnded { .. } if mutants::is(Mutant::KeepNames) => {}
            Event::TaskEnded { task, .. } | Event::TaskExpunged { task } => zone.remove(&task.id),
            Event::AgentJoined { agent } => {
                // Perhaps with another address.
                let tasks = agent.tasks.iter().filter_map(|task| state.tasks.get(task));
                tasks.for_each(|task| show(zone, state, task));
                agents_changed = true;
            }
            Event::AgentLost { .. } | Event::AgentForgotten { .. } => agents_changed = true,
            Event::MastersChanged => {}
            _ => continue,
        }
        changed = true;
    }
    if agents_changed {
        set_agents(zone, state);
    }
    if changed {
        zone.set_serial(serial(applied.index));
    }
    changed
}

/// A task has its records while it runs.
fn show(zone: &mut Zone, state: &State, task: &Task) {
    match zone_task(state, task).filter(|_| task.condition == Condition::Running) {
        Some(records) => zone.put(records),
        None => zone.remove(&task.id),
    }
}

/// As in Mesos, an agent that is away is none.
fn set_agents(zone: &mut Zone, state: &State) {
    let there = state.agents.values().filter(|agent| agent.presence == Presence::Connected);
    zone.set_agents(there.map(|agent| agent.info.ip));
}

/// Serials have 32 bits and go round (RFC 1982).
fn serial(index: u64) -> u32 {
    (index & u64::from(u32::MAX)) as u32
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use serde_json::json;
    use spec::ids::TaskId;

    use super::*;
    use crate::placement::fixture;

    /// A zone that follows a state.
    struct Bench {
        state: State,
        zone: Zone,
    }

    impl Bench {
        fn new() -> Self {
            let mut state = fixture::cluster(&[("a", ""), ("b", "")]);
            let app = fixture::put(&mut state, fixture::app("/web", json!({})));
            for agent in ["a", "b"] {
                fixture::run(&mut state, &app, &spec::ids::AgentId::new(agent), &[]);
            }
            let zone = whole(&Zone::new(dns::Settings::default()), &state);
            Self { state, zone }
        }

        fn tasks(&self) -> Vec<TaskId> {
            self.state.tasks.keys().cloned().collect()
        }

        /// Applies `events` and checks that following them leads where a new zone begins.
        fn follow(&mut self, events: Vec<Event>) -> bool {
            self.state.index += 1;
            let applied = Applied { index: self.state.index, after: 0, at: self.state.now, events };
            let changed = follow(&mut self.zone, &self.state, &applied);
            if changed {
                assert_eq!(self.zone, whole(&Zone::new(dns::Settings::default()), &self.state));
            }
            changed
        }

        fn set(&mut self, task: &TaskId, condition: Condition) -> bool {
            fixture::change(&mut self.state, task, |task| task.condition = condition);
            let task = self.state.tasks[task].clone();
            self.follow(vec![Event::TaskChanged { task, message: String::new() }])
        }

        fn agent(
            &mut self,
            name: &str,
            change: impl FnOnce(&mut crate::state::Agent),
        ) -> Arc<crate::state::Agent> {
            let agent = self.state.agents.get_mut(&spec::ids::AgentId::new(name)).unwrap();
            change(Arc::make_mut(agent));
            agent.clone()
        }

        fn addresses(&self, name: &str) -> Vec<IpAddr> {
            let name = dns_name(name);
            let answer = self.zone.lookup(&name, hickory_proto::rr::RecordType::A, 1);
            let mut found: Vec<_> =
                answer.answers.iter().filter_map(|record| record.data.ip_addr()).collect();
            found.sort();
            found
        }
    }

    fn dns_name(name: &str) -> hickory_proto::rr::Name {
        format!("{name}.mesos.").parse().unwrap()
    }

    fn ip(last: u8) -> IpAddr {
        [127, 0, 0, last].into()
    }

    #[test]
    fn a_name_answers_while_its_task_runs() {
        let mut bench = Bench::new();
        let tasks = bench.tasks();
        bench.agent("b", |agent| Arc::make_mut(&mut agent.info).ip = ip(2));
        bench.zone = whole(&Zone::new(dns::Settings::default()), &bench.state);
        assert_eq!(bench.addresses("web.marathon"), [ip(1), ip(2)]);
        for (condition, found) in [
            (Condition::Killing, 1),
            (Condition::Running, 2),
            (Condition::Unreachable, 1),
            (Condition::UnreachableInactive, 1),
            (Condition::Running, 2),
            (Condition::Staging, 1),
        ] {
            assert!(bench.set(&tasks[0], condition));
            assert_eq!(bench.addresses("web.marathon").len(), found, "{condition:?}");
        }
        let ended = bench.state.tasks.remove(&tasks[1]).unwrap();
        bench.follow(vec![Event::TaskExpunged { task: ended }]);
        assert!(bench.zone.is_empty());
    }

    #[test]
    fn an_agent_that_moved_takes_its_tasks_along() {
        let mut bench = Bench::new();
        assert_eq!(bench.addresses("web.marathon"), [ip(1)]);
        let moved = bench.agent("b", |agent| Arc::make_mut(&mut agent.info).ip = ip(9));
        assert!(bench.follow(vec![Event::AgentJoined { agent: moved }]));
        assert_eq!(bench.addresses("web.marathon"), [ip(1), ip(9)]);
        assert_eq!(bench.addresses("slave"), [ip(1), ip(9)]);
        let lost = bench.agent("b", |agent| agent.presence = Presence::Lost);
        assert!(bench.follow(vec![Event::AgentLost { agent: lost }]));
        assert_eq!(bench.addresses("slave"), [ip(1)]);
    }

    #[test]
    fn what_concerns_no_name_changes_nothing() {
        let mut bench = Bench::new();
        let before = bench.zone.clone();
        let task = bench.state.tasks.values().next().unwrap().clone();
        assert!(!bench.follow(vec![
            Event::TaskHealth { task: task.clone(), before: task.clone() },
            Event::TaskPlaced { task }
        ]));
        assert_eq!(bench.zone, before);
    }

    #[test]
    fn masters_have_names_as_far_as_they_can_be_reached() {
        let at = |name: &str, http: &str, ip: u8| MasterInfo {
            http: http.to_owned(),
            rpc: format!("10.0.0.{ip}:5050").parse().unwrap(),
            ..crate::masters::fixture::info(name)
        };
        let nowhere = MasterInfo { rpc: "0.0.0.0:5050".parse().unwrap(), ..at("m1", "0.0.0.0:8080", 1) };
        let (one, two, three) =
            (at("m1", "10.0.0.1:8080", 1), at("m2", "m2.example:8080", 2), at("m3", "10.0.0.3:8080", 3));
        let all = vec![one.clone(), two.clone(), three];
        // What the state has, who leads, and who has a name then.
        for (known, leader, leaders, masters) in [
            (vec![], None, vec![], vec![1]),
            (vec![], Some("10.0.0.1:8080"), vec![1], vec![1]),
            (vec![nowhere], Some("0.0.0.0:8080"), vec![], vec![]),
            (all.clone(), None, vec![], vec![1, 2, 3]),
            (all.clone(), Some("10.0.0.3:8080"), vec![3], vec![1, 2, 3]),
            (all, Some("m2.example:8080"), vec![2], vec![1, 2, 3]),
            // It has just been elected, and its first word about itself is not in the state.
            (vec![two], Some("10.0.0.1:8080"), vec![1], vec![1, 2]),
        ] {
            let mut bench = Bench::new();
            for (id, info) in (1..).zip(known) {
                let entry = crate::state::MasterEntry { info, ..crate::masters::fixture::entry(id, "") };
                bench.state.masters.insert(spec::ids::MasterId(id), Arc::new(entry));
            }
            let leadership = Leadership { leader_http: leader.map(str::to_owned), ..Leadership::default() };
            set_masters(&mut bench.zone, &leadership, &one, &bench.state);
            let ips = |numbers: Vec<u8>| -> Vec<IpAddr> {
                numbers.into_iter().map(|n| [10, 0, 0, n].into()).collect()
            };
            assert_eq!(bench.addresses("leader"), ips(leaders), "{leader:?}");
            assert_eq!(bench.addresses("master"), ips(masters), "{leader:?}");
        }
    }
}
