//! Commands into log entries: whatever waits shares an entry. Stamps each with the time and a seed,
//! since `apply` has neither.

use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock;
use crate::cluster::{AskError, Asked};
use crate::consensus::{Handle, MAX_ENTRY_BYTES, ProposeError};
use crate::machine::StateMachine;
use crate::state::{Batch, Command, Outcome};

/// Commands in one entry: enough to make fsync cheap, and few enough that applying them is no pause.
const BATCH_COMMANDS_MAX: usize = 256;
/// Encoded commands in one entry. A single command may be larger.
const BATCH_BYTES_MAX: usize = 512 * 1024;
/// What a batch takes besides its commands, at most.
const BATCH_FRAME_BYTES: usize = 64;
/// The largest command that an entry holds.
const COMMAND_BYTES_MAX: usize = MAX_ENTRY_BYTES - BATCH_FRAME_BYTES;
/// Entries on their way at once: the next one is stamped while the last one is being synced.
const IN_FLIGHT_MAX: usize = 16;
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
        let batch = fill(first, || commands.try_recv().ok(), &mut held);
        if !batch.commands.is_empty() {
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

/// Commands that share an entry, and who asked for each.
#[derive(Default)]
struct Shared {
    commands: Vec<Command>,
    answers: Vec<Answer>,
    bytes: usize,
}

/// Takes what waits, as far as an entry holds it; the first one that does not fit is `held`. What no entry
/// holds is refused here: the log would refuse the whole batch for it.
fn fill(first: Asked, mut more: impl FnMut() -> Option<Asked>, held: &mut Option<Asked>) -> Shared {
    let mut batch = Shared::default();
    let mut next = Some(first);
    while let Some(asked) = next {
        let bytes = postcard::experimental::serialized_size(&asked.command).unwrap_or(usize::MAX);
        if bytes > COMMAND_BYTES_MAX {
            let _ = asked.answer.send(Err(AskError::TooLarge { bytes, limit: COMMAND_BYTES_MAX }));
        } else if batch.commands.is_empty() || batch.bytes + bytes <= BATCH_BYTES_MAX {
            batch.bytes += bytes;
            batch.commands.push(asked.command);
            batch.answers.push(asked.answer);
        } else {
            *held = Some(asked);
            break;
        }
        next = if batch.commands.len() < BATCH_COMMANDS_MAX { more() } else { None };
    }
    batch
}

async fn propose(log: Handle<StateMachine>, Shared { commands, answers, .. }: Shared) {
    let batch = Batch { at: clock::now(), seed: fastrand::u64(..), commands };
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
        ProposeError::TooLarge { bytes, limit } => AskError::TooLarge { bytes: *bytes, limit: *limit },
        ProposeError::Dropped | ProposeError::Empty => {
            warn!(%error, "a batch of commands has an unknown fate");
            AskError::TimedOut
        }
    }
}

fn refuse(answers: Vec<Answer>, error: &AskError) {
    for answer in answers {
        let _ = answer.send(Err(error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use spec::ids::AgentId;

    use super::*;

    type Answered = oneshot::Receiver<Result<Outcome, AskError>>;

    /// A command of about that size.
    fn asked(bytes: usize) -> (Asked, Answered) {
        let (answer, answered) = oneshot::channel();
        let command = Command::ForgetAgent { id: AgentId::new("x".repeat(bytes)) };
        (Asked { command, answer }, answered)
    }

    /// How many commands each entry gets, and which commands were refused.
    fn entries(sizes: &[usize]) -> (Vec<usize>, Vec<usize>) {
        let (mut waiting, answered): (VecDeque<_>, Vec<_>) = sizes.iter().map(|size| asked(*size)).unzip();
        let (mut held, mut counts, mut batches) = (None, Vec::new(), Vec::new());
        while let Some(first) = held.take().or_else(|| waiting.pop_front()) {
            let batch = fill(first, || waiting.pop_front(), &mut held);
            counts.push(batch.commands.len());
            batches.push(batch);
        }
        let refused = |mut answer: Answered| matches!(answer.try_recv(), Ok(Err(AskError::TooLarge { .. })));
        let which = answered.into_iter().enumerate().filter_map(|(i, answer)| refused(answer).then_some(i));
        (counts, which.collect())
    }

    #[test]
    fn entries_are_bounded_in_commands_and_bytes() {
        const KIB: usize = 1024;
        let many = vec![1; 600];
        for (sizes, counts, refused) in [
            (&[1][..], &[1][..], &[][..]),
            (&many, &[256, 256, 88], &[]),
            (&[200 * KIB, 200 * KIB, 200 * KIB, 1], &[2, 2], &[]),
            // Larger than a batch, but not than an entry.
            (&[900 * KIB, 1], &[1, 1], &[]),
            (&[1, 900 * KIB, 1], &[1, 1, 1], &[]),
            // Too large: alone refused, and in nobody's way.
            (&[1, 2_000 * KIB, 1], &[2], &[1]),
            (&[2_000 * KIB, 1, 1], &[2], &[0]),
            (&[2_000 * KIB], &[0], &[0]),
        ] {
            assert_eq!(
                entries(sizes),
                (counts.to_vec(), refused.to_vec()),
                "{:?}",
                &sizes[..sizes.len().min(4)]
            );
        }
    }

    #[test]
    fn the_largest_command_fits_an_entry() {
        let Asked { command, .. } = asked(COMMAND_BYTES_MAX - 10).0;
        assert!(postcard::experimental::serialized_size(&command).unwrap() <= COMMAND_BYTES_MAX);
        let batch = Batch {
            at: spec::time::Timestamp::from_millis(u64::MAX),
            seed: u64::MAX,
            commands: vec![command],
        };
        assert!(batch.encode().len() <= MAX_ENTRY_BYTES);
    }
}
