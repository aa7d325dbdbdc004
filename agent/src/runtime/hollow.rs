//! Simulated tasks: no process, no container; they start, use, fail and end as a seed says. Nothing of
//! them outlives the agent.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use spec::ids::TaskId;
use spec::protocol::{LogFile, Measured};
use spec::resources::Resources;
use spec::time::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::clock::now;
use super::{Exit, Found, Launch, LogStream, Progress, Runtime, RuntimeError, Signal, Status};
use crate::options::HollowOptions;

/// Bytes in a MiB.
const MIB: u64 = 1024 * 1024;

/// The simulation of one agent.
#[derive(Debug)]
pub struct Hollow {
    options: HollowOptions,
    tasks: Mutex<BTreeMap<TaskId, Simulated>>,
}

#[derive(Debug)]
struct Simulated {
    started_at: Timestamp,
    ends_at: Option<Instant>,
    uses: Measured,
    exit: watch::Sender<Option<Exit>>,
}

impl Hollow {
    /// An empty simulation.
    pub fn new(options: HollowOptions) -> Self {
        Self { options, tasks: Mutex::default() }
    }

    fn tasks(&self) -> MutexGuard<'_, BTreeMap<TaskId, Simulated>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dice(&self, task: &TaskId) -> fastrand::Rng {
        let (high, low) = task.instance.uuid.as_u64_pair();
        let seed =
            self.options.seed ^ high.rotate_left(17) ^ low ^ u64::from(task.incarnation).rotate_left(48);
        fastrand::Rng::with_seed(seed)
    }

    fn start(&self, launch: &Launch, dice: &mut fastrand::Rng) -> Found {
        let started_at = now();
        let Resources { cpus_milli, mem_mib, .. } = launch.app.resources();
        let simulated = Simulated {
            started_at,
            // However long they have run already: as many end in one second as in the next.
            ends_at: self
                .options
                .exit_after
                .map(|after| Instant::now() + after.mul_f64(-(1.0 - dice.f64()).ln())),
            uses: Measured {
                cpus_milli: share(cpus_milli, dice.f64()),
                mem_bytes: share(mem_mib.saturating_mul(MIB), dice.f64()),
            },
            exit: watch::Sender::new(None),
        };
        let found = simulated.found(&launch.task);
        self.tasks().insert(launch.task.clone(), simulated);
        found
    }
}

impl Simulated {
    fn found(&self, task: &TaskId) -> Found {
        let status = self.exit.borrow().clone().map_or(Status::Running, Status::Exited);
        let handle = format!("hollow-{task}");
        Found { task: task.clone(), status, started_at: Some(self.started_at), addresses: Vec::new(), handle }
    }
}

/// A part of `all`, from half of it up.
fn share(all: u64, random: f64) -> u64 {
    (all as f64 * (0.5 + random / 2.0)) as u64
}

fn exit(code: i32) -> Exit {
    Exit { code: Some(code), out_of_memory: false, message: String::new(), at: Some(now()) }
}

