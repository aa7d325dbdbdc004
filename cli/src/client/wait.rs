//! Waiting for a deployment with a bar per app: staged, running, healthy. Ends well only when the
//! deployment is complete; otherwise with the reason and the last lines of the task that failed.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json as value};

use super::http::{Master, app_path};
use super::logs;
use super::table::{json, paint};
use super::why::waiting;
use crate::args::{GREEN, Output, RED, WaitArgs};

/// Pause between looks: short enough to feel live, a handful of cheap requests a second.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Looks that may go unanswered in a row (a restart of the master takes a few).
const MISSED_MAX: u32 = 50;
/// Last lines of a failed task's log that are shown.
const LOG_LINES: u32 = 15;

/// A change that was accepted.
pub struct Change {
    deployment: Option<String>,
    version: Option<String>,
    apps: Vec<String>,
    removal: bool,
}

impl Change {
    /// A change of apps that go on to exist.
    pub fn to<'a>(answer: &Value, apps: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            deployment: answer["deploymentId"].as_str().map(str::to_owned),
            version: answer["version"].as_str().map(str::to_owned),
            apps: apps.into_iter().map(|app| format!("/{}", app.trim_matches('/'))).collect(),
            removal: false,
        }
    }

    /// A removal.
    pub fn removal(answer: &Value, app: &str) -> Self {
        Self { removal: true, ..Self::to(answer, [app]) }
    }
}

/// How the wait ended.
enum End {
    Complete,
    Detached,
    TimedOut,
    Cancelled,
    Failing { app: String, failures: u32 },
}

/// Waits as `args` say and reports the end. `failures_max` 0: failures never end the wait.
pub async fn wait(
    master: &Master,
    output: Output,
    change: Change,
    args: &WaitArgs,
    failures_max: u32,
) -> anyhow::Result<ExitCode> {
    let Some(deployment) = change.deployment.clone() else {
        anyhow::bail!("the master accepted the change but named no deployment");
    };
    let started = Instant::now();
    let end = if args.detach {
        End::Detached
    } else {
        watch(master, &change, &deployment, args.timeout, failures_max).await?
    };
    report(master, output, &change, &deployment, end, started.elapsed()).await
}

