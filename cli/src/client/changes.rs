//! `clusterctl scale`, `restart` and `remove`: one request, then the deployment it started.

use std::process::ExitCode;

use reqwest::Method;
use serde_json::json;

use super::http::{Master, app_path};
use super::wait::{Change, wait};
use crate::args::{Output, WaitArgs};

/// Changes the number of instances.
pub async fn scale(
    master: &Master,
    output: Output,
    app: &str,
    instances: u32,
    args: &WaitArgs,
) -> anyhow::Result<ExitCode> {
    let path = format!("{}?force={}", app_path(app), args.force);
    let answer = master.call(Method::PATCH, &path, Some(&json!({"instances": instances}))).await?;
    wait(master, output, Change::to(&answer, [app]), args, 0).await
}

/// Replaces every task.
pub async fn restart(
    master: &Master,
    output: Output,
    app: &str,
    args: &WaitArgs,
) -> anyhow::Result<ExitCode> {
    let path = format!("{}/restart?force={}", app_path(app), args.force);
    let answer = master.call(Method::POST, &path, Some(&json!({}))).await?;
    wait(master, output, Change::to(&answer, [app]), args, 0).await
}

/// Removes the app. Marathon forces removals by default; this asks for it explicitly.
pub async fn remove(master: &Master, output: Output, app: &str, args: &WaitArgs) -> anyhow::Result<ExitCode> {
    let path = format!("{}?force={}", app_path(app), args.force);
    let answer = master.call(Method::DELETE, &path, None).await?;
    wait(master, output, Change::removal(&answer, app), args, 0).await
}
