//! Commands into log entries: whatever waits shares an entry. Stamps each with the time and a seed,
//! since `apply` has neither.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
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
/// Entries on their way at once.
const IN_FLIGHT_MAX: usize = 16;
/// An entry that is not committed by then has an unknown fate.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

type Answer = oneshot::Sender<Result<Outcome, AskError>>;

/// Takes commands until the channel or `shutdown` closes. While an entry is on its way the next one gathers, as
/// long as that takes little: more entries would each hold fewer commands, and an entry costs every master a
/// write, two messages and a fsync, whatever it holds.
pub async fn run(
    mut commands: mpsc::Receiver<Asked>,
    cluster: Arc<Cluster>,
    log: Handle<StateMachine>,
    shutdown: CancellationToken,
) {
    // A command that did not fit the last entry opens the next.
    let mut held: Option<Asked> = None;
    let proposing = async {
        let mut on_their_way = FuturesUnordered::new();
        loop {
            let first = tokio::select! {
                asked = next(&mut held, &mut commands) => asked,
                Some(()) = on_their_way.next(), if !on_their_way.is_empty() => continue,
            };
            let Some(first) = first else { return };
            make_room(&mut on_their_way).await;
            gather(&commands).await;
            let batch = fill(first, &mut commands, &mut held, cluster.state().form());
            if !batch.taken.is_empty() {
                on_their_way.push(propose(&log, batch));
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = proposing => {}
    }
}

/// Waits until no entry is on its way, or until they take long and are not too many.
async fn make_room(on_their_way: &mut FuturesUnordered<impl Future<Output = ()>>) {
    while !on_their_way.is_empty() {
        let ended = timeout(ALONE, on_their_way.next()).await;
        if ended.is_err() && on_their_way.len() < IN_FLIGHT_MAX {
            return;
        }
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
fn fill(
    first: Asked,
    waiting: &mut mpsc::Receiver<Asked>,
    held: &mut Option<Asked>,
    form: Form,
) -> Shared<Asked> {
    let mut batch = batching::fill(first, || waiting.try_recv().ok(), held, form, |asked| &asked.command);
    for (asked, bytes) in batch.refused.drain(..) {
        let _ = asked.answer.send(Err(AskError::TooLarge { bytes, limit: COMMAND_BYTES_MAX }));
    }
    batch
}

async fn propose(log: &Handle<StateMachine>, batch: Shared<Asked>) {
    let entry = batch.encoded.entry(clock::now(), fastrand::u64(..));
    let answers: Vec<_> = batch.taken.into_iter().map(|asked| asked.answer).collect();
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

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_next_entry_waits_for_quick_ones_only() {
        let quick = || Either::Left(ready(()));
        let slow = || Either::Right(pending());
        // Entries on their way, how many of them are slow; how long the next one waits, how many are left.
        for (count, stuck, millis) in [(0, 0, 0), (1, 0, 0), (3, 0, 0), (1, 1, 5), (5, 2, 5), (15, 15, 5)] {
            let mut entries: FuturesUnordered<_> =
                (0..count).map(|number| if number < stuck { slow() } else { quick() }).collect();
            let begin = tokio::time::Instant::now();
            make_room(&mut entries).await;
            assert_eq!(
                (begin.elapsed().as_millis(), entries.len()),
                (millis, stuck),
                "{count} with {stuck} slow"
            );
        }
        let mut full: FuturesUnordered<_> = (0..IN_FLIGHT_MAX).map(|_| pending()).collect();
        assert!(timeout(ALONE * 100, make_room(&mut full)).await.is_err(), "there is no room");
    }
}
