//! `clusterctl apps`.

use serde_json::Value;

use super::http::Master;
use super::table::{json, number, paint, print, table, text};
use crate::args::{GREEN, Output, YELLOW};

/// Lists apps.
pub async fn run(master: &Master, output: Output) -> anyhow::Result<()> {
    let answer = master.get("/v2/apps").await?;
    if output == Output::Json {
        return json(&answer["apps"]);
    }
    let mut rows = table(&["APP", "TASKS", "HEALTHY", "CPUS", "MEM", "DEPLOYING", "RUNS"]);
    for app in answer["apps"].as_array().into_iter().flatten() {
        let deploying = app["deployments"].as_array().is_some_and(|list| !list.is_empty());
        rows.add_row([
            text(&app["id"]),
            running(app),
            health(app),
            number(&app["cpus"]),
            number(&app["mem"]),
            if deploying { paint(YELLOW, "yes") } else { "no".to_owned() },
            what(app),
        ]);
    }
    print(rows, &[1, 2, 3, 4], "no apps; `clusterctl deploy FILE` makes one");
    Ok(())
}

fn running(app: &Value) -> String {
    let (running, wanted) =
        (app["tasksRunning"].as_u64().unwrap_or(0), app["instances"].as_u64().unwrap_or(0));
    paint(if running == wanted { GREEN } else { YELLOW }, &format!("{running}/{wanted}"))
}

fn health(app: &Value) -> String {
    if app["healthChecks"].as_array().is_none_or(Vec::is_empty) {
        return "-".to_owned();
    }
    number(&app["tasksHealthy"])
}

/// The image, or else the command, cut to one short line.
fn what(app: &Value) -> String {
    const WIDTH: usize = 50;
    let words = app["container"]["docker"]["image"].as_str().map(str::to_owned);
    let words = words.or_else(|| app["cmd"].as_str().map(str::to_owned)).unwrap_or_else(|| {
        let args = app["args"].as_array().into_iter().flatten();
        args.filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
    });
    let line: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WIDTH).collect();
    if line.chars().count() < words.chars().count() { format!("{line}...") } else { line }
}
