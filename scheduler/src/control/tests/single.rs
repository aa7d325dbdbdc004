//! Tables for the rules about single tasks, and the choice of victims.

use std::sync::Arc;

use serde_json::json;
use spec::ids::TaskId;
use spec::protocol::HealthReport;
use spec::time::Timestamp;

use super::super::{Memory, Settings, kills, step};
use super::rest;
use crate::placement::fixture::*;
use crate::state::tests::histories::health;
use crate::state::{Command, Condition, Goal, KillReason, State};

/// What one look at everything proposes.
fn look(state: &State, at: u64) -> (Vec<Command>, Option<u64>) {
    rest::assert_left_alone(state, Timestamp::from_millis(at));
    let mut memory = Memory::default();
    memory.note_everything(state);
    let step = step(state, &mut memory, Timestamp::from_millis(at), 1, &Settings::default());
    (step.commands, step.next_due.map(Timestamp::millis))
}

fn failing(check: u32, failures: u32) -> Box<[HealthReport]> {
    [health(check, failures)].into()
}

/// A state with one running task of `/x`, with these changes to its definition.
fn one_task(changes: serde_json::Value) -> (State, TaskId) {
    let mut state = cluster(&[("a", "")]);
    let app = put(&mut state, app("/x", changes));
    let agent = state.agents.keys().next().expect("an agent").clone();
    let id = run(&mut state, &app, &agent, &[]);
    (state, id)
}

#[test]
fn health_checks_kill_at_the_right_failure() {
    // protocol, maxConsecutiveFailures, failures in a row, killed?
    let rows = [
        ("HTTP", 3, 3, false),
        ("HTTP", 3, 4, true),
        ("HTTPS", 1, 1, false),
        ("HTTPS", 1, 2, true),
        ("TCP", 0, 1000, false),
        ("MESOS_HTTP", 3, 2, false),
        ("MESOS_HTTP", 3, 3, true),
        ("MESOS_HTTPS", 0, 0, false),
        ("MESOS_TCP", 0, 1, true),
        ("COMMAND", 1, 1, true),
        ("COMMAND", 0, 0, false),
    ];
    for (protocol, most, failures, killed) in rows {
        let check = json!({"protocol": protocol, "delaySeconds": 15, "gracePeriodSeconds": 300,
            "intervalSeconds": 60, "ipProtocol": "IPv4", "maxConsecutiveFailures": most, "timeoutSeconds": 20});
        let (mut state, id) = one_task(json!({"healthChecks": [check]}));
        change(&mut state, &id, |task| task.health = failing(0, failures));
        let kill = Command::KillTasks { tasks: vec![id.clone()], wipe: false, reason: KillReason::Unhealthy };
        let expected = if killed { vec![kill] } else { vec![] };
        assert_eq!(look(&state, 2_000).0, expected, "{protocol} {most} {failures}");
        change(&mut state, &id, |task| task.condition = Condition::Unreachable);
        assert!(!look(&state, 2_000).0.iter().any(|command| matches!(command, Command::KillTasks { .. })));
    }
}

#[test]
fn tasks_that_do_not_start_in_time_are_replaced() {
    let staged = 1_000;
    let rows = [
        (Condition::Provisioned, 300_999, false),
        (Condition::Provisioned, 301_000, true),
        (Condition::Staging, 301_000, true),
        (Condition::Starting, 301_000, true),
        (Condition::Running, 301_000, false),
        (Condition::Killing, 301_000, false),
    ];
    for (condition, at, overdue) in rows {
        let (mut state, id) = one_task(json!({}));
        change(&mut state, &id, |task| task.condition = condition);
        let kill = Command::KillTasks { tasks: vec![id], wipe: false, reason: KillReason::Overdue };
        let (commands, due) = look(&state, at);
        assert_eq!(commands, if overdue { vec![kill] } else { vec![] }, "{condition:?}");
        if condition == Condition::Provisioned && !overdue {
            assert_eq!(due, Some(staged + 300_000));
        }
    }
}

#[test]
fn unreachable_tasks_are_replaced_and_forgotten_in_time() {
    use Condition::{Unreachable, UnreachableInactive as Inactive};
    let strategy = |inactive: u64, expunge: u64| json!({"inactiveAfterSeconds": inactive, "expungeAfterSeconds": expunge});
    // Unreachable or inactive since 10 s; strategy, condition, goal, now: what happens, what is next.
    let rows = [
        (strategy(0, 0), Unreachable, Goal::Running, 10_000, "expunge", None),
        (strategy(60, 120), Unreachable, Goal::Running, 69_999, "", Some(70_000)),
        (strategy(60, 120), Unreachable, Goal::Running, 70_000, "inactive", Some(71_000)),
        (strategy(60, 120), Inactive, Goal::Running, 69_999, "", Some(70_000)),
        (strategy(60, 120), Inactive, Goal::Running, 70_000, "expunge", Some(71_000)),
        (strategy(60, 120), Unreachable, Goal::Decommissioned, 70_000, "", Some(130_000)),
        (strategy(60, 120), Unreachable, Goal::Decommissioned, 130_000, "expunge", Some(131_000)),
        (strategy(60, 60), Unreachable, Goal::Running, 70_000, "expunge", Some(71_000)),
        (json!("disabled"), Unreachable, Goal::Running, 1_000_000_000, "", None),
        (json!("disabled"), Unreachable, Goal::Decommissioned, 10_000, "expunge", None),
    ];
    for (strategy, condition, goal, at, expected, due) in rows {
        // Nothing but the task itself is of interest: the app wants as many as count.
        let wanted = u32::from(goal == Goal::Running && condition == Unreachable);
        let text = format!("{strategy} {condition:?} {goal:?} {at}");
        let (mut state, id) = one_task(json!({"unreachableStrategy": strategy, "instances": wanted}));
        change(&mut state, &id, |task| {
            (task.condition, task.goal, task.since) = (condition, goal, Timestamp::from_millis(10_000));
        });
        let (commands, next) = look(&state, at);
        let tasks = vec![id];
        let expected = match expected {
            "expunge" => vec![Command::Expunge { tasks }],
            "inactive" => vec![Command::MarkInactive { tasks }],
            _ => vec![],
        };
        assert_eq!(commands, expected, "{text}");
        assert!(due.is_none() || next == due, "{text}: {next:?}");
    }
}

