//! Whole changes, from the command to the last task: the loop ends where it should, and keeps to its
//! bounds on the way.

use serde_json::{Value, json};
use spec::app::App;
use spec::ids::{AgentId, AppId};

use super::*;
use crate::placement::fixture::{app, app_id};

const MINUTE: u64 = 60_000;

fn web(changes: Value) -> App {
    let mut document = json!({"instances": 4, "portDefinitions": [{"port": 0, "protocol": "tcp"}]});
    for (field, value) in changes.as_object().expect("an object") {
        document[field] = value.clone();
    }
    app("/web", document)
}

fn strategy(healthy: f64, over: f64) -> Value {
    json!({"minimumHealthCapacity": healthy, "maximumOverCapacity": over})
}

fn check(protocol: &str) -> Value {
    json!([{"protocol": protocol, "delaySeconds": 15, "gracePeriodSeconds": 300, "intervalSeconds": 60,
        "ipProtocol": "IPv4", "maxConsecutiveFailures": 2, "timeoutSeconds": 20}])
}

/// A loop with `/web` settled.
fn settled(changes: Value) -> (Loop, AppId) {
    let mut it = Loop::new(3, 1);
    it.deploy(vec![web(changes)]);
    it.run(MINUTE);
    let id = app_id("/web");
    it.assert_settled(&id, 4);
    (it, id)
}

/// Least healthy and most tasks in all, over the rounds of the last run.
fn extremes(it: &Loop, app: &AppId) -> (usize, usize) {
    let of_app = || it.counts.iter().filter_map(|round| round.get(app));
    (of_app().map(|it| it.1).min().unwrap_or(0), of_app().map(|it| it.0).max().unwrap_or(0))
}

fn started(it: &Loop) -> usize {
    it.events.iter().filter(|event| matches!(event, Event::TaskPlaced { .. })).count()
}

#[test]
fn create_scale_and_remove() {
    let (mut it, id) = settled(json!({"healthChecks": check("HTTP")}));
    it.deploy(vec![web(json!({"healthChecks": check("HTTP"), "instances": 7}))]);
    it.run(MINUTE);
    it.assert_settled(&id, 7);
    assert_eq!(started(&it), 3, "only what was missing");
    let seven = it.ids(&id);
    it.deploy(vec![web(json!({"healthChecks": check("HTTP"), "instances": 2}))]);
    it.run(MINUTE);
    it.assert_settled(&id, 2);
    assert!(it.ids(&id).iter().all(|task| seven.contains(task)) && started(&it) == 0);
    it.change(vec![], |deploy| deploy.remove = vec![app_id("/web")]);
    it.run(MINUTE);
    assert!(it.state.apps.is_empty() && it.state.tasks.is_empty() && it.state.deployments.is_empty());
    assert!(it.memory.waiting().is_empty());
}

#[test]
fn upgrades_keep_to_their_strategy() {
    // minimumHealthCapacity, maximumOverCapacity: least healthy and most tasks on the way.
    let rows = [(1.0, 1.0, 4, 8), (0.5, 0.0, 2, 4), (0.0, 0.0, 0, 4), (1.0, 0.0, 4, 5), (0.75, 0.25, 3, 5)];
    for (healthy, over, least, most) in rows {
        for protocol in [json!([]), check("MESOS_HTTP")] {
            let fixed = json!({"upgradeStrategy": strategy(healthy, over), "healthChecks": protocol});
            let (mut it, id) = settled(fixed.clone());
            let before = it.ids(&id);
            let mut changed = fixed.clone();
            changed["cmd"] = json!("sleep 2");
            it.deploy(vec![web(changed)]);
            it.run(MINUTE);
            it.assert_settled(&id, 4);
            assert!(it.ids(&id).iter().all(|task| !before.contains(task)));
            assert_eq!(extremes(&it, &id), (least, most), "{healthy}/{over}");
            assert_eq!(started(&it), 4);
        }
    }
}

#[test]
fn a_restart_replaces_every_task_once() {
    let (mut it, id) = settled(json!({}));
    let before = it.ids(&id);
    it.change(vec![], |deploy| deploy.restart = vec![app_id("/web")]);
    it.run(MINUTE);
    it.assert_settled(&id, 4);
    assert!(it.ids(&id).iter().all(|task| !before.contains(task)) && started(&it) == 4);
}

#[test]
fn an_upgrade_to_something_that_never_starts_keeps_the_old_tasks() {
    let (mut it, id) = settled(json!({}));
    let before = it.ids(&id);
    it.hanging.insert(id.clone());
    it.deploy(vec![web(json!({"cmd": "broken"}))]);
    it.run(4 * MINUTE);
    assert!(before.iter().all(|task| it.state.tasks[task].is_healthy()), "the old ones serve");
    assert_eq!((it.state.deployments.len(), it.count(&id).0), (1, 8));
    // Back to what it was. As in Marathon that is a new version too, and replaces all of them.
    it.hanging.clear();
    it.change(vec![web(json!({}))], |deploy| deploy.force = true);
    it.run(MINUTE);
    it.assert_settled(&id, 4);
    assert!(extremes(&it, &id).0 >= 4);
}

