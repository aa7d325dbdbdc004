//! The thread round a node: the only place with a clock. It takes whatever waits, hands it to the node in
//! one batch, lets the node persist it with one fsync, and answers. What arrives during the fsync is the
//! next batch.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::handle::{Input, ProposeError, Reply, Status};
use super::node::{Node, NodeError};
use super::snapshots::Written;
use super::store::{LogStore, StoreError, Timed};
use super::turns::Turns;
use super::waiting::{Answer, Proposal};
use super::{MAX_BATCH_BYTES, Machine, Transport};

/// Inputs handled between two calls of `ready`.
const BATCH_INPUTS_MAX: usize = 1024;

/// For how long the others are not told that something is committed: the next proposal mostly comes before, and
/// tells them without a message of its own.
const NEWS_AFTER: Duration = Duration::from_millis(2);

/// So long after a turn has begun no more entries are begun to be applied in it: others wait for this thread, too.
const TURN: Duration = Duration::from_millis(10);

/// A tick that is late by so many was hardly held up by a disk.
const PAUSE_TICKS: u32 = 5;

/// The thread's own state.
pub(super) struct Driver<M: Machine, S: LogStore> {
    pub(super) node: Node<M, Timed<S>>,
    pub(super) transport: Box<dyn Transport>,
    pub(super) inputs: Receiver<Input<M::Output>>,
    pub(super) status: watch::Sender<Status>,
    /// Dropped with the driver: who waits for the end alone is not woken by every change of the status.
    pub(super) _ended: watch::Sender<()>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) tick: Duration,
    pub(super) replies: HashMap<u64, Reply<M::Output>>,
    /// Whoever waits for something else than a proposal.
    pub(super) calls: HashMap<u64, oneshot::Sender<Result<(), ProposeError>>>,
    pub(super) next_ticket: u64,
    pub(super) snapshot: Option<Writer>,
    pub(super) turns: Turns,
    pub(super) at_rest: fn(),
}

/// The thread that writes a snapshot.
pub(super) type Writer = JoinHandle<Result<Option<Written>, StoreError>>;

/// When the node's clock ticks.
struct Pace {
    tick: Duration,
    next: Instant,
    /// The last look was late, and time did not go on.
    held: bool,
}

impl Pace {
    fn new(tick: Duration, now: Instant) -> Self {
        Self { tick, next: now + tick, held: false }
    }

    /// Does the clock tick now? A process that stood still first hears what was sent to it meanwhile: its leader
    /// is probably alive. A disk that is that slow again and again must not make time stand still.
    fn ticks(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        let late = now >= self.next + self.tick * PAUSE_TICKS;
        self.held = late && !self.held;
        self.next = if self.held { now + self.tick } else { (self.next + self.tick).max(now) };
        !self.held
    }
}

/// What was waiting, sorted.
struct Batch {
    proposals: Vec<Proposal>,
    bytes: usize,
    inputs: usize,
    open: bool,
}

