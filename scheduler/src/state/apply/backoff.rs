//! The launch delay of an app: what makes it grow, move and go (reference section 5.5). A delay that is
//! over is not cleared by a timer: whoever looks at it compares it with the time.

use spec::app::App;
use spec::ids::AppId;
use spec::time::Timestamp;

use super::Change;
use crate::state::{Event, LaunchDelay, Outcome, Refusal, Task};

impl Change<'_> {
    /// A task of the app failed. Tasks of an outdated definition do not slow the current one down.
    pub(super) fn grow_delay(&mut self, task: &Task) {
        let now = self.state.now;
        let Some(entry) = self.entry_mut(task.id.app()) else {
            return;
        };
        if entry.retired || task.is_outdated(&entry.app) {
            return;
        }
        entry.delay = Some(grown(&entry.app, entry.delay, now));
        self.event(Event::DelayChanged { app: task.id.app().clone() });
    }

    /// A task of the app runs: its next failure is measured from now, with the length kept.
    pub(super) fn advance_delay(&mut self, task: &Task) {
        let now = self.state.now;
        let Some(entry) = self.entry_mut(task.id.app()) else {
            return;
        };
        let Some(delay) = entry.delay.filter(|_| !task.is_outdated(&entry.app)) else {
            return;
        };
        entry.delay = in_force(&entry.app, delay, now).map(|delay| LaunchDelay { since: now, ..delay });
        self.event(Event::DelayChanged { app: task.id.app().clone() });
    }

    pub(super) fn reset_delay_of(&mut self, app: &AppId) -> Result<Outcome, Refusal> {
        self.state.app(app).ok_or_else(|| Refusal::NoApp(app.clone()))?;
        if self.entry_mut(app).is_some_and(|entry| entry.delay.take().is_some()) {
            self.event(Event::DelayChanged { app: app.clone() });
        }
        Ok(Outcome::Done)
    }
}

/// An app that ran longer than its longest delay starts over.
fn in_force(app: &App, delay: LaunchDelay, now: Timestamp) -> Option<LaunchDelay> {
    (now.millis_since(delay.since) <= max_millis(app)).then_some(delay)
}

fn grown(app: &App, delay: Option<LaunchDelay>, now: Timestamp) -> LaunchDelay {
    let millis = match delay.and_then(|delay| in_force(app, delay, now)) {
        Some(delay) => (delay.millis as f64 * app.backoff_factor) as u64,
        None => u64::from(app.backoff_seconds) * 1000,
    };
    LaunchDelay { millis: millis.min(max_millis(app)), since: now }
}

fn max_millis(app: &App) -> u64 {
    u64::from(app.max_launch_delay_seconds) * 1000
}
