//! A simulated agent: a machine with containers and a disk, and the agent's process on it, which is the real core
//! and the shells round it (performing effects, the line to the leader) without their threads.

mod containers;
mod line;
mod perform;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use agent::checks::CheckKey;
use agent::core::{Core, Effect, Kept, Record, RuntimeKind};
use spec::ids::{AgentId, TaskId};
use spec::protocol::{AgentInfo, Runtimes, Wanted};
use spec::resources::Resources;
use spec::time::Timestamp;
use uuid::Uuid;

use crate::bus::{Bus, Event, Lifetime};
use crate::net::{Frame, Place};
use crate::queue::Millis;
pub use containers::{Container, State};
use line::Line;
pub use line::address;

/// What happens to a container, or what an agent's process hears of one.
#[derive(Clone, Debug)]
pub enum Happening {
    /// It ends with this code.
    Ends(i32),
    /// Created by a launch that nobody waits for any more, it comes up after all.
    ComesUp,
    /// This launch creates it.
    Create(u64),
    /// This launch starts it.
    Start(u64),
    /// This launch fails; `true`: the runtime does not answer.
    LaunchFails(u64, bool),
    /// Its launch was called off.
    Cancelled,
    /// The process hears that it has ended.
    Ended,
    /// It is removed.
    Remove,
    /// A check is due.
    Probe(CheckKey, u64),
}

/// What survives the agent's process.
#[derive(Clone, Debug, Default)]
struct Disk {
    agent_id: Option<AgentId>,
    cluster_id: Option<Uuid>,
    kept: Kept,
    records: BTreeMap<TaskId, Record>,
    /// Where the cluster said that masters are.
    masters: Vec<SocketAddr>,
}

/// How containers behave: so many of a thousand do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Temper {
    /// Do not start.
    pub fail: u32,
    /// Hang in pulling.
    pub hang: u32,
    /// Ignore SIGTERM.
    pub stubborn: u32,
    /// End by themselves after a while.
    pub crash: u32,
    /// Fail a health check.
    pub unhealthy: u32,
    /// Cannot be removed at the first try.
    pub stuck: u32,
}

/// A machine with an agent.
#[derive(Debug)]
pub struct Machine {
    /// Its number.
    pub number: usize,
    info: AgentInfo,
    masters: Vec<u64>,
    /// Is it on?
    pub on: bool,
    /// How often it was booted.
    pub boots: Lifetime,
    /// How often its agent was started.
    pub lives: Lifetime,
    /// How its containers behave.
    pub temper: Temper,
    disk: Disk,
    containers: BTreeMap<TaskId, Container>,
    /// What leaders said lately, to this machine.
    orders: VecDeque<Wanted>,
    process: Option<Process>,
}

/// The agent's process.
#[derive(Debug)]
struct Process {
    life: Lifetime,
    core: Core,
    line: Line,
    launches: BTreeMap<TaskId, u64>,
    watched: BTreeSet<TaskId>,
    checks: BTreeMap<TaskId, u64>,
    /// What the launches will create.
    pending: BTreeMap<TaskId, Container>,
    serial: u64,
    due_at: Option<Millis>,
}

/// What a machine has.
pub const HARDWARE: Resources = Resources { cpus_milli: 8_000, mem_mib: 4_096, disk_mib: 10_000, gpus: 0 };
/// Ports that an agent offers at the beginning and at the end.
const PORTS: [(u16, u16); 1] = [(31_000, 31_019)];

fn runtimes() -> Runtimes {
    Runtimes { docker: None, process: None, hollow: false }
}

impl Machine {
    /// A machine that is off.
    pub fn new(number: usize, masters: Vec<u64>) -> Self {
        let byte = u8::try_from(number + 1).unwrap_or(u8::MAX);
        let info = AgentInfo {
            hostname: format!("host{number}"),
            ip: [10, 0, 0, byte].into(),
            capacity: HARDWARE,
            ports: PORTS.to_vec(),
            attributes: [("rack".to_owned(), format!("r{}", number % 2))].into(),
            runtimes: runtimes(),
            version: "simulated".to_owned(),
        };
        Self {
            number,
            info,
            masters,
            on: false,
            boots: 0,
            lives: 0,
            temper: Temper::default(),
            disk: Disk::default(),
            containers: BTreeMap::new(),
            orders: VecDeque::new(),
            process: None,
        }
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        Place::Agent(self.number)
    }

    /// The id that the cluster gave it.
    pub fn id(&self) -> Option<&AgentId> {
        self.disk.agent_id.as_ref()
    }

    /// Its containers.
    pub fn containers(&self) -> &BTreeMap<TaskId, Container> {
        &self.containers
    }

    /// Tasks that its disk knows.
    pub fn recorded(&self) -> impl Iterator<Item = &TaskId> {
        self.disk.records.keys()
    }

