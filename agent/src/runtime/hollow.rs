//! Simulated tasks: no process, no container; they start, use, fail and end as a seed says. Nothing of
//! them outlives the agent. A simulation has one list of when its tasks end, and one place where that is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use spec::ids::TaskId;
use spec::protocol::{LogFile, Measured};
use spec::resources::Resources;
use spec::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::clock::now;
use super::{Ends, Exit, Found, Launch, LogStream, Progress, Runtime, RuntimeError, Signal, Status};
use crate::options::HollowOptions;

/// Bytes in a MiB.
const MIB: u64 = 1024 * 1024;

/// The simulation of one agent.
#[derive(Debug)]
pub struct Hollow {
    options: HollowOptions,
    world: Mutex<World>,
    /// Something has ended, or is to end before everything else.
    news: Notify,
}

/// All tasks of one agent.
#[derive(Debug, Default)]
struct World {
    tasks: BTreeMap<TaskId, Simulated>,
    /// When they end by themselves.
    due: BTreeSet<(Instant, TaskId)>,
    /// Watched ones whose end was not told.
    untold: VecDeque<TaskId>,
}

#[derive(Debug)]
struct Simulated {
    started_at: Timestamp,
    ends_at: Option<Instant>,
    uses: Measured,
    /// Exit code, and when.
    ended: Option<(i32, Timestamp)>,
    watched: bool,
}

impl World {
    /// A task ends, unless it has ended before.
    fn end(&mut self, task: &TaskId, code: i32) {
        let Some(simulated) = self.tasks.get_mut(task).filter(|simulated| simulated.ended.is_none()) else {
            return;
        };
        simulated.ended = Some((code, now()));
        if simulated.watched {
            self.untold.push_back(task.clone());
        }
    }

    /// Ends what is due.
    fn pass_time(&mut self, code: i32) {
        let now = Instant::now();
        while self.due.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, task)) = self.due.pop_first()
        {
            self.end(&task, code);
        }
    }

    fn next_untold(&mut self) -> Option<(TaskId, Exit)> {
        while let Some(task) = self.untold.pop_front() {
            // One that was removed meanwhile is nobody's business.
            if let Some(exit) = self.tasks.get(&task).and_then(Simulated::exit) {
                return Some((task, exit));
            }
        }
        None
    }

    fn remove(&mut self, task: &TaskId) {
        if let Some(at) = self.tasks.remove(task).and_then(|simulated| simulated.ends_at) {
            self.due.remove(&(at, task.clone()));
        }
    }
}

impl Hollow {
    /// An empty simulation.
    pub fn new(options: HollowOptions) -> Self {
        Self { options, world: Mutex::default(), news: Notify::new() }
    }

    /// As it is now.
    fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.pass_time(self.options.exit_code);
        world
    }

    fn dice(&self, task: &TaskId) -> fastrand::Rng {
        let (high, low) = task.instance.uuid.as_u64_pair();
        let seed =
            self.options.seed ^ high.rotate_left(17) ^ low ^ u64::from(task.incarnation).rotate_left(48);
        fastrand::Rng::with_seed(seed)
    }

    fn start(&self, launch: &Launch, dice: &mut fastrand::Rng) -> Found {
        let Resources { cpus_milli, mem_mib, .. } = launch.app.resources();
        // However long they have run already: as many end in one second as in the next.
        let lifetime = self.options.exit_after.map(|after| after.mul_f64(-(1.0 - dice.f64()).ln()));
        let simulated = Simulated {
            started_at: now(),
            ends_at: lifetime.map(|lifetime| Instant::now() + lifetime),
            uses: Measured {
                cpus_milli: share(cpus_milli, dice.f64()),
                mem_bytes: share(mem_mib.saturating_mul(MIB), dice.f64()),
            },
            ended: None,
            watched: false,
        };
        let found = simulated.found(&launch.task);
        let mut world = self.world();
        if let Some(at) = simulated.ends_at {
            world.due.insert((at, launch.task.clone()));
            self.news.notify_waiters();
        }
        world.tasks.insert(launch.task.clone(), simulated);
        found
    }

    /// Asks until there is an answer: whenever something has happened, or was due.
    async fn when<T>(&self, mut answer: impl FnMut(&mut World) -> Option<T> + Send) -> T {
        loop {
            let mut news = pin!(self.news.notified());
            // From here on nothing is missed.
            news.as_mut().enable();
            let due = {
                let mut world = self.world();
                if let Some(answer) = answer(&mut world) {
                    return answer;
                }
                world.due.first().map(|(at, _)| *at)
            };
            match due {
                Some(at) => drop(timeout_at(at, news).await),
                None => news.await,
            }
        }
    }
}

