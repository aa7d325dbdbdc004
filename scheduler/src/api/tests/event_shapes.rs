//! What each event of the state becomes, by table.

use std::sync::Arc;

use serde_json::{Value, json};
use spec::protocol::{HealthReport, TaskState};
use spec::time::Timestamp;

use super::{Bench, alive, keys};
use crate::api::event_shapes::{EventShape, shapes};
use crate::state::{Applied, Condition, Event, KillReason, State, Task};

async fn bench() -> (Bench, Arc<Task>) {
    let mut bench = Bench::new(1).await;
    let checks = json!([{"protocol": "HTTP", "portIndex": 0, "path": "/"}]);
    bench.app("/a", json!({"healthChecks": checks})).await;
    let id = bench.task("/a", 1, TaskState::Running).await;
    let task = bench.cluster.state().tasks[&id].clone();
    (bench, task)
}

fn shape(state: &State, event: Event) -> Vec<EventShape> {
    let applied =
        Applied { index: 1, after: 0, at: Timestamp::from_millis(1_577_836_800_000), events: vec![event] };
    shapes(&applied, state, true)
}

fn kinds(shapes: &[EventShape]) -> Vec<&'static str> {
    shapes.iter().map(|shape| shape.kind).collect()
}

fn data(shape: &EventShape) -> Value {
    serde_json::from_str(&shape.data).unwrap()
}

fn changed(task: &Task, condition: Condition) -> Event {
    let task = Arc::new(Task { condition, ..task.clone() });
    Event::TaskChanged { task, message: "m".to_owned() }
}

#[tokio::test]
async fn conditions_become_states_and_conditions() {
    let (bench, task) = bench().await;
    let state = bench.cluster.state();
    for (condition, status, name) in [
        (Condition::Provisioned, None, "Provisioned"),
        (Condition::Staging, Some("TASK_STAGING"), "Staging"),
        (Condition::Starting, Some("TASK_STARTING"), "Starting"),
        (Condition::Running, Some("TASK_RUNNING"), "Running"),
        (Condition::Killing, None, "Killing"),
        (Condition::Unreachable, Some("TASK_UNREACHABLE"), "Unreachable"),
        (Condition::UnreachableInactive, None, "UnreachableInactive"),
    ] {
        let shapes = shape(&state, changed(&task, condition));
        let last = data(shapes.last().unwrap());
        assert_eq!(
            (last["eventType"].as_str(), last["condition"].as_str()),
            (Some("instance_changed_event"), Some(name))
        );
        let first = data(&shapes[0]);
        assert_eq!(first.get("taskStatus").and_then(Value::as_str), status, "{condition:?}");
    }
}

#[tokio::test]
async fn endings_name_what_mesos_would() {
    let (bench, task) = bench().await;
    let state = bench.cluster.state();
    for (ended, status, condition) in [
        (TaskState::Finished, "TASK_FINISHED", "Finished"),
        (TaskState::Failed, "TASK_FAILED", "Failed"),
        (TaskState::Killed, "TASK_KILLED", "Killed"),
        (TaskState::Error, "TASK_ERROR", "Error"),
        (TaskState::Gone, "TASK_GONE", "Gone"),
        (TaskState::Dropped, "TASK_DROPPED", "Dropped"),
    ] {
        let at = Timestamp::from_millis(0);
        let event = Event::TaskEnded { task: task.clone(), state: ended, message: "why".to_owned(), at };
        let shapes = shape(&state, event);
        assert_eq!(kinds(&shapes), ["status_update_event", "instance_changed_event"]);
        assert_eq!(data(&shapes[0])["taskStatus"], status);
        assert_eq!(data(&shapes[1])["condition"], condition);
    }
}

#[tokio::test]
async fn task_events_have_marathons_fields() {
    let (bench, task) = bench().await;
    let state = bench.cluster.state();
    let shapes = shape(&state, changed(&task, Condition::Running));
    let expected = json!({
        "slaveId": task.agent, "taskId": task.id, "taskStatus": "TASK_RUNNING", "message": "m", "appId": "/a",
        "host": "node-1", "ipAddresses": [{"ipAddress": "10.0.0.1", "protocol": "IPv4"}], "ports": [31_000],
        "version": task.app.version, "eventType": "status_update_event",
        "timestamp": "2020-01-01T00:00:00.000Z",
    });
    assert_eq!(data(&shapes[0]), expected);
    let expected = json!({
        "instanceId": task.id.instance, "condition": "Running", "runSpecId": "/a", "agentId": task.agent,
        "host": "node-1", "runSpecVersion": task.app.version, "eventType": "instance_changed_event",
        "timestamp": "2020-01-01T00:00:00.000Z",
    });
    assert_eq!(data(&shapes[1]), expected);
    let placed = shape(&state, Event::TaskPlaced { task });
    assert_eq!(kinds(&placed), ["instance_changed_event"]);
}

#[tokio::test]
async fn health_events_come_when_the_verdict_turns() {
    let (bench, task) = bench().await;
    let state = bench.cluster.state();
    let with = |health: Option<HealthReport>| {
        Arc::new(Task { health: health.into_iter().collect(), ..Task::clone(&task) })
    };
    let again = || HealthReport { consecutive_failures: 2, ..alive(false) };
    let health = |now, was| shape(&state, Event::TaskHealth { task: with(Some(now)), before: with(was) });
    let turned = ["health_status_changed_event", "instance_health_changed_event"];
    assert_eq!(kinds(&health(alive(true), None)), turned);
    assert_eq!(kinds(&health(alive(true), Some(alive(true)))), Vec::<&str>::new());
    assert_eq!(kinds(&health(again(), Some(alive(false)))), ["failed_health_check_event"]);
    assert_eq!(health(alive(false), Some(alive(false))), [], "something else has changed");
    assert_eq!(kinds(&health(alive(false), None)), ["failed_health_check_event", turned[1]]);
    let failed = health(alive(false), Some(alive(true)));
    assert_eq!(kinds(&failed), ["failed_health_check_event", turned[0], turned[1]]);
    let check = data(&failed[0]);
    assert_eq!(check["taskId"], task.id.instance.to_string());
    assert_eq!(check["healthCheck"]["protocol"], "HTTP");
    assert_eq!(data(&failed[1])["alive"], false);
    assert_eq!(data(&failed[2])["healthy"], false);
}

