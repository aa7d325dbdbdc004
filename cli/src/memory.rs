//! Memory that is no longer used goes back to the system. The allocator keeps what a thread has given out with that
//! thread, and what other threads have freed of it until the thread looks: one that has little to do never would.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Between two looks of a thread.
const LOOK_EVERY: Duration = Duration::from_secs(1);

thread_local! {
    static LOOKED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// For threads that have nothing to do, as often as they like.
pub fn at_rest() {
    let now = Instant::now();
    if is_due(LOOKED.get(), now) {
        LOOKED.set(Some(now));
        collect();
    }
}

fn is_due(looked: Option<Instant>, now: Instant) -> bool {
    looked.is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK_EVERY)
}

#[allow(unsafe_code, reason = "the allocator is C")]
fn collect() {
    // SAFETY: it takes no pointer, may be called by any thread, and looks at what belongs to the calling one.
    unsafe { libmimalloc_sys::mi_collect(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_looks_once_a_second() {
        let (now, millis) = (Instant::now(), Duration::from_millis);
        for (looked, due) in [(None, true), (Some(0), false), (Some(999), false), (Some(1_000), true)] {
            let looked = looked.and_then(|ago| now.checked_sub(millis(ago)));
            assert_eq!(is_due(looked, now), due, "{looked:?}");
        }
        at_rest();
    }
}
