//! A whole cluster: who there is, and whom each event concerns.

use std::collections::BTreeMap;

use agent::search::Attempt;
use raft::eraftpb::{Message, MessageType};
use scheduler::consensus::Sent;
use spec::ids::AppId;

use crate::agent::Machine;
use crate::bus::{Bus, Event, Letter};
use crate::checks::quiet;
use crate::client::{Client, Reply, Request, What};
use crate::master::{Master, founded};
use crate::net::{Frame, Place};
use crate::queue::Millis;
use crate::seats::Seats;

/// Everything wanted runs, and nothing else, so long after the last fault at the latest. It holds a launch that
/// hangs until it is overdue, its replacement's back-off, and an agent that is held back from being given up.
pub const QUIET_MILLIS_MAX: Millis = 150_000;
/// A run that is as it should be must stay so for this long.
const CALM_LOOKS: u32 = 5;
/// More than this on the agenda, and something feeds itself.
const EVENTS_MAX: usize = 50_000;

/// What a run consists of; drawn from its seed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Masters: 1, 3 or 5.
    pub masters: u64,
    /// Machines with an agent.
    pub agents: usize,
    /// Clients.
    pub clients: usize,
    /// Length of the faulty phase.
    pub faulty_millis: Millis,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
        let masters = [3, 3, 3, 3, 3, 3, 3, 5, 5, 1][rng.usize(0..10)];
        let (agents, clients) = (rng.usize(3..=8), rng.usize(1..=3));
        Self { masters, agents, clients, faulty_millis: rng.u64(20_000..60_000) }
    }
}

/// A whole cluster.
pub struct World {
    /// What all share.
    pub bus: Bus,
    /// Masters by number.
    pub masters: BTreeMap<u64, Master>,
    /// Machines with agents.
    pub machines: Vec<Machine>,
    /// Clients.
    pub clients: Vec<Client>,
    /// Since when there are no faults.
    pub quiet_since: Option<Millis>,
    /// Who is to be a master, and who was.
    pub seats: Seats,
    /// Of the run.
    pub seed: u64,
    calm: u32,
    plan: Plan,
}

impl World {
    /// A cluster as the seed wants it, about to begin.
    pub fn new(seed: u64, keep_trace: bool) -> Self {
        let plan = Plan::of(seed);
        let voters: Vec<u64> = (1..=plan.masters).collect();
        let master = |id: &u64| (*id, Master::new(*id, *id, founded(&voters), seed));
        let mut world = Self {
            bus: Bus::new(seed, keep_trace),
            masters: voters.iter().map(master).collect(),
            machines: (0..plan.agents).map(|number| Machine::new(number, voters.clone())).collect(),
            clients: (0..plan.clients).map(|number| Client::new(number, voters.clone())).collect(),
            quiet_since: None,
            seats: Seats::new(plan.masters),
            seed,
            calm: 0,
            plan,
        };
        world.bus.note("!", format_args!("seed {seed}: {plan:?}"));
        voters.iter().for_each(|id| world.bus.after(0, Event::StartMaster(*id)));
        (0..plan.agents).for_each(|number| world.bus.after(10, Event::BootAgent(number)));
        (0..plan.clients).for_each(|number| world.bus.after(2_500, Event::Act(number)));
        world.bus.after(4_000, Event::Nemesis);
        world.bus.after(1_000, Event::Look);
        world
    }

