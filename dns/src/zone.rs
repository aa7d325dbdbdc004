//! The zone: which tasks run, who leads, which agents there are, and what a name means. Pure; the caller
//! tells it of every task that begins or stops running, and only of those.
//!
//! Records are not stored. A task is kept once, under its id; a question is read back into the app, task or
//! port it asks for, and answered from those. So a million tasks cost a million small entries and not ten
//! million records, putting a task costs nothing that grows with its app, and a record cannot outlive its
//! task. Cloning is O(1): readers keep the zone they have while the next one is made.

use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;
use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use imbl::{OrdMap, OrdSet};
use spec::ids::{AppId, InstanceId, TaskId};
use uuid::Uuid;

use crate::answer::{Answer, Data, Target};
use crate::names;

mod contents;
mod entry;
mod hashes;
mod question;
#[cfg(test)]
mod tests;

pub use contents::{Protocol, Settings, ZonePort, ZoneTask};
use entry::Entry;
use hashes::Hashes;
use question::{Asked, Place};

/// Tasks that one answer speaks of at most. More do not fit into the 64 KiB of a DNS message anyway; which
/// of a larger app's tasks they are is chosen by the seed of the question.
const TASKS_MAX: usize = 1024;

/// All names of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    settings: Arc<Settings>,
    apex: Name,
    serial: u32,
    leader: Option<SocketAddr>,
    masters: Arc<[SocketAddr]>,
    agents: OrdSet<IpAddr>,
    tasks: OrdMap<TaskId, Arc<Entry>>,
    /// Derived: tasks by the hash in their canonical name.
    hashes: Hashes,
    /// Derived: apps with a task, by host name and by service label, root first.
    apps: OrdMap<Arc<str>, OrdSet<AppId>>,
}

