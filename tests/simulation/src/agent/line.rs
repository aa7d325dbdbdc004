//! The line to the leader, as `node::line` has it: dialling the masters in turn, what was said on it, and what
//! it says.

use std::net::SocketAddr;
use std::time::Duration;

use agent::search::{Attempt, Search};
use spec::protocol::{
    AgentMessage, BEAT_MILLIS, Hello, MasterMessage, SILENCE_MILLIS_MAX, Standing, VERSION, Wanted, Welcome,
};

use super::Machine;
use crate::bus::{Bus, Event};
use crate::net::{Frame, Place};
use crate::queue::Millis;

/// Orders that may come again.
const ORDERS_KEPT: usize = 8;
/// As `node::line` has it.
const REPORTS_MAX: usize = 1000;

/// Whether somebody listens.
#[derive(Debug)]
pub(super) struct Line {
    search: Search,
    state: Status,
    /// Reports up to here were said on this line.
    said: u64,
    heard_at: Millis,
    spoke_at: Millis,
}

#[derive(Clone, Copy, Debug)]
enum Status {
    Down,
    Opening { conn: u64, master: u64, patience: Millis },
    Up { conn: u64, master: u64, term: u64, since: Millis },
}

impl Line {
    /// Knows the masters that it was started with, and those that the cluster told of.
    pub(super) fn new(masters: &[u64], learned: Vec<SocketAddr>) -> Self {
        let given = masters.iter().map(|id| address(*id)).collect();
        Self { search: Search::new(given, learned), state: Status::Down, said: 0, heard_at: 0, spoke_at: 0 }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, Status::Up { .. })
    }

    pub(super) fn conn(&self) -> Option<u64> {
        match self.state {
            Status::Down => None,
            Status::Opening { conn, .. } | Status::Up { conn, .. } => Some(conn),
        }
    }
}

/// Where agents reach a master.
pub fn address(master: u64) -> SocketAddr {
    ([10, 1, 0, 1], u16::try_from(master).unwrap_or(u16::MAX)).into()
}

fn at(address: SocketAddr) -> u64 {
    u64::from(address.port())
}

impl Machine {
    /// Looks for a master that takes the connection.
    pub(super) fn dial(&mut self, bus: &mut Bus) {
        let random = bus.rng.f64();
        let Some(process) = &mut self.process else { return };
        let attempt = process.line.search.next(random);
        bus.after(millis(attempt.pause).max(1), Event::Redial(self.number, process.life, attempt));
    }

    /// Calls the master whose turn it is.
    pub fn redial(&mut self, attempt: Attempt, bus: &mut Bus) {
        let Some(process) = &mut self.process else { return };
        let (life, master) = (process.life, at(attempt.master));
        if bus.net.passes(self.place(), Place::Master(master)) {
            let millis = bus.latency();
            bus.after(millis, Event::Dial(self.number, life, attempt));
        } else {
            bus.after(millis(attempt.patience), Event::DialFailed(self.number, life, attempt));
        }
    }

    /// Nobody took the call.
    pub fn dial_failed(&mut self, attempt: Attempt, bus: &mut Bus) {
        if let Some(process) = &mut self.process {
            process.line.search.failed(attempt.master);
        }
        self.dial(bus);
    }

    /// A master took the connection: opens the session.
    pub fn connected(&mut self, conn: u64, attempt: Attempt, bus: &mut Bus) {
        let Some(process) = &mut self.process else { return };
        let (tasks, said) = process.core.hello();
        let hello = Hello {
            protocol: VERSION,
            agent_id: self.disk.agent_id.clone(),
            cluster_id: self.disk.cluster_id,
            fence: process.core.fence(),
            info: self.info.clone(),
            tasks,
        };
        let line = &mut process.line;
        let (master, patience) = (at(attempt.master), millis(attempt.patience));
        (line.state, line.said) = (Status::Opening { conn, master, patience }, said);
        (line.heard_at, line.spoke_at) = (bus.now, bus.now);
        bus.say_up(conn, Frame::Message(AgentMessage::Hello(Box::new(hello))));
    }

    /// The line is gone: looks for the leader, wherever it is now.
    fn hang_up(&mut self, why: &str, bus: &mut Bus) {
        let number = self.number;
        let Some(process) = &mut self.process else { return };
        let line = &mut process.line;
        if let Some(conn) = line.conn() {
            bus.say_up(conn, Frame::Closed);
        }
        match std::mem::replace(&mut line.state, Status::Down) {
            Status::Up { master, term, since, .. } => {
                line.search.lost(address(master), term, Duration::from_millis(bus.now - since));
            }
            Status::Opening { master, .. } => line.search.failed(address(master)),
            Status::Down => {}
        }
        bus.note(Place::Agent(number), format_args!("hangs up: {why}"));
        self.dial(bus);
    }

    /// The master does not lead.
    fn on_elsewhere(&mut self, leader: Option<SocketAddr>, term: u64, bus: &mut Bus) {
        let Some(process) = &mut self.process else { return };
        let Status::Opening { conn, master, .. } = process.line.state else { return };
        bus.say_up(conn, Frame::Closed);
        process.line.state = Status::Down;
        process.line.search.elsewhere(address(master), leader, term, process.core.fence().term);
        self.dial(bus);
    }

