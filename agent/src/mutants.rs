//! Deliberate bugs at the lines where they would be made, so that the simulator can show that it would notice.
//! Without the feature `mutants` there are none; with it none is on until a test turns one on, in its own thread.

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// Orders of leaders that were deposed are obeyed.
    OldFences,
    /// A task that is named again is launched again.
    LaunchTwice,
    /// Nothing is ever told to end.
    IgnoreKill,
    /// An ending is forgotten before the leader has taken note.
    ForgetEnding,
}

#[cfg(feature = "mutants")]
mod on {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Turns a bug on in this thread, or all of them off.
    pub fn set(mutant: Option<Mutant>) {
        ON.set(mutant);
    }

    /// Is this bug on?
    pub fn is(mutant: Mutant) -> bool {
        ON.get() == Some(mutant)
    }
}

#[cfg(not(feature = "mutants"))]
mod on {
    use super::Mutant;

    /// There are none.
    pub const fn is(_: Mutant) -> bool {
        false
    }
}

pub use on::*;
