//! The one place where a master reads the clock. Decisions get the time as an argument.
//!
//! The time that commands carry never goes back (`apply` takes care of that), so after the machine's clock
//! was set back by an hour every timer would stand still for an hour. Here it goes on instead: wall time
//! when that is ahead, else the time that has passed.

use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use spec::time::Timestamp;

/// A moment by both clocks, and the time from then on.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    seen: Instant,
    at: Timestamp,
}

static CLOCK: Mutex<Option<Clock>> = Mutex::new(None);

impl Clock {
    /// A clock that begins at `instant`, when the machine's clock says `wall`.
    pub fn new(instant: Instant, wall: Timestamp) -> Self {
        Self { seen: instant, at: wall }
    }

    /// The time at `instant`, when the machine's clock says `wall`; never earlier than what was answered
    /// before.
    pub fn read(&mut self, instant: Instant, wall: Timestamp) -> Timestamp {
        let passed = instant.saturating_duration_since(self.seen).as_millis();
        let now = self.at.plus_millis(u64::try_from(passed).unwrap_or(u64::MAX));
        if wall > now {
            *self = Self { seen: instant, at: wall };
        }
        now.max(wall)
    }
}

/// Now, by the machine's clock; never earlier than what was answered before.
pub fn now() -> Timestamp {
    not_before(Timestamp::default())
}

/// Now, and from now on no earlier than this: what the state has seen under another leader, or before a
/// restart.
pub fn not_before(least: Timestamp) -> Timestamp {
    let (seen, wall) = (Instant::now(), wall().max(least));
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    clock.get_or_insert(Clock::new(seen, wall)).read(seen, wall)
}

fn wall() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_goes_on_whatever_the_machine_says() {
        let begin = Instant::now();
        let mut clock = Clock { seen: begin, at: Timestamp::from_millis(1_000) };
        // Milliseconds passed, what the machine says, what is answered.
        for (passed, wall, now) in [
            (0, 1_000, 1_000),
            (10, 1_010, 1_010),
            // Set back by a second: goes on all the same.
            (20, 20, 1_020),
            (520, 520, 1_520),
            // Set forward: followed.
            (530, 9_000, 9_000),
            (540, 540, 9_010),
        ] {
            let read = clock.read(begin + Duration::from_millis(passed), Timestamp::from_millis(wall));
            assert_eq!(read, Timestamp::from_millis(now), "after {passed} ms");
        }
    }
}