    /// What the master says arrives.
    pub fn hear(&mut self, conn: u64, frames: Vec<Frame<MasterMessage>>, bus: &mut Bus) {
        for frame in frames {
            let Some(process) = self.process.as_mut().filter(|process| process.line.conn() == Some(conn))
            else {
                return;
            };
            process.line.heard_at = bus.now;
            match frame {
                Frame::Closed => return self.hang_up("closed by the master", bus),
                Frame::Message(message) => self.on_message(message, bus),
            }
        }
    }

    fn on_message(&mut self, message: MasterMessage, bus: &mut Bus) {
        let now = self.now(bus);
        match message {
            MasterMessage::Welcome(welcome) => self.on_welcome(welcome, bus),
            MasterMessage::Refused { .. } => self.hang_up("refused", bus),
            MasterMessage::Elsewhere { leader, term } => self.on_elsewhere(leader, term, bus),
            _ if !self.is_heard() => {}
            MasterMessage::Wanted(wanted) => self.on_wanted(wanted, bus),
            MasterMessage::Masters { rpc, .. } => {
                if let Some(process) = &mut self.process {
                    process.line.search.learn(&rpc);
                    self.disk.masters = rpc;
                }
            }
            MasterMessage::Acknowledged { seq } => self.with_core(bus, |core| core.acknowledged(seq, now)),
            _ => {}
        }
    }

    fn on_welcome(&mut self, welcome: Welcome, bus: &mut Bus) {
        let Some(process) = &mut self.process else { return };
        if self.disk.cluster_id.is_some_and(|ours| ours != welcome.cluster_id) {
            return bus.checks.fail(
                bus.now,
                "I1",
                format!("a{} is welcomed by another cluster", self.number),
            );
        }
        match welcome.fence.standing(process.core.fence()) {
            Standing::Current => {}
            Standing::Deposed => return self.hang_up("an old leader", bus),
            Standing::SetBack | Standing::Bygone => {
                return bus.checks.fail(bus.now, "I1", format!("a{}: the masters went back", self.number));
            }
        }
        self.disk.agent_id = Some(welcome.agent_id);
        self.disk.cluster_id = Some(welcome.cluster_id);
        if let Status::Opening { conn, master, .. } = process.line.state {
            process.line.state = Status::Up { conn, master, term: welcome.fence.term, since: bus.now };
        }
        self.say_news(bus);
    }

    /// The oldest order that is remembered comes again.
    pub fn hear_again(&mut self, bus: &mut Bus) {
        if let Some(order) = self.orders.front().cloned().filter(|_| self.is_heard()) {
            self.on_wanted(order, bus);
        }
    }

    fn on_wanted(&mut self, wanted: Wanted, bus: &mut Bus) {
        let (now, fence, complete) = (self.now(bus), wanted.fence, wanted.complete);
        self.orders.push_back(wanted.clone());
        if self.orders.len() > ORDERS_KEPT {
            self.orders.pop_front();
        }
        let Some(process) = &mut self.process else { return };
        let Some(effects) = process.core.wanted(wanted, now) else {
            return bus
                .note(self.place(), format_args!("refuses an order of {}/{}", fence.term, fence.index));
        };
        bus.checks.obeys(bus.now, self.number, fence);
        let unexplained = if complete { process.core.unexplained() } else { Vec::new() };
        if let (Status::Up { conn, .. }, false) = (&process.line.state, unexplained.is_empty()) {
            bus.say_up(*conn, Frame::Message(AgentMessage::Explain(unexplained)));
        }
        self.perform(effects, bus);
        self.say_news(bus);
        self.plan(bus);
    }

    /// Says what is new about tasks.
    pub(super) fn say_news(&mut self, bus: &mut Bus) {
        let Some(process) = &mut self.process else { return };
        let Status::Up { conn, .. } = process.line.state else { return };
        if !process.core.has_reports_after(process.line.said) {
            return;
        }
        let reports: Vec<_> =
            process.core.reports_after(process.line.said, REPORTS_MAX).into_iter().cloned().collect();
        if let Some(last) = reports.last() {
            process.line.said = last.seq;
            process.line.spoke_at = bus.now;
            bus.say_up(conn, Frame::Message(AgentMessage::Status(reports)));
        }
    }

    /// A look at the time, once a second: beats, and silence.
    pub fn beat(&mut self, bus: &mut Bus) {
        let Some(process) = &mut self.process else { return };
        bus.after(1_000, Event::Beat(self.number, process.life));
        let line = &mut process.line;
        let Some(conn) = line.conn() else { return };
        let patience = match line.state {
            Status::Opening { patience, .. } => patience,
            _ => SILENCE_MILLIS_MAX,
        };
        if bus.now >= line.heard_at + patience {
            return self.hang_up("silence", bus);
        }
        if bus.now >= line.spoke_at + BEAT_MILLIS {
            line.spoke_at = bus.now;
            bus.say_up(conn, Frame::Message(AgentMessage::Beat));
        }
    }
}

fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
