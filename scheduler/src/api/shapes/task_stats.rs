//! Counts of an app's tasks, and Marathon's `taskStats` (reference section 1.1). Pure.

use std::sync::Arc;

use serde::Serialize;
use spec::app::App;
use spec::time::Timestamp;

use crate::state::{Condition, Task};

/// How many tasks are doing what. Instances that wait for an agent are counted nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(in crate::api) struct Counts {
    pub staged: u64,
    pub running: u64,
    pub healthy: u64,
    pub unhealthy: u64,
}

impl Counts {
    /// Of some tasks.
    pub fn of<'s>(tasks: impl IntoIterator<Item = &'s Arc<Task>>) -> Self {
        tasks.into_iter().fold(Self::default(), |counts, task| counts.and(task))
    }

    /// Healthy: at least one result and all alive; unhealthy: any result not alive.
    fn and(mut self, task: &Task) -> Self {
        self.staged += u64::from(matches!(task.condition, Condition::Provisioned | Condition::Staging));
        self.running += u64::from(task.condition == Condition::Running);
        let dead = task.health.iter().any(|result| !result.alive);
        self.unhealthy += u64::from(dead);
        self.healthy += u64::from(!dead && !task.health.is_empty());
        self
    }
}

/// Statistics by what the tasks were started from; a group without tasks is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct StatsByVersion {
    #[serde(skip_serializing_if = "Option::is_none")]
    started_after_last_scaling: Option<Stats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    with_latest_config: Option<Stats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    with_outdated_config: Option<Stats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_summary: Option<Stats>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Stats {
    stats: StatsBody,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatsBody {
    counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    life_time: Option<LifeTime>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct LifeTime {
    average_seconds: f64,
    median_seconds: f64,
}

impl StatsByVersion {
    /// Of the tasks of `app`, as of `now`.
    pub fn of<'s>(app: &App, tasks: impl Iterator<Item = &'s Arc<Task>>, now: Timestamp) -> Self {
        let tasks: Vec<_> = tasks.collect();
        let scaled_at = app.version_info.map_or(app.version, |info| info.last_scaling_at);
        let some = |pick: &dyn Fn(&Task) -> bool| {
            Stats::of(tasks.iter().copied().filter(|task| pick(task)).collect(), now)
        };
        Self {
            started_after_last_scaling: some(&|task| task.app.version >= scaled_at),
            with_latest_config: some(&|task| !task.is_outdated(app)),
            with_outdated_config: some(&|task| task.is_outdated(app)),
            total_summary: some(&|_| true),
        }
    }
}

impl Stats {
    fn of(tasks: Vec<&Arc<Task>>, now: Timestamp) -> Option<Self> {
        if tasks.is_empty() {
            return None;
        }
        let lives = tasks.iter().filter_map(|task| task.started_at).map(|start| now.millis_since(start));
        let stats =
            StatsBody { counts: Counts::of(tasks.iter().copied()), life_time: life_time(lives.collect()) };
        Some(Self { stats })
    }
}

fn life_time(mut millis: Vec<u64>) -> Option<LifeTime> {
    millis.sort_unstable();
    let middle = millis.len() / 2;
    let upper = *millis.get(middle)?;
    let lower = if millis.len().is_multiple_of(2) { millis[middle - 1] } else { upper };
    let seconds = |millis: f64| millis / 1000.0;
    let sum: f64 = millis.iter().map(|&millis| millis as f64).sum();
    Some(LifeTime {
        average_seconds: seconds(sum / millis.len() as f64),
        median_seconds: seconds((lower as f64 + upper as f64) / 2.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn life_times() {
        assert_eq!(life_time(vec![]), None);
        let odd = life_time(vec![9000, 1000, 2000]).unwrap();
        assert_eq!((odd.average_seconds, odd.median_seconds), (4.0, 2.0));
        assert_eq!(life_time(vec![1000, 2000]).unwrap().median_seconds, 1.5);
    }
}
