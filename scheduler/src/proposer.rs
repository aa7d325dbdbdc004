//! Commands into log entries: whatever waits shares an entry. Stamps each with the time and a seed,
//! since `apply` has neither.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::batching::{self, BATCH_COMMANDS_MAX, COMMAND_BYTES_MAX, Shared};
use crate::clock;
use crate::cluster::{AskError, Asked, Cluster};
use crate::consensus::{Handle, ProposeError};
use crate::machine::StateMachine;
use crate::state::{Form, Outcome};

/// Turns of the runtime for which an entry gathers at most.
const GATHER_TURNS_MAX: usize = 16;
/// For how long an entry on its way holds up the next one. What takes longer takes it on the network or a disk,
/// and then entries follow each other without waiting.
const ALONE: Duration = Duration::from_millis(5);
/// Entries on their way at once while they take little: one is written while the next one gathers, and both halves
/// of the clients are served in turn.
const ALTERNATING: usize = 2;
/// Entries on their way at once.
const IN_FLIGHT_MAX: usize = 16;
/// An entry that is not committed by then has an unknown fate.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

type Answer = oneshot::Sender<Result<Outcome, AskError>>;

/// Commands that no entry holds yet, and the entries on their way, each of which ends with how many commands it held.
/// A command that did not fit the last entry is the first to wait.
struct Queue<F> {
    commands: mpsc::Receiver<Asked>,
    waiting: VecDeque<Asked>,
    entries: FuturesUnordered<F>,
    /// Commands in `entries`.
    under_way: usize,
}