impl Zone {
    /// An empty zone. One whose domain DNS cannot hold (see [`is_domain`]) contains nothing that anybody asks
    /// for: it stands under `invalid`, which RFC 2606 keeps free.
    pub fn new(settings: Settings) -> Self {
        let apex = fqdn(&settings.domain).filter(|_| is_domain(&settings.domain));
        let apex = apex.unwrap_or_else(|| fqdn("invalid").expect("a constant"));
        Self {
            settings: Arc::new(settings),
            apex,
            serial: 0,
            leader: None,
            masters: Arc::new([]),
            agents: OrdSet::new(),
            tasks: OrdMap::new(),
            hashes: Hashes::default(),
            apps: OrdMap::new(),
        }
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many tasks have names.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Has no task a name?
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// A task runs; replaces what was said of it before.
    pub fn put(&mut self, task: ZoneTask) {
        let id = task.task.clone();
        let hash = names::task_hash(&id);
        if self.app_is_unknown(id.app()) {
            for key in index_keys(id.app()) {
                self.apps.entry(key).or_default().insert(id.app().clone());
            }
            self.hashes.put_app(id.app());
        }
        self.hashes.put(hash, &id);
        self.tasks.insert(id, Arc::new(Entry::new(task, hash)));
    }

    /// A task runs no more.
    pub fn remove(&mut self, id: &TaskId) {
        let Some(entry) = self.tasks.remove(id) else {
            return;
        };
        self.hashes.remove(entry.hash, id);
        if self.app_is_unknown(id.app()) {
            self.hashes.remove_app(id.app());
            for key in index_keys(id.app()) {
                let Some(apps) = self.apps.get_mut(&key) else {
                    continue;
                };
                apps.remove(id.app());
                if apps.is_empty() {
                    self.apps.remove(&key);
                }
            }
        }
    }

    /// Where REST answers on the leader and on every master (`leader`, `master`, `master0`, ...).
    pub fn set_masters(&mut self, leader: Option<SocketAddr>, masters: Vec<SocketAddr>) {
        self.leader = leader;
        self.masters = masters.into();
    }

    /// The addresses of all agents (`slave`).
    pub fn set_agents(&mut self, agents: impl IntoIterator<Item = IpAddr>) {
        self.agents = agents.into_iter().collect();
    }

    /// The serial of the SOA: the log index the zone was made from, so that it is the same on every master.
    pub fn set_serial(&mut self, serial: u32) {
        self.serial = serial;
    }

    /// Is the name in this zone, whether it exists or not?
    pub fn contains(&self, name: &Name) -> bool {
        self.apex.zone_of(name)
    }

    /// Answers a question about a name that the zone contains. `seed` orders the records, and chooses among
    /// those of a very large app.
    pub fn lookup(&self, name: &Name, kind: RecordType, seed: u64) -> Answer {
        let Some(text) = question::relative(name, &self.apex) else {
            return Answer::code(ResponseCode::Refused);
        };
        let asked = question::read(&text, &self.settings.framework);
        let mut answer = match (&asked, kind) {
            (Asked::Apex, RecordType::SOA) => Answer::of(vec![self.soa(self.settings.ttl)]),
            (Asked::Apex, RecordType::NS) => self.name_servers(),
            _ => match self.data(&asked, seed) {
                Some(data) => data.answer(name, kind, self.settings.ttl, seed),
                None => Answer::code(ResponseCode::NXDomain),
            },
        };
        if answer.answers.is_empty() {
            answer.authority.push(self.soa(self.settings.negative_ttl));
        }
        answer
    }

    /// What a name has; `None` when there is no such name. A name above others exists and has nothing
    /// (RFC 8020), and so does the service name of an app without ports.
    fn data(&self, asked: &Asked<'_>, seed: u64) -> Option<Data> {
        let leader_service =
            |host| Data::services(self.leader.map(|leader| self.leader_target(leader, host)));
        let found = match *asked {
            Asked::Apex | Asked::Branch => Data::default(),
            Asked::Leader | Asked::Framework => Data::addresses(self.leader.map(|leader| leader.ip())),
            Asked::Masters | Asked::NameServer => Data::addresses(self.all_masters().map(|m| m.ip())),
            Asked::Master(number) => Data::addresses([self.all_masters().nth(number)?.ip()]),
            Asked::Agents => Data::addresses(self.agents.iter().copied().take(TASKS_MAX)),
            Asked::LeaderService => leader_service("leader"),
            Asked::FrameworkService => leader_service(&self.settings.framework),
            Asked::Host(place, host) => return self.host(place, host, seed),
            Asked::Service { place, protocol, port, label } => {
                return self.service(place, protocol, port, label, seed);
            }
            Asked::AboveServices(name) => return self.is_above(name).then(Data::default),
            Asked::Nothing => return None,
        };
        Some(found)
    }

    fn host(&self, place: Place, host: &str, seed: u64) -> Option<Data> {
        let mut tasks = self.tasks_under(host, seed);
        tasks.extend(self.tasks_called(host));
        if tasks.is_empty() {
            return (self.is_above(host) || self.is_above_canonical(host)).then(Data::default);
        }
        Some(Data::addresses(tasks.iter().flat_map(|entry| entry.at(place)).copied()))
    }

    fn service(
        &self,
        place: Place,
        protocol: Protocol,
        port: Option<&str>,
        label: &str,
        seed: u64,
    ) -> Option<Data> {
        let tasks = self.tasks_under(label, seed);
        if tasks.is_empty() {
            return self.is_above(label).then(Data::default);
        }
        let targets = |entry: &&Arc<Entry>| match place {
            Place::Task => self.published(entry, protocol, port, label),
            Place::Agent if port.is_none() => self.held(entry, label),
            Place::Agent => Vec::new(),
        };
        let found: Vec<Target> = tasks.iter().flat_map(targets).take(TASKS_MAX).collect();
        // A port name that no task has is no name at all; an app without ports still is one.
        (port.is_none() || !found.is_empty()).then(|| Data::services(found))
    }

    /// The discovery ports of a task: `_web._tcp`, or `_http._web._tcp` for those of one name.
    fn published(&self, task: &Entry, protocol: Protocol, port: Option<&str>, label: &str) -> Vec<Target> {
        let called = |candidate: &ZonePort| match port {
            Some(name) => candidate.name.as_deref().is_some_and(|own| names::label(own) == name),
            None => true,
        };
        let ports = task.ports.iter().filter(|p| p.protocol == protocol && called(p));
        ports.filter_map(|p| self.target(task, task.place_of(p), p.number, label)).collect()
    }

    /// The ports of the agent that a task holds: under `.slave`, for both protocols whatever they are.
    fn held(&self, task: &Entry, label: &str) -> Vec<Target> {
        let ports = task.host_ports.iter();
        ports.filter_map(|port| self.target(task, Place::Agent, *port, label)).collect()
    }

    fn target(&self, task: &Entry, place: Place, port: u16, label: &str) -> Option<Target> {
        let host = names::hosts(&task.app).find(|host| names::service(host) == label)?;
        let canonical = names::canonical(&host, &task.hash, &names::agent_tail(&task.agent));
        let twin = if place == Place::Agent { ".slave" } else { "" };
        let Settings { framework, domain, .. } = &*self.settings;
        let name = fqdn(&format!("{canonical}.{framework}{twin}.{domain}"))?;
        Some(Target { port, name, addresses: task.at(place).to_vec() })
    }

    fn leader_target(&self, leader: SocketAddr, host: &str) -> Target {
        let name = fqdn(&format!("{host}.{}", self.settings.domain)).unwrap_or_else(|| self.apex.clone());
        Target { port: leader.port(), name, addresses: vec![leader.ip()] }
    }

    /// The tasks of the apps with this host name or service label, beginning at a place that the seed
    /// chooses, going round once.
    fn tasks_under(&self, name: &str, seed: u64) -> Vec<&Arc<Entry>> {
        let apps = self.apps.get(names::root_first(name).as_str()).into_iter().flatten();
        apps.flat_map(|app| self.tasks_of(app, seed)).take(TASKS_MAX).collect()
    }

    fn tasks_of(&self, app: &AppId, seed: u64) -> impl Iterator<Item = &Arc<Entry>> {
        let at = |uuid| TaskId { instance: InstanceId { app: app.clone(), uuid }, incarnation: 0 };
        let (first, start) = (at(Uuid::nil()), at(Uuid::from_u64_pair(seed, 0)));
        let last = TaskId { incarnation: u32::MAX, ..at(Uuid::max()) };
        let after = self.tasks.range((Bound::Included(start.clone()), Bound::Included(last)));
        let before = self.tasks.range((Bound::Included(first), Bound::Excluded(start)));
        after.chain(before).map(|(_, entry)| entry)
    }

    /// The task with this canonical name.
    fn tasks_called<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.tasks_hashed(host).filter(move |entry| canonical_names(entry).any(|name| name == host))
    }