#[test]
fn victims_go_by_condition_and_kill_selection() {
    let mut state = cluster(&[("a", "")]);
    let agent = state.agents.keys().next().expect("an agent").clone();
    let young = put(&mut state, app("/x", json!({})));
    let conditions = [
        Condition::Running,
        Condition::Starting,
        Condition::Staging,
        Condition::Unreachable,
        Condition::Provisioned,
        Condition::Running,
    ];
    let ids: Vec<_> = conditions.iter().map(|_| run(&mut state, &young, &agent, &[])).collect();
    for (id, condition) in ids.iter().zip(conditions) {
        change(&mut state, id, |task| task.condition = condition);
    }
    let order = |app: &spec::App, named: &[TaskId]| -> Vec<usize> {
        let tasks: Vec<_> = state.tasks_of(&app.id).collect();
        let victims = kills::choose(&state, app, &tasks, named, 6);
        victims.iter().map(|victim| ids.iter().position(|id| id == victim).expect("one of them")).collect()
    };
    assert_eq!(order(&young, &[]), [3, 2, 1, 5, 0, 4]);
    assert_eq!(order(&app("/x", json!({"killSelection": "OLDEST_FIRST"})), &[]), [3, 2, 1, 0, 5, 4]);
    assert_eq!(order(&young, &[ids[4].clone(), ids[0].clone()]), [0, 4, 3, 2, 1, 5]);
}

#[test]
fn tasks_that_end_anyway_go_before_others() {
    let mut state = cluster(&[("a", "")]);
    let agent = state.agents.keys().next().expect("an agent").clone();
    let app = put(&mut state, app("/x", json!({})));
    let ids: Vec<_> = (0..3).map(|_| run(&mut state, &app, &agent, &[])).collect();
    change(&mut state, &ids[0], |task| task.condition = Condition::Unreachable);
    change(&mut state, &ids[1], |task| {
        (task.goal, task.condition) = (Goal::Restarting, Condition::Killing);
    });
    let tasks: Vec<_> = state.tasks_of(&app.id).collect();
    let named = [ids[2].clone()];
    let order = [ids[2].clone(), ids[1].clone(), ids[0].clone()];
    assert_eq!(kills::choose(&state, &app, &tasks, &named, 3), order);
    assert_eq!(kills::choose(&state, &app, &tasks, &[], 1), order[1..2]);
}

#[test]
fn victims_keep_groups_even() {
    let mut state = cluster(&[("a", "rack=r1"), ("b", "rack=r2"), ("c", "rack=r2")]);
    let agents: Vec<_> = state.agents.keys().cloned().collect();
    let grouped = put(&mut state, app("/x", json!({"constraints": [["rack", "GROUP_BY"]]})));
    // Four in rack r1 (the oldest), then two in r2.
    for agent in [0, 0, 0, 0, 1, 2] {
        run(&mut state, &grouped, &agents[agent], &[]);
    }
    let tasks: Vec<_> = state.tasks_of(&grouped.id).collect();
    let victims = kills::choose(&state, &grouped, &tasks, &[], 3);
    let homes: Vec<_> = victims.iter().map(|id| state.tasks[id].agent.as_str()).collect();
    assert_eq!(homes, ["a", "a", "c"], "two of the larger group, then the youngest");
}

#[test]
fn a_task_that_is_killed_keeps_its_place_until_it_has_ended() {
    let (mut state, id) = one_task(json!({}));
    change(&mut state, &id, |task| (task.goal, task.condition) = (Goal::Restarting, Condition::Killing));
    assert_eq!(look(&state, 2_000).0, []);
}

#[test]
fn tasks_of_a_removed_app_are_ended_in_any_case() {
    let (mut state, id) = one_task(json!({}));
    let entry = state.apps.get_mut(id.app()).expect("an app");
    Arc::make_mut(entry).retired = true;
    assert_eq!(
        look(&state, 2_000).0,
        [Command::Decommission { tasks: vec![id], reason: KillReason::Removed }]
    );
}

#[test]
fn a_step_is_bounded_and_the_next_one_goes_on() {
    let mut state = cluster(&[]);
    let mut large = info("a", "");
    large.capacity = spec::Resources { cpus_milli: 10_000_000, mem_mib: 10_000_000, disk_mib: 0, gpus: 0 };
    join(&mut state, large);
    put(&mut state, app("/x", json!({"instances": 9000})));
    put(&mut state, app("/y", json!({"instances": 10})));
    let mut memory = Memory::default();
    memory.note_everything(&state);
    let now = Timestamp::from_millis(2_000);
    let mut take = || {
        let step = step(&state, &mut memory, now, 1, &Settings::default());
        let Some(Command::Place(places)) = step.commands.last() else { panic!("{step:?}") };
        (places.len(), places.iter().filter(|place| place.app.as_str() == "/y").count(), step.next_due)
    };
    assert_eq!(take(), (4_000, 0, Some(now)));
    assert_eq!(take(), (4_000, 10, Some(now)), "the other app has its turn");
}
