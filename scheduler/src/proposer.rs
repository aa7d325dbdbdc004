//! Commands into log entries: whatever waits shares an entry. Stamps each with the time and a seed,
//! since `apply` has neither.

use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::batching::{self, COMMAND_BYTES_MAX, Shared};
use crate::clock;
use crate::cluster::{AskError, Asked};
use crate::consensus::{Handle, ProposeError};
use crate::machine::StateMachine;
use crate::state::Outcome;

/// Entries on their way at once: one is being synced while the next one gathers. More of them would each hold
/// fewer commands, and an entry costs every master a write, two messages and a fsync, whatever it holds.
const IN_FLIGHT_MAX: usize = 2;
/// An entry that is not committed by then has an unknown fate.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

type Done = Pin<Box<dyn Future<Output = ()> + Send>>;
type Answer = oneshot::Sender<Result<Outcome, AskError>>;

/// Takes commands until the channel or `shutdown` closes.
pub async fn run(
    mut commands: mpsc::Receiver<Asked>,
    log: Handle<StateMachine>,
    shutdown: CancellationToken,
) {
    let mut in_flight: FuturesUnordered<Done> = FuturesUnordered::new();
    // A command that did not fit the last entry opens the next.
    let mut held: Option<Asked> = None;
    loop {
        let has_room = in_flight.len() < IN_FLIGHT_MAX;
        let first = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            asked = next(&mut held, &mut commands), if has_room => asked,
            Some(()) = in_flight.next(), if !in_flight.is_empty() => continue,
        };
        let Some(first) = first else { return };
        let batch = fill(first, &mut commands, &mut held);
        if !batch.taken.is_empty() {
            in_flight.push(Box::pin(propose(log.clone(), batch)));
        }
    }
}

async fn next(held: &mut Option<Asked>, commands: &mut mpsc::Receiver<Asked>) -> Option<Asked> {
    match held.take() {
        Some(asked) => Some(asked),
        None => commands.recv().await,
    }
}

/// Refuses at once what no entry holds.
fn fill(first: Asked, waiting: &mut mpsc::Receiver<Asked>, held: &mut Option<Asked>) -> Shared<Asked> {
    let mut batch = batching::fill(first, || waiting.try_recv().ok(), held, |asked| &asked.command);
    for (asked, bytes) in batch.refused.drain(..) {
        let _ = asked.answer.send(Err(AskError::TooLarge { bytes, limit: COMMAND_BYTES_MAX }));
    }
    batch
}

async fn propose(log: Handle<StateMachine>, batch: Shared<Asked>) {
    let entry = batch.encoded.entry(clock::now(), fastrand::u64(..));
    let answers: Vec<_> = batch.taken.into_iter().map(|asked| asked.answer).collect();
    let outcomes = tokio::time::timeout(COMMIT_TIMEOUT, log.propose(entry)).await;
    match outcomes {
        Ok(Ok(outcomes)) => {
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                let _ = answer.send(Ok(outcome));
            }
        }
        Ok(Err(error)) => refuse(answers, &ask_error(&error)),
        Err(_) => refuse(answers, &AskError::TimedOut),
    }
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
