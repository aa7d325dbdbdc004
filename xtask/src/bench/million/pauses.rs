//! What snapshots cost each master: how long its log stood still for them, as its `/metrics` says.

use std::net::SocketAddr;

use anyhow::Context;
use hyper::Method;

use crate::bench::masters::Rest;

/// Since a master was started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Pauses {
    snapshots: u64,
    /// Seconds.
    held: f64,
    turn: f64,
    turn_writing: f64,
}

impl Pauses {
    /// From Prometheus' text.
    fn read(text: &str) -> Self {
        let mut pauses = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.rsplit_once(' ')) {
            let value = value.parse::<f64>().unwrap_or_default();
            match name {
                "gantry_snapshots_total" => pauses.snapshots = value as u64,
                "gantry_snapshot_hold_seconds_max" => pauses.held = value,
                "gantry_log_turn_seconds_max{snapshot=\"none\"}" => pauses.turn = value,
                "gantry_log_turn_seconds_max{snapshot=\"writing\"}" => pauses.turn_writing = value,
                _ => {}
            }
        }
        pauses
    }

    fn line(&self) -> String {
        let [held, turn, writing] = [self.held, self.turn, self.turn_writing].map(|seconds| seconds * 1e3);
        format!(
            "{} snapshots, which held up the log for {held:.1} ms at most; its longest turn {writing:.1} ms while \
             one was written, {turn:.1} ms else",
            self.snapshots
        )
    }
}

/// Prints those of all masters.
pub(super) async fn print(phase: &str, masters: impl Iterator<Item = SocketAddr>) -> anyhow::Result<()> {
    for (number, master) in masters.enumerate() {
        let mut rest = Rest::open(master).await?;
        let (status, body) = rest.send(Method::GET, "/metrics", String::new()).await?;
        anyhow::ensure!(status.is_success(), "GET /metrics: {status}");
        let text = std::str::from_utf8(&body).context("/metrics is no text")?;
        println!("{phase}: master {}: {}", number + 1, Pauses::read(text).line());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_read() {
        let text = "# TYPE gantry_snapshots_total counter\ngantry_snapshots_total 3\n\
                    gantry_snapshot_hold_seconds_max 0.004\n\
                    gantry_log_turn_seconds_max{snapshot=\"none\"} 0.0301\n\
                    gantry_log_turn_seconds_max{snapshot=\"writing\"} 0.02\n";
        let pauses = Pauses::read(text);
        assert_eq!(pauses, Pauses { snapshots: 3, held: 0.004, turn: 0.0301, turn_writing: 0.02 });
        let line = "3 snapshots, which held up the log for 4.0 ms at most; its longest turn 20.0 ms while one was \
                    written, 30.1 ms else";
        assert_eq!(pauses.line(), line);
    }
}
