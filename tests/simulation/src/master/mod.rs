//! A simulated master: the real raft node over a disk in memory, the real state, and the shells round them
//! (proposer, control loop, sessions, zone) without their threads. What they decide is the product's own code;
//! here is only who is asked when.

mod life;
mod machine;
mod members;
mod reign;
mod requests;
mod session;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use dns::Zone;
use scheduler::clock::Clock;
use scheduler::consensus::store::{Fault, First, MemoryDisk, MemoryStore};
use scheduler::consensus::{
    Commits, Node, NodeConfig, NodeError, Sent, SnapshotJob, SnapshotPolicy, Written, first_snapshot,
};
use scheduler::state::{Command, MasterInfo};

use crate::bus::{Bus, Event, Letter, Lifetime};
use crate::client::Request;
use crate::queue::Millis;
use machine::Outbox;
pub use machine::{Entry, Simulated, Window};
pub use members::{Knock, info};
use reign::Reign;
pub use requests::Ticket;
use session::Session;

/// raft's clock.
const TICK_MILLIS: Millis = 40;
/// Entries on their way at once, as the proposer has it.
const IN_FLIGHT_MAX: usize = 16;
/// As the proposer's.
const COMMIT_TIMEOUT_MILLIS: Millis = 10_000;
/// More than this waiting anywhere is a queue without a bound.
const WAITING_MAX: usize = 4_096;
/// Snapshots often, so that they matter in a short run.
const SNAPSHOTS: SnapshotPolicy =
    SnapshotPolicy { entries: 150, bytes: 1 << 20, larger_max: 8, keep_entries: 20, keep_bytes: 1 << 20 };

/// Who waits for an outcome.
#[derive(Clone, Debug)]
pub enum Asker {
    /// The control loop, in this term.
    Control(u64),
    /// An agent's session.
    Session(u64),
    /// A client.
    Client(Box<Ticket>),
    /// A client that reads.
    Read(Box<Request>),
    /// Who looks after the masters, in this term.
    Tidy(u64),
    /// A new master that is to get a number.
    Join(Knock),
    /// The same: it has this number, and is to become a learner.
    Learner(Knock, u64),
    /// Somebody who wants this master out of the group.
    Leave(u64),
    /// The same, of the master that is asked, while it leads.
    Farewell,
    /// Nobody: it is asked again anyway.
    Nobody,
}

/// A command on its way into the log.
#[derive(Debug)]
struct Ask {
    asker: Asker,
    command: Command,
}

/// A snapshot that the node has not heard of again.
enum Snapshot {
    Waiting(SnapshotJob),
    Written(Option<Written>),
}

/// One entry under way.
struct Flight {
    askers: Vec<Asker>,
    until: Millis,
}

/// A master, running or not.
pub struct Master {
    /// Its number.
    pub id: u64,
    /// Whose name it has: a master that lost its disk comes back as another number on the same seat.
    pub seat: u64,
    /// What survives a crash.
    pub disk: MemoryDisk,
    /// Its wall clock is so many milliseconds off.
    pub offset: i64,
    /// How long a write to its disk takes at most.
    pub slow: Millis,
    /// The process, while it runs.
    pub life: Option<Life>,
    /// How often it was started.
    pub lives: Lifetime,
    seed: u64,
}

/// A running master.
pub struct Life {
    id: u64,
    seat: u64,
    heard: BTreeMap<u64, MasterInfo>,
    wishes: BTreeMap<u64, Asker>,
    number: Lifetime,
    node: Node<Simulated, MemoryStore>,
    window: Window,
    outbox: Outbox,
    clock: Clock,
    offset: i64,
    inbox: Vec<Letter>,
    reports: Vec<(u64, Sent)>,
    ticked: bool,
    asks: VecDeque<Ask>,
    held: Option<Ask>,
    in_flight: BTreeMap<u64, Flight>,
    next_ticket: u64,
    turn_at: Option<Millis>,
    busy_until: Millis,
    snapshot: Option<Snapshot>,
    told: (u64, Option<u64>, bool),
    reign: Option<Reign>,
    sessions: BTreeMap<u64, Session>,
    empty: Zone,
    /// The names that it answers for.
    pub zone: Zone,
    /// What its disk has done.
    commits: Commits,
}

/// A disk on which a group of these voters begins; without any: one on which nothing is, for a master that joins.
pub fn founded(voters: &[u64]) -> MemoryDisk {
    let first =
        if voters.is_empty() { First::nothing() } else { first_snapshot(&Simulated::default(), voters) };
    MemoryDisk::founded(first).expect("a fresh disk in memory")
}

impl Master {
    /// A master that has not been started.
    pub fn new(id: u64, seat: u64, disk: MemoryDisk, seed: u64) -> Self {
        Self { id, seat, disk, offset: 0, slow: 2, life: None, lives: 0, seed }
    }

