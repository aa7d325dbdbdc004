//! Ending tasks over the API, and lists of tasks.

use serde_json::{Value, json};
use spec::ids::TaskId;
use spec::protocol::TaskState;

use super::Bench;

async fn bench() -> (Bench, TaskId, TaskId) {
    let mut bench = Bench::new(2).await;
    bench.app("/a", json!({"instances": 2})).await;
    let first = bench.task("/a", 1, TaskState::Running).await;
    let second = bench.task("/a", 2, TaskState::Running).await;
    (bench, first, second)
}

fn task_ids(body: &Value) -> Vec<String> {
    let tasks = body["tasks"].as_array().unwrap().iter();
    tasks.map(|task| task["id"].as_str().unwrap().to_owned()).collect()
}

async fn states(bench: &Bench) -> Vec<String> {
    let tasks = bench.get("/v2/tasks").await.expect(200);
    let tasks = tasks["tasks"].as_array().unwrap().iter();
    tasks.map(|task| task["state"].as_str().unwrap().to_owned()).collect()
}

async fn instances(bench: &Bench) -> Value {
    bench.get("/v2/apps/a").await.expect(200)["app"]["instances"].clone()
}

#[tokio::test]
async fn one_task() {
    let (bench, first, _) = bench().await;
    let body = bench.delete(&format!("/v2/apps/a/tasks/{first}")).await.expect(200);
    assert_eq!(body["task"]["id"], first.to_string());
    assert_eq!(bench.cluster.state().tasks[&first].condition, crate::state::Condition::Killing);
    assert_eq!(instances(&bench).await, 2);
    assert_eq!(bench.get("/v2/deployments").await.expect(200), json!([]));
}

#[tokio::test]
async fn one_task_and_its_instance() {
    let (bench, first, second) = bench().await;
    let answer = bench.delete(&format!("/v2/apps/a/tasks/{first}?scale=true")).await;
    assert_eq!(answer.expect(200)["deploymentId"], answer.header("marathon-deployment-id"));
    assert_eq!(instances(&bench).await, 1);
    let state = bench.cluster.state();
    assert_eq!(state.deployments.values().next().unwrap().kill, [first]);
    assert!(state.tasks.contains_key(&second));
}

#[tokio::test]
async fn a_task_of_another_app_is_not_found() {
    let (bench, first, _) = bench().await;
    bench.app("/b", json!({})).await;
    bench.delete(&format!("/v2/apps/b/tasks/{first}")).await.expect(404);
    bench.delete(&format!("/v2/apps/none/tasks/{first}")).await.expect(404);
}

#[tokio::test]
async fn all_tasks_of_an_app_or_of_one_host() {
    let (bench, first, second) = bench().await;
    let body = bench.delete("/v2/apps/a/tasks?host=node-2").await.expect(200);
    assert_eq!(task_ids(&body), [second.to_string()]);
    let body = bench.delete("/v2/apps/a/tasks?host=nowhere").await.expect(200);
    assert_eq!(body, json!({"tasks": []}));
    let mut all = [first.to_string(), second.to_string()];
    all.sort();
    let body = bench.delete("/v2/apps/a/tasks?host=*").await.expect(200);
    assert_eq!(task_ids(&body), all);
    let body = bench.delete("/v2/apps/a/tasks").await.expect(200);
    assert_eq!(task_ids(&body), all);
}

#[tokio::test]
async fn tasks_of_several_apps_by_id() {
    let (mut bench, first, second) = bench().await;
    bench.app("/b", json!({"instances": 3})).await;
    let other = bench.task("/b", 1, TaskState::Running).await;
    let unknown = "b.instance-67e55044-10b1-11ea-9a9f-362b9e155667._app.1";
    let ids = json!({"ids": [first.to_string(), unknown]});
    let body = bench.post("/v2/tasks/delete", ids).await.expect(200);
    assert_eq!(task_ids(&body), [first.to_string()]);
    // With scale: one deployment; a task that is already ending does not count again.
    let ids = json!({"ids": [second.to_string(), other.to_string()]});
    bench.post("/v2/tasks/delete?scale=true", ids).await.expect(200);
    assert_eq!(instances(&bench).await, 1);
    assert_eq!(bench.get("/v2/apps/b").await.expect(200)["app"]["instances"], 2);
    let gone = "none.instance-67e55044-10b1-11ea-9a9f-362b9e155667._app.1";
    let body = bench.post("/v2/tasks/delete?scale=true", json!({"ids": [gone]})).await.expect(404);
    assert_eq!(body["message"], "Path '/none' does not exist");
}

#[tokio::test]
async fn wipe_takes_the_instance_too() {
    let (bench, first, _) = bench().await;
    bench.delete(&format!("/v2/apps/a/tasks/{first}?wipe=true")).await.expect(200);
    assert_eq!(bench.cluster.state().tasks[&first].goal, crate::state::Goal::Decommissioned);
}

#[tokio::test]
async fn tasks_are_listed_by_status() {
    let (mut bench, first, _) = bench().await;
    bench.app("/b", json!({})).await;
    let staging = bench.task("/b", 1, TaskState::Staging).await;
    assert_eq!(states(&bench).await, ["TASK_RUNNING", "TASK_RUNNING", "TASK_STAGING"]);
    let list = |query: &'static str| {
        let bench = &bench;
        async move { task_ids(&bench.get(&format!("/v2/tasks{query}")).await.expect(200)) }
    };
    assert_eq!(list("?status=staging").await, [staging.to_string()]);
    assert_eq!(list("?status[]=Running&status=nonsense").await.len(), 2);
    assert_eq!(list("?status=nonsense").await.len(), 3);
    let of_app = bench.get("/v2/apps/a/tasks").await.expect(200);
    assert!(task_ids(&of_app).contains(&first.to_string()));
    assert_eq!(of_app["tasks"][0]["servicePorts"], json!([]));
}
