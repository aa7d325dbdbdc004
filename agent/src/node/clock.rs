//! The node's clock: wall time that never runs backwards and that a step backwards does not hold up.

use std::time::Instant;

use spec::time::Timestamp;

use crate::runtime::clock::now as wall;

/// A wall clock that is this far ahead was set, and is followed.
const STEP_MILLIS: u64 = 1_000;

/// Deadlines and reports go by this.
#[derive(Debug)]
pub(super) struct Clock {
    anchor: Instant,
    wall: Timestamp,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { anchor: Instant::now(), wall: wall() }
    }

    pub(super) fn now(&mut self) -> Timestamp {
        let elapsed = u64::try_from(self.anchor.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = self.wall.plus_millis(elapsed);
        let wall = wall();
        if wall.millis_since(now) > STEP_MILLIS {
            *self = Self { anchor: Instant::now(), wall };
            return wall;
        }
        now
    }
}
