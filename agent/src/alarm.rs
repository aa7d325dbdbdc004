//! One timer for everything that a loop waits for. What it waits for changes with every message, mostly to
//! something later: the timer is only set anew for something earlier, and may ring once too often.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// See the module.
pub(crate) struct Alarm {
    timer: Pin<Box<Sleep>>,
    /// When it rings; `None`: it has rung.
    set: Option<Instant>,
}

impl Alarm {
    pub(crate) fn new() -> Self {
        Self { timer: Box::pin(sleep_until(Instant::now())), set: None }
    }

    /// Rings at `next` or before, never when there is none; yields the time. Nothing is lost when it is dropped.
    pub(crate) async fn ring(&mut self, next: Option<Instant>) -> Instant {
        let Some(next) = next else { return std::future::pending().await };
        if self.set.is_none_or(|set| next < set) {
            self.timer.as_mut().reset(next);
            self.set = Some(next);
        }
        self.timer.as_mut().await;
        self.set = None;
        Instant::now()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_in_time_whatever_it_was_set_to_before() {
        let (mut alarm, begin) = (Alarm::new(), Instant::now());
        let at = |seconds| Some(begin + Duration::from_secs(seconds));
        let a_second = Duration::from_secs(1);
        assert!(timeout(a_second, alarm.ring(None)).await.is_err());
        assert!(timeout(a_second, alarm.ring(at(9))).await.is_err());
        // Earlier than it was set to.
        assert_eq!(Some(alarm.ring(at(4)).await), at(4));
        assert!(timeout(a_second, alarm.ring(at(6))).await.is_err());
        // Later: once too often, then in time.
        assert_eq!(Some(alarm.ring(at(8)).await), at(6));
        assert_eq!(Some(alarm.ring(at(8)).await), at(8));
        // Past already.
        assert_eq!(Some(alarm.ring(at(3)).await), at(8));
    }
}
