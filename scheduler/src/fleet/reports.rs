//! What an agent says of its tasks, as commands: bounded, whatever it says, and in order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use spec::ids::{AgentId, TaskId};
use spec::protocol::{HealthReport, ReadinessReport, TaskReport};

use super::session::SessionError;
use crate::cluster::{AskError, Cluster};
use crate::state::{Command, Condition, Outcome, State, Task};

/// Pause before a command that was not taken is proposed again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Reports that share a command, and their bytes: an entry stays far below the log's limit.
const REPORTS_MAX: usize = 500;
const BYTES_MAX: usize = 128 * 1024;
/// What is kept of one report. The state has its own bounds; these keep a report from filling an entry.
const TEXT_BYTES_MAX: usize = 4096;
const BODY_BYTES_MAX: usize = 8192;
const ADDRESSES_MAX: usize = 16;
const CHECKS_MAX: usize = 64;

/// Gets the commands into the state, one after the other. Saying a report twice is harmless: the state
/// remembers the last number of each task.
pub(super) async fn take_in(cluster: &Cluster, commands: Vec<Command>) -> Result<(), SessionError> {
    for command in commands {
        loop {
            match cluster.ask(command.clone()).await {
                Ok(Outcome::Refused(refusal)) => return Err(SessionError::Disowned(refusal)),
                Ok(_) => break,
                Err(AskError::Busy | AskError::TimedOut) => tokio::time::sleep(RETRY_PAUSE).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// News as commands.
pub fn news(agent: &AgentId, reports: Vec<TaskReport>) -> Vec<Command> {
    let command = |reports| Command::Report { agent: agent.clone(), complete: false, reports };
    portions(reports).into_iter().map(command).collect()
}

/// What an agent opens with, as commands: what the state does not know yet. After a change of the leader that is
/// next to nothing, however many tasks there are. `state` must be as new as everything acknowledged before.
pub fn opening(state: &State, agent: &AgentId, reports: Vec<TaskReport>) -> Vec<Command> {
    let named: BTreeSet<&TaskId> = reports.iter().map(|report| &report.task).collect();
    let unnamed = |task: &&Arc<Task>| !named.contains(&task.id) && task.condition != Condition::Provisioned;
    if state.tasks_on(agent).any(|task| unnamed(&task)) {
        return complete(agent, reports);
    }
    drop(named);
    news(agent, reports.into_iter().filter(|report| !is_known(state, agent, report)).collect())
}

/// Has exactly this been taken in? Of an unreachable task every word is news, and so is that one has ended.
fn is_known(state: &State, agent: &AgentId, report: &TaskReport) -> bool {
    let task = state.tasks.get(&report.task).filter(|task| task.agent == *agent);
    task.is_some_and(|task| task.seq == report.seq && !task.is_unreachable() && !report.state.is_terminal())
}

/// Everything that an agent knows as commands. The last one names every task, since what it does not name
/// is gone; where one command cannot hold it all, the news go ahead and the last one is a roll call.
fn complete(agent: &AgentId, reports: Vec<TaskReport>) -> Vec<Command> {
    let roll: Vec<TaskReport> = reports.iter().map(name_only).collect();
    let mut commands = news(agent, reports);
    if commands.len() > 1 {
        commands.push(Command::Report { agent: agent.clone(), complete: true, reports: roll });
    } else if let Some(Command::Report { complete, .. }) = commands.last_mut() {
        *complete = true;
    } else {
        commands.push(Command::Report { agent: agent.clone(), complete: true, reports: Vec::new() });
    }
    commands
}

/// The task and no news: the number is older than any, so that nothing of it counts but the name.
fn name_only(report: &TaskReport) -> TaskReport {
    TaskReport {
        task: report.task.clone(),
        seq: 0,
        state: report.state,
        at: report.at,
        message: String::new(),
        addresses: Vec::new(),
        health: Vec::new(),
        readiness: Vec::new(),
        unhealthy_kill: false,
    }
}

fn portions(reports: Vec<TaskReport>) -> Vec<Vec<TaskReport>> {
    let (mut portions, mut portion, mut bytes) = (Vec::new(), Vec::new(), 0);
    for report in reports.into_iter().map(bounded) {
        let size = postcard::experimental::serialized_size(&report).unwrap_or(0);
        if portion.len() >= REPORTS_MAX || (bytes + size > BYTES_MAX && !portion.is_empty()) {
            portions.push(std::mem::take(&mut portion));
            bytes = 0;
        }
        bytes += size;
        portion.push(report);
    }
    portions.extend(Some(portion).filter(|portion| !portion.is_empty()));
    portions
}

fn bounded(mut report: TaskReport) -> TaskReport {
    cut(&mut report.message, TEXT_BYTES_MAX);
    report.addresses.truncate(ADDRESSES_MAX);
    report.health.truncate(CHECKS_MAX);
    for HealthReport { last_failure_cause, .. } in &mut report.health {
        last_failure_cause.iter_mut().for_each(|cause| cut(cause, TEXT_BYTES_MAX));
    }
    report.readiness.retain(|result| result.name.len() <= TEXT_BYTES_MAX);
    report.readiness.truncate(CHECKS_MAX);
    for ReadinessReport { last_response, .. } in &mut report.readiness {
        if let Some((_, kind, body)) = last_response {
            cut(kind, TEXT_BYTES_MAX);
            cut(body, BODY_BYTES_MAX);
        }
    }
    report
}

fn cut(text: &mut String, bytes: usize) {
    text.truncate(text.floor_char_boundary(bytes));
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use spec::protocol::TaskState;
    use spec::time::Timestamp;

    use super::*;
    use crate::consensus::MAX_ENTRY_BYTES;
    use crate::placement::fixture;

    fn report(number: u64, message: usize) -> TaskReport {
        let task = format!("a.instance-{:08x}-0000-0000-0000-000000000000._app.1", number).parse().unwrap();
        let at = Timestamp::default();
        let message = "m".repeat(message);
        let mut report = name_only(&TaskReport {
            task,
            seq: number,
            state: TaskState::Running,
            at,
            message: String::new(),
            addresses: vec![],
            health: vec![],
            readiness: vec![],
            unhealthy_kill: false,
        });
        (report.seq, report.message) = (number, message);
        report
    }

    fn shape(commands: &[Command]) -> Vec<(bool, usize)> {
        let of = |command: &Command| match command {
            Command::Report { complete, reports, .. } => (*complete, reports.len()),
            other => panic!("{other:?}"),
        };
        commands.iter().map(of).collect()
    }

    #[test]
    fn reports_share_commands_of_bounded_size() {
        let agent = AgentId::new("c-S1");
        for (count, message, said, all) in [
            (0, 0, &[][..], &[(true, 0)][..]),
            (1, 0, &[(false, 1)], &[(true, 1)]),
            (500, 0, &[(false, 500)], &[(true, 500)]),
            (501, 0, &[(false, 500), (false, 1)], &[(false, 500), (false, 1), (true, 501)]),
            (3, 1_000_000, &[(false, 3)], &[(true, 3)]),
            (40, 9_000, &[(false, 31), (false, 9)], &[(false, 31), (false, 9), (true, 40)]),
        ] {
            let reports: Vec<_> = (1..=count).map(|number| report(number, message)).collect();
            assert_eq!(shape(&news(&agent, reports.clone())), said, "{count} of {message} bytes");
            assert_eq!(shape(&complete(&agent, reports)), all, "{count} of {message} bytes");
        }
    }

    #[test]
    fn an_opening_says_what_the_state_does_not_know() {
        let mut state = fixture::cluster(&[("a", ""), ("b", "")]);
        let app = fixture::put(&mut state, fixture::app("/web", json!({})));
        let (a, b) = (AgentId::new("a"), AgentId::new("b"));
        let tasks = [&a, &a, &b].map(|agent| fixture::run(&mut state, &app, agent, &[]));
        let report = |n: usize, seq| TaskReport { task: tasks[n].clone(), ..report(seq, 0) };
        let said = |state: &State, reports: &[TaskReport]| shape(&opening(state, &a, reports.to_vec()));
        tasks.iter().for_each(|task| fixture::change(&mut state, task, |task| task.seq = 7));
        assert_eq!(said(&state, &[report(0, 7), report(1, 7)]), []);
        assert_eq!(said(&state, &[report(0, 7), report(1, 8)]), [(false, 1)]);
        let ended = TaskReport { state: TaskState::Failed, ..report(1, 7) };
        assert_eq!(said(&state, &[report(0, 7), ended]), [(false, 1)]);
        // One is gone, then there is one of another agent.
        assert_eq!(said(&state, &[report(0, 7)]), [(true, 1)]);
        assert_eq!(said(&state, &[report(0, 7), report(1, 7), report(2, 7)]), [(false, 1)]);
        fixture::change(&mut state, &tasks[1], |task| task.condition = Condition::Unreachable);
        assert_eq!(said(&state, &[report(0, 7), report(1, 7)]), [(false, 1)]);
        fixture::change(&mut state, &tasks[1], |task| task.condition = Condition::Provisioned);
        assert_eq!(said(&state, &[report(0, 7)]), []);
    }

    #[test]
    fn no_report_fills_an_entry() {
        let (kind, body) = ("k".repeat(1_000_000), "\u{e4}".repeat(1_000_000));
        let mut largest = report(1, 10_000_000);
        largest.health = (0..1_000)
            .map(|check| HealthReport {
                check,
                alive: false,
                consecutive_failures: 1,
                first_success: None,
                last_success: None,
                last_failure: None,
                last_failure_cause: Some(body.clone()),
            })
            .collect();
        let last_response = Some((200, kind, body));
        let readiness = ReadinessReport { name: "r".to_owned(), ready: false, last_response };
        largest.readiness = vec![readiness; 100];
        largest.addresses = vec![[10, 0, 0, 1].into(); 1_000];
        let bounded = bounded(largest);
        assert!(postcard::experimental::serialized_size(&bounded).unwrap() < MAX_ENTRY_BYTES / 5 * 6);
        assert_eq!((bounded.health.len(), bounded.addresses.len()), (64, 16));
    }
}
