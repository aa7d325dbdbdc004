//! The one place where a master reads the clock. Decisions get the time as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use spec::time::Timestamp;

/// Now, by the machine's clock.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
