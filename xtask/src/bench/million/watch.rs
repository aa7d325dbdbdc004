//! How far it is: tasks and agents as `/metrics` counts them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hyper::Method;

use super::check_interrupted;
use crate::bench::masters::Rest;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Between two lines of progress.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// What there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Tasks, whatever they do.
    pub(super) all: usize,
    /// Of these, running.
    pub(super) running: usize,
    /// Agents with a session.
    pub(super) sessions: usize,
    /// Tasks that wait to be placed.
    pub(super) queued: usize,
    /// Failures of tasks, and starts, that this master has seen.
    pub(super) failed: usize,
    pub(super) started: usize,
}

impl Counts {
    /// From Prometheus' text.
    fn read(text: &str) -> Self {
        let mut counts = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let value = value.parse::<f64>().unwrap_or_default() as usize;
            if name.starts_with("gantry_tasks{") {
                counts.all += value;
            }
            match name {
                "gantry_tasks{condition=\"Running\"}" => counts.running = value,
                "gantry_queue_instances" => counts.queued = value,
                "gantry_agent_sessions" => counts.sessions = value,
                "marathon_mesos_task_updates_task_failed_counter" => counts.failed = value,
                "marathon_mesos_task_updates_task_running_counter" => counts.started = value,
                _ => {}
            }
        }
        counts
    }
}

/// Looks again and again.
pub(super) struct Watch {
    leader: SocketAddr,
    began: Instant,
    seen: Vec<(Duration, usize)>,
}

impl Watch {
    pub(super) fn new(leader: SocketAddr, began: Instant) -> Self {
        Self { leader, began, seen: vec![(Duration::ZERO, 0)] }
    }

    /// Until it is so; says meanwhile how far it is.
    pub(super) async fn until(
        &mut self,
        patience: Duration,
        is_so: impl Fn(&Counts) -> bool,
    ) -> anyhow::Result<()> {
        let (mut rest, mut said) = (Rest::open(self.leader).await?, Instant::now());
        loop {
            let counts = look(&mut rest).await?;
            self.seen.push((self.began.elapsed(), counts.running));
            if is_so(&counts) {
                return Ok(());
            }
            if said.elapsed() > SAY_EVERY {
                said = Instant::now();
                let at = self.began.elapsed().as_secs_f64();
                println!("  {at:6.1} s: {} tasks, {} running", counts.all, counts.running);
            }
            check_interrupted()?;
            if self.began.elapsed() > patience {
                bail!("not within {} s: {counts:?}", patience.as_secs());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// When the last look was.
    pub(super) fn elapsed(&self) -> Duration {
        self.seen.last().map_or(Duration::ZERO, |(at, _)| *at)
    }

    /// Tasks a second between so many running and so many.
    pub(super) fn rate(&self, from: usize, to: usize) -> f64 {
        (to - from) as f64 / (self.reached(to) - self.reached(from)).max(1e-9)
    }

    /// When so many ran, in seconds; between two looks they are taken to have come evenly.
    fn reached(&self, count: usize) -> f64 {
        let Some(after) = self.seen.iter().position(|(_, running)| *running >= count) else {
            return self.elapsed().as_secs_f64();
        };
        let (at, running) = self.seen[after];
        let (from, before) = self.seen[after.saturating_sub(1)];
        let share = (count - before.min(count)) as f64 / (running - before.min(running)).max(1) as f64;
        from.as_secs_f64() + (at.saturating_sub(from)).as_secs_f64() * share
    }
}

/// One look.
pub(super) async fn look(rest: &mut Rest) -> anyhow::Result<Counts> {
    let (status, body) = rest.send(Method::GET, "/metrics", String::new()).await?;
    anyhow::ensure!(status.is_success(), "GET /metrics: {status}");
    Ok(Counts::read(std::str::from_utf8(&body).context("/metrics is no text")?))
}

/// Waits until so many agents have a session with this master; how long that took.
pub(super) async fn agents(leader: SocketAddr, count: u32, patience: Duration) -> anyhow::Result<Duration> {
    let mut watch = Watch::new(leader, Instant::now());
    watch.until(patience, |counts| counts.sessions >= count as usize).await?;
    Ok(watch.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        let text = "# TYPE gantry_tasks gauge\ngantry_tasks{condition=\"Running\"} 7\n\
                    gantry_tasks{condition=\"Staging\"} 2\ngantry_agent_sessions 3\nother 1\n\
                    gantry_queue_instances 5\n\
                    marathon_mesos_task_updates_task_failed_counter 4\n";
        let counts = Counts { all: 9, running: 7, queued: 5, sessions: 3, failed: 4, started: 0 };
        assert_eq!(Counts::read(text), counts);
    }

    #[test]
    fn rates_are_between_looks() {
        let mut watch = Watch::new(([127, 0, 0, 1], 1).into(), Instant::now());
        watch.seen.extend([(1, 0), (2, 100), (4, 500)].map(|(at, n)| (Duration::from_secs(at), n)));
        for (from, to, rate) in [(100, 500, 200.0), (100, 300, 200.0), (0, 100, 50.0), (300, 500, 200.0)] {
            assert!((watch.rate(from, to) - rate).abs() < 1e-6, "{from}..{to}: {}", watch.rate(from, to));
        }
    }
}
