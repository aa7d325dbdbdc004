//! Commands into log entries: whatever waits shares an entry. Stamps each with the time and a seed,
//! since `apply` has neither.

use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock;
use crate::cluster::{AskError, Asked};
use crate::consensus::{Handle, ProposeError};
use crate::machine::StateMachine;
use crate::state::{Batch, Outcome};

/// Commands in one entry: enough to make fsync cheap, few enough that a batch of large definitions stays
/// far below the entry limit of the log.
const BATCH_COMMANDS_MAX: usize = 256;
/// Encoded commands in one entry.
const BATCH_BYTES_MAX: usize = 512 * 1024;
/// Entries on their way at once: the next one is stamped while the last one is being synced.
const IN_FLIGHT_MAX: usize = 16;
/// An entry that is not committed by then has an unknown fate.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

type Done = Pin<Box<dyn Future<Output = ()> + Send>>;

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
        while in_flight.len() >= IN_FLIGHT_MAX {
            in_flight.next().await;
        }
        let first = match held.take() {
            Some(asked) => asked,
            None => tokio::select! {
                () = shutdown.cancelled() => return,
                Some(()) = in_flight.next(), if !in_flight.is_empty() => continue,
                asked = commands.recv() => match asked {
                    Some(asked) => asked,
                    None => return,
                },
            },
        };
        let (batch, answers) = fill(first, &mut commands, &mut held);
        in_flight.push(Box::pin(propose(log.clone(), batch, answers)));
    }
}

type Answers = Vec<tokio::sync::oneshot::Sender<Result<Outcome, AskError>>>;

fn fill(first: Asked, commands: &mut mpsc::Receiver<Asked>, held: &mut Option<Asked>) -> (Batch, Answers) {
    let mut bytes = encoded_len(&first);
    let mut answers = vec![first.answer];
    let mut batch = vec![first.command];
    while batch.len() < BATCH_COMMANDS_MAX {
        let Ok(asked) = commands.try_recv() else { break };
        bytes += encoded_len(&asked);
        if bytes > BATCH_BYTES_MAX {
            *held = Some(asked);
            break;
        }
        answers.push(asked.answer);
        batch.push(asked.command);
    }
    (Batch { at: clock::now(), seed: fastrand::u64(..), commands: batch }, answers)
}

fn encoded_len(asked: &Asked) -> usize {
    postcard::experimental::serialized_size(&asked.command).unwrap_or(0)
}

async fn propose(log: Handle<StateMachine>, batch: Batch, answers: Answers) {
    let outcomes = tokio::time::timeout(COMMIT_TIMEOUT, log.propose(batch.encode())).await;
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
    match error {
        ProposeError::NotLeader { .. } => AskError::NotLeader,
        ProposeError::Busy => AskError::Busy,
        ProposeError::Stopped => AskError::Closed,
        other => {
            warn!(error = %other, "a batch of commands has an unknown fate");
            AskError::TimedOut
        }
    }
}

fn refuse(answers: Answers, error: &AskError) {
    for answer in answers {
        let _ = answer.send(Err(error.clone()));
    }
}