    /// The process starts.
    pub fn start(&mut self, bus: &mut Bus) {
        if self.life.is_some() {
            return;
        }
        self.lives += 1;
        let window = Window::default();
        let config = NodeConfig { id: self.id, seed: self.seed ^ (self.lives << 8), snapshots: SNAPSHOTS };
        let node = match Node::open(config, self.disk.open(), Simulated(window.clone())) {
            Ok(node) => node,
            Err(error) => {
                return bus.checks.fail(bus.now, "start", format!("m{} does not start: {error}", self.id));
            }
        };
        let empty = Zone::new(dns::Settings::default());
        let clock = Clock::new(bus.instant(), bus.wall(self.offset));
        let life = Life {
            id: self.id,
            seat: self.seat,
            heard: BTreeMap::new(),
            wishes: BTreeMap::new(),
            number: self.lives,
            node,
            window,
            outbox: Outbox::default(),
            clock,
            offset: self.offset,
            inbox: Vec::new(),
            reports: Vec::new(),
            ticked: false,
            asks: VecDeque::new(),
            held: None,
            in_flight: BTreeMap::new(),
            next_ticket: 0,
            turn_at: None,
            busy_until: 0,
            snapshot: None,
            told: (0, None, false),
            reign: None,
            sessions: BTreeMap::new(),
            zone: empty.clone(),
            empty,
            commits: Commits::default(),
        };
        bus.note(format_args!("m{}", self.id), format_args!("starts, life {}", self.lives));
        let phase = bus.between(1, TICK_MILLIS);
        bus.after(phase, Event::Tick(self.id, self.lives));
        bus.after(500, Event::Watch(self.id, self.lives));
        bus.after(1_000, Event::Expire(self.id, self.lives));
        bus.after(members::LOOK_MILLIS, Event::Tidy(self.id, self.lives));
        bus.seats.insert(self.id, self.seat);
        self.life = Some(life);
        self.wake(bus);
    }

    /// The process dies; what was not synced is gone.
    pub fn crash(&mut self, bus: &mut Bus, why: &str) {
        let Some(life) = self.life.take() else { return };
        self.disk.crash();
        bus.note(format_args!("m{}", self.id), format_args!("dies: {why}"));
        bus.checks.reign_over(self.id);
        for conn in life.sessions.keys() {
            bus.say_down(*conn, crate::net::Frame::Closed);
        }
    }

    /// The process of that lifetime, if it still is the one that runs.
    pub fn living(&mut self, life: Lifetime) -> Option<&mut Life> {
        self.life.as_mut().filter(|running| running.number == life)
    }

    /// It looks at its inputs as soon as it is free.
    pub fn wake(&mut self, bus: &mut Bus) {
        if let Some(life) = &mut self.life {
            life.wake(bus);
        }
    }

    /// Time passes for raft.
    pub fn tick(&mut self, bus: &mut Bus) {
        let Some(life) = &mut self.life else { return };
        life.ticked = true;
        bus.after(TICK_MILLIS, Event::Tick(self.id, life.number));
        life.wake(bus);
    }

    /// A message of another master arrives.
    pub fn receive(&mut self, letter: Letter, bus: &mut Bus) {
        let Some(life) = &mut self.life else { return };
        life.hear_of(letter.message.from, bus);
        life.inbox.push(letter);
        bus.checks.bound(bus.now, "messages waiting for a master", life.inbox.len(), WAITING_MAX);
        life.wake(bus);
    }

    /// What became of a snapshot that it sent.
    pub fn report(&mut self, to: u64, sent: Sent, bus: &mut Bus) {
        let Some(life) = &mut self.life else { return };
        life.reports.push((to, sent));
        life.wake(bus);
    }

    /// Its wall clock is set.
    pub fn set_clock(&mut self, offset: i64) {
        self.offset = offset;
        if let Some(life) = &mut self.life {
            life.offset = offset;
        }
    }

    /// Handles everything that waits, with one write to disk.
    pub fn turn(&mut self, bus: &mut Bus) {
        let Some(life) = self.life.as_mut().filter(|life| life.turn_at == Some(bus.now)) else { return };
        life.turn_at = None;
        let commits = self.disk.commits();
        let done = life.handle(bus);
        let written = self.disk.commits() - commits;
        let late = if written > 0 { bus.between(0, self.slow) } else { 0 };
        life.commits.count += written;
        life.commits.time += Duration::from_millis(late);
        match done {
            Ok(answers) => {
                // In a storm machines are busy, too: what arrives meanwhile is handled together.
                let busy = if bus.net.weather.loss > 0 { bus.between(0, 40) } else { 0 };
                life.busy_until = bus.now + late.max(busy);
                life.after_turn(answers, late, bus);
            }
            Err(NodeError::Store(error)) => {
                let why = error.to_string();
                // What was sent before the write is under way.
                life.outbox.take().into_iter().for_each(|letter| bus.send_raft(letter, 0));
                self.crash(bus, &why);
                let pause = bus.between(200, 5_000);
                bus.after(pause, Event::StartMaster(self.id));
            }
            Err(error) => bus.checks.fail(bus.now, "log", format!("m{}: {error}", self.id)),
        }
    }

    /// Lets something go wrong with its next write.
    pub fn tear(&mut self, fault: Fault) {
        self.disk.inject(fault);
    }
}
