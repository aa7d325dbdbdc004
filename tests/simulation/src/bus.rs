//! What everybody in a run shares: the time, the agenda, chance, the network, the story, and the checks.

use std::collections::BTreeMap;
use std::fmt::Arguments;
use std::time::{Duration, Instant};

use agent::search::Attempt;
use raft::eraftpb::{Message, MessageType};
use scheduler::cluster::AskError;
use scheduler::state::{Command, Outcome};
use spec::ids::{AgentId, AppId, TaskId};
use spec::protocol::{AgentMessage, MasterMessage};
use spec::time::Timestamp;

use crate::agent::Happening;
use crate::checks::Checks;
use crate::client::{Reply, Request};
use crate::figures::Figures;
use crate::master::{Asker, Knock};
use crate::net::{Frame, Net, Place};
use crate::queue::{Millis, Queue};
use crate::trace::Trace;

/// Where virtual time begins by the wall clock: 2026-01-01.
const EPOCH: u64 = 1_767_225_600_000;
/// A stalled stream tries again after so long.
const STALL_MILLIS: Millis = 200;

/// Which run of a process something belongs to; what belongs to an earlier one never happens.
pub type Lifetime = u64;

/// A message of raft, and the contents if it is a snapshot.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The message.
    pub message: Message,
    /// Pieces of a snapshot.
    pub pieces: Vec<Vec<u8>>,
}

/// Something that happens.
#[derive(Debug)]
pub enum Event {
    /// A master's tick.
    Tick(u64, Lifetime),
    /// A message of raft arrives.
    Raft(Box<Letter>),
    /// A message of raft could not be delivered.
    Undelivered(Box<Message>),
    /// A master looks at what has arrived.
    Turn(u64, Lifetime),
    /// A master answers what was asked of its log.
    Answers(u64, Lifetime, Vec<(Asker, Result<Outcome, AskError>)>),
    /// Proposals that take too long are given up.
    Expire(u64, Lifetime),
    /// The control loop looks again.
    Control(u64, Lifetime),
    /// A leader looks for agents that are away.
    Watch(u64, Lifetime),
    /// What a leader's control loop has decided is proposed.
    Decided(u64, Lifetime, u64, Vec<Command>),
    /// An agent comes back with something else just when something is placed on it.
    AimAtAgent(AgentId),
    /// Somebody wants less of an app just when this leader places it.
    AimAtApp(u64, AppId),
    /// Somebody reads from this master, whatever it is.
    Peek(u64),
    /// A leader looks at the masters.
    Tidy(u64, Lifetime),
    /// A new master asks to be let in.
    Knock(Knock),
    /// It is told its number.
    Joined(Knock, u64),
    /// A master that has stepped down asks its successor to take it out, until then.
    Farewell(u64, Lifetime, Millis),
    /// A master whose disk went back may start.
    Return(u64),
    /// A snapshot is on disk.
    Snapshot(u64, Lifetime),
    /// A master's process starts.
    StartMaster(u64),
    /// An agent's call arrives at a master.
    Dial(usize, Lifetime, Attempt),
    /// The call was not taken.
    DialFailed(usize, Lifetime, Attempt),
    /// The call was taken.
    Connected(usize, Lifetime, u64, Attempt),
    /// What is under way on a stream arrives, at the master (`true`) or at the agent.
    Stream(u64, bool),
    /// A session at a master looks at the time.
    Session(u64, Lifetime, u64),
    /// A session at a master proposes again.
    SessionRetry(u64, Lifetime, u64),
    /// An agent dials.
    Redial(usize, Lifetime, Attempt),
    /// An agent's second.
    Beat(usize, Lifetime),
    /// An agent's core has something to do.
    Due(usize, Lifetime),
    /// Something happens to a container, in one life of its machine.
    Machine(usize, Lifetime, TaskId, Happening),
    /// An agent's process is told of it, or a check is due.
    Told(usize, Lifetime, TaskId, Happening),
    /// An agent's process starts.
    StartAgent(usize, Lifetime),
    /// An agent's machine starts.
    BootAgent(usize),
    /// A client does the next thing.
    Act(usize),
    /// A client's request arrives at a master.
    Request(u64, Box<Request>),
    /// The answer arrives at the client.
    Reply(usize, u64, Reply),
    /// A client has waited for long enough.
    Patience(usize, u64),
    /// Something goes wrong, or right again.
    Fault(crate::nemesis::Act),
    /// The nemesis thinks of something.
    Nemesis,
    /// A look at everything.
    Look,
}

/// Shared by all parts of a run.
#[derive(Debug)]
pub struct Bus {
    /// Virtual time.
    pub now: Millis,
    /// What is to happen.
    pub queue: Queue<Event>,
    /// The only source of chance.
    pub rng: fastrand::Rng,
    /// The network.
    pub net: Net,
    /// The story.
    pub trace: Trace,
    /// What has been seen of the truth, and whether it holds.
    pub checks: Checks,
    /// Sums.
    pub figures: Figures,
    /// Whose name each master has.
    pub seats: BTreeMap<u64, u64>,
    origin: Instant,
}

