//! Masters come, go and lead: what `masters::shell` does about it, one step after the other. What is to be done
//! (`masters::plan`) and what is refused (`masters::rules`) is the product's own judgement.

use std::collections::VecDeque;

use scheduler::cluster::AskError;
use scheduler::consensus::{MemberChange, Status};
use scheduler::masters::plan::{self, Memory, Step};
use scheduler::masters::slow::HandOver;
use scheduler::masters::{View, rules};
use scheduler::state::{Command, MasterInfo, Outcome};
use spec::ids::MasterId;
use uuid::Uuid;

use super::{Asker, Life};
use crate::agent::address;
use crate::bus::{Bus, Event};
use crate::queue::Millis;

/// As `masters::shell` has it.
pub(super) const LOOK_MILLIS: Millis = 200;
/// As `masters::shell` has it: how long a leader that is to go asks its successor to take it out.
const LEAVE_MILLIS: Millis = 10_000;

/// A new master asks to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knock {
    /// Drawn once: asked again, it is given the same number.
    pub ticket: Uuid,
    /// Whose name it has.
    pub seat: u64,
}

/// What the leader is about to do about masters.
#[derive(Default)]
pub(super) struct Tidy {
    memory: Memory,
    steps: VecDeque<Step>,
    busy: bool,
}

/// What a master says of itself.
pub fn info(id: u64, seat: u64) -> MasterInfo {
    MasterInfo {
        name: format!("m{seat}"),
        http: format!("m{id}:8080"),
        rpc: address(id),
        dns: address(id),
        // Now and then one of an older version joins: definitions are written in the form that it reads.
        version: if id.is_multiple_of(5) { "0.1.0" } else { env!("CARGO_PKG_VERSION") }.to_owned(),
    }
}

impl Life {
    /// Another master says who it is, as peers do when they connect.
    pub(super) fn hear_of(&mut self, id: u64, bus: &Bus) {
        if let Some(seat) = bus.seats.get(&id) {
            self.heard.entry(id).or_insert_with(|| info(id, *seat));
        }
    }

    /// What decisions about masters look at.
    pub fn view<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        let (state, info) = (self.state(), info(self.id, self.seat));
        let status = Status { commits: self.commits, ..self.node.status() };
        look(&View { own: self.id, info: &info, state: &state, status: &status, heard: &self.heard })
    }

    /// A look at the masters, if it leads.
    pub fn tidy(&mut self, bus: &mut Bus) {
        bus.after(LOOK_MILLIS, Event::Tidy(self.id, self.number));
        let Some(mut memory) = self
            .reign
            .as_mut()
            .filter(|reign| !reign.tidy.busy)
            .map(|reign| std::mem::take(&mut reign.tidy.memory))
        else {
            return;
        };
        let now = bus.wall(self.offset);
        let steps = self.view(|view| plan::plan(view, &mut memory, now));
        if let Some(reign) = &mut self.reign {
            (reign.tidy.memory, reign.tidy.steps) = (memory, steps.into());
        }
        self.next_step(bus);
    }

    fn next_step(&mut self, bus: &mut Bus) {
        let Some(reign) = &mut self.reign else { return };
        let (term, step) = (reign.term, reign.tidy.steps.pop_front());
        reign.tidy.busy = step.is_some();
        match step {
            None => {}
            Some(Step::Ask(command)) => self.ask(Asker::Tidy(term), command, bus),
            Some(Step::Change(change)) => self.change(Asker::Tidy(term), change, bus),
            Some(Step::HandOver(HandOver { to, .. })) => {
                bus.figures.fault("disk too slow to lead");
                self.transfer(Asker::Tidy(term), to, bus);
            }
        }
    }

    pub(super) fn tidied(&mut self, term: u64, done: bool, bus: &mut Bus) {
        let Some(reign) = self.reign.as_mut().filter(|reign| reign.term == term) else { return };
        if !done {
            reign.tidy.steps.clear();
        }
        self.next_step(bus);
    }

    fn change(&mut self, asker: Asker, change: MemberChange, bus: &mut Bus) {
        bus.note(self.name(), format_args!("proposes {change:?}"));
        let ticket = self.wish(asker);
        self.node.propose_members(ticket, change);
        self.wake(bus);
    }

    /// A new master asks for a number.
    pub fn join(&mut self, knock: Knock, bus: &mut Bus) {
        // Where it is it says when it speaks to the others.
        let info = info(u64::from(u16::MAX), knock.seat);
        if !self.told.2 || self.view(|view| rules::may_join(view, &info, knock.ticket)).is_err() {
            return;
        }
        self.ask(Asker::Join(knock), Command::AddMaster { info, ticket: knock.ticket }, bus);
    }

    pub(super) fn added(&mut self, knock: Knock, outcome: Result<Outcome, AskError>, bus: &mut Bus) {
        let Ok(Outcome::MasterAdded { id: MasterId(id) }) = outcome else { return };
        if self.view(|view| view.is_member(id)) {
            return self.let_in(knock, id, true, bus);
        }
        self.change(Asker::Learner(knock, id), MemberChange::AddLearner(id), bus);
    }

    pub(super) fn let_in(&mut self, knock: Knock, id: u64, done: bool, bus: &mut Bus) {
        if done {
            let millis = bus.latency();
            bus.after(millis, Event::Joined(knock, id));
        }
    }

    /// A master shall leave the group. If it is this one another one is to lead first, and then to take it out.
    pub fn leave(&mut self, id: u64, bus: &mut Bus) {
        if !self.told.2 || self.view(|view| rules::may_leave(view, id)).is_err() {
            return;
        }
        if id != self.id {
            return self.change(Asker::Leave(id), MemberChange::Remove(id), bus);
        }
        if let Ok(Some(to)) = self.view(|view| rules::successor(view, None)) {
            self.transfer(Asker::Farewell, to, bus);
        }
    }

    pub(super) fn stepped_down(&self, done: bool, bus: &mut Bus) {
        if done {
            bus.after(1, Event::Farewell(self.id, self.number, bus.now + LEAVE_MILLIS));
        }
    }

    pub(super) fn left(&mut self, id: u64, done: bool, bus: &mut Bus) {
        if done {
            self.ask(Asker::Nobody, Command::RemoveMaster { id: MasterId(id) }, bus);
        }
    }

    /// Another master shall lead.
    pub fn hand_over(&mut self, bus: &mut Bus) {
        if let Ok(Some(to)) = self.view(|view| rules::successor(view, None)) {
            self.transfer(Asker::Nobody, to, bus);
        }
    }

    fn transfer(&mut self, asker: Asker, to: u64, bus: &mut Bus) {
        bus.note(self.name(), format_args!("hands over to m{to}"));
        let ticket = self.wish(asker);
        self.node.transfer(ticket, to);
        self.wake(bus);
    }
}