impl<M: Machine, S: LogStore> Driver<M, S> {
    /// Runs until asked to stop, until nobody holds a handle, or until the log fails.
    pub(super) fn run(mut self) {
        let result = catch_unwind(AssertUnwindSafe(|| self.turn()));
        let failure = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => Some(format!("the replicated log broke one of its own rules: {}", text(&*panic))),
        };
        self.end(failure);
    }

    fn turn(&mut self) -> Result<(), NodeError> {
        self.settle(&mut || false)?;
        self.node.campaign_if_alone()?;
        self.settle(&mut || false)?;
        let mut pace = Pace::new(self.tick, Instant::now());
        let mut announce_at = None;
        while !self.stopping.load(Ordering::Acquire) {
            let news = self.node.has_news();
            announce_at = news.then(|| announce_at.unwrap_or_else(|| Instant::now() + NEWS_AFTER));
            let more = self.node.has_more();
            let idle_until = announce_at.map_or(pace.next, |at| at.min(pace.next));
            let batch = self.gather(if more { Instant::now() } else { idle_until });
            let (began, writing) = (Instant::now(), self.snapshot.is_some());
            if !batch.proposals.is_empty() {
                let answers = self.node.propose(batch.proposals);
                self.answer(answers);
            }
            if announce_at.is_some_and(|at| at <= Instant::now()) {
                self.node.announce();
            }
            if pace.ticks(Instant::now()) {
                self.node.tick();
            }
            self.settle(&mut || began.elapsed() >= TURN)?;
            self.turns.ended(writing, began.elapsed());
            if batch.inputs == 0 && !more {
                (self.at_rest)();
            }
            if !batch.open {
                break;
            }
        }
        Ok(())
    }

    /// Waits for an input, at most until `end`, then takes what else is there.
    fn gather(&mut self, end: Instant) -> Batch {
        let mut batch = Batch { proposals: Vec::new(), bytes: 0, inputs: 0, open: true };
        match self.inputs.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(input) => self.take(input, &mut batch),
            Err(RecvTimeoutError::Timeout) => return batch,
            Err(RecvTimeoutError::Disconnected) => batch.open = false,
        }
        while batch.open && batch.inputs < BATCH_INPUTS_MAX && batch.bytes < MAX_BATCH_BYTES {
            match self.inputs.try_recv() {
                Ok(input) => self.take(input, &mut batch),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => batch.open = false,
            }
        }
        batch
    }

    fn take(&mut self, input: Input<M::Output>, batch: &mut Batch) {
        batch.inputs += 1;
        match input {
            Input::Propose { entries, reply, room } => {
                drop(room);
                let ticket = self.ticket();
                batch.bytes += entries.iter().map(Vec::len).sum::<usize>();
                self.replies.insert(ticket, reply);
                batch.proposals.push(Proposal { ticket, entries });
            }
            Input::Step(message) => self.node.step(*message),
            Input::Report(to, sent) => self.node.report(to, sent),
            Input::Snapshot(message, pieces) => self.node.step_snapshot(*message, pieces),
            Input::ReadIndex(reply) => {
                let ticket = self.call(reply);
                self.node.read_index(ticket);
            }
            Input::Change(change, reply) => {
                let ticket = self.call(reply);
                self.node.propose_members(ticket, change);
            }
            Input::Transfer(to, reply) => {
                let ticket = self.call(reply);
                self.node.transfer(ticket, to);
            }
            Input::Wake => {}
        }
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    fn call(&mut self, reply: oneshot::Sender<Result<(), ProposeError>>) -> u64 {
        let ticket = self.ticket();
        self.calls.insert(ticket, reply);
        ticket
    }

    /// Persists, sends, applies, until that is `enough`; publishes where the log stands; answers; begins a snapshot if
    /// it is time.
    fn settle(&mut self, enough: &mut dyn FnMut() -> bool) -> Result<(), NodeError> {
        let answers = self.node.ready(&*self.transport, enough)?;
        // First: whoever gets an answer finds what it speaks of in the status.
        self.publish();
        self.answer(answers);
        self.snapshots()
    }

    fn publish(&self) {
        let commits = self.node.store().commits();
        let status = Status { commits, turns: self.turns, ..self.node.status() };
        self.status.send_if_modified(|seen| {
            let changed = *seen != status;
            *seen = status;
            changed
        });
    }

    /// Looks after the snapshot's thread: at most one.
    fn snapshots(&mut self) -> Result<(), NodeError> {
        if let Some(writer) = self.snapshot.take_if(|writer| writer.is_finished()) {
            let (written, began) = (finish(writer)?, Instant::now());
            self.node.snapshot_written(written);
            self.turns.held(began.elapsed());
        }
        let began = Instant::now();
        if let Some(job) = self.node.snapshot_due()? {
            self.turns.held(began.elapsed());
            self.turns.snapshots += 1;
            let stopping = Arc::clone(&self.stopping);
            let writer = thread::Builder::new().name("log-snapshot".into());
            self.snapshot = Some(writer.spawn(move || job.run(&stopping)).map_err(NodeError::Thread)?);
        }
        Ok(())
    }

    fn answer(&mut self, answers: Vec<Answer<M::Output>>) {
        for Answer { ticket, outcome } in answers {
            if let Some(reply) = self.replies.remove(&ticket) {
                // Whoever asked may have gone.
                let _ = reply.send(outcome);
            } else if let Some(reply) = self.calls.remove(&ticket) {
                let _ = reply.send(outcome.map(|_| ()));
            }
        }
    }

    /// Answers whoever waits, closes the store and says why.
    fn end(mut self, mut failure: Option<String>) {
        self.stopping.store(true, Ordering::Release);
        for (_, reply) in self.replies.drain() {
            let _ = reply.send(Err(ProposeError::Dropped));
        }
        for (_, reply) in self.calls.drain() {
            let _ = reply.send(Err(ProposeError::Dropped));
        }
        while let Ok(input) = self.inputs.try_recv() {
            match input {
                Input::Propose { reply, .. } => drop(reply.send(Err(ProposeError::Stopped))),
                Input::ReadIndex(reply) | Input::Change(_, reply) | Input::Transfer(_, reply) => {
                    let _ = reply.send(Err(ProposeError::Stopped));
                }
                Input::Step(_) | Input::Snapshot(..) | Input::Report(..) | Input::Wake => {}
            }
        }
        drop(self.inputs);
        if let Some(Err(error)) = self.snapshot.map(finish) {
            failure.get_or_insert_with(|| error.to_string());
        }
        let (node, orderly) = (self.node, failure.is_none());
        match catch_unwind(AssertUnwindSafe(|| node.close(orderly))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failure = failure.or_else(|| Some(error.to_string())),
            Err(panic) => failure = failure.or_else(|| Some(text(&*panic).to_owned())),
        }
        if let Some(reason) = &failure {
            tracing::error!(%reason, "the replicated log has stopped");
        }
        self.status.send_modify(|status| {
            (status.leading, status.failure) = (false, failure.map(Arc::from));
        });
    }
}

fn finish(writer: Writer) -> Result<Option<Written>, NodeError> {
    match writer.join() {
        Ok(written) => Ok(written?),
        Err(panic) => Err(NodeError::Snapshot(text(&*panic).to_owned())),
    }
}

fn text(panic: &(dyn std::any::Any + Send)) -> &str {
    let string = panic.downcast_ref::<String>().map(String::as_str);
    string.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_held_after_a_pause_and_not_for_ever() {
        let (tick, begin) = (Duration::from_millis(40), Instant::now());
        let mut pace = Pace::new(tick, begin);
        // Milliseconds, and whether the clock ticks: in time, a little late, after a pause, then always late.
        for (at, ticks) in [
            (39, false),
            (40, true),
            (130, true),
            (130, true),
            (170, true),
            (900, false),
            (939, false),
            (940, true),
            (1_300, false),
            (1_700, true),
            (2_100, false),
            (2_500, true),
        ] {
            assert_eq!(pace.ticks(begin + Duration::from_millis(at)), ticks, "{at} ms");
        }
    }
}
