//! Every task by name, with when it was started: to see that none was lost or started twice.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use anyhow::Context;
use hyper::Method;
use serde_json::Value;

use super::clients::app_id;
use super::{Million, check_interrupted};
use crate::bench::masters::Rest;

/// Marathon's word for what runs.
const RUNNING: &str = "TASK_RUNNING";

/// Ids of tasks (they count how often their instance was started), and when each was started.
pub(super) struct Roll(HashMap<String, String>);

impl Roll {
    /// Asks the leader, app by app.
    pub(super) async fn call(leader: SocketAddr, options: &Million) -> anyhow::Result<Self> {
        let (mut rest, mut tasks) = (Rest::open(leader).await?, HashMap::new());
        for number in 0..options.apps {
            let path = format!("/v2/apps{}/tasks", app_id(number));
            let (status, body) = rest.send(Method::GET, &path, String::new()).await?;
            anyhow::ensure!(status.is_success(), "GET {path}: {status}");
            let body: Value = serde_json::from_slice(&body)?;
            for task in body["tasks"].as_array().context("no tasks")? {
                let text = |field: &str| task[field].as_str().unwrap_or_default().to_owned();
                tasks.insert(text("id"), format!("{} {}", text("startedAt"), text("state")));
            }
            check_interrupted()?;
        }
        Ok(Self(tasks))
    }

    /// Instances of apps: they stay while their tasks come and go.
    pub(super) fn instances(&self) -> BTreeSet<String> {
        self.0.keys().map(|task| instance(task).to_owned()).collect()
    }

    /// Those that run.
    pub(super) fn running(&self) -> BTreeSet<String> {
        let running = self.0.iter().filter(|(_, what)| what.ends_with(RUNNING));
        running.map(|(task, _)| instance(task).to_owned()).collect()
    }

    /// One line about how `after` differs.
    pub(super) fn compare(&self, after: &Self) -> String {
        let lost = self.0.keys().filter(|task| !after.0.contains_key(*task)).count();
        let new = after.0.keys().filter(|task| !self.0.contains_key(*task)).count();
        let differs = |(task, was): &(&String, &String)| after.0.get(*task).is_some_and(|is| is != *was);
        let changed = self.0.iter().filter(differs).count();
        format!(
            "{} tasks before, {} after: {lost} lost, {new} new, {changed} with another start or state",
            self.0.len(),
            after.0.len()
        )
    }
}

/// What a task is a run of: its id without the number of the run.
fn instance(task: &str) -> &str {
    task.rsplit_once('.').map_or(task, |(instance, _)| instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_stay_while_their_tasks_come_and_go() {
        let tasks = [("a.instance-1._app.1", "t TASK_RUNNING"), ("a.instance-2._app.7", " TASK_STAGING")];
        let roll = Roll(tasks.map(|(id, what)| (id.to_owned(), what.to_owned())).into());
        assert_eq!(roll.running(), BTreeSet::from(["a.instance-1._app".to_owned()]));
        assert_eq!(roll.instances().len(), 2);
    }

    #[test]
    fn differences_are_counted() {
        let roll = |tasks: &[(&str, &str)]| {
            Roll(tasks.iter().map(|(id, at)| ((*id).to_owned(), (*at).to_owned())).collect())
        };
        let (before, after) =
            (roll(&[("a", "1"), ("b", "1"), ("c", "1")]), roll(&[("a", "1"), ("b", "2"), ("d", "1")]));
        assert_eq!(
            before.compare(&after),
            "3 tasks before, 3 after: 1 lost, 1 new, 1 with another start or state"
        );
    }
}