#[tokio::test]
async fn kills_are_only_told_when_health_was_the_reason() {
    let (bench, task) = bench().await;
    let state = bench.cluster.state();
    let task = Arc::new(Task { health: [alive(false)].into(), ..Task::clone(&task) });
    let kill = |reason| shape(&state, Event::TaskKill { task: task.clone(), reason });
    for reason in [KillReason::Asked, KillReason::Surplus, KillReason::Outdated, KillReason::Removed] {
        assert_eq!(kill(reason), []);
    }
    let told = kill(KillReason::Unhealthy);
    assert_eq!(kinds(&told), ["unhealthy_instance_kill_event"]);
    let told = data(&told[0]);
    let expected =
        ["appId", "eventType", "host", "instanceId", "reason", "slaveId", "taskId", "timestamp", "version"];
    assert_eq!(keys(&told), expected);
    assert_eq!(told["reason"], "refused");
}

#[tokio::test]
async fn only_a_new_definition_adds_its_checks() {
    let (bench, _) = bench().await;
    let app = |bench: &Bench| bench.cluster.state().app(&"/a".parse().unwrap()).unwrap().app.clone();
    let put = |app| Event::AppPut { app, created: false };
    let added = shape(&bench.cluster.state(), put(app(&bench)));
    assert_eq!(kinds(&added), ["add_health_check_event"]);
    assert_eq!(data(&added[0])["healthCheck"]["path"], "/");
    bench.put("/v2/apps/a", json!({"instances": 5})).await.expect(200);
    assert_eq!(shape(&bench.cluster.state(), put(app(&bench))), []);
}

#[tokio::test]
async fn a_removed_app_takes_its_checks_along() {
    let (bench, _) = bench().await;
    let app = bench.cluster.state().app(&"/a".parse().unwrap()).unwrap().app.clone();
    let removed = shape(&bench.cluster.state(), Event::AppRemoved { app });
    assert_eq!(kinds(&removed), ["remove_health_check_event"]);
    assert_eq!(keys(&data(&removed[0])), ["appId", "eventType", "timestamp"]);
}

#[tokio::test]
async fn the_end_of_an_unknown_task_names_its_instance() {
    let (bench, task) = bench().await;
    let ended = Event::TaskUnknownEnded { task: task.id.clone(), state: TaskState::Failed };
    let told = shape(&bench.cluster.state(), ended);
    assert_eq!(kinds(&told), ["unknown_instance_terminated_event"]);
    let expected = json!({
        "instanceId": task.id.instance, "runSpecId": "/a", "condition": "Failed",
        "eventType": "unknown_instance_terminated_event", "timestamp": "2020-01-01T00:00:00.000Z",
    });
    assert_eq!(data(&told[0]), expected);
}

#[tokio::test]
async fn deployment_events_carry_the_plan() {
    let (bench, _) = bench().await;
    bench.put("/v2/apps/a", json!({"cpus": 2})).await.expect(200);
    let state = bench.cluster.state();
    let deployment = state.deployments.values().next().unwrap().clone();
    let step = json!({"actions": [{"action": "RestartApplication", "app": "/a"}]});
    let plan = json!({"id": deployment.id.to_string(), "version": deployment.version, "steps": [step]});
    let of = |event| {
        let shapes = shape(&state, event);
        assert_eq!(shapes.len(), 1);
        data(&shapes[0])
    };
    let started = of(Event::StepStarted { deployment: deployment.clone() });
    assert_eq!(started["eventType"], "deployment_info");
    assert_eq!((&started["plan"], &started["currentStep"]), (&plan, &step));
    let done = of(Event::StepDone { deployment: deployment.clone() });
    assert_eq!(done["eventType"], "deployment_step_success");
    let success = of(Event::DeploymentDone { deployment: deployment.clone() });
    assert_eq!((&success["eventType"], &success["id"]), (&json!("deployment_success"), &plan["id"]));
    let failed = of(Event::DeploymentCancelled { deployment, by: None });
    assert_eq!(failed["eventType"], "deployment_failed");
    assert_eq!(failed["reason"], "The upgrade has been cancelled");
}

#[tokio::test]
async fn what_marathon_does_not_know_is_not_told() {
    let (bench, task) = bench().await;
    let state = bench.cluster.state();
    let agent = state.agents.values().next().unwrap().clone();
    let app: spec::AppId = "/a".parse().unwrap();
    for event in [
        Event::DelayChanged { app: app.clone() },
        Event::TaskExpunged { task: task.clone() },
        Event::TaskUnknown { task: task.id.clone(), agent: agent.id.clone() },
        Event::AgentJoined { agent: agent.clone() },
        Event::AgentLost { agent: agent.clone() },
        Event::AgentForgotten { id: agent.id.clone() },
    ] {
        assert_eq!(shape(&state, event), []);
    }
    let gone = shape(&state, Event::AppGone { id: app });
    assert_eq!(data(&gone[0])["appId"], "/a");
    let group = shape(&state, Event::GroupChanged { version: Timestamp::from_millis(0) });
    assert_eq!(data(&group[0])["groupId"], "/");
}
