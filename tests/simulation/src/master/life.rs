//! A running master: what waits goes into the log, what the log has done goes to whoever asked and to the shells.

use std::sync::atomic::AtomicBool;

use scheduler::batching;
use scheduler::cluster::AskError;
use scheduler::consensus::store::{LogStore, MemoryStore};
use scheduler::consensus::{Answer, Members, Node, NodeError, Proposal};
use scheduler::names;
use scheduler::state::{Batch, Command, Outcome, State};
use spec::time::Timestamp;

use super::words::Short;
use super::{
    Ask, Asker, COMMIT_TIMEOUT_MILLIS, Flight, IN_FLIGHT_MAX, Life, Simulated, Snapshot, WAITING_MAX,
};
use crate::bus::{Bus, Event, Letter, Lifetime};
use crate::queue::Millis;

pub(super) type Answers = Vec<Answer<Vec<Outcome>>>;

impl Life {
    pub(super) fn wake(&mut self, bus: &mut Bus) {
        let at = bus.now.max(self.busy_until);
        if self.turn_at.is_none_or(|planned| planned > at) {
            self.turn_at = Some(at);
            bus.queue.push(at, Event::Turn(self.id, self.number));
        }
    }

    pub(super) fn name(&self) -> String {
        format!("m{}", self.id)
    }

    /// Nothing is handled for so long.
    pub fn hang(&mut self, millis: Millis, bus: &mut Bus) {
        self.busy_until = self.busy_until.max(bus.now + millis);
        self.turn_at = None;
        self.wake(bus);
    }

    /// Its number.
    pub fn id(&self) -> u64 {
        self.id
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

    /// The group as this master knows it.
    pub fn members(&self) -> Members {
        self.node.status().members
    }

    /// Is nothing waiting?
    pub fn is_idle(&self) -> bool {
        self.asks.is_empty()
            && self.held.is_none()
            && self.in_flight.is_empty()
            && self.inbox.is_empty()
            && self.wishes.is_empty()
    }

    pub(super) fn time(&mut self, bus: &Bus) -> Timestamp {
        self.clock.read(bus.instant(), bus.wall(self.offset))
    }

    pub(super) fn handle(&mut self, bus: &mut Bus) -> Result<Answers, NodeError> {
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
        answers.extend(self.node.ready(&self.outbox, &mut || true)?);
        if self.node.has_more() {
            self.wake(bus);
        }
        if let Some(job) = self.node.snapshot_due()? {
            // Writing it takes its time, beside everything else: it becomes the current one before what comes now, or
            // after it, and the node hears of it later in any case.
            self.snapshot = Some(match bus.figures.snapshots_taken % 2 {
                0 => Snapshot::Written(job.run(&AtomicBool::new(false))?),
                _ => Snapshot::Waiting(job),
            });
            bus.figures.snapshots_taken += 1;
            let millis = bus.between(1, 300);
            bus.after(millis, Event::Snapshot(self.id, self.number));
        }
        Ok(answers)
    }

    /// A snapshot is on disk, or its disk has failed: the next write will say so, too.
    pub fn snapshot_written(&mut self, bus: &mut Bus) {
        let written = match self.snapshot.take() {
            None => return,
            Some(Snapshot::Written(written)) => Ok(written),
            Some(Snapshot::Waiting(job)) => job.run(&AtomicBool::new(false)),
        };
        if let Ok(written) = written {
            self.node.snapshot_written(written);
        }
        self.wake(bus);
    }

    /// What waits as entries, as the proposer has it.
    fn batches(&mut self, bus: &mut Bus) -> Vec<Proposal> {
        let (mut proposals, form) = (Vec::new(), self.state().form());
        while self.in_flight.len() < IN_FLIGHT_MAX
            && let Some(first) = self.held.take().or_else(|| self.asks.pop_front())
        {
            let asks = &mut self.asks;
            let batch = batching::fill(first, || asks.pop_front(), &mut self.held, form, |ask| &ask.command);
            let (askers, commands) = batch.taken.into_iter().map(|ask| (ask.asker, ask.command)).unzip();
            let batch = Batch { at: self.time(bus), seed: bus.rng.u64(..), commands };
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            self.in_flight.insert(ticket, Flight { askers, until: bus.now + COMMIT_TIMEOUT_MILLIS });
            proposals.push(Proposal { ticket, entries: vec![batch.encode(form)] });
        }
        proposals
    }

    /// Takes a command.
    pub(super) fn ask(&mut self, asker: Asker, command: Command, bus: &mut Bus) {
        self.asks.push_back(Ask { asker, command });
        bus.checks.bound(bus.now, "commands waiting for a master", self.asks.len(), WAITING_MAX);
        self.wake(bus);
    }

    pub(super) fn after_turn(&mut self, answers: Answers, late: Millis, bus: &mut Bus) {
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
        if let Some(asker) = self.wishes.remove(&answer.ticket) {
            let outcome = answer.outcome.map(|_| Outcome::Done);
            return vec![(asker, outcome.map_err(|error| batching::ask_error(&error)))];
        }
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

    /// A ticket for what is asked of the log beside proposals.
    pub(super) fn wish(&mut self, asker: Asker) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.wishes.insert(ticket, asker);
        ticket
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
                Asker::Read(request) => self.read_answered(&request, outcome.is_ok(), bus),
                Asker::Tidy(term) => self.tidied(term, outcome.is_ok(), bus),
                Asker::Join(knock) => self.added(knock, outcome, bus),
                Asker::Learner(knock, id) => self.let_in(knock, id, outcome.is_ok(), bus),
                Asker::Leave(id) => self.left(id, outcome.is_ok(), bus),
                Asker::Farewell => self.stepped_down(outcome.is_ok(), bus),
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
                bus.checks.answers_for(bus.now, self.id, &self.zone, &entry.after);
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
