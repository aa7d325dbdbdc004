//! The bookkeeping of checks: what counts, what is worth a report. Pure.
//!
//! Rules of reference section 5.4: failures do not count while nothing has succeeded yet and the task has
//! been running for less than the grace period; alive means that the last success is later than the last
//! failure. Reported are flips of alive and every counted failure, not each success.

use spec::app::{HealthCheck, ReadinessCheck};
use spec::protocol::{HealthReport, ReadinessReport};
use spec::time::Timestamp;

use super::{Probed, Response};

/// Longest cause of a failure that is kept.
const CAUSE_CHARS_MAX: usize = 256;
/// Longest body of a readiness response that is kept: it travels with every report of the task.
const BODY_CHARS_MAX: usize = 2048;

/// Takes in one result of a health check. `report` is its standing so far, `None` before the first
/// counted result. True when the change is worth a report.
pub fn note_health(
    report: &mut Option<HealthReport>,
    (index, check): (u32, &HealthCheck),
    running_since: Timestamp,
    probed: &Probed,
    now: Timestamp,
) -> bool {
    match probed {
        Probed::Ignored => false,
        Probed::Passed(_) => note_success(report.get_or_insert_with(|| unknown(index)), now),
        Probed::Failed(cause, _) => {
            let succeeded = report.as_ref().is_some_and(|report| report.first_success.is_some());
            let grace_millis = u64::from(check.grace_period_seconds) * 1000;
            if !succeeded && now.millis_since(running_since) < grace_millis {
                return false;
            }
            note_failure(report.get_or_insert_with(|| unknown(index)), cause, now);
            true
        }
    }
}

fn unknown(check: u32) -> HealthReport {
    HealthReport {
        check,
        alive: false,
        consecutive_failures: 0,
        first_success: None,
        last_success: None,
        last_failure: None,
        last_failure_cause: None,
    }
}

fn note_success(report: &mut HealthReport, now: Timestamp) -> bool {
    let flips = !report.alive;
    report.alive = true;
    report.consecutive_failures = 0;
    report.first_success.get_or_insert(now);
    report.last_success = Some(now);
    flips
}

fn note_failure(report: &mut HealthReport, cause: &str, now: Timestamp) {
    report.alive = false;
    report.consecutive_failures = report.consecutive_failures.saturating_add(1);
    report.last_failure = Some(now);
    report.last_failure_cause = Some(cause.chars().take(CAUSE_CHARS_MAX).collect());
}

/// Takes in one result of a readiness check. True when the change is worth a report. Once passed it is
/// ready for good.
pub fn note_readiness(report: &mut Option<ReadinessReport>, check: &ReadinessCheck, probed: &Probed) -> bool {
    if report.as_ref().is_some_and(|report| report.ready) {
        return false;
    }
    let (ready, response) = match probed {
        Probed::Ignored => return false,
        Probed::Passed(response) => (true, response),
        Probed::Failed(_, response) => (false, response),
    };
    let kept = response.as_ref().filter(|_| check.preserve_last_response).map(keep);
    let next = ReadinessReport { name: check.name.clone(), ready, last_response: kept };
    let changed = report.as_ref() != Some(&next);
    *report = Some(next);
    changed
}

fn keep(response: &Response) -> (u16, String, String) {
    let content_type = response.content_type.chars().take(CAUSE_CHARS_MAX).collect();
    (response.status, content_type, response.body.chars().take(BODY_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn health(grace_seconds: u32) -> HealthCheck {
        serde_json::from_value(
            json!({"protocol": "HTTP", "delaySeconds": 15, "gracePeriodSeconds": grace_seconds,
            "intervalSeconds": 60, "ipProtocol": "IPv4", "maxConsecutiveFailures": 3, "timeoutSeconds": 20}),
        )
        .unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn failed() -> Probed {
        Probed::Failed("connection refused".to_owned(), None)
    }

    /// (second, result, worth a report, alive, consecutive failures), running since second 100.
    type Step = (u64, Probed, bool, Option<bool>, u32);

    fn play(grace_seconds: u32, steps: Vec<Step>) {
        let (check, mut report) = (health(grace_seconds), None);
        for (second, probed, reported, alive, failures) in steps {
            let noted = note_health(&mut report, (0, &check), at(100), &probed, at(second));
            assert_eq!(noted, reported, "at {second}");
            assert_eq!(report.as_ref().map(|report| report.alive), alive, "at {second}");
            assert_eq!(
                report.as_ref().map_or(0, |report| report.consecutive_failures),
                failures,
                "at {second}"
            );
        }
    }

    #[test]
    fn failures_in_the_grace_period_do_not_count() {
        let ok = || Probed::Passed(None);
        play(
            10,
            vec![
                (101, failed(), false, None, 0),
                (109, failed(), false, None, 0),
                (110, failed(), true, Some(false), 1),
                (111, failed(), true, Some(false), 2),
                (112, ok(), true, Some(true), 0),
                (113, ok(), false, Some(true), 0),
            ],
        );
    }

    #[test]
    fn one_success_ends_the_grace_period() {
        play(
            300,
            vec![
                (101, Probed::Passed(None), true, Some(true), 0),
                (102, failed(), true, Some(false), 1),
                (103, Probed::Ignored, false, Some(false), 1),
                (104, Probed::Passed(None), true, Some(true), 0),
            ],
        );
    }

    #[test]
    fn causes_are_cut() {
        let mut report = None;
        let long = Probed::Failed("x".repeat(10_000), None);
        assert!(note_health(&mut report, (3, &health(0)), at(0), &long, at(1)));
        let report = report.unwrap();
        assert_eq!((report.check, report.last_failure_cause.unwrap().len()), (3, CAUSE_CHARS_MAX));
    }

    #[test]
    fn readiness_is_for_good_and_keeps_the_response_when_asked() {
        let mut check: ReadinessCheck =
            serde_json::from_value(json!({"name": "r", "protocol": "HTTP", "path": "/",
            "portName": "http", "intervalSeconds": 30, "timeoutSeconds": 10, "httpStatusCodesForReady": [200],
            "preserveLastResponse": true}))
            .unwrap();
        let response = |status| Some(Response { status, content_type: "t".into(), body: "b".repeat(5000) });
        let no = |status| Probed::Failed("not ready".to_owned(), response(status));
        let mut report = None;
        assert!(note_readiness(&mut report, &check, &no(503)));
        assert!(!note_readiness(&mut report, &check, &no(503)), "nothing new");
        assert!(note_readiness(&mut report, &check, &no(500)));
        assert!(note_readiness(&mut report, &check, &Probed::Passed(response(200))));
        assert!(!note_readiness(&mut report, &check, &no(503)), "ready for good");
        assert_eq!(report.as_ref().unwrap().last_response.as_ref().unwrap().2.len(), BODY_CHARS_MAX);
        check.preserve_last_response = false;
        let mut report = None;
        assert!(note_readiness(&mut report, &check, &no(503)));
        assert!(!note_readiness(&mut report, &check, &no(500)), "responses are not kept");
        assert_eq!(report.unwrap().last_response, None);
    }
}
