//! What agents say of tasks. An agent is believed about what it runs, and about nothing else: a task's
//! goal is set elsewhere, and its condition only moves forward.

use std::collections::BTreeSet;
use std::sync::Arc;

use spec::ids::{AgentId, TaskId};
use spec::protocol::{HealthReport, ReadinessReport, TaskReport, TaskState};
use spec::time::Timestamp;

use super::Change;
use super::endings::Ending;
use crate::state::{Condition, Event, Goal, KillReason, Outcome, Presence, Refusal, Task};

/// Longer messages are cut; they are kept in the state and sent to clients.
const MESSAGE_BYTES_MAX: usize = 4096;
/// More addresses than this nobody has use for.
const ADDRESSES_MAX: usize = 16;

impl Change<'_> {
    pub(super) fn report(
        &mut self,
        agent: &AgentId,
        complete: bool,
        reports: &[TaskReport],
    ) -> Result<Outcome, Refusal> {
        let known = self.state.agents.get(agent).ok_or_else(|| Refusal::NoAgent(agent.clone()))?;
        let presence = known.presence;
        for report in reports {
            self.take_in(agent, presence, report);
        }
        if complete && presence == Presence::Connected {
            let named = reports.iter().map(|report| &report.task).collect();
            self.miss_unnamed(agent, &named);
        }
        Ok(Outcome::Done)
    }

    fn take_in(&mut self, agent: &AgentId, presence: Presence, report: &TaskReport) {
        let ended = report.state.is_terminal();
        let Some(task) = self.state.tasks.get(&report.task).filter(|task| task.agent == *agent) else {
            return self.hear_of_stranger(agent, report);
        };
        // What has the number of the last one is the last one, said again after a reconnect: it changes
        // nothing, unless the task was counted as unreachable since.
        if report.seq < task.seq {
            return;
        }
        if ended {
            self.end_task(&report.task, ending(report, self.state.now));
        } else if presence == Presence::Connected {
            self.take_in_news(report);
        }
    }

    /// News of a task that is not there, or is another agent's. That it has ended is only news when it is
    /// nobody's; one that is ending is not told again, which would cut its grace period short.
    fn hear_of_stranger(&mut self, agent: &AgentId, report: &TaskReport) {
        let task = report.task.clone();
        match report.state {
            TaskState::Killing => {}
            state if !state.is_terminal() => self.event(Event::TaskUnknown { task, agent: agent.clone() }),
            _ if self.state.tasks.contains_key(&task) => {}
            state => self.event(Event::TaskUnknownEnded { task, state }),
        }
    }

    /// Tasks that a reconnected agent was told of and does not name. What was never confirmed is sent
    /// to it again by the leader.
    fn miss_unnamed(&mut self, agent: &AgentId, named: &BTreeSet<&TaskId>) {
        let unnamed = self.state.tasks_on(agent).filter(|task| !named.contains(&task.id));
        let unnamed = unnamed.filter(|task| task.condition != Condition::Provisioned);
        for id in unnamed.map(|task| task.id.clone()).collect::<Vec<_>>() {
            let message = "The agent no longer knows the task".to_owned();
            let ending = Ending { state: TaskState::Gone, message, at: self.state.now, unhealthy: false };
            self.end_task(&id, ending);
        }
    }

    fn take_in_news(&mut self, report: &TaskReport) {
        let now = self.state.now;
        if let Some((before, after)) = self.state.change(&report.task, |task| hear(task, report, now)) {
            self.tell_news(before, after, &report.message);
        }
    }

    fn tell_news(&mut self, before: Arc<Task>, after: Arc<Task>, message: &str) {
        if after.condition != before.condition || after.addresses != before.addresses {
            let message = bounded(message);
            self.event(Event::TaskChanged { task: after.clone(), message });
        }
        if after.health != before.health || after.readiness != before.readiness {
            self.event(Event::TaskHealth { task: after.clone(), before: before.clone() });
        }
        if after.started_at != before.started_at {
            self.advance_delay(&after);
        }
        if before.is_unreachable() && after.goal == Goal::Decommissioned {
            self.event(Event::TaskKill { task: after, reason: KillReason::Returned });
        }
    }
}

/// What its agent says of a task becomes true of it.
fn hear(task: &mut Task, report: &TaskReport, now: Timestamp) {
    let condition = next_condition(task, report.state);
    task.seq = report.seq;
    if task.condition != condition {
        (task.condition, task.since) = (condition, now);
    }
    if task.condition == Condition::Running && task.started_at.is_none() {
        task.started_at = Some(report.at.clamp(task.staged_at, now.max(task.staged_at)));
    }
    task.addresses = report.addresses.iter().take(ADDRESSES_MAX).copied().collect();
    task.health = known_health(task, &report.health);
    task.readiness = known_readiness(task, &report.readiness);
}

/// Forward only; back from unreachable to whatever it is now, or to its end if that was decided.
fn next_condition(task: &Task, reported: TaskState) -> Condition {
    let reported = match reported {
        TaskState::Staging => Condition::Staging,
        TaskState::Starting => Condition::Starting,
        TaskState::Running => Condition::Running,
        _ => Condition::Killing,
    };
    match task.condition {
        _ if task.goal != Goal::Running => Condition::Killing,
        Condition::Unreachable | Condition::UnreachableInactive => reported,
        condition => condition.max(reported),
    }
}

/// One result for each check that the app has, whatever the agent sends.
fn known_health(task: &Task, reports: &[HealthReport]) -> Box<[HealthReport]> {
    let checks = 0..task.app.health_checks.len() as u32;
    let result = |check| reports.iter().find(|report| report.check == check).cloned();
    checks
        .filter_map(result)
        .map(|result| HealthReport {
            last_failure_cause: result.last_failure_cause.as_deref().map(bounded),
            ..result
        })
        .collect()
}

fn known_readiness(task: &Task, reports: &[ReadinessReport]) -> Box<[ReadinessReport]> {
    let checks = task.app.readiness_checks.iter();
    checks.filter_map(|check| reports.iter().find(|report| report.name == check.name).cloned()).collect()
}

fn ending(report: &TaskReport, now: Timestamp) -> Ending {
    // An agent's clock may run ahead; nothing has happened later than now.
    Ending {
        state: report.state,
        message: bounded(&report.message),
        at: report.at.min(now),
        unhealthy: report.unhealthy_kill,
    }
}

fn bounded(message: &str) -> String {
    message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)].to_owned()
}