/// Takes commands until the channel or `shutdown` closes. While an entry is on its way the next one gathers, until
/// it holds as much, as long as that takes little: more entries would each hold fewer commands, and an entry costs
/// every master a write, two messages and a fsync, whatever it holds.
pub async fn run(
    commands: mpsc::Receiver<Asked>,
    cluster: Arc<Cluster>,
    log: Handle<StateMachine>,
    shutdown: CancellationToken,
) {
    let mut queue =
        Queue { commands, waiting: VecDeque::new(), entries: FuturesUnordered::new(), under_way: 0 };
    let proposing = async {
        while let Some(first) = queue.first().await {
            queue.make_room().await;
            gather(&queue.commands).await;
            let batch = queue.fill(first, cluster.state().form());
            if !batch.taken.is_empty() {
                queue.under_way += batch.taken.len();
                queue.entries.push(propose(&log, batch));
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = proposing => {}
    }
}

impl<F: Future<Output = usize>> Queue<F> {
    /// The next command; `None` when no more will come.
    async fn first(&mut self) -> Option<Asked> {
        loop {
            if let Some(first) = self.waiting.pop_front() {
                return Some(first);
            }
            tokio::select! {
                asked = self.commands.recv() => return asked,
                Some(count) = self.entries.next(), if !self.entries.is_empty() => self.under_way -= count,
            }
        }
    }

    /// Waits until the next entry may leave.
    async fn make_room(&mut self) {
        let mut patience = pin!(sleep(ALONE));
        while !self.has_room() {
            tokio::select! {
                biased;
                Some(count) = self.entries.next() => {
                    self.under_way -= count;
                    patience.as_mut().reset(Instant::now() + ALONE);
                }
                Some(asked) = self.commands.recv(), if self.waiting.len() < BATCH_COMMANDS_MAX => {
                    self.waiting.push_back(asked);
                }
                () = &mut patience => {
                    if self.entries.len() < IN_FLIGHT_MAX {
                        return;
                    }
                    patience.as_mut().reset(Instant::now() + ALONE);
                }
            }
        }
    }

    /// None is on its way, or only one that holds no more than the next one would.
    fn has_room(&self) -> bool {
        // The first of the next entry is held already.
        let as_many = 1 + self.waiting.len() >= self.under_way.min(BATCH_COMMANDS_MAX);
        self.entries.is_empty() || as_many && self.entries.len() < ALTERNATING
    }

    /// Refuses at once what no entry holds. Definitions are written in `form`.
    fn fill(&mut self, first: Asked, form: Form) -> Shared<Asked> {
        let more = || self.waiting.pop_front().or_else(|| self.commands.try_recv().ok());
        let mut held = None;
        let mut batch = batching::fill(first, more, &mut held, form, |asked| &asked.command);
        if let Some(held) = held {
            self.waiting.push_front(held);
        }
        for (asked, bytes) in batch.refused.drain(..) {
            let _ = asked.answer.send(Err(AskError::TooLarge { bytes, limit: COMMAND_BYTES_MAX }));
        }
        batch
    }
}

/// Lets whoever is about to ask do so: tasks that are ready run first, for as long as that makes more commands
/// wait. No timer: who asks alone does not wait.
async fn gather(commands: &mpsc::Receiver<Asked>) {
    for _ in 0..GATHER_TURNS_MAX {
        let waiting = commands.len();
        tokio::task::yield_now().await;
        if commands.len() == waiting || commands.len() >= BATCH_COMMANDS_MAX {
            return;
        }
    }
}

/// Ends when everybody has an answer; yields how many they were.
async fn propose(log: &Handle<StateMachine>, batch: Shared<Asked>) -> usize {
    let entry = batch.encoded.entry(clock::now(), fastrand::u64(..));
    let answers: Vec<_> = batch.taken.into_iter().map(|asked| asked.answer).collect();
    let count = answers.len();
    let outcomes = timeout(COMMIT_TIMEOUT, log.propose(entry)).await;
    match outcomes {
        Ok(Ok(outcomes)) => {
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                let _ = answer.send(Ok(outcome));
            }
        }
        Ok(Err(error)) => refuse(answers, &ask_error(&error)),
        Err(_) => refuse(answers, &AskError::TimedOut),
    }
    count
}

fn ask_error(error: &ProposeError) -> AskError {
    let told = batching::ask_error(error);
    if told == AskError::TimedOut {
        warn!(%error, "a batch of commands has an unknown fate");
    }
    told
}

fn refuse(answers: Vec<Answer>, error: &AskError) {
    for answer in answers {
        let _ = answer.send(Err(error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::future::Either;
    use spec::ids::AgentId;

    use super::*;
    use crate::state::Command;

    /// Commands of an entry.
    const HELD: usize = 10;

    /// A queue with entries on their way, of which some never end, and commands that wait.
    fn queue(entries: usize, stuck: usize, waiting: usize) -> Queue<impl Future<Output = usize>> {
        let (sender, commands) = mpsc::channel(BATCH_COMMANDS_MAX);
        for _ in 0..waiting {
            let (answer, _) = oneshot::channel();
            let command = Command::ForgetAgent { id: AgentId::new("a") };
            sender.try_send(Asked { command, answer }).unwrap();
        }
        let slow = |number| if number < stuck { Either::Right(pending()) } else { Either::Left(ready(HELD)) };
        let entries: FuturesUnordered<_> = (0..entries).map(slow).collect();
        let under_way = entries.len() * HELD;
        Queue { commands, waiting: VecDeque::new(), entries, under_way }
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_entry_waits_for_quick_ones_only() {
        // Entries on their way, how many of them are slow, how many commands wait beside the first of the next one;
        // how long that waits, how many entries are left.
        for (entries, stuck, waiting, millis, left) in [
            (0, 0, 0, 0, 0),
            (1, 0, 0, 0, 0),
            (3, 0, 0, 0, 0),
            (1, 1, 0, 5, 1),
            (1, 1, HELD - 2, 5, 1),
            // As full as the one that is under way.
            (1, 1, HELD - 1, 0, 1),
            (2, 2, 5 * HELD, 5, 2),
            (5, 2, 0, 5, 2),
            (15, 15, 0, 5, 15),
        ] {
            let mut queue = queue(entries, stuck, waiting);
            let begin = Instant::now();
            queue.make_room().await;
            let seen = (begin.elapsed().as_millis(), queue.entries.len(), queue.under_way);
            assert_eq!(seen, (millis, left, left * HELD), "{entries}, {stuck} slow, {waiting} waiting");
        }
        let mut full = queue(IN_FLIGHT_MAX, IN_FLIGHT_MAX, 0);
        assert!(timeout(ALONE * 100, full.make_room()).await.is_err(), "there is no room");
    }
}
