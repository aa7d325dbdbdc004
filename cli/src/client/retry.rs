//! What to do when a master gave no good answer: ask another one, wait, or say so. Pure.
//!
//! A change is asked for again only when it surely was not made: the connection was refused, or the master
//! says that it did nothing (502, 503 or 504 with `Retry-After`).

use std::time::Duration;

/// How long an answer is sought: an election takes under a second, a restart of a master some.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// Pause when no master says how long.
const PAUSE: Duration = Duration::from_millis(500);
/// No master is asked more often.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// No master makes anyone wait longer.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// Why there is no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No connection: nothing was asked.
    NoConnection,
    /// It was asked, and the answer did not come.
    NoAnswer,
    /// It cannot answer now and did nothing, usually since there is no leader; ask again after this time.
    NotNow(Duration),
    /// It cannot answer now, and may have done what was asked for.
    Unclear,
}

/// An attempt that failed.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Why.
    pub trouble: Trouble,
    /// Does asking twice do no harm?
    pub harmless: bool,
    /// Masters not asked since the last pause.
    pub untried: usize,
    /// Did any master answer anything in this run? Then there is a cluster, and it is waited for.
    pub answered: bool,
    /// Time since the first attempt.
    pub elapsed: Duration,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask the next master at once.
    Another,
    /// Ask the next master after this pause.
    After(Duration),
    /// There will be no answer.
    GiveUp,
}

/// Decides.
pub fn next(attempt: Attempt) -> Next {
    let not_done = matches!(attempt.trouble, Trouble::NoConnection | Trouble::NotNow(_));
    if !(attempt.harmless || not_done) || attempt.elapsed >= PATIENCE {
        return Next::GiveUp;
    }
    if attempt.untried > 0 {
        return Next::Another;
    }
    let left = PATIENCE.saturating_sub(attempt.elapsed);
    match attempt.trouble {
        Trouble::NotNow(after) => Next::After(after.clamp(PAUSE_MIN, PAUSE_MAX).min(left)),
        _ if attempt.answered => Next::After(PAUSE.min(left)),
        _ => Next::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::Next::*;
    use super::Trouble::*;
    use super::*;

    #[test]
    fn by_trouble() {
        let second = Duration::from_secs(1);
        let pause = After(PAUSE);
        // With a master left to ask; with none left, unheard of or known to be there.
        for (trouble, harmless, another, unheard, known) in [
            (NoConnection, true, Another, GiveUp, pause),
            (NoConnection, false, Another, GiveUp, pause),
            (NoAnswer, true, Another, GiveUp, pause),
            (NoAnswer, false, GiveUp, GiveUp, GiveUp),
            (NotNow(second), true, Another, After(second), After(second)),
            (NotNow(second), false, Another, After(second), After(second)),
            (Unclear, true, Another, GiveUp, pause),
            (Unclear, false, GiveUp, GiveUp, GiveUp),
        ] {
            let attempt = |untried, answered| {
                next(Attempt { trouble, harmless, untried, answered, elapsed: Duration::ZERO })
            };
            let what = format!("{trouble:?}, harmless: {harmless}");
            assert_eq!((attempt(2, false), attempt(2, true)), (another, another), "{what}");
            assert_eq!((attempt(0, false), attempt(0, true)), (unheard, known), "{what}");
        }
    }

    #[test]
    fn patience_ends_and_pauses_are_bounded() {
        let at = |seconds, after| {
            let (trouble, elapsed) = (NotNow(Duration::from_secs(after)), Duration::from_secs(seconds));
            next(Attempt { trouble, harmless: true, untried: 0, answered: true, elapsed })
        };
        assert_eq!(at(0, 3600), After(PAUSE_MAX));
        assert_eq!(at(0, 0), After(PAUSE_MIN));
        assert_eq!(at(14, 3), After(Duration::from_secs(1)));
        assert_eq!(at(15, 1), GiveUp);
        let untried =
            Attempt { trouble: NoConnection, harmless: true, untried: 1, answered: true, elapsed: PATIENCE };
        assert_eq!(next(untried), GiveUp);
    }
}
