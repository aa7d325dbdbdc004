//! Tasks whose health checks fail too often are started anew (reference section 5.4).
//!
//! The agent runs every check and counts failures in a row, those of the grace period aside; how many are
//! too many is decided here.

use spec::app::{HealthCheck, HealthProtocol};
use spec::protocol::HealthReport;

use super::subject::Subject;
use super::work::Todo;
use crate::state::{Condition, Goal, KillReason, Task};

/// Unreachable tasks are left alone: nobody knows how they are.
pub(super) fn watch(subject: &Subject<'_>, todo: &mut Todo) {
    let running = subject
        .watched
        .iter()
        .filter(|task| task.goal == Goal::Running && task.condition == Condition::Running);
    let failing = running.filter(|task| is_failing(task));
    todo.replace.extend(failing.map(|task| (task.id.clone(), KillReason::Unhealthy)));
}

fn is_failing(task: &Task) -> bool {
    let check_of = |report: &HealthReport| task.app.health_checks.get(report.check as usize);
    task.health.iter().any(|report| check_of(report).is_some_and(|check| is_too_often(check, report)))
}

/// Checks that Marathon's leader ran kill at failure number max + 1, and never with a maximum of 0; those
/// that Mesos' agents ran kill at failure number max, and at the first with a maximum of 0.
fn is_too_often(check: &HealthCheck, report: &HealthReport) -> bool {
    let (failures, most) = (report.consecutive_failures, check.max_consecutive_failures);
    match check.protocol {
        _ if report.alive || failures == 0 => false,
        HealthProtocol::Http | HealthProtocol::Https | HealthProtocol::Tcp => most > 0 && failures > most,
        HealthProtocol::Command
        | HealthProtocol::MesosHttp
        | HealthProtocol::MesosHttps
        | HealthProtocol::MesosTcp => failures >= most,
    }
}