/// Looks again and again until the deployment has ended, one way or another.
async fn watch(
    master: &Master,
    change: &Change,
    deployment: &str,
    timeout: Duration,
    failures_max: u32,
) -> anyhow::Result<End> {
    let deadline = Instant::now() + timeout;
    let mut bars = Bars::new(&change.apps);
    let mut seen = Failures::default();
    let mut missed = 0;
    loop {
        match look(master, change, deployment).await {
            Ok(look) => {
                missed = 0;
                bars.show(&look);
                if !look.running {
                    bars.clear();
                    return Ok(if look.complete(change) { End::Complete } else { End::Cancelled });
                }
                if let Some((app, failures)) = seen.note(&look, failures_max) {
                    bars.clear();
                    return Ok(End::Failing { app, failures });
                }
            }
            Err(error) if missed >= MISSED_MAX => return Err(error),
            Err(_) => missed += 1,
        }
        if Instant::now() >= deadline {
            bars.clear();
            return Ok(End::TimedOut);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What one look found.
struct Look {
    /// Is the deployment still listed?
    running: bool,
    /// Each app, `None` when it does not exist.
    apps: Vec<(String, Option<Value>)>,
    /// What apps wait for.
    waiting: BTreeMap<String, String>,
}

async fn look(master: &Master, change: &Change, deployment: &str) -> anyhow::Result<Look> {
    let listed = master.get("/v2/deployments").await?;
    let running = listed.as_array().into_iter().flatten().any(|one| one["id"].as_str() == Some(deployment));
    let mut apps = Vec::new();
    for app in &change.apps {
        let found = master.find(&app_path(app)).await?;
        apps.push((app.clone(), found.map(|answer| answer["app"].clone())));
    }
    let waiting = if running { waiting(master).await? } else { BTreeMap::new() };
    Ok(Look { running, apps, waiting })
}

impl Look {
    /// The deployment is gone: did it get where it was going? A later change of the same apps counts as
    /// somebody else's; a version of ours whose tasks are not all there was cancelled.
    fn complete(&self, change: &Change) -> bool {
        self.apps.iter().all(|(_, app)| match app {
            None => change.removal,
            Some(_) if change.removal => false,
            Some(app) => {
                let wanted = app["instances"].as_u64();
                let ours = change.version.is_none() || app["version"].as_str() <= change.version.as_deref();
                ours && app["tasksRunning"].as_u64() >= wanted
            }
        })
    }
}

/// Failures of each app since the wait began, told apart by their time.
#[derive(Default)]
struct Failures {
    by_app: BTreeMap<String, (u32, Option<String>)>,
}

impl Failures {
    /// Takes in a look; names the app that has failed too often.
    fn note(&mut self, look: &Look, failures_max: u32) -> Option<(String, u32)> {
        let mut worst = None;
        for (id, app) in &look.apps {
            let at =
                app.as_ref().and_then(|app| app["lastTaskFailure"]["timestamp"].as_str()).map(str::to_owned);
            match self.by_app.get_mut(id) {
                // What failed before the change is not its fault.
                None => drop(self.by_app.insert(id.clone(), (0, at))),
                Some((count, last)) if *last != at => {
                    *count += 1;
                    *last = at;
                    if failures_max > 0 && *count >= failures_max {
                        worst = Some((id.clone(), *count));
                    }
                }
                Some(_) => {}
            }
        }
        worst
    }
}

/// A bar per app on a terminal; lines off it.
struct Bars {
    all: MultiProgress,
    bars: BTreeMap<String, ProgressBar>,
    last: BTreeMap<String, String>,
    terminal: bool,
}

impl Bars {
    fn new(apps: &[String]) -> Self {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let width = apps.iter().map(String::len).max().unwrap_or(0);
        let style = ProgressStyle::with_template(&format!("{{prefix:{width}}} [{{bar:24.green}}] {{msg}}"))
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = |app: &String| {
            let bar = all.add(ProgressBar::new(1).with_style(style.clone()).with_prefix(app.clone()));
            (app.clone(), bar)
        };
        let bars = if terminal { apps.iter().map(bar).collect() } else { BTreeMap::new() };
        Self { all, bars, last: BTreeMap::new(), terminal }
    }

    fn show(&mut self, look: &Look) {
        for (id, app) in &look.apps {
            let line = status(app.as_ref(), look.waiting.get(id));
            if let Some(bar) = self.bars.get(id) {
                let count = |field: &str| app.as_ref().and_then(|app| app[field].as_u64()).unwrap_or(0);
                bar.set_length(count("instances").max(1));
                bar.set_position(count("tasksRunning"));
                bar.set_message(line);
            } else if self.last.get(id) != Some(&line) {
                eprintln!("{id}: {line}");
                self.last.insert(id.clone(), line);
            }
        }
    }

    fn clear(&self) {
        if self.terminal {
            let _ = self.all.clear();
        }
    }
}

/// `2/5 running, 1 staged, 2 healthy; waits: 1 of 1 agents: InsufficientCpus`.
fn status(app: Option<&Value>, waits: Option<&String>) -> String {
    let Some(app) = app else { return "ending its tasks".to_owned() };
    let count = |field: &str| app[field].as_u64().unwrap_or(0);
    let mut line = format!("{}/{} running", count("tasksRunning"), count("instances"));
    if count("tasksStaged") > 0 {
        line.push_str(&format!(", {} staged", count("tasksStaged")));
    }
    if app["healthChecks"].as_array().is_some_and(|checks| !checks.is_empty()) {
        line.push_str(&format!(", {} healthy", count("tasksHealthy")));
    }
    if let Some(waits) = waits {
        line.push_str(&format!("; waits: {waits}"));
    }
    line
}

/// Says how it ended; the exit code says whether well.
async fn report(
    master: &Master,
    output: Output,
    change: &Change,
    deployment: &str,
    end: End,
    took: Duration,
) -> anyhow::Result<ExitCode> {
    let apps = change.apps.join(", ");
    let (word, well) = match &end {
        End::Complete => ("complete", true),
        End::Detached => ("accepted", true),
        End::TimedOut => ("timed out", false),
        End::Cancelled => ("cancelled", false),
        End::Failing { .. } => ("failing", false),
    };
    if output == Output::Json {
        let seconds = took.as_secs_f64();
        json(&value!({"deploymentId": deployment, "version": change.version, "apps": change.apps,
            "result": word, "seconds": seconds}))?;
    } else if well {
        anstream::println!(
            "{} {apps}: deployment {deployment} {word}, {:.1} s",
            paint(GREEN, "ok"),
            took.as_secs_f64()
        );
    }
    if well {
        return Ok(ExitCode::SUCCESS);
    }
    anstream::eprintln!("{} {apps}: deployment {deployment} {}", paint(RED, "failed"), sentence(&end, took));
    for app in &change.apps {
        explain(master, app).await;
    }
    Ok(ExitCode::FAILURE)
}

fn sentence(end: &End, took: Duration) -> String {
    match end {
        End::TimedOut => format!(
            "is not complete after {} s and goes on; `clusterctl deployments` shows it, --cancel ends it",
            took.as_secs()
        ),
        End::Failing { app, failures } => format!(
            "goes on, but {app} has failed {failures} times; `clusterctl deployments --cancel` ends it"
        ),
        _ => "was cancelled or replaced by a newer one".to_owned(),
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
    let Some(failed) = logs::failed(app) else { return };
    let failure = &app["lastTaskFailure"];
    let word = |field: &str| failure[field].as_str().unwrap_or("-").to_owned();
    anstream::eprintln!("  {} {} on {}: {}", word("taskId"), word("state"), word("host"), word("message"));
    for line in logs::last_lines(master, &failed, LOG_LINES).await {
        anstream::eprintln!("    {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(instances: u64, running: u64, version: &str) -> Value {
        value!({"instances": instances, "tasksRunning": running, "version": version, "healthChecks": []})
    }

    fn change(version: &str) -> Change {
        Change::to(&value!({"deploymentId": "d", "version": version}), ["/a"])
    }

    fn look(app: Option<Value>) -> Look {
        Look { running: false, apps: vec![("/a".to_owned(), app)], waiting: BTreeMap::new() }
    }

    #[test]
    fn complete_means_ours_and_all_there() {
        assert!(look(Some(app(2, 2, "2020"))).complete(&change("2020")));
        assert!(!look(Some(app(2, 1, "2020"))).complete(&change("2020")), "cancelled half way");
        assert!(!look(Some(app(2, 2, "2021"))).complete(&change("2020")), "replaced by a newer one");
        assert!(!look(None).complete(&change("2020")), "removed meanwhile");
    }

    #[test]
    fn a_removal_is_complete_when_the_app_is_gone() {
        let removal = Change::removal(&value!({"deploymentId": "d"}), "a/");
        assert_eq!(removal.apps, ["/a"]);
        assert!(look(None).complete(&removal));
        assert!(!look(Some(app(1, 1, "2020"))).complete(&removal));
    }

    #[test]
    fn only_failures_since_the_change_count() {
        let failed = |at: &str| look(Some(value!({"lastTaskFailure": {"timestamp": at}})));
        let mut seen = Failures::default();
        assert_eq!(seen.note(&failed("1"), 2), None, "an old failure");
        assert_eq!(seen.note(&failed("2"), 2), None);
        assert_eq!(seen.note(&failed("2"), 2), None, "the same one again");
        assert_eq!(seen.note(&failed("3"), 2), Some(("/a".to_owned(), 2)));
    }

    #[test]
    fn status_says_what_counts() {
        let app = value!({"instances": 5, "tasksRunning": 2, "tasksStaged": 1, "tasksHealthy": 2, "healthChecks": [{}]});
        let waits = "1 of 1 agents: InsufficientCpus".to_owned();
        assert_eq!(
            status(Some(&app), Some(&waits)),
            "2/5 running, 1 staged, 2 healthy; waits: 1 of 1 agents: InsufficientCpus"
        );
    }
}
