//! The line to the leader, as `node::line` has it: dialling the masters in turn, what was said on it, and what
//! it says.

use std::time::Duration;

use agent::session;
use spec::protocol::{
    AgentMessage, HEARTBEAT_MILLIS, Hello, MasterMessage, SILENCE_MILLIS_MAX, VERSION, Wanted, Welcome,
};

use super::Machine;
use crate::bus::{Bus, Event};
use crate::net::Frame;
use crate::queue::Millis;

/// As `node::line` has it.
const REPORTS_MAX: usize = 1000;

/// Whether somebody listens.
#[derive(Debug, Default)]
pub(super) struct Line {
    state: Status,
    turn: usize,
    attempt: u32,
    /// Reports up to here were said on this line.
    said: u64,
    heard_at: Millis,
    spoke_at: Millis,
}

#[derive(Clone, Copy, Debug, Default)]
enum Status {
    #[default]
    Down,
    Opening(u64),
    Up(u64),
}

impl Line {
    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, Status::Up(_))
    }

    pub(super) fn conn(&self) -> Option<u64> {
        match self.state {
            Status::Down => None,
            Status::Opening(conn) | Status::Up(conn) => Some(conn),
        }
    }
}

impl Machine {
    /// Looks for a master that takes the connection.
    pub(super) fn dial(&mut self, bus: &mut Bus) {
        let Some(process) = &mut self.process else { return };
        let random = bus.rng.f64();
        let pause = session::pause(process.line.attempt, self.masters.len(), random);
        let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX).max(1);
        bus.after(millis, Event::Redial(self.number, process.life));
    }

    /// Calls the master whose turn it is.
    pub fn redial(&mut self, bus: &mut Bus) {
        let Some(process) = &mut self.process else { return };
        let master = self.masters[process.line.turn % self.masters.len()];
        if bus.net.passes(crate::net::Place::Agent(self.number), crate::net::Place::Master(master)) {
            let millis = bus.latency();
            bus.after(millis, Event::Dial(self.number, process.life, master));
        } else {
            let patience = Duration::from_secs(3);
            bus.after(patience.as_millis() as u64, Event::DialFailed(self.number, process.life));
        }
    }

    /// Nobody took the call.
    pub fn dial_failed(&mut self, bus: &mut Bus) {
        if let Some(process) = &mut self.process {
            process.line.turn = process.line.turn.wrapping_add(1);
            process.line.attempt = process.line.attempt.saturating_add(1);
        }
        self.dial(bus);
    }

    /// A master took the connection: opens the session.
    pub fn connected(&mut self, conn: u64, bus: &mut Bus) {
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
        (line.state, line.said) = (Status::Opening(conn), said);
        (line.heard_at, line.spoke_at) = (bus.now, bus.now);
        bus.say_up(conn, Frame::Message(AgentMessage::Hello(Box::new(hello))));
    }

    /// The line is gone: the same master again when it had welcomed us, the next one otherwise.
    fn hang_up(&mut self, why: &str, bus: &mut Bus) {
        let masters = u32::try_from(self.masters.len()).unwrap_or(u32::MAX);
        let number = self.number;
        let Some(process) = &mut self.process else { return };
        let line = &mut process.line;
        if let Some(conn) = line.conn() {
            bus.say_up(conn, Frame::Closed);
        }
        match std::mem::take(&mut line.state) {
            Status::Up(_) => line.attempt = masters,
            Status::Opening(_) => {
                line.turn = line.turn.wrapping_add(1);
                line.attempt = line.attempt.saturating_add(1);
            }
            Status::Down => {}
        }
        bus.note(crate::net::Place::Agent(number), format_args!("hangs up: {why}"));
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
            _ if !self.is_heard() => {}
            MasterMessage::Wanted(wanted) => self.on_wanted(wanted, bus),
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
        if welcome.fence < process.core.fence() {
            return self.hang_up("an old leader", bus);
        }
        self.disk.agent_id = Some(welcome.agent_id);
        self.disk.cluster_id = Some(welcome.cluster_id);
        if let Status::Opening(conn) = process.line.state {
            process.line.state = Status::Up(conn);
        }
        self.say_news(bus);
    }

    fn on_wanted(&mut self, wanted: Wanted, bus: &mut Bus) {
        let (now, fence) = (self.now(bus), wanted.fence);
        let Some(process) = &mut self.process else { return };
        let Some(effects) = process.core.wanted(wanted, now) else {
            return bus
                .note(self.place(), format_args!("refuses an order of {}/{}", fence.term, fence.index));
        };
        bus.checks.obeys(bus.now, self.number, fence);
        self.perform(effects, bus);
        self.say_news(bus);
        self.plan(bus);
    }

    /// Says what is new about tasks.
    pub(super) fn say_news(&mut self, bus: &mut Bus) {
        let Some(process) = &mut self.process else { return };
        let Status::Up(conn) = process.line.state else { return };
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

    /// Once a second: beats, and silence.
    pub fn beat(&mut self, bus: &mut Bus) {
        let Some(process) = &mut self.process else { return };
        bus.after(1_000, Event::Beat(self.number, process.life));
        let line = &mut process.line;
        let Some(conn) = line.conn() else { return };
        if bus.now >= line.heard_at + SILENCE_MILLIS_MAX {
            return self.hang_up("silence", bus);
        }
        if bus.now >= line.spoke_at + HEARTBEAT_MILLIS {
            line.spoke_at = bus.now;
            bus.say_up(conn, Frame::Message(AgentMessage::Beat));
        }
    }
}
