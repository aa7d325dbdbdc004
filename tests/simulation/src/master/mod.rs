//! A simulated master: the real raft node over a disk in memory, the real state, and the shells round them
//! (proposer, control loop, sessions, zone) without their threads. What they decide is the product's own code;
//! here is only who is asked when.

mod machine;
mod reign;
mod requests;
mod session;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicBool;

use dns::Zone;
use scheduler::batching;
use scheduler::clock::Clock;
use scheduler::cluster::AskError;
use scheduler::consensus::store::{Fault, First, LogStore, MemoryDisk, MemoryStore};
use scheduler::consensus::{
    Answer, Node, NodeConfig, NodeError, Proposal, Sent, SnapshotPolicy, Written, first_snapshot,
};
use scheduler::names;
use scheduler::state::{Batch, Command, Outcome, State};
use spec::time::Timestamp;

use crate::bus::{Bus, Event, Letter, Lifetime};
use crate::queue::Millis;
use machine::Outbox;
pub use machine::{Entry, Simulated, Window};
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
    SnapshotPolicy { entries: 150, bytes: 1 << 20, keep_entries: 20, keep_bytes: 1 << 20 };

/// Who waits for an outcome.
#[derive(Clone, Debug)]
pub enum Asker {
    /// The control loop, in this term.
    Control(u64),
    /// An agent's session.
    Session(u64),
    /// A client.
    Client(Box<Ticket>),
    /// Nobody: it is asked again anyway.
    Nobody,
}

/// A command on its way into the log.
#[derive(Debug)]
struct Ask {
    asker: Asker,
    command: Command,
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
    written: Option<Written>,
    told: (u64, Option<u64>, bool),
    reign: Option<Reign>,
    sessions: BTreeMap<u64, Session>,
    empty: Zone,
    /// The names that it answers for.
    pub zone: Zone,
}

/// A disk on which a group of these voters begins; without any: one on which nothing is, for a master that joins.
pub fn founded(voters: &[u64]) -> MemoryDisk {
    let first =
        if voters.is_empty() { First::nothing() } else { first_snapshot(&Simulated::default(), voters) };
    MemoryDisk::founded(first).expect("a fresh disk in memory")
}