#[test]
fn a_failing_task_is_started_again_after_growing_delays() {
    let (mut it, id) = settled(json!({"backoffSeconds": 10, "backoffFactor": 2, "instances": 4}));
    it.deploy(vec![web(json!({"backoffSeconds": 10, "backoffFactor": 2, "instances": 1}))]);
    it.run(MINUTE);
    it.failing.insert(id.clone());
    let fails: Vec<_> = it.ids(&id);
    it.run(5 * MINUTE);
    let placed: Vec<u64> = it
        .events
        .iter()
        .filter_map(|event| match event {
            Event::TaskPlaced { task } => Some(task.staged_at.millis()),
            _ => None,
        })
        .collect();
    let gaps: Vec<u64> = placed.windows(2).map(|pair| (pair[1] - pair[0]) / 1000).collect();
    assert_eq!(gaps, [20, 40, 80], "seconds between starts of {fails:?}");
    it.failing.clear();
    it.run(6 * MINUTE);
    it.assert_settled(&id, 1);
    let again = &it.ids(&id)[0];
    assert_eq!(again.instance, fails[0].instance, "the same instance");
    assert!(again.incarnation >= 5);
}

#[test]
fn waiting_for_a_delay_is_reported() {
    let (mut it, id) = settled(json!({"backoffSeconds": 100}));
    it.failing.insert(id.clone());
    it.run(1_000);
    assert!(it.memory.waiting().contains_key(&id));
    it.failing.clear();
    it.run(3 * MINUTE);
    it.assert_settled(&id, 4);
    assert!(it.memory.waiting().is_empty());
}

#[test]
fn dependencies_start_in_order_and_wait_for_health() {
    let mut it = Loop::new(3, 1);
    let database = app("/db", json!({"healthChecks": check("TCP"), "instances": 2}));
    let web = web(json!({"dependencies": ["/db"]}));
    let (db, id) = (app_id("/db"), app_id("/web"));
    it.hanging.insert(db.clone());
    it.deploy(vec![web, database]);
    it.run(MINUTE);
    assert_eq!((it.count(&db), it.count(&id)), ((2, 0), (0, 0)), "what depends on it waits");
    it.hanging.clear();
    it.run(6 * MINUTE);
    it.assert_settled(&db, 2);
    it.assert_settled(&id, 4);
}

#[test]
fn a_step_waits_for_each_of_its_apps() {
    let mut it = Loop::new(3, 1);
    let (slow, id) = (app_id("/slow"), app_id("/web"));
    it.hanging.insert(slow.clone());
    it.deploy(vec![web(json!({})), app("/slow", json!({}))]);
    it.run(MINUTE);
    assert_eq!((it.count(&id), it.state.deployments.len()), ((4, 4), 1));
    it.hanging.clear();
    it.run(1_000);
    it.assert_settled(&slow, 1);
}

#[test]
fn a_scale_down_waits_for_its_victims() {
    let (mut it, id) = settled(json!({}));
    it.deaf.insert(id.clone());
    it.deploy(vec![web(json!({"instances": 1}))]);
    it.run(MINUTE);
    assert_eq!((it.count(&id).0, it.state.deployments.len()), (4, 1));
    it.deaf.clear();
    it.run(1_000);
    it.assert_settled(&id, 1);
}

#[test]
fn an_upgrade_waits_until_the_old_tasks_are_gone() {
    let (mut it, id) = settled(json!({}));
    it.deaf.insert(id.clone());
    it.deploy(vec![web(json!({"cmd": "sleep 2"}))]);
    it.run(MINUTE);
    assert_eq!((it.count(&id), it.state.deployments.len()), ((8, 4), 1));
    it.deaf.clear();
    it.run(1_000);
    it.assert_settled(&id, 4);
}

#[test]
fn killed_tasks_come_back_as_the_same_instances() {
    let (mut it, id) = settled(json!({}));
    let before = it.ids(&id);
    let victims = before[..2].to_vec();
    it.apply(vec![Command::KillTasks { tasks: victims.clone(), wipe: false, reason: KillReason::Asked }]);
    it.run(MINUTE);
    it.assert_settled(&id, 4);
    let after = it.ids(&id);
    for (was, is) in before.iter().zip(&after) {
        let restarted = u32::from(victims.contains(was));
        assert_eq!((&is.instance, is.incarnation), (&was.instance, was.incarnation + restarted));
    }
    assert!(extremes(&it, &id).1 <= 4, "never more than wanted");
}

#[test]
fn kill_and_scale_ends_the_named_ones() {
    let (mut it, id) = settled(json!({}));
    let named = vec![it.ids(&id)[1].clone()];
    it.change(vec![web(json!({"instances": 3}))], |deploy| deploy.kill.clone_from(&named));
    it.run(MINUTE);
    it.assert_settled(&id, 3);
    assert!(!it.ids(&id).contains(&named[0]));
}

