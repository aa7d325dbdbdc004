//! Commands into log entries: whatever waits shares an entry. Stamps each with the time and a seed,
//! since `apply` has neither.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::batching::{self, BATCH_COMMANDS_MAX, COMMAND_BYTES_MAX, Shared};
use crate::clock;
use crate::cluster::{AskError, Asked};
use crate::consensus::{Handle, ProposeError};
use crate::machine::StateMachine;
use crate::state::Outcome;

/// Turns of the runtime for which an entry gathers at most.
const GATHER_TURNS_MAX: usize = 16;
/// An entry that is not committed by then has an unknown fate.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

type Answer = oneshot::Sender<Result<Outcome, AskError>>;

/// Takes commands until the channel or `shutdown` closes. One entry is on its way, and the next one gathers: more
/// of them would each hold fewer commands, and an entry costs every master a write, two messages and a fsync,
/// whatever it holds.
pub async fn run(
    mut commands: mpsc::Receiver<Asked>,
    log: Handle<StateMachine>,
    shutdown: CancellationToken,
) {
    // A command that did not fit the last entry opens the next.
    let mut held: Option<Asked> = None;
    let proposing = async {
        while let Some(first) = next(&mut held, &mut commands).await {
            gather(&commands).await;
            let batch = fill(first, &mut commands, &mut held);
            if !batch.taken.is_empty() {
                propose(&log, batch).await;
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = proposing => {}
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

async fn propose(log: &Handle<StateMachine>, batch: Shared<Asked>) {
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