impl Master {
    /// A master that has not been started.
    pub fn new(id: u64, disk: MemoryDisk, seed: u64) -> Self {
        Self { id, disk, offset: 0, slow: 2, life: None, lives: 0, seed }
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
            written: None,
            told: (0, None, false),
            reign: None,
            sessions: BTreeMap::new(),
            zone: empty.clone(),
            empty,
        };
        bus.note(format_args!("m{}", self.id), format_args!("starts, life {}", self.lives));
        let phase = bus.between(1, TICK_MILLIS);
        bus.after(phase, Event::Tick(self.id, self.lives));
        bus.after(500, Event::Watch(self.id, self.lives));
        bus.after(1_000, Event::Expire(self.id, self.lives));
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
        let late = if self.disk.commits() > commits { bus.between(0, self.slow) } else { 0 };
        match done {
            Ok(answers) => {
                life.busy_until = bus.now + late;
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

type Answers = Vec<Answer<Vec<Outcome>>>;

impl Life {
    fn wake(&mut self, bus: &mut Bus) {
        let at = bus.now.max(self.busy_until);
        if self.turn_at.is_none_or(|planned| planned > at) {
            self.turn_at = Some(at);
            bus.queue.push(at, Event::Turn(self.id, self.number));
        }
    }

    fn name(&self) -> String {
        format!("m{}", self.id)
    }

    /// Which start of the process this is.
    pub fn number(&self) -> Lifetime {
        self.number
    }

    /// The replicated state as it is here.
    pub fn state(&self) -> State {
        self.window.state()
    }

    /// Term, leader, and whether it is this one.
    pub fn leadership(&self) -> (u64, Option<u64>, bool) {
        self.told
    }

    /// The node, to look at.
    pub fn node(&mut self) -> &mut Node<Simulated, MemoryStore> {
        &mut self.node
    }

    /// Is nothing waiting?
    pub fn is_idle(&self) -> bool {
        self.asks.is_empty() && self.held.is_none() && self.in_flight.is_empty() && self.inbox.is_empty()
    }

    fn time(&mut self, bus: &Bus) -> Timestamp {
        self.clock.read(bus.instant(), bus.wall(self.offset))
    }

    fn handle(&mut self, bus: &mut Bus) -> Result<Answers, NodeError> {
        for Letter { message, pieces } in std::mem::take(&mut self.inbox) {
            if pieces.is_empty() {
                self.node.step(message);
                continue;
            }
            let mut sink = self.node.stager()();
            if pieces.iter().try_for_each(|piece| sink.put(piece)).is_ok() {
                self.node.step_snapshot(message, sink.finish());
            }
        }
        for (to, sent) in std::mem::take(&mut self.reports) {
            self.node.report(to, sent);
        }
        let proposals = self.batches(bus);
        let mut answers = if proposals.is_empty() { Vec::new() } else { self.node.propose(proposals) };
        if std::mem::take(&mut self.ticked) {
            self.node.tick();
        }
        answers.extend(self.node.ready(&self.outbox)?);
        if let Some(job) = self.node.snapshot_due() {
            // Writing it takes its time, beside everything else.
            self.written = job.run(&AtomicBool::new(false))?;
            bus.figures.snapshots_taken += 1;
            let millis = bus.between(1, 300);
            bus.after(millis, Event::Snapshot(self.id, self.number));
        }
        Ok(answers)
    }

    /// A snapshot is on disk.
    pub fn snapshot_written(&mut self, bus: &mut Bus) {
        if let Err(error) = self.node.snapshot_written(self.written.take())
            && !matches!(error, NodeError::Store(_))
        {
            bus.checks.fail(bus.now, "log", format!("m{}: {error}", self.id));
        }
        self.wake(bus);
    }

    /// What waits as entries, as the proposer has it.
    fn batches(&mut self, bus: &mut Bus) -> Vec<Proposal> {
        let mut proposals = Vec::new();
        while self.in_flight.len() < IN_FLIGHT_MAX
            && let Some(first) = self.held.take().or_else(|| self.asks.pop_front())
        {
            let asks = &mut self.asks;
            let batch = batching::fill(first, || asks.pop_front(), &mut self.held, |ask| &ask.command);
            let (askers, commands) = batch.taken.into_iter().map(|ask| (ask.asker, ask.command)).unzip();
            let batch = Batch { at: self.time(bus), seed: bus.rng.u64(..), commands };
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            self.in_flight.insert(ticket, Flight { askers, until: bus.now + COMMIT_TIMEOUT_MILLIS });
            proposals.push(Proposal { ticket, entries: vec![batch.encode()] });
        }
        proposals
    }

    /// Takes a command.
    fn ask(&mut self, asker: Asker, command: Command, bus: &mut Bus) {
        self.asks.push_back(Ask { asker, command });
        bus.checks.bound(bus.now, "commands waiting for a master", self.asks.len(), WAITING_MAX);
        self.wake(bus);
    }

    fn after_turn(&mut self, answers: Answers, late: Millis, bus: &mut Bus) {
        self.look(bus);
        for letter in self.outbox.take() {
            // A snapshot is streamed for a while.
            let streamed = if letter.pieces.is_empty() { 0 } else { bus.between(5, 500) };
            bus.send_raft(letter, late + streamed);
        }
        let settled: Vec<_> = answers.into_iter().flat_map(|answer| self.outcomes(answer)).collect();
        if !settled.is_empty() {
            bus.after(late, Event::Answers(self.id, self.number, settled));
        }
        if !self.asks.is_empty() && self.in_flight.len() < IN_FLIGHT_MAX {
            self.wake(bus);
        }
    }

    /// An answer of the log as one for each command.
    fn outcomes(&mut self, answer: Answer<Vec<Outcome>>) -> Vec<(Asker, Result<Outcome, AskError>)> {
        let Some(flight) = self.in_flight.remove(&answer.ticket) else { return Vec::new() };
        match answer.outcome {
            Ok(outcomes) => {
                let outcomes = outcomes.into_iter().flatten();
                flight.askers.into_iter().zip(outcomes.map(Ok)).collect()
            }
            Err(error) => {
                let error = batching::ask_error(&error);
                flight.askers.into_iter().map(|asker| (asker, Err(error.clone()))).collect()
            }
        }
    }

    /// Gives up what takes too long.
    pub fn expire(&mut self, bus: &mut Bus) {
        let late: Vec<u64> = self
            .in_flight
            .iter()
            .filter(|(_, flight)| flight.until <= bus.now)
            .map(|(ticket, _)| *ticket)
            .collect();
        let late = late.into_iter().filter_map(|ticket| self.in_flight.remove(&ticket));
        let answers: Vec<_> =
            late.flat_map(|flight| flight.askers).map(|asker| (asker, Err(AskError::TimedOut))).collect();
        bus.after(1_000, Event::Expire(self.id, self.number));
        self.answer(answers, bus);
    }

    /// Answers whoever waits.
    pub fn answer(&mut self, answers: Vec<(Asker, Result<Outcome, AskError>)>, bus: &mut Bus) {
        for (asker, outcome) in answers {
            match asker {
                Asker::Control(term) => self.control_answered(term, outcome.is_ok(), bus),
                Asker::Session(conn) => self.session_answered(conn, outcome, bus),
                Asker::Client(ticket) => self.client_answered(*ticket, outcome, bus),
                Asker::Nobody => {}
            }
        }
    }

    /// Takes in what the machine has done: checks it, feeds the shells with it.
    fn look(&mut self, bus: &mut Bus) {
        let (entries, restored, leadership, state) = {
            let mut seen = self.window.open();
            let entries = std::mem::take(&mut seen.entries);
            let leadership = std::mem::take(&mut seen.leadership);
            (entries, std::mem::take(&mut seen.restored), leadership, seen.state.clone())
        };
        if restored {
            self.zone = names::whole(&self.empty, &state);
            if entries.is_empty() {
                bus.checks.restored(bus.now, self.id, &state, &mut bus.figures);
            }
        }
        let fresh = entries.len();
        for entry in entries {
            if !restored {
                names::follow(&mut self.zone, &entry.after, &entry.applied);
            }
            bus.trace.note(
                bus.now,
                format_args!("m{}", self.id),
                format_args!("applies {} {:?}", entry.applied.index, Short(&entry.batch.commands)),
            );
            self.take_news(&entry, bus);
            bus.checks.applied(bus.now, self.id, entry, &mut bus.figures);
        }
        for told in leadership {
            self.lead(told, bus);
        }
        if fresh > 0 {
            self.control(bus);
        }
    }

    /// Puts an application of the log beside what its store says of it: both are bounded.
    pub fn check_bounds(&self, bus: &mut Bus) {
        let outline = self.node.store().outline();
        let kept = outline.last_index().saturating_sub(outline.snapshot().index);
        bus.checks.bound(bus.now, "entries of the log after the snapshot", kept as usize, 4_000);
        bus.checks.bound(bus.now, "sessions", self.sessions.len(), 64);
    }
}

/// Commands in few words.
pub struct Short<'a>(pub &'a [Command]);

impl std::fmt::Debug for Short<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut list = f.debug_list();
        for command in self.0 {
            match command {
                Command::Deploy(deploy) => {
                    let put: Vec<_> =
                        deploy.put.iter().map(|put| (put.app.0.id.as_str(), put.app.0.instances)).collect();
                    let (remove, restart) = (&deploy.remove, &deploy.restart);
                    list.entry(&format_args!(
                        "Deploy {put:?} -{remove:?} ~{restart:?} force {}",
                        deploy.force
                    ))
                }
                Command::Place(placements) => list.entry(&format_args!(
                    "Place {:?}",
                    placements
                        .iter()
                        .map(|p| (p.app.as_str(), p.agent.as_str(), &p.host_ports))
                        .collect::<Vec<_>>()
                )),
                Command::Report { agent, complete, reports } => list.entry(&format_args!(
                    "Report {agent} complete {complete} {:?}",
                    reports.iter().map(|r| (r.task.to_string(), r.seq, r.state)).collect::<Vec<_>>()
                )),
                Command::RegisterAgent { id, info } => {
                    list.entry(&format_args!("Register {id:?} {}", info.hostname))
                }
                other => list.entry(other),
            };
        }
        list.finish()
    }
}
