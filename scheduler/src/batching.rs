//! Which commands share a log entry. Pure: who asked for a command travels with it as any value.

use crate::cluster::AskError;
use crate::consensus::{MAX_ENTRY_BYTES, ProposeError};
use crate::mutants::{self, Mutant};
use crate::state::{Command, Encoded, FRAME_BYTES, Form};

/// Commands in one entry: enough to make fsync cheap.
pub const BATCH_COMMANDS_MAX: usize = 256;
/// Tasks that the commands of one entry are about: so few that applying it takes about 10 ms at most, since nothing else
/// is done meanwhile. A single command may be about more.
const BATCH_TASKS_MAX: usize = 1_000;
/// Encoded commands in one entry. A single command may be larger.
const BATCH_BYTES_MAX: usize = 512 * 1024;
/// The largest command that an entry holds.
pub const COMMAND_BYTES_MAX: usize = MAX_ENTRY_BYTES - FRAME_BYTES;

/// Commands that share an entry.
#[derive(Debug)]
pub struct Shared<T> {
    /// In order.
    pub taken: Vec<T>,
    /// What no entry holds, with its size in bytes: the log would refuse the whole batch for it.
    pub refused: Vec<(T, usize)>,
    /// What was taken, as it goes into the entry.
    pub encoded: Encoded,
}

/// Takes what waits, as far as an entry holds it; the first one that does not fit is `held` for the next.
/// Definitions are written in `form`.
pub fn fill<T>(
    first: T,
    mut more: impl FnMut() -> Option<T>,
    held: &mut Option<T>,
    form: Form,
    command: impl Fn(&T) -> &Command,
) -> Shared<T> {
    let mut batch = Shared { taken: Vec::new(), refused: Vec::new(), encoded: Encoded::new(form) };
    let mut next = Some(first);
    let mut tasks = 0;
    while let Some(asked) = next {
        let before = batch.encoded.mark();
        batch.encoded.push(command(&asked));
        let bytes = batch.encoded.bytes() - before.bytes();
        let tasks_after = tasks + command(&asked).tasks();
        let fits = batch.encoded.bytes() <= BATCH_BYTES_MAX && tasks_after <= BATCH_TASKS_MAX;
        if bytes > COMMAND_BYTES_MAX {
            batch.encoded.back_to(before);
            batch.refused.push((asked, bytes));
        } else if batch.taken.is_empty() || fits {
            batch.taken.push(asked);
            tasks = tasks_after;
        } else {
            batch.encoded.back_to(before);
            *held = Some(asked);
            break;
        }
        next = if batch.taken.len() < BATCH_COMMANDS_MAX { more() } else { None };
    }
    batch
}

/// What whoever asked is told when the log did not take a batch.
pub fn ask_error(error: &ProposeError) -> AskError {
    match error {
        ProposeError::NotLeader { .. } => AskError::NotLeader,
        ProposeError::Busy => AskError::Busy,
        ProposeError::Stopped => AskError::Closed,
        ProposeError::TooLarge { bytes, limit } => AskError::TooLarge { bytes: *bytes, limit: *limit },
        ProposeError::Dropped if mutants::is(Mutant::DroppedIsRefused) => AskError::NotLeader,
        ProposeError::Dropped | ProposeError::Empty | ProposeError::Impossible { .. } => AskError::TimedOut,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use spec::ids::{AgentId, AppId, InstanceId, TaskId};
    use uuid::Uuid;

    use super::*;
    use crate::state::Batch;

    /// How many commands each entry gets, and which commands were refused.
    fn entries(sizes: &[usize]) -> (Vec<usize>, Vec<usize>) {
        let command = |size: &usize| Command::ForgetAgent { id: AgentId::new("x".repeat(*size)) };
        let mut waiting: VecDeque<_> = sizes.iter().map(command).enumerate().collect();
        let (mut held, mut counts, mut refused) = (None, Vec::new(), Vec::new());
        while let Some(first) = held.take().or_else(|| waiting.pop_front()) {
            let batch = fill(first, || waiting.pop_front(), &mut held, Form::Packed, |asked| &asked.1);
            let entry = batch.encoded.entry(Default::default(), 7);
            let taken: Vec<_> = batch.taken.iter().map(|asked| asked.1.clone()).collect();
            assert_eq!(Batch::decode(&entry).unwrap().commands, taken);
            counts.push(batch.taken.len());
            refused.extend(batch.refused.into_iter().map(|((number, _), _)| number));
        }
        (counts, refused)
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
    fn entries_are_bounded_in_tasks() {
        for (tasks, counts) in [
            (&[500, 500, 1, 1][..], &[2, 2][..]),
            (&[400, 400, 400, 400], &[2, 2]),
            // More than an entry is to be about, but one command.
            (&[1, 5_000, 1], &[1, 1, 1]),
            (&[5_000, 1], &[1, 1]),
        ] {
            let instance = InstanceId { app: AppId::parse("/web").unwrap(), uuid: Uuid::from_u128(1) };
            let task = TaskId { instance, incarnation: 1 };
            let command = |count: &usize| Command::Expunge { tasks: vec![task.clone(); *count] };
            let mut waiting: VecDeque<_> = tasks.iter().map(command).collect();
            let (mut held, mut entries) = (None, Vec::new());
            while let Some(first) = held.take().or_else(|| waiting.pop_front()) {
                let batch = fill(first, || waiting.pop_front(), &mut held, Form::Packed, |asked| asked);
                entries.push(batch.taken.len());
            }
            assert_eq!(entries, counts, "{tasks:?}");
        }
    }

    #[test]
    fn the_largest_command_fits_an_entry() {
        let command = Command::ForgetAgent { id: AgentId::new("x".repeat(COMMAND_BYTES_MAX - 10)) };
        assert!(postcard::experimental::serialized_size(&command).unwrap() <= COMMAND_BYTES_MAX);
        let batch = Batch {
            at: spec::time::Timestamp::from_millis(u64::MAX),
            seed: u64::MAX,
            commands: vec![command],
        };
        assert!(batch.encode(Form::Packed).len() <= MAX_ENTRY_BYTES);
    }
}
