//! What checks make of a task that runs: which are started for it, and what their results change in its report. Pure;
//! how a result counts is in `checks::book`.

use spec::app::App;
use spec::time::Timestamp;

use super::effect::{CheckTarget, Effect};
use super::task::{Context, Phase, Task};
use crate::checks::{CheckKey, Probed, book};

impl Task {
    pub(super) fn start_checks(&self, cx: &mut Context<'_>) {
        let (Some(app), Some(runtime)) = (self.app.clone(), self.runtime) else {
            return;
        };
        if app.health_checks.is_empty() && app.readiness_checks.is_empty() {
            return;
        }
        let (host_ports, addresses) = (self.host_ports.clone(), self.report.addresses.clone());
        let target = CheckTarget { task: self.id().clone(), runtime, app, host_ports, addresses };
        cx.effects.push(Effect::StartChecks(target));
    }

    /// Takes in one result of a check.
    pub(super) fn probed(&mut self, key: &CheckKey, probed: &Probed, cx: &mut Context<'_>) {
        let (Phase::Running, Some(app), Some(since)) = (self.phase, self.app.clone(), self.started_at) else {
            return;
        };
        let news = match *key {
            CheckKey::Health(index) => self.note_health(index, &app, since, probed, cx.now),
            CheckKey::Readiness(index) => self.note_readiness(index, &app, probed),
        };
        if news {
            self.publish(cx);
        }
    }

    fn note_health(
        &mut self,
        index: u32,
        app: &App,
        since: Timestamp,
        probed: &Probed,
        now: Timestamp,
    ) -> bool {
        let Some(check) = app.health_checks.get(index as usize) else {
            return false;
        };
        let reports = &mut self.report.health;
        let place = reports.iter().position(|report| report.check == index);
        let mut report = place.map(|place| reports.remove(place));
        let news = book::note_health(&mut report, (index, check), since, probed, now);
        reports.extend(report);
        reports.sort_by_key(|report| report.check);
        news
    }

    fn note_readiness(&mut self, index: u32, app: &App, probed: &Probed) -> bool {
        let Some(check) = app.readiness_checks.get(index as usize) else {
            return false;
        };
        let reports = &mut self.report.readiness;
        let place = reports.iter().position(|report| report.name == check.name);
        let mut report = place.map(|place| reports.remove(place));
        let news = book::note_readiness(&mut report, check, probed);
        reports.extend(report);
        reports.sort_by(|a, b| a.name.cmp(&b.name));
        news
    }
}
