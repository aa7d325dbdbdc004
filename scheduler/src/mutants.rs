//! Deliberate bugs at the lines where they would be made, so that the simulator can show that it would notice.
//! Without the feature `mutants` there are none; with it none is on until a test turns one on, in its own thread.

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// What a follower promises leaves before it is on disk.
    PromiseBeforeSync,
    /// A proposal of unknown fate is said to be surely not done.
    DroppedIsRefused,
    /// The ports of a task that has ended stay taken.
    KeepPorts,
    /// What a task reserved is given back twice.
    DoubleFree,
    /// `apply` has a clock of its own.
    OwnClock,
    /// The complete set of an agent lacks a task.
    LeaveOut,
    /// The names of a task that has ended stay in the zone.
    KeepNames,
    /// Tasks that are away for good are never forgotten.
    NeverExpunge,
    /// A task that has ended is not taken out of the state.
    KeepEnded,
    /// A removed app's tasks are not ended.
    KeepRemoved,
    /// A placement is not checked again when it is applied: whether it still fits, and its ports are free.
    DropFitCheck,
    /// A placement is not checked again when it is applied: whether its app still wants it.
    DropWantedCheck,
    /// raft's `batch_append`, which acknowledges entries that are not there when messages are reordered; and messages
    /// are not inspected, which would notice and drop what it makes of them.
    BatchAppend,
    /// A leader commits what is on its own disk.
    CommitAlone,
    /// Two entries are applied in the wrong order.
    SwapEntries,
    /// A leader answers reads without asking a majority whether it still leads.
    StaleReads,
    /// A rolling replacement does not wait for healthy tasks.
    IgnoreMinimum,
}

#[cfg(feature = "mutants")]
mod on {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
        static NOISE: Cell<u64> = const { Cell::new(0) };
    }

    /// Turns a bug on in this thread, or all of them off.
    pub fn set(mutant: Option<Mutant>) {
        ON.set(mutant);
    }

    /// Is this bug on?
    pub fn is(mutant: Mutant) -> bool {
        ON.get() == Some(mutant)
    }

    /// Something that differs from call to call.
    pub fn noise() -> u64 {
        NOISE.set(NOISE.get() + 1);
        NOISE.get() % 3
    }
}

#[cfg(not(feature = "mutants"))]
mod on {
    use super::Mutant;

    /// There are none.
    pub const fn is(_: Mutant) -> bool {
        false
    }

    /// Nothing.
    pub const fn noise() -> u64 {
        0
    }
}

pub use on::*;
