//! Agents that are away and come back: what is replaced, what is forgotten, and which copy stays (reference
//! section 5.7).

use serde_json::{Value, json};
use spec::app::App;

use super::*;
use crate::placement::fixture::{app, app_id};

const MINUTE: u64 = 60_000;

fn web(changes: Value) -> App {
    let mut document = json!({"instances": 4});
    for (field, value) in changes.as_object().expect("an object") {
        document[field] = value.clone();
    }
    app("/web", document)
}

fn strategy(inactive: u64, expunge: u64) -> Value {
    json!({"inactiveAfterSeconds": inactive, "expungeAfterSeconds": expunge})
}

/// A loop with `/web` settled on three agents, and one of these that has tasks of it.
fn settled(changes: Value) -> (Loop, AppId, AgentId) {
    let (mut it, id) = (Loop::new(3, 1), app_id("/web"));
    it.deploy(vec![web(changes)]);
    it.run(MINUTE);
    it.assert_settled(&id, 4);
    let agent = it.state.tasks_of(&id).next().expect("a task").agent.clone();
    (it, id, agent)
}

/// What the last run said of conditions and ends, each once.
fn story(it: &Loop) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for event in &it.events {
        let word = match event {
            Event::TaskChanged { task, .. } => format!("{:?}", task.condition),
            Event::TaskKill { reason, .. } => format!("kill {reason:?}"),
            Event::TaskEnded { .. } => "ended".to_owned(),
            Event::TaskExpunged { .. } => "expunged".to_owned(),
            Event::TaskUnknown { .. } => "unknown".to_owned(),
            Event::TaskUnknownEnded { .. } => "unknown ended".to_owned(),
            _ => continue,
        };
        if !said.contains(&word) {
            said.push(word);
        }
    }
    said
}

#[test]
fn which_copy_stays_follows_the_kill_selection() {
    for (selection, originals_stay) in [("YOUNGEST_FIRST", true), ("OLDEST_FIRST", false)] {
        let (mut it, id, agent) =
            settled(json!({"killSelection": selection, "unreachableStrategy": strategy(60, 600)}));
        let originals = it.ids(&id);
        it.lose(&agent);
        it.run(2 * MINUTE);
        let copies: Vec<TaskId> = it.ids(&id).into_iter().filter(|task| !originals.contains(task)).collect();
        assert!(!copies.is_empty(), "replaced");
        it.bring_back(&agent);
        it.run(MINUTE);
        it.assert_settled(&id, 4);
        let left = it.ids(&id);
        if originals_stay {
            assert_eq!(left, originals, "{selection}");
        } else {
            assert!(copies.iter().all(|copy| left.contains(copy)), "{selection}");
        }
        assert_eq!(story(&it)[0], "kill Surplus", "{selection}: chosen, not by accident");
    }
}

#[test]
fn what_happens_to_tasks_of_an_agent_that_stays_away() {
    // Strategy, minutes away; what is said of its tasks, and how many there are in the end.
    let rows = [
        (strategy(0, 0), 1, vec!["expunged", "Staging", "Running"], 4),
        (strategy(60, 600), 5, vec!["UnreachableInactive", "Staging", "Running"], 4),
        (strategy(60, 120), 5, vec!["UnreachableInactive", "Staging", "Running", "expunged"], 4),
        (json!("disabled"), 600, vec![], 0),
    ];
    for (strategy, minutes, expected, wanted) in rows {
        let (mut it, id, agent) = settled(json!({"unreachableStrategy": strategy}));
        let on_it = it.state.tasks_of(&id).filter(|task| task.agent == agent).count();
        it.events.clear();
        it.lose(&agent);
        assert_eq!(story(&it), ["Unreachable"], "{strategy}: each is said to be out of reach");
        it.run(minutes * MINUTE);
        assert_eq!(story(&it), expected, "{strategy}");
        let reachable = it.state.tasks_of(&id).filter(|task| !task.is_unreachable()).count();
        assert_eq!(reachable, if wanted == 0 { 4 - on_it } else { wanted }, "{strategy}");
    }
}

#[test]
fn who_was_never_replaced_goes_on_as_before() {
    for strategy in [json!("disabled"), strategy(3_600, 7_200)] {
        let (mut it, id, agent) = settled(json!({"unreachableStrategy": strategy}));
        let before = it.ids(&id);
        it.lose(&agent);
        it.run(30 * MINUTE);
        it.bring_back(&agent);
        it.run(MINUTE);
        it.assert_settled(&id, 4);
        assert_eq!((it.ids(&id), story(&it)), (before, vec![]), "nothing is started and nothing ended");
    }
}

#[test]
fn who_was_forgotten_is_killed_as_unknown_and_nobody_else_is() {
    let (mut it, id, agent) = settled(json!({"unreachableStrategy": strategy(0, 0)}));
    let forgotten: Vec<Task> =
        it.state.tasks_of(&id).filter(|task| task.agent == agent).map(|task| Task::clone(task)).collect();
    it.lose(&agent);
    it.run(MINUTE);
    let wanted = it.ids(&id);
    it.bring_back(&agent);
    it.events.clear();
    for (state, said) in [
        (TaskState::Running, vec!["unknown"]),
        // It is on its way: told again, it would lose its grace period.
        (TaskState::Killing, vec![]),
        (TaskState::Killed, vec!["unknown ended"]),
    ] {
        let reports = forgotten.iter().map(|task| it.report_of(task, state, true)).collect();
        it.events.clear();
        it.apply(vec![Command::Report { agent: agent.clone(), complete: false, reports }]);
        assert_eq!(story(&it), said, "{state:?}");
    }
    it.run(MINUTE);
    it.assert_settled(&id, 4);
    assert_eq!((it.ids(&id), story(&it)), (wanted, vec![]));
}

#[test]
fn who_comes_back_with_an_old_definition_is_ended() {
    let away = |cmd| json!({"unreachableStrategy": strategy(60, 36_000), "cmd": cmd});
    let (mut it, id, agent) = settled(away("sleep 1"));
    it.lose(&agent);
    it.run(2 * MINUTE);
    it.deploy(vec![web(away("sleep 2"))]);
    it.run(MINUTE);
    let current: Vec<TaskId> =
        it.state.tasks_of(&id).filter(|task| !task.is_unreachable()).map(|task| task.id.clone()).collect();
    assert_eq!(current.len(), 4);
    it.events.clear();
    it.bring_back(&agent);
    assert_eq!(story(&it), ["Killing", "kill Returned"]);
    it.run(MINUTE);
    it.assert_settled(&id, 4);
    assert_eq!(it.ids(&id), current);
}