    fn tasks_hashed(&self, host: &str) -> impl Iterator<Item = &Arc<Entry>> {
        let hash = names::hash_in(host);
        let found = hash.into_iter().flat_map(|hash| self.hashes.of(hash).take(TASKS_MAX));
        found.filter_map(|id| self.tasks.get(&id))
    }

    /// Does a dotted name end with this one?
    fn is_above(&self, name: &str) -> bool {
        let prefix = format!("{}.", names::root_first(name));
        let next = self.apps.range::<_, str>((Bound::Excluded(prefix.as_str()), Bound::Unbounded)).next();
        next.is_some_and(|(key, _)| key.starts_with(&prefix))
    }

    fn is_above_canonical(&self, host: &str) -> bool {
        let end = format!(".{host}");
        self.tasks_hashed(host).any(|entry| canonical_names(entry).any(|name| name.ends_with(&end)))
    }

    /// The masters in order; a leader that is not among them comes last.
    fn all_masters(&self) -> impl Iterator<Item = SocketAddr> {
        let stranger = self.leader.filter(|leader| !self.masters.contains(leader));
        self.masters.iter().copied().chain(stranger)
    }

    fn app_is_unknown(&self, app: &AppId) -> bool {
        let at = |uuid, incarnation| TaskId { instance: InstanceId { app: app.clone(), uuid }, incarnation };
        self.tasks.range(at(Uuid::nil(), 0)..=at(Uuid::max(), u32::MAX)).next().is_none()
    }

    fn soa(&self, ttl: u32) -> hickory_proto::rr::Record {
        crate::answer::soa(&self.apex, self.serial, ttl, self.settings.negative_ttl)
    }

    fn name_servers(&self) -> Answer {
        let addresses = self.all_masters().map(|master| master.ip()).collect();
        crate::answer::name_servers(&self.apex, addresses, self.settings.ttl)
    }
}

/// Can a zone have this domain? Letters, digits and inner hyphens in labels of 63, and room before it for the
/// names of tasks.
pub fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        let inner = !label.starts_with('-') && !label.ends_with('-');
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (1..=63).contains(&label.len()) && inner && plain
    };
    text.len() <= 100 && text.split('.').all(label)
}

fn canonical_names(entry: &Entry) -> impl Iterator<Item = String> {
    let agent = names::agent_tail(&entry.agent);
    names::hosts(&entry.app).map(move |host| names::canonical(&host, &entry.hash, &agent))
}

/// Under which keys an app is found: its host names and its service labels.
fn index_keys(app: &AppId) -> impl Iterator<Item = Arc<str>> {
    names::hosts(app)
        .flat_map(|host| [names::root_first(&host).into(), names::root_first(&names::service(&host)).into()])
}

/// An absolute name; `None` for what DNS cannot hold.
pub(crate) fn fqdn(text: &str) -> Option<Name> {
    let mut name = Name::from_labels(text.split('.').map(str::as_bytes)).ok()?;
    name.set_fqdn(true);
    Some(name)
}