impl Simulated {
    fn found(&self, task: &TaskId) -> Found {
        let status = self.exit().map_or(Status::Running, Status::Exited);
        let handle = format!("hollow-{task}");
        Found { task: task.clone(), status, started_at: Some(self.started_at), addresses: Vec::new(), handle }
    }

    fn exit(&self) -> Option<Exit> {
        let (code, at) = self.ended?;
        Some(Exit { code: Some(code), out_of_memory: false, message: String::new(), at: Some(at) })
    }
}

/// A part of `all`, from half of it up.
fn share(all: u64, random: f64) -> u64 {
    (all as f64 * (0.5 + random / 2.0)) as u64
}

#[async_trait]
impl Runtime for Hollow {
    fn name(&self) -> &'static str {
        "hollow"
    }

    async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        Ok(self.world().tasks.iter().map(|(task, simulated)| simulated.found(task)).collect())
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
        let ended = |world: &mut World| match world.tasks.get(task) {
            Some(simulated) => simulated.exit().map(Ok),
            None => Some(Err(RuntimeError::NotFound)),
        };
        self.when(ended).await
    }

    fn ends(&self) -> Option<&dyn Ends> {
        Some(self)
    }

    async fn signal(&self, task: &TaskId, signal: Signal) -> Result<(), RuntimeError> {
        let code = match signal {
            Signal::Term => 143,
            Signal::Kill => 137,
        };
        let mut world = self.world();
        if !world.tasks.contains_key(task) {
            return Err(RuntimeError::NotFound);
        }
        world.end(task, code);
        self.news.notify_waiters();
        Ok(())
    }

    async fn remove(&self, task: &TaskId) -> Result<(), RuntimeError> {
        self.world().remove(task);
        self.news.notify_waiters();
        Ok(())
    }

    async fn usage(&self, tasks: &[TaskId]) -> Vec<(TaskId, Measured)> {
        let world = self.world();
        tasks.iter().filter_map(|task| Some((task.clone(), world.tasks.get(task)?.uses))).collect()
    }

    fn uses_constantly(&self) -> bool {
        true
    }

    async fn exec(&self, task: &TaskId, _command: &str) -> Result<i32, RuntimeError> {
        self.world().tasks.get(task).map(|_| 0).ok_or(RuntimeError::NotFound)
    }

    async fn log(
        &self,
        task: &TaskId,
        file: LogFile,
        _tail_lines: Option<u32>,
        _follow: bool,
    ) -> Result<LogStream, RuntimeError> {
        if !self.world().tasks.contains_key(task) {
            return Err(RuntimeError::NotFound);
        }
        let line = (file == LogFile::Stdout).then(|| Ok(Bytes::from(format!("{task} is simulated\n"))));
        Ok(Box::pin(stream::iter(line)))
    }
}

#[async_trait]
impl Ends for Hollow {
    fn watch(&self, task: &TaskId) {
        let mut world = self.world();
        let Some(simulated) = world.tasks.get_mut(task) else { return };
        if !std::mem::replace(&mut simulated.watched, true) && simulated.ended.is_some() {
            world.untold.push_back(task.clone());
            self.news.notify_waiters();
        }
    }

    async fn next(&self) -> (TaskId, Exit) {
        self.when(World::next_untold).await
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

    /// On a clock of its own.
    #[tokio::test(start_paused = true)]
    async fn ends_are_told_in_one_place_once_and_only_of_what_is_watched() {
        let long = Duration::from_secs(3600);
        let exit_after = Some(Duration::from_millis(20));
        let hollow = Hollow::new(HollowOptions { exit_after, ..HollowOptions::default() });
        for n in 1..=4 {
            hollow.launch(&launch(n), silent()).await.unwrap();
        }
        hollow.watch(&task(1));
        assert_eq!(hollow.next().await.0, task(1), "by itself");
        tokio::time::sleep(long).await;
        hollow.watch(&task(2));
        hollow.watch(&task(2));
        assert_eq!(hollow.next().await.0, task(2), "had ended when it was watched");
        hollow.watch(&task(3));
        hollow.remove(&task(3)).await.unwrap();
        tokio::time::timeout(long, hollow.next()).await.unwrap_err();
        let lasting = Hollow::new(HollowOptions::default());
        let fifth = task(5);
        lasting.launch(&launch(5), silent()).await.unwrap();
        lasting.watch(&fifth);
        let (told, signalled) = tokio::join!(lasting.next(), lasting.signal(&fifth, Signal::Term));
        assert_eq!((told.0, told.1.code, signalled.is_ok()), (fifth, Some(143), true));
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