    /// Runs to the end: until something does not hold, or everything is as it should be.
    pub fn run(&mut self) {
        while self.bus.checks.failure().is_none() && self.calm < CALM_LOOKS {
            let Some((at, event)) = self.bus.queue.pop() else {
                return self.bus.checks.fail(
                    self.bus.now,
                    "I13",
                    "nothing will ever happen again".to_owned(),
                );
            };
            self.bus.now = at;
            self.handle(event);
        }
        self.bus.figures.virtual_millis = self.bus.now;
        self.bus.figures.happenings = self.bus.trace.happenings();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Tick(..)
            | Event::Raft(_)
            | Event::Undelivered(_)
            | Event::Turn(..)
            | Event::Answers(..)
            | Event::Expire(..)
            | Event::Control(..)
            | Event::Watch(..)
            | Event::Tidy(..)
            | Event::Decided(..)
            | Event::Snapshot(..)
            | Event::StartMaster(_)
            | Event::Session(..)
            | Event::SessionRetry(..)
            | Event::Request(..) => self.handle_master(event),
            Event::Dial(..) | Event::DialFailed(..) | Event::Connected(..) | Event::Stream(..) => {
                self.handle_stream(event);
            }
            Event::Redial(..)
            | Event::Beat(..)
            | Event::Due(..)
            | Event::Machine(..)
            | Event::Told(..)
            | Event::StartAgent(..)
            | Event::BootAgent(_) => self.handle_agent(event),
            Event::Act(client) => self.clients[client].act(&mut self.bus),
            Event::Reply(client, number, reply) => self.reply(client, number, reply),
            Event::Patience(client, mark) => self.clients[client].give_up(mark, &mut self.bus),
            Event::Fault(act) => self.mend(act),
            Event::Nemesis => self.strike(),
            Event::AimAtAgent(agent) => self.aim_at_agent(&agent),
            Event::AimAtApp(id, app) => self.onlook(id, vec![What::Scale(app, 0)]),
            Event::Peek(id) => self.peek(id),
            Event::Knock(knock) => self.knock(knock),
            Event::Joined(knock, id) => self.joined(knock, id),
            Event::Farewell(id, life, until) => self.farewell(id, life, until),
            Event::Return(id) => self.return_old(id),
            Event::Look => self.look(),
        }
    }

    fn reply(&mut self, client: usize, number: u64, reply: Reply) {
        match (self.clients.get_mut(client), reply) {
            (Some(client), reply) => client.answered(number, reply, &mut self.bus),
            // The onlooker's requests are told apart by what they must see.
            (None, Reply::Seen(index)) => {
                self.bus.figures.reads += 1;
                self.bus.checks.seen(self.bus.now, client, number, index);
            }
            (None, _) => {}
        }
    }

    /// An onlooker lets this master write something that changes nothing, and reads from it, whether it leads or not.
    fn peek(&mut self, id: u64) {
        self.onlook(id, vec![What::ResetDelay(AppId::parse("/nothing").expect("a path")), What::Read]);
    }

    /// An onlooker asks for these.
    fn onlook(&mut self, id: u64, wishes: Vec<What>) {
        let (client, floor) = (self.clients.len(), self.bus.checks.floor());
        let life = self.masters.get_mut(&id).and_then(|master| master.life.as_mut());
        if let Some(life) = life.filter(|_| self.quiet_since.is_none()) {
            for what in wishes {
                life.request(Request { client, number: floor, what, force: true, floor }, &mut self.bus);
            }
        }
    }

    fn handle_master(&mut self, event: Event) {
        let bus = &mut self.bus;
        match event {
            Event::StartMaster(id) if self.seats.may_start(id) => {
                if let Some(master) = self.masters.get_mut(&id) {
                    master.start(bus);
                }
            }
            Event::Raft(letter) => self.deliver(*letter),
            Event::Undelivered(message) => self.undelivered(&message),
            Event::Request(id, request) => {
                if let Some(life) = self.masters.get_mut(&id).and_then(|master| master.life.as_mut()) {
                    life.request(*request, bus);
                }
            }
            Event::Tick(id, life) => {
                if let Some(master) = self.masters.get_mut(&id).filter(|master| master.lives == life) {
                    master.tick(bus);
                }
            }
            Event::Turn(id, life) => {
                if let Some(master) = self.masters.get_mut(&id).filter(|master| master.lives == life) {
                    master.turn(bus);
                }
            }
            Event::Answers(id, life, answers) => self.living(id, life, |life, bus| life.answer(answers, bus)),
            Event::Expire(id, life) => self.living(id, life, |life, bus| life.expire(bus)),
            Event::Control(id, life) => self.living(id, life, |life, bus| life.control_due(bus)),
            Event::Decided(id, life, term, commands) => {
                self.living(id, life, |life, bus| life.decided(term, commands, bus));
            }
            Event::Tidy(id, life) => self.living(id, life, |life, bus| life.tidy(bus)),
            Event::Watch(id, life) => self.living(id, life, |life, bus| life.watch(bus)),
            Event::Snapshot(id, life) => self.living(id, life, |life, bus| life.snapshot_written(bus)),
            Event::Session(id, life, conn) => {
                self.living(id, life, |life, bus| life.look_at_session(conn, bus));
            }
            Event::SessionRetry(id, life, conn) => {
                self.living(id, life, |life, bus| life.propose_command(conn, bus));
            }
            _ => {}
        }
    }

    fn living(&mut self, id: u64, life: u64, act: impl FnOnce(&mut crate::master::Life, &mut Bus)) {
        if let Some(living) = self.masters.get_mut(&id).and_then(|master| master.living(life)) {
            act(living, &mut self.bus);
        }
    }

    /// A message of raft arrives, unless the link was cut meanwhile.
    fn deliver(&mut self, letter: Letter) {
        let (from, to) = (letter.message.from, letter.message.to);
        let passes = self.bus.net.passes(Place::Master(from), Place::Master(to));
        let snapshot = !letter.pieces.is_empty();
        match self.masters.get_mut(&to).filter(|master| passes && master.life.is_some()) {
            Some(master) => {
                master.receive(letter, &mut self.bus);
                if snapshot {
                    self.report(from, to, Sent::SnapshotArrived);
                }
            }
            None => self.undelivered(&letter.message),
        }
    }

    /// The sender hears that a message did not get through.
    fn undelivered(&mut self, message: &Message) {
        let snapshot = message.get_msg_type() == MessageType::MsgSnapshot;
        let sent = if snapshot { Sent::SnapshotLost } else { Sent::Unreachable };
        self.report(message.from, message.to, sent);
    }

    fn report(&mut self, from: u64, to: u64, sent: Sent) {
        if let Some(master) = self.masters.get_mut(&from) {
            master.report(to, sent, &mut self.bus);
        }
    }

    fn handle_stream(&mut self, event: Event) {
        match event {
            Event::Dial(agent, life, attempt) => self.dial(agent, life, attempt),
            Event::DialFailed(agent, life, attempt) if self.machines[agent].lives(life) => {
                self.machines[agent].dial_failed(attempt, &mut self.bus);
            }
            Event::Connected(agent, life, conn, attempt) => {
                if self.machines[agent].lives(life) {
                    self.machines[agent].connected(conn, attempt, &mut self.bus);
                } else {
                    self.bus.say_up(conn, Frame::Closed);
                }
            }
            Event::Stream(conn, true) => self.stream_up(conn),
            Event::Stream(conn, false) => self.stream_down(conn),
            _ => {}
        }
    }

    fn dial(&mut self, agent: usize, life: u64, attempt: Attempt) {
        let master = u64::from(attempt.master.port());
        let back = self.bus.latency();
        let there = self.masters.get_mut(&master).and_then(|master| master.life.as_mut());
        let passes = self.bus.net.passes(Place::Master(master), Place::Agent(agent));
        match there.filter(|_| passes) {
            Some(running) => {
                let conn = self.bus.net.open((agent, life), (master, running.number()));
                running.accept(conn, &mut self.bus);
                self.bus.after(back, Event::Connected(agent, life, conn, attempt));
            }
            None => {
                let patience = u64::try_from(attempt.patience.as_millis()).unwrap_or(u64::MAX);
                self.bus.after(if passes { back } else { patience }, Event::DialFailed(agent, life, attempt));
            }
        }
    }

    fn stream_up(&mut self, conn: u64) {
        let Some((id, life)) = self.bus.net.conns.get(&conn).map(|line| line.master) else { return };
        let frames = self.bus.take_up(conn);
        let closed = frames.iter().any(|frame| matches!(frame, Frame::Closed));
        self.living(id, life, |life, bus| life.hear(conn, frames, bus));
        if closed {
            self.bus.net.conns.remove(&conn);
        }
    }

    fn stream_down(&mut self, conn: u64) {
        let Some((agent, life)) = self.bus.net.conns.get(&conn).map(|line| line.agent) else { return };
        let frames = self.bus.take_down(conn);
        let closed = frames.iter().any(|frame| matches!(frame, Frame::Closed));
        if self.machines[agent].lives(life) {
            self.machines[agent].hear(conn, frames, &mut self.bus);
        }
        if closed {
            self.bus.net.conns.remove(&conn);
        }
    }

    /// A stream breaks: both ends see it, what was under way is lost.
    pub fn reset(&mut self, conn: u64) {
        let Some(line) = self.bus.net.conns.remove(&conn) else { return };
        let ((agent, life), (master, master_life)) = (line.agent, line.master);
        self.living(master, master_life, |life, bus| life.hear(conn, vec![Frame::Closed], bus));
        if self.machines[agent].lives(life) {
            self.machines[agent].hear(conn, vec![Frame::Closed], &mut self.bus);
        }
    }

    fn handle_agent(&mut self, event: Event) {
        let bus = &mut self.bus;
        match event {
            Event::BootAgent(agent) => self.machines[agent].boot(bus),
            Event::StartAgent(agent, boot) if self.machines[agent].boots == boot => {
                let masters: Vec<u64> = self.masters.keys().copied().collect();
                self.machines[agent].start(&masters, bus);
            }
            Event::Machine(agent, boot, task, what) if self.machines[agent].is_on(boot) => {
                self.machines[agent].happen(&task, what, bus);
            }
            Event::Told(agent, life, task, what) if self.machines[agent].lives(life) => {
                self.machines[agent].told(&task, what, bus);
            }
            Event::Redial(agent, life, attempt) if self.machines[agent].lives(life) => {
                self.machines[agent].redial(attempt, bus)
            }
            Event::Beat(agent, life) if self.machines[agent].lives(life) => self.machines[agent].beat(bus),
            Event::Due(agent, life) if self.machines[agent].lives(life) => self.machines[agent].due(bus),
            _ => {}
        }
    }

    /// Once a second: is it time for quiet, and is everything as it should be?
    fn look(&mut self) {
        self.bus.after(1_000, Event::Look);
        self.retire();
        self.look_at_old();
        let now = self.bus.now;
        self.bus.checks.bound(now, "the agenda", self.bus.queue.len(), EVENTS_MAX);
        let Some(since) = self.quiet_since else {
            if now >= self.plan.faulty_millis {
                self.mend_all();
            }
            return;
        };
        match quiet::missing(self) {
            None => {
                if self.calm == 0 {
                    self.bus.figures.converged_millis_max = now - since;
                }
                self.calm += 1;
                for (id, applied) in self.applied() {
                    self.bus.checks.kept(now, id, applied);
                }
            }
            Some(text) => {
                self.calm = 0;
                if now >= since + QUIET_MILLIS_MAX {
                    self.bus.checks.fail(
                        now,
                        "I13",
                        format!("after {} s of quiet: {text}", (now - since) / 1000),
                    );
                }
            }
        }
    }

    fn applied(&self) -> Vec<(u64, u64)> {
        let lives = self.masters.values().filter_map(|master| Some((master.id, master.life.as_ref()?)));
        lives.map(|(id, life)| (id, life.state().index)).collect()
    }
}