impl Bus {
    /// The beginning of a run.
    pub fn new(seed: u64, keep_trace: bool) -> Self {
        Self {
            now: 0,
            queue: Queue::default(),
            rng: fastrand::Rng::with_seed(seed),
            net: Net::default(),
            trace: Trace::new(keep_trace),
            checks: Checks::default(),
            figures: Figures::default(),
            seats: BTreeMap::new(),
            origin: Instant::now(),
        }
    }

    /// Notes a happening.
    pub fn note(&mut self, who: impl std::fmt::Display, what: Arguments<'_>) {
        self.trace.note(self.now, who, what);
    }

    /// This happens after `millis`.
    pub fn after(&mut self, millis: Millis, event: Event) {
        self.queue.push(self.now + millis, event);
    }

    /// Time since the beginning, as shells measure it.
    pub fn elapsed(&self) -> Duration {
        Duration::from_millis(self.now)
    }

    /// The moment by a clock that never jumps. Only differences of such moments are looked at.
    pub fn instant(&self) -> Instant {
        self.origin + self.elapsed()
    }

    /// The time by a clock that is wrong by `offset` milliseconds.
    pub fn wall(&self, offset: i64) -> Timestamp {
        Timestamp::from_millis((EPOCH + self.now).saturating_add_signed(offset))
    }

    /// Chance: `true` in so many of a thousand cases.
    pub fn chance(&mut self, of_thousand: u32) -> bool {
        self.rng.u32(0..1000) < of_thousand
    }

    /// A number between the two, both included.
    pub fn between(&mut self, least: Millis, most: Millis) -> Millis {
        self.rng.u64(least..=most.max(least))
    }

    /// An id that no other thing in this run has.
    pub fn uuid(&mut self) -> uuid::Uuid {
        uuid::Builder::from_random_bytes(self.rng.u128(..).to_le_bytes()).into_uuid()
    }

    /// Time under way of one message.
    pub fn latency(&mut self) -> Millis {
        let most = self.net.weather.delay_max;
        // Mostly quick, sometimes as slow as it gets.
        let most = if self.chance(900) { most.min(4) } else { most };
        self.between(1, most)
    }

    /// Sends a message of raft, `late` milliseconds from now.
    pub fn send_raft(&mut self, letter: Letter, late: Millis) {
        let (from, to) = (Place::Master(letter.message.from), Place::Master(letter.message.to));
        let weather = self.net.weather;
        let lost = self.chance(weather.loss) && letter.message.get_msg_type() != MessageType::MsgSnapshot;
        if lost || !self.net.passes(from, to) {
            self.figures.messages_lost += 1;
            // Who sends hears of a link that is down, sooner or later.
            if !lost {
                let millis = late + self.between(10, 1_000);
                self.after(millis, Event::Undelivered(Box::new(letter.message)));
            }
            return;
        }
        if letter.pieces.is_empty() && self.chance(weather.doubled) {
            self.figures.messages_doubled += 1;
            let millis = late + self.latency();
            self.after(millis, Event::Raft(Box::new(letter.clone())));
        }
        self.figures.messages += 1;
        let millis = late + self.latency();
        self.after(millis, Event::Raft(Box::new(letter)));
    }

    /// Says something to the agent at the other end.
    pub fn say_down(&mut self, conn: u64, frame: Frame<MasterMessage>) {
        let millis = self.latency();
        let Some(line) = self.net.conns.get_mut(&conn) else { return };
        line.down.frames.push_back(frame);
        if !std::mem::replace(&mut line.down.scheduled, true) {
            self.after(millis, Event::Stream(conn, false));
        }
    }

    /// Says something to the master at the other end.
    pub fn say_up(&mut self, conn: u64, frame: Frame<AgentMessage>) {
        let millis = self.latency();
        let Some(line) = self.net.conns.get_mut(&conn) else { return };
        line.up.frames.push_back(frame);
        if !std::mem::replace(&mut line.up.scheduled, true) {
            self.after(millis, Event::Stream(conn, true));
        }
    }

    /// What arrives at the master now; nothing while the link is cut.
    pub fn take_up(&mut self, conn: u64) -> Vec<Frame<AgentMessage>> {
        let Some(line) = self.net.conns.get_mut(&conn) else { return Vec::new() };
        let (from, to) = (Place::Agent(line.agent.0), Place::Master(line.master.0));
        if self.net.cut.contains(&(from, to)) {
            self.after(STALL_MILLIS, Event::Stream(conn, true));
            return Vec::new();
        }
        line.up.scheduled = false;
        line.up.frames.drain(..).collect()
    }

    /// What arrives at the agent now.
    pub fn take_down(&mut self, conn: u64) -> Vec<Frame<MasterMessage>> {
        let Some(line) = self.net.conns.get_mut(&conn) else { return Vec::new() };
        let (from, to) = (Place::Master(line.master.0), Place::Agent(line.agent.0));
        if self.net.cut.contains(&(from, to)) {
            self.after(STALL_MILLIS, Event::Stream(conn, false));
            return Vec::new();
        }
        line.down.scheduled = false;
        line.down.frames.drain(..).collect()
    }
}
