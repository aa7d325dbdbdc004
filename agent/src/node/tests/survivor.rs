//! A runtime whose tasks outlive the agent, as containers do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use spec::ids::TaskId;
use spec::protocol::{LogFile, Measured};
use spec::time::Timestamp;
use tokio::sync::watch;

use crate::runtime::{Exit, Found, Launch, LogStream, Progress, Runtime, RuntimeError, Signal, Status};

#[derive(Debug, Default)]
pub(super) struct Survivor {
    tasks: Mutex<BTreeMap<TaskId, watch::Sender<Option<Exit>>>>,
    launches: AtomicUsize,
    hangs: bool,
}

impl Survivor {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Launches never come to an end.
    pub(super) fn hanging() -> Arc<Self> {
        Arc::new(Self { hangs: true, ..Self::default() })
    }

    pub(super) fn end(&self, task: &TaskId, exit: Exit) {
        self.tasks.lock().unwrap()[task].send_replace(Some(exit));
    }

    pub(super) fn has(&self, task: &TaskId) -> bool {
        self.tasks.lock().unwrap().contains_key(task)
    }

    pub(super) fn launches(&self) -> usize {
        self.launches.load(Ordering::SeqCst)
    }

    pub(super) async fn until_empty(&self) {
        self.until(|survivor| survivor.tasks.lock().unwrap().is_empty()).await;
    }

    pub(super) async fn until_only(&self, task: &TaskId) {
        self.until(|survivor| survivor.tasks.lock().unwrap().keys().eq([task])).await;
    }

    pub(super) async fn until(&self, reached: impl Fn(&Self) -> bool) {
        for _ in 0..2000 {
            if reached(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never reached: {self:?}");
    }

    fn found(task: &TaskId, exit: Option<Exit>) -> Found {
        Found {
            task: task.clone(),
            status: exit.map_or(Status::Running, Status::Exited),
            started_at: Some(Timestamp::from_millis(1)),
            addresses: Vec::new(),
            handle: String::new(),
        }
    }
}

#[async_trait]
impl Runtime for Survivor {
    fn name(&self) -> &'static str {
        "process"
    }

    async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        let tasks = self.tasks.lock().unwrap();
        Ok(tasks.iter().map(|(task, exit)| Self::found(task, exit.borrow().clone())).collect())
    }

    async fn launch(&self, launch: &Launch, _: Progress) -> Result<Found, RuntimeError> {
        assert!(launch.sandbox.is_dir() && launch.env.contains_key("MESOS_TASK_ID"));
        self.launches.fetch_add(1, Ordering::SeqCst);
        if self.hangs {
            std::future::pending::<()>().await;
        }
        self.tasks.lock().unwrap().insert(launch.task.clone(), watch::Sender::new(None));
        Ok(Self::found(&launch.task, None))
    }

    async fn wait(&self, task: &TaskId) -> Result<Exit, RuntimeError> {
        let mut exits = {
            let tasks = self.tasks.lock().unwrap();
            tasks.get(task).ok_or(RuntimeError::NotFound)?.subscribe()
        };
        let exit = exits.wait_for(Option::is_some).await.map_err(|_| RuntimeError::NotFound)?;
        Ok(exit.clone().unwrap())
    }

    async fn signal(&self, task: &TaskId, signal: Signal) -> Result<(), RuntimeError> {
        let code = if signal == Signal::Term { 143 } else { 137 };
        let tasks = self.tasks.lock().unwrap();
        let exit = tasks.get(task).ok_or(RuntimeError::NotFound)?;
        exit.send_replace(Some(Exit { code: Some(code), ..Exit::default() }));
        Ok(())
    }

    async fn remove(&self, task: &TaskId) -> Result<(), RuntimeError> {
        self.tasks.lock().unwrap().remove(task);
        Ok(())
    }

    async fn usage(&self, _: &[TaskId]) -> Vec<(TaskId, Measured)> {
        Vec::new()
    }

    async fn exec(&self, _: &TaskId, _: &str) -> Result<i32, RuntimeError> {
        Ok(0)
    }

    async fn log(&self, _: &TaskId, _: LogFile, _: Option<u32>, _: bool) -> Result<LogStream, RuntimeError> {
        Err(RuntimeError::NotFound)
    }
}