#[async_trait]
impl Runtime for Hollow {
    fn name(&self) -> &'static str {
        "hollow"
    }

    async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        Ok(self.tasks().iter().map(|(task, simulated)| simulated.found(task)).collect())
    }

    async fn launch(&self, launch: &Launch, _progress: Progress) -> Result<Found, RuntimeError> {
        let mut dice = self.dice(&launch.task);
        let delay = self.options.start_delay.mul_f64(dice.f64());
        if delay > Duration::ZERO {
            tokio::time::sleep(delay).await;
        }
        if dice.f64() < self.options.failure_rate {
            return Err(RuntimeError::Failed("simulated failure".to_owned()));
        }
        Ok(self.start(launch, &mut dice))
    }

    async fn wait(&self, task: &TaskId) -> Result<Exit, RuntimeError> {
        let (mut exits, ends_at) = {
            let tasks = self.tasks();
            let simulated = tasks.get(task).ok_or(RuntimeError::NotFound)?;
            (simulated.exit.subscribe(), simulated.ends_at)
        };
        let by_itself = async {
            match ends_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = exits.wait_for(Option::is_some) => {
                ended.ok().and_then(|exit| exit.clone()).ok_or(RuntimeError::NotFound)
            }
            () = by_itself => {
                let exit = exit(self.options.exit_code);
                if let Some(simulated) = self.tasks().get(task) {
                    simulated.exit.send_replace(Some(exit.clone()));
                }
                Ok(exit)
            }
        }
    }

    async fn signal(&self, task: &TaskId, signal: Signal) -> Result<(), RuntimeError> {
        let code = match signal {
            Signal::Term => 143,
            Signal::Kill => 137,
        };
        let tasks = self.tasks();
        let simulated = tasks.get(task).ok_or(RuntimeError::NotFound)?;
        simulated.exit.send_if_modified(|ended| {
            let alive = ended.is_none();
            ended.get_or_insert_with(|| exit(code));
            alive
        });
        Ok(())
    }

    async fn remove(&self, task: &TaskId) -> Result<(), RuntimeError> {
        self.tasks().remove(task);
        Ok(())
    }

    async fn usage(&self, tasks: &[TaskId]) -> Vec<(TaskId, Measured)> {
        let simulated = self.tasks();
        tasks.iter().filter_map(|task| Some((task.clone(), simulated.get(task)?.uses))).collect()
    }

    fn uses_constantly(&self) -> bool {
        true
    }

    async fn exec(&self, task: &TaskId, _command: &str) -> Result<i32, RuntimeError> {
        self.tasks().get(task).map(|_| 0).ok_or(RuntimeError::NotFound)
    }

    async fn log(
        &self,
        task: &TaskId,
        file: LogFile,
        _tail_lines: Option<u32>,
        _follow: bool,
    ) -> Result<LogStream, RuntimeError> {
        if !self.tasks().contains_key(task) {
            return Err(RuntimeError::NotFound);
        }
        let line = (file == LogFile::Stdout).then(|| Ok(Bytes::from(format!("{task} is simulated\n"))));
        Ok(Box::pin(stream::iter(line)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use serde_json::json;
    use spec::ids::AgentId;

    use super::super::Resolvers;
    use super::*;
    use crate::core::tests::task;
    use crate::environment::tests::app;

    fn launch(n: u32) -> Launch {
        Launch {
            task: task(n),
            app: Arc::new(app(json!({}))),
            host_ports: vec![],
            env: BTreeMap::new(),
            agent: AgentId::new("a"),
            sandbox: PathBuf::new(),
            resolvers: Resolvers::default(),
        }
    }

    fn silent() -> Progress {
        Arc::new(|_: &str| {})
    }

    #[tokio::test]
    async fn a_task_runs_until_it_is_signalled() {
        let hollow = Hollow::new(HollowOptions::default());
        assert_eq!(hollow.launch(&launch(1), silent()).await.unwrap().status, Status::Running);
        let uses = hollow.usage(&[task(1), task(2)]).await;
        assert!(uses.len() == 1 && (500..=1000).contains(&uses[0].1.cpus_milli), "{uses:?}");
        hollow.signal(&task(1), Signal::Term).await.unwrap();
        hollow.signal(&task(1), Signal::Kill).await.unwrap();
        assert_eq!(hollow.wait(&task(1)).await.unwrap().code, Some(143));
        assert!(matches!(hollow.list().await.unwrap()[0].status, Status::Exited(_)));
        hollow.remove(&task(1)).await.unwrap();
        assert!(matches!(hollow.wait(&task(1)).await, Err(RuntimeError::NotFound)));
    }

    #[tokio::test]
    async fn tasks_end_by_themselves_and_fail_by_seed() {
        let exit_after = Some(Duration::from_millis(20));
        let hollow = Hollow::new(HollowOptions { exit_after, ..HollowOptions::default() });
        hollow.launch(&launch(1), silent()).await.unwrap();
        assert_eq!(hollow.wait(&task(1)).await.unwrap().code, Some(0));
        let fails = |seed| async move {
            let hollow = Hollow::new(HollowOptions { failure_rate: 0.5, seed, ..HollowOptions::default() });
            let mut failed = Vec::new();
            for n in 0..100 {
                failed.push(hollow.launch(&launch(n), silent()).await.is_err());
            }
            failed
        };
        let first = fails(1).await;
        assert_eq!(first, fails(1).await);
        assert_ne!(first, fails(2).await);
        assert!((20..80).contains(&first.iter().filter(|failed| **failed).count()));
    }
}