#[test]
fn unhealthy_tasks_are_replaced() {
    let (mut it, id) = settled(json!({"healthChecks": check("MESOS_TCP")}));
    let before = it.ids(&id);
    it.sick.insert(id.clone());
    it.rounds(20);
    it.sick.clear();
    it.run(6 * MINUTE);
    it.assert_settled(&id, 4);
    assert!(it.ids(&id).iter().all(|task| !before.contains(task)));
}

#[test]
fn what_hangs_is_replaced_in_time() {
    let mut it = Loop::new(2, 1);
    let id = app_id("/web");
    it.hanging.insert(id.clone());
    it.deploy(vec![web(json!({}))]);
    it.run(4 * MINUTE);
    let first = it.ids(&id);
    assert!(it.state.tasks.values().all(|task| task.condition == Condition::Staging));
    it.run(2 * MINUTE);
    assert!(it.ids(&id).iter().all(|task| task.incarnation == 2 && !first.contains(task)));
    it.hanging.clear();
    it.run(1_000);
    it.assert_settled(&id, 4);
}

#[test]
fn tasks_of_a_lost_agent_are_replaced_at_once_by_default() {
    let (mut it, id) = settled(json!({}));
    let gone = it.state.tasks_of(&id).next().expect("a task").agent.clone();
    it.lose(&gone);
    it.run(MINUTE);
    it.assert_settled(&id, 4);
    assert!(it.state.tasks_of(&id).all(|task| task.agent != gone));
}

#[test]
fn a_lost_agent_that_returns_leaves_a_surplus_that_goes() {
    let later = json!({"unreachableStrategy": {"inactiveAfterSeconds": 60, "expungeAfterSeconds": 600}});
    let (mut it, id) = settled(later);
    let gone: AgentId = it.state.tasks_of(&id).next().expect("a task").agent.clone();
    let there = it.state.tasks_of(&id).filter(|task| task.agent == gone).count();
    it.lose(&gone);
    it.run(30_000);
    assert_eq!(started(&it), 0, "not before its time");
    it.run(MINUTE);
    assert_eq!(started(&it), there, "replaced");
    assert_eq!(it.state.tasks_of(&id).count(), 4 + there);
    it.bring_back(&gone);
    it.run(MINUTE);
    it.assert_settled(&id, 4);
}

#[test]
fn a_deployment_does_not_wait_for_a_lost_agent() {
    let (mut it, id) = settled(json!({"unreachableStrategy": "disabled"}));
    let gone: AgentId = it.state.tasks_of(&id).next().expect("a task").agent.clone();
    it.lose(&gone);
    it.run(MINUTE);
    let changed = json!({"unreachableStrategy": "disabled", "cmd": "sleep 2"});
    it.deploy(vec![web(changed)]);
    it.run(MINUTE);
    it.assert_settled(&id, 4);
}

#[test]
fn what_does_not_fit_waits_with_a_reason_and_starts_when_there_is_room() {
    let mut it = Loop::new(1, 1);
    let (big, id) = (app("/big", json!({"cpus": 3.5})), app_id("/big2"));
    it.deploy(vec![big]);
    it.run(MINUTE);
    it.deploy(vec![app("/big2", json!({"cpus": 3.5}))]);
    it.run(MINUTE);
    let waiting = it.memory.waiting();
    let report = &waiting[&id];
    assert_eq!(report.sample[0].detail, "needs 3.5 cpus, 0.5 free");
    assert_eq!((report.last_agents.processed, report.last_agents.declined[4]), (1, 1));
    it.change(vec![], |deploy| deploy.remove = vec![app_id("/big")]);
    it.run(MINUTE);
    it.assert_settled(&id, 1);
    assert!(it.memory.waiting().is_empty());
}

#[test]
fn a_new_leader_goes_on_where_the_last_one_stopped() {
    let (mut it, id) = settled(json!({"upgradeStrategy": strategy(1.0, 0.0)}));
    let mut changed = json!({"upgradeStrategy": strategy(1.0, 0.0)});
    changed["cmd"] = json!("sleep 2");
    it.deploy(vec![web(changed)]);
    for _ in 0..12 {
        for _ in 0..2 {
            it.round();
            it.now = it.now.plus_millis(ROUND_MILLIS);
        }
        it.memory = Memory::default();
        it.memory.note_everything(&it.state);
    }
    it.run(MINUTE);
    it.assert_settled(&id, 4);
    assert!(extremes(&it, &id).1 <= 5);
}

#[test]
fn no_instances_are_settled_at_once() {
    let mut it = Loop::new(0, 1);
    it.deploy(vec![web(json!({"instances": 0}))]);
    it.run(1_000);
    it.assert_settled(&app_id("/web"), 0);
}
