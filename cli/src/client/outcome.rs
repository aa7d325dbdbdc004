//! How a change ended: one line for people or a JSON object for programs, the exit code, and for what did
//! not go well the reason and the last lines of the task that failed.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json as value;

use super::http::{Master, app_path};
use super::logs;
use super::table::{json, paint};
use super::wait::Change;
use super::why::waiting;
use crate::args::{GREEN, Output, RED};

/// Last lines of a failed task's log that are shown.
const LOG_LINES: u32 = 15;

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// Everything is as wanted.
    Complete,
    /// Everything was as wanted before.
    Unchanged,
    /// Nobody waits.
    Detached,
    /// It goes on.
    TimedOut,
    /// The apps are as somebody else wants them.
    Cancelled,
    /// The deployment is over and tasks are missing.
    Short,
    /// It goes on, but an app fails again and again.
    Failing {
        /// Which.
        app: String,
        /// How often.
        failures: u32,
    },
}

/// What there is to report.
pub struct Outcome {
    /// What was asked for.
    pub change: Change,
    /// The deployment that was waited for.
    pub deployment: String,
    /// How that ended.
    pub end: End,
    /// After how long.
    pub took: Duration,
}

/// Says how it ended; the exit code says whether well.
pub async fn report(master: &Master, output: Output, outcome: &Outcome) -> anyhow::Result<ExitCode> {
    let Outcome { change, deployment, end, took } = outcome;
    let (word, well) = word(end);
    if output == Output::Json {
        json(&value!({"deploymentId": deployment, "version": change.version, "apps": change.apps,
            "result": word, "seconds": took.as_secs_f64()}))?;
    } else if well {
        anstream::println!("{} {}: {}", paint(GREEN, "ok"), change.apps.join(", "), outcome.sentence());
    }
    if well {
        return Ok(ExitCode::SUCCESS);
    }
    anstream::eprintln!("{} {}: {}", paint(RED, "failed"), change.apps.join(", "), outcome.sentence());
    for app in &change.apps {
        explain(master, app).await;
    }
    Ok(ExitCode::FAILURE)
}

fn word(end: &End) -> (&'static str, bool) {
    match end {
        End::Complete => ("complete", true),
        End::Unchanged => ("unchanged", true),
        End::Detached => ("accepted", true),
        End::TimedOut => ("timed out", false),
        End::Cancelled => ("cancelled", false),
        End::Short => ("incomplete", false),
        End::Failing { .. } => ("failing", false),
    }
}

impl Outcome {
    fn sentence(&self) -> String {
        let id = &self.deployment;
        match &self.end {
            End::Complete => format!("deployment {id} is complete, {:.1} s", self.took.as_secs_f64()),
            End::Unchanged => "it is as wanted already, nothing to do".to_owned(),
            End::Detached => format!("deployment {id} is accepted; `clusterctl deployments` shows it"),
            End::TimedOut => format!(
                "not complete after {} s. It goes on; to end it: clusterctl deployments --cancel {id}",
                self.took.as_secs()
            ),
            End::Failing { app, failures } => format!(
                "{app} has failed {failures} times. It goes on trying; to end it: clusterctl deployments \
                 --cancel {id}"
            ),
            End::Short => format!(
                "deployment {id} is over, but not every task runs (a command that ends is started anew)"
            ),
            End::Cancelled => format!("deployment {id} was cancelled or replaced by a newer one"),
        }
    }
}

/// Why an app is not there: what it waits for, why its last task failed, and what that one wrote last.
async fn explain(master: &Master, id: &str) {
    let Ok(Some(answer)) = master.find(&app_path(id)).await else { return };
    let app = &answer["app"];
    let waits = waiting(master).await.ok().and_then(|waiting| waiting.get(id).cloned());
    if let Some(waits) = waits {
        anstream::eprintln!("  {id} waits: {waits}");
    }
    // A failure of another version says nothing about this one.
    let Some(failed) = logs::failed(app) else { return };
    let failure = &app["lastTaskFailure"];
    if failure["version"] != app["version"] {
        return;
    }
    let word = |field: &str| failure[field].as_str().unwrap_or("-").to_owned();
    anstream::eprintln!("  {} {} on {}: {}", word("taskId"), word("state"), word("host"), word("message"));
    for line in logs::last_lines(master, &failed, LOG_LINES).await {
        anstream::eprintln!("    {line}");
    }
}