    /// Does the leader listen to it?
    pub fn is_heard(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.line.is_up())
    }

    /// Reports that nobody has acknowledged.
    pub fn has_news(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.core.has_reports_after(0))
    }

    /// The machine is switched on.
    pub fn boot(&mut self, bus: &mut Bus) {
        if self.on {
            return;
        }
        self.on = true;
        self.boots += 1;
        bus.note(self.place(), format_args!("boots"));
        let millis = bus.between(5, 500);
        self.start_after(millis, bus);
    }

    fn start_after(&mut self, millis: Millis, bus: &mut Bus) {
        bus.after(millis, Event::StartAgent(self.number, self.boots));
    }

    /// The machine loses its power; what ran on it is gone, and what was not flushed to disk perhaps. With
    /// `replaced` its disk is gone, too.
    pub fn die(&mut self, replaced: bool, bus: &mut Bus) {
        if !self.on {
            return;
        }
        bus.note(self.place(), format_args!("loses power, replaced {replaced}"));
        (self.on, self.process) = (false, None);
        let forgetful = bus.chance(300);
        self.disk.records.retain(|_, _| !forgetful);
        let exited = bus.rng.bool();
        for container in self.containers.values_mut() {
            container.power_off(bus.now);
        }
        self.containers.retain(|_, container| exited && container.kind == RuntimeKind::Docker);
        if replaced {
            self.disk = Disk::default();
            self.orders.clear();
            self.containers.clear();
            bus.checks.machine_replaced(self.number);
        }
    }

    /// Its agent will offer something else the next time it starts: other ports, perhaps less of the machine.
    pub fn offer_other(&mut self, bus: &mut Bus) {
        let first = 31_000 + 100 * u16::from(bus.rng.u8(0..3));
        self.info.ports = vec![(first, first + 19)];
        let cpus_milli = if bus.chance(600) { bus.rng.u32(500..2_000).into() } else { HARDWARE.cpus_milli };
        self.info.capacity = Resources { cpus_milli, ..HARDWARE };
    }

    /// It offers what it offered at the beginning; its agent starts anew if it has to.
    pub fn settle(&mut self, bus: &mut Bus) {
        if self.info.capacity != HARDWARE {
            (self.info.capacity, self.info.ports) = (HARDWARE, PORTS.to_vec());
            self.crash(100, bus);
        }
    }

    /// The agent's process ends; its tasks go on.
    pub fn crash(&mut self, restart_after: Millis, bus: &mut Bus) {
        let Some(process) = self.process.take() else { return };
        bus.note(self.place(), format_args!("its agent dies"));
        if let Some(conn) = process.line.conn() {
            bus.say_up(conn, Frame::Closed);
        }
        // What the Engine is starting it goes on starting.
        for task in process.launches.keys() {
            let created = self.containers.get(task).is_some_and(|found| found.state == State::Created);
            if created && bus.rng.bool() {
                let millis = bus.between(1, 2_000);
                bus.after(millis, Event::Machine(self.number, self.boots, task.clone(), Happening::ComesUp));
            }
        }
        self.start_after(restart_after, bus);
    }

    /// The agent's process starts: takes over what there is, then looks for a leader. One that never was in the
    /// cluster has only its command line to go by, where whoever set it up names the masters of that day.
    pub fn start(&mut self, masters: &[u64], bus: &mut Bus) {
        if !self.on || self.process.is_some() {
            return;
        }
        if self.disk.masters.is_empty() {
            self.masters = masters.to_vec();
        }
        self.lives += 1;
        bus.note(self.place(), format_args!("its agent starts, life {}", self.lives));
        self.process = Some(Process {
            life: self.lives,
            core: Core::new(self.disk.kept, runtimes(), self.info.capacity),
            line: Line::new(&self.masters, self.disk.masters.clone()),
            launches: BTreeMap::new(),
            watched: BTreeSet::new(),
            checks: BTreeMap::new(),
            pending: BTreeMap::new(),
            serial: 0,
            due_at: None,
        });
        let (records, now) = (self.disk.records.values().cloned().collect(), self.now(bus));
        self.with_core(bus, |core| core.restore(records, now));
        for kind in [RuntimeKind::Docker, RuntimeKind::Process] {
            let found = self.found(kind);
            self.with_core(bus, |core| core.found(kind, found, now));
        }
        bus.after(1_000, Event::Beat(self.number, self.lives));
        self.dial(bus);
    }

    /// Is it that run of its process?
    pub fn lives(&self, life: Lifetime) -> bool {
        self.process.as_ref().is_some_and(|process| process.life == life)
    }

    /// Is it on, since that boot?
    pub fn is_on(&self, boot: Lifetime) -> bool {
        self.on && self.boots == boot
    }

    fn now(&self, bus: &Bus) -> Timestamp {
        bus.wall(0)
    }

    /// Lets the core do something, does what it says, and says what is new.
    fn with_core(&mut self, bus: &mut Bus, change: impl FnOnce(&mut Core) -> Vec<Effect>) {
        let Some(process) = &mut self.process else { return };
        let effects = change(&mut process.core);
        self.perform(effects, bus);
        self.say_news(bus);
        self.plan(bus);
    }

    /// The core's next appointment.
    fn plan(&mut self, bus: &mut Bus) {
        let now = self.now(bus);
        let Some(process) = &mut self.process else { return };
        let Some(due) = process.core.next_due() else { return };
        let at = bus.now + due.millis_since(now);
        // A week is longer than any run.
        if at < bus.now + 600_000 && process.due_at.is_none_or(|planned| planned > at || planned < bus.now) {
            process.due_at = Some(at);
            bus.queue.push(at, Event::Due(self.number, process.life));
        }
    }

    /// The core's appointment has come.
    pub fn due(&mut self, bus: &mut Bus) {
        let now = self.now(bus);
        if let Some(process) = &mut self.process {
            process.due_at = None;
        }
        self.with_core(bus, |core| core.tick(now));
    }
}
