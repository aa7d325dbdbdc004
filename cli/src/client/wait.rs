//! Waiting for a deployment: looks again and again, and judges from what is seen how it has ended.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::{Master, app_path};
use super::outcome::{self, End, Outcome};
use super::progress::Bars;
use super::why::waiting;
use crate::args::{Output, WaitArgs};

/// Pause between looks: short enough to feel live, a handful of cheap requests a second.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A change that was accepted.
pub struct Change {
    /// The deployment that it started; empty when none was named.
    deployment: String,
    /// The version that changed apps have now.
    pub version: Option<String>,
    /// Which apps.
    pub apps: Vec<String>,
    removal: bool,
}

impl Change {
    /// A change of apps that go on to exist.
    pub fn to<'a>(answer: &Value, apps: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            deployment: answer["deploymentId"].as_str().unwrap_or_default().to_owned(),
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

/// Waits as `args` say and reports the end. `failures_max` 0: failures never end the wait.
pub async fn wait(
    master: &Master,
    output: Output,
    change: Change,
    args: &WaitArgs,
    failures_max: u32,
) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(!change.deployment.is_empty(), "the master accepted the change but named no deployment");
    let started = Instant::now();
    let mut watch =
        Watch { deployment: change.deployment.clone(), change, seen: Failures::default(), failures_max };
    let end = if args.detach { End::Detached } else { watch.until_ended(master, args.timeout).await? };
    let Watch { deployment, change, .. } = watch;
    outcome::report(master, output, &Outcome { change, deployment, end, took: started.elapsed() }).await
}

/// A wait under way.
struct Watch {
    change: Change,
    /// What is waited for; begins as the change's own.
    deployment: String,
    seen: Failures,
    failures_max: u32,
}

