//! Measured use of containers.
//!
//! Read from the containers' cgroups: some microseconds each, where one answer of the Engine's stats
//! costs it about three milliseconds of CPU. The stats are asked only when the cgroup is not where the
//! two drivers of the Engine put it (a rootless Engine, an agent that is a container itself).

use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::StatsOptionsBuilder;
use futures_util::StreamExt;

use crate::runtime::cgroup::{Group, Reading};

/// One reading of a container.
pub(super) async fn read(api: &bollard::Docker, id: &str) -> Option<Reading> {
    // The places of the cgroupfs and of the systemd driver.
    let places = [format!("docker/{id}"), format!("system.slice/docker-{id}.scope")];
    match places.into_iter().find_map(|place| Group::new(place).reading()) {
        Some(reading) => Some(reading),
        None => ask(api, id).await,
    }
}

async fn ask(api: &bollard::Docker, id: &str) -> Option<Reading> {
    let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
    let stats = Box::pin(api.stats(id, Some(options))).next().await?.ok()?;
    reading(stats)
}

fn reading(stats: ContainerStatsResponse) -> Option<Reading> {
    let memory = stats.memory_stats?;
    let detail = memory.stats.unwrap_or_default();
    let inactive = detail.get("total_inactive_file").or_else(|| detail.get("inactive_file")).copied();
    Some(Reading {
        cpu_nanos: stats.cpu_stats?.cpu_usage?.total_usage?,
        mem_bytes: memory.usage?.saturating_sub(inactive.unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_stats() {
        let stats = serde_json::from_value(serde_json::json!({
            "cpu_stats": {"cpu_usage": {"total_usage": 7}},
            "memory_stats": {"usage": 100, "stats": {"inactive_file": 40}},
        }));
        assert_eq!(reading(stats.unwrap()), Some(Reading { cpu_nanos: 7, mem_bytes: 60 }));
        assert_eq!(reading(ContainerStatsResponse::default()), None);
    }
}
