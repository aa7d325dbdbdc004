//! `clusterctl tasks` and `clusterctl kill`.

use anyhow::bail;
use reqwest::Method;
use serde_json::{Value, json as value};

use super::http::{Master, app_path};
use super::table::{age, json, paint, print, table, text};
use crate::args::{GREEN, Output, RED, YELLOW};

/// Lists tasks, of one app or of all.
pub async fn list(master: &Master, output: Output, app: Option<&str>) -> anyhow::Result<()> {
    let answer = match app {
        Some(app) => master.get(&format!("{}/tasks", app_path(app))).await?,
        None => master.get("/v2/tasks").await?,
    };
    if output == Output::Json {
        return json(&answer["tasks"]);
    }
    let now = jiff::Timestamp::now();
    let mut rows = table(&["TASK", "STATE", "HEALTH", "HOST", "PORTS", "AGE"]);
    for task in answer["tasks"].as_array().into_iter().flatten() {
        rows.add_row([
            text(&task["id"]),
            state(task),
            health(task),
            text(&task["host"]),
            ports(task),
            age(&task["stagedAt"], now),
        ]);
    }
    print(rows, &[5], "no tasks");
    Ok(())
}

fn state(task: &Value) -> String {
    let state = text(&task["state"]);
    let style = match state.as_str() {
        "TASK_RUNNING" => GREEN,
        "TASK_UNREACHABLE" => RED,
        _ => YELLOW,
    };
    paint(style, state.strip_prefix("TASK_").unwrap_or(&state))
}

fn health(task: &Value) -> String {
    let results: Vec<bool> = task["healthCheckResults"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["alive"].as_bool())
        .collect();
    match results.as_slice() {
        [] => "-".to_owned(),
        all if all.iter().all(|alive| *alive) => paint(GREEN, "healthy"),
        _ => paint(RED, "unhealthy"),
    }
}

fn ports(task: &Value) -> String {
    let ports: Vec<String> = task["ports"].as_array().into_iter().flatten().map(Value::to_string).collect();
    if ports.is_empty() { "-".to_owned() } else { ports.join(",") }
}

/// Ends one task.
pub async fn kill(master: &Master, output: Output, task: &str, scale: bool) -> anyhow::Result<()> {
    let path = format!("/v2/tasks/delete?scale={scale}");
    let answer = master.call(Method::POST, &path, Some(&value!({"ids": [task]}))).await?;
    let killed = answer["tasks"].as_array().is_some_and(|tasks| !tasks.is_empty());
    if !killed && answer["deploymentId"].is_null() {
        bail!("there is no task {task}; `clusterctl tasks` lists them");
    }
    if output == Output::Json {
        return json(&answer);
    }
    println!("{task} is being ended{}", if scale { ", its app has one instance less" } else { "" });
    Ok(())
}