impl Watch {
    /// Looks again and again until the deployment has ended, one way or another.
    async fn until_ended(&mut self, master: &Master, timeout: Duration) -> anyhow::Result<End> {
        let deadline = tokio::time::Instant::now() + timeout;
        let mut bars = Bars::new(&self.change.apps);
        master.learn().await;
        let end = loop {
            // Finds another master by itself when this one is gone.
            let looking = look(master, &self.change, &self.deployment);
            let Ok(look) = tokio::time::timeout_at(deadline, looking).await else { break End::TimedOut };
            let look = look?;
            bars.show(&look);
            if let Some(end) = self.judge(look) {
                break end;
            }
            if tokio::time::Instant::now() >= deadline {
                break End::TimedOut;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        bars.clear();
        Ok(end)
    }

    /// Has it ended, and how?
    fn judge(&mut self, look: Look) -> Option<End> {
        let worst = self.seen.note(&look, &self.change);
        if look.running {
            let (app, failures) = worst.filter(|(_, count)| (1..=*count).contains(&self.failures_max))?;
            return Some(End::Failing { app, failures });
        }
        let (complete, ours) = (look.complete(&self.change), look.is_ours(&self.change));
        let unchanged = look.is_older(&self.change);
        if complete {
            return Some(if unchanged { End::Unchanged } else { End::Complete });
        }
        if unchanged && let Some(earlier) = look.other {
            // The document is as it was, and on its way already.
            self.deployment = earlier;
            return None;
        }
        Some(if ours { End::Short } else { End::Cancelled })
    }
}

/// What one look found.
pub struct Look {
    /// Is the deployment still listed?
    running: bool,
    /// Another one of the same apps.
    other: Option<String>,
    /// Each app, `None` when it does not exist.
    pub apps: Vec<(String, Option<Value>)>,
    /// What apps wait for.
    pub waiting: BTreeMap<String, String>,
}

async fn look(master: &Master, change: &Change, deployment: &str) -> anyhow::Result<Look> {
    let listed = master.get("/v2/deployments").await?;
    let listed = listed.as_array().map_or(&[][..], Vec::as_slice);
    let running = listed.iter().any(|one| one["id"].as_str() == Some(deployment));
    let concerns = |one: &&Value| {
        let mut affected = one["affectedApps"].as_array().into_iter().flatten();
        affected.any(|app| change.apps.iter().any(|ours| app.as_str() == Some(ours)))
    };
    let other = listed.iter().find(concerns).and_then(|one| one["id"].as_str()).map(str::to_owned);
    let mut apps = Vec::new();
    for app in &change.apps {
        let found = master.find(&app_path(app)).await?;
        apps.push((app.clone(), found.map(|answer| answer["app"].clone())));
    }
    let waiting = if running || other.is_some() { waiting(master).await? } else { BTreeMap::new() };
    Ok(Look { running, other, apps, waiting })
}

impl Look {
    /// The deployment is gone: did it get where it was going? A later change of the same apps counts as
    /// somebody else's.
    fn complete(&self, change: &Change) -> bool {
        self.apps.iter().all(|(_, app)| match app {
            None => change.removal,
            Some(_) if change.removal => false,
            Some(app) => {
                let ours = change.version.is_none() || app["version"].as_str() <= change.version.as_deref();
                ours && app["tasksRunning"].as_u64() >= app["instances"].as_u64()
            }
        })
    }

    /// Is every app as the change left it?
    fn is_ours(&self, change: &Change) -> bool {
        self.versions().all(|version| version.is_some() && version <= change.version.as_deref())
    }

    /// Was every app as the change wants it before?
    fn is_older(&self, change: &Change) -> bool {
        !change.removal
            && self.versions().all(|version| version.is_some() && version < change.version.as_deref())
    }

    fn versions(&self) -> impl Iterator<Item = Option<&str>> {
        self.apps.iter().map(|(_, app)| app.as_ref().and_then(|app| app["version"].as_str()))
    }
}

/// Failures of each app since the wait began, told apart by their time.
#[derive(Default)]
struct Failures {
    by_app: BTreeMap<String, (u32, Option<String>)>,
}

impl Failures {
    /// Takes in a look; names the app that has failed most.
    fn note(&mut self, look: &Look, change: &Change) -> Option<(String, u32)> {
        for (id, app) in &look.apps {
            let failure = app.as_ref().map(|app| &app["lastTaskFailure"]);
            let word = |field: &str| failure.and_then(|failure| failure[field].as_str()).map(str::to_owned);
            let at = word("timestamp");
            match self.by_app.get_mut(id) {
                None => {
                    // What failed before the change is not its fault.
                    let by_change =
                        at.is_some() && change.version.is_some() && word("version") == change.version;
                    self.by_app.insert(id.clone(), (u32::from(by_change), at));
                }
                Some((count, last)) if *last != at => (*count, *last) = (*count + 1, at),
                Some(_) => {}
            }
        }
        let worst = self.by_app.iter().max_by_key(|(_, (count, _))| *count)?;
        Some((worst.0.clone(), worst.1.0))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;

    fn app(instances: u64, running: u64, version: &str) -> Option<Value> {
        Some(
            value!({"instances": instances, "tasksRunning": running, "version": version, "healthChecks": []}),
        )
    }

    fn look(app: Option<Value>) -> Look {
        let apps = vec![("/a".to_owned(), app)];
        Look { running: false, other: None, apps, waiting: BTreeMap::new() }
    }

    fn watch(answer: &Value) -> Watch {
        let change = Change::to(answer, ["a/"]);
        Watch { deployment: "d".to_owned(), change, seen: Failures::default(), failures_max: 2 }
    }

    fn judged(look: Look) -> Option<End> {
        watch(&value!({"deploymentId": "d", "version": "2020"})).judge(look)
    }

    #[test]
    fn the_end_is_told_from_what_is_there() {
        assert_eq!(judged(look(app(2, 2, "2020"))), Some(End::Complete));
        assert_eq!(judged(look(app(2, 1, "2020"))), Some(End::Short), "stopped half way, or ends by itself");
        assert_eq!(judged(look(app(2, 2, "2021"))), Some(End::Cancelled), "replaced by a newer one");
        assert_eq!(judged(look(None)), Some(End::Cancelled), "removed meanwhile");
        assert_eq!(judged(look(app(2, 2, "2019"))), Some(End::Unchanged));
        assert_eq!(judged(Look { running: true, ..look(app(2, 2, "2020")) }), None);
    }

    #[test]
    fn what_is_on_its_way_already_is_waited_for() {
        let mut watch = watch(&value!({"deploymentId": "d", "version": "2020"}));
        let earlier = Look { other: Some("e".to_owned()), ..look(app(2, 1, "2019")) };
        assert_eq!(watch.judge(earlier), None);
        assert_eq!(watch.deployment, "e");
    }

    #[test]
    fn a_removal_is_complete_when_the_app_is_gone() {
        let removal = Change::removal(&value!({"deploymentId": "d"}), "a/");
        assert_eq!(removal.apps, ["/a"]);
        assert!(look(None).complete(&removal));
        assert!(!look(app(1, 1, "2020")).complete(&removal));
    }

    #[test]
    fn only_failures_of_the_change_count() {
        let failed = |at: &str, version: &str| Look {
            running: true,
            ..look(Some(value!({"lastTaskFailure": {"timestamp": at, "version": version}})))
        };
        let mut old = watch(&value!({"deploymentId": "d", "version": "2020"}));
        assert_eq!(old.judge(failed("1", "2019")), None, "an old failure");
        assert_eq!(old.judge(failed("2", "2020")), None);
        assert_eq!(old.judge(failed("2", "2020")), None, "the same one again");
        let end = End::Failing { app: "/a".to_owned(), failures: 2 };
        assert_eq!(old.judge(failed("3", "2020")), Some(end));
        let mut fast = watch(&value!({"deploymentId": "d", "version": "2020"}));
        assert_eq!(fast.judge(failed("1", "2020")), None, "failed before the first look");
        assert!(fast.judge(failed("2", "2020")).is_some());
    }
}
