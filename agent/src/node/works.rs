//! What is under way: launches, signals, removals, watches, probes. Starts them, bounds them, and turns
//! how they end into events. Dropping it stops everything that is under way, and touches no task.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use spec::ids::TaskId;
use spec::protocol::Usage;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::logs;
use crate::checks::plan::Plan;
use crate::checks::{CheckKey, Probed, prober};
use crate::core::RuntimeKind;
use crate::identity::DataDir;
use crate::runtime::{Exit, Found, Launch, Progress, Runtime, RuntimeError, Signal};
use crate::sandbox;
use crate::search::Attempt;
use crate::session::BoxedStream;

/// Launches at once: more would only wait for each other inside Docker, and hold its sockets.
const LAUNCHES_MAX: usize = 32;
/// Signals and removals at once.
const CALLS_MAX: usize = 32;
/// Events that wait for the node.
const EVENTS_MAX: usize = 1024;
/// A signal that takes longer is given up; SIGKILL is repeated anyway.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(30);
/// A removal that takes longer is tried again later.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(120);
/// Pause before a runtime is asked again about a task's end.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// What happened.
pub(super) enum Event {
    Launched(Found),
    LaunchFailed(TaskId, RuntimeError),
    LaunchCancelled(TaskId),
    Progress(TaskId, String),
    Exited(TaskId, Exit),
    Vanished(TaskId),
    Removed(TaskId),
    RemoveFailed(TaskId),
    Probed(TaskId, CheckKey, Probed),
    /// A master took the connection, or did not.
    Dialled {
        attempt: Attempt,
        stream: io::Result<BoxedStream>,
        /// Held until the session stands, or is none.
        turn: Option<OwnedSemaphorePermit>,
    },
    /// While the leader was silent another master has said who leads, in which term.
    Leads {
        leader: SocketAddr,
        term: u64,
    },
    /// A runtime that had not answered does.
    Listed {
        kind: RuntimeKind,
        runtime: Arc<dyn Runtime>,
        found: Vec<Found>,
        /// The host's address on its bridge, if it has one and was away until now.
        bridge: Option<IpAddr>,
    },
    /// What tasks use, after so many of them had started, ended or gone.
    Measured {
        usage: Usage,
        stirs: u64,
    },
    LogEnded(u64),
}

impl Event {
    /// Has a task started, ended or gone?
    pub(super) fn stirs(&self) -> bool {
        matches!(
            self,
            Self::Launched(_) | Self::Exited(..) | Self::Vanished(_) | Self::Removed(_) | Self::Listed { .. }
        )
    }
}

/// Everything under way.
pub(super) struct Works {
    events: mpsc::Sender<Event>,
    launches: HashMap<TaskId, CancellationToken>,
    watches: HashMap<TaskId, AbortOnDropHandle<()>>,
    /// Who hears of all ends of a runtime, by its name.
    listeners: HashMap<&'static str, AbortOnDropHandle<()>>,
    checks: HashMap<TaskId, Vec<AbortOnDropHandle<()>>>,
    /// Calls for one task go one after the other.
    turns: HashMap<TaskId, Arc<Mutex<()>>>,
    calls: JoinSet<()>,
    launch_limit: Arc<Semaphore>,
    call_limit: Arc<Semaphore>,
    probe_limit: Arc<Semaphore>,
}

impl Works {
    pub(super) fn new() -> (Self, mpsc::Receiver<Event>) {
        let (events, inlet) = mpsc::channel(EVENTS_MAX);
        let works = Self {
            events,
            launches: HashMap::new(),
            watches: HashMap::new(),
            listeners: HashMap::new(),
            checks: HashMap::new(),
            turns: HashMap::new(),
            calls: JoinSet::new(),
            launch_limit: Arc::new(Semaphore::new(LAUNCHES_MAX)),
            call_limit: Arc::new(Semaphore::new(CALLS_MAX)),
            probe_limit: Arc::new(Semaphore::new(prober::PROBES_MAX)),
        };
        (works, inlet)
    }

    /// Where events go.
    pub(super) fn events(&self) -> mpsc::Sender<Event> {
        self.events.clone()
    }

    /// Runs something beside the node; ends with it.
    pub(super) fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        while self.calls.try_join_next().is_some() {}
        self.calls.spawn(work);
    }

    /// The same for work that blocks; it is finished even when the node is gone.
    pub(super) fn spawn_blocking(&mut self, work: impl FnOnce() + Send + 'static) {
        self.spawn(async move { drop(tokio::task::spawn_blocking(work).await) });
    }

    fn turn(&mut self, task: &TaskId) -> Arc<Mutex<()>> {
        self.turns.entry(task.clone()).or_default().clone()
    }

    pub(super) fn launch(&mut self, runtime: Arc<dyn Runtime>, launch: Launch, disk: Arc<DataDir>) {
        let (events, task) = (self.events.clone(), launch.task.clone());
        let cancelled = CancellationToken::new();
        self.launches.insert(task.clone(), cancelled.clone());
        let (turn, limit) = (self.turn(&task), self.launch_limit.clone());
        let progress = progress(self.events.clone(), task.clone());
        let is_simulated = runtime.name() == "hollow";
        let mut launching = Box::pin(async move {
            let launching = async {
                let _turn = turn.lock().await;
                // Simulated launches have no files and wait for nothing but time.
                let _permit = match is_simulated {
                    true => None,
                    false => {
                        let permit = limit.acquire().await.ok();
                        prepare(&*runtime, &launch, &disk, &progress).await?;
                        permit
                    }
                };
                runtime.launch(&launch, progress).await
            };
            tokio::select! {
                biased;
                launched = launching => match launched {
                    Ok(found) => Event::Launched(found),
                    Err(error) => Event::LaunchFailed(task, error),
                },
                () = cancelled.cancelled() => Event::LaunchCancelled(task),
            }
        });
        // Many of these are up at once: no need of somebody who waits for them.
        let mut begun = if is_simulated {
            launching.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        } else {
            Poll::Pending
        };
        if let Poll::Ready(event) = begun {
            match self.events.try_send(event) {
                Ok(()) => return,
                Err(TrySendError::Full(event) | TrySendError::Closed(event)) => begun = Poll::Ready(event),
            }
        }
        self.spawn(async move {
            let event = match begun {
                Poll::Ready(event) => event,
                Poll::Pending => launching.await,
            };
            let _ = events.send(event).await;
        });
    }

    pub(super) fn cancel_launch(&mut self, task: &TaskId) {
        if let Some(launch) = self.launches.get(task) {
            launch.cancel();
        }
    }

    /// A launch is over, one way or another.
    pub(super) fn launch_over(&mut self, task: &TaskId) {
        self.launches.remove(task);
        // Most tasks run for long without another call.
        if self.turns.get(task).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            self.turns.remove(task);
        }
    }

    pub(super) fn watch(&mut self, runtime: Arc<dyn Runtime>, task: TaskId) {
        if let Some(ends) = runtime.ends() {
            ends.watch(&task);
            return self.listen(runtime);
        }
        let events = self.events.clone();
        let watched = task.clone();
        let watch = async move {
            let event = loop {
                match runtime.wait(&watched).await {
                    Ok(exit) => break Event::Exited(watched, exit),
                    Err(RuntimeError::NotFound) => break Event::Vanished(watched),
                    Err(error) => {
                        debug!(task = %watched, %error, "cannot watch a task; trying again")
                    }
                }
                tokio::time::sleep(WATCH_PAUSE).await;
            };
            let _ = events.send(event).await;
        };
        self.watches.insert(task, AbortOnDropHandle::new(tokio::spawn(watch)));
    }

    fn listen(&mut self, runtime: Arc<dyn Runtime>) {
        let events = self.events.clone();
        self.listeners.entry(runtime.name()).or_insert_with(|| {
            let listening = async move {
                while let Some(ends) = runtime.ends() {
                    let (task, exit) = ends.next().await;
                    let _ = events.send(Event::Exited(task, exit)).await;
                }
            };
            AbortOnDropHandle::new(tokio::spawn(listening))
        });
    }

    pub(super) fn signal(&mut self, runtime: Arc<dyn Runtime>, task: TaskId, signal: Signal) {
        let (turn, limit) = (self.turn(&task), self.call_limit.clone());
        self.spawn(async move {
            let _turn = turn.lock().await;
            let _permit = limit.acquire().await;
            match timeout(SIGNAL_TIMEOUT, runtime.signal(&task, signal)).await {
                Ok(Ok(()) | Err(RuntimeError::NotFound)) => {}
                Ok(Err(error)) => warn!(%task, ?signal, %error, "a task was not signalled"),
                Err(_) => warn!(%task, ?signal, "the runtime does not answer a signal"),
            }
        });
    }

    /// Removes a task. What a container wrote goes with it: its last lines are put into `sandbox` before.
    pub(super) fn remove(&mut self, runtime: Arc<dyn Runtime>, task: TaskId, sandbox: std::path::PathBuf) {
        let (events, turn, limit) = (self.events.clone(), self.turn(&task), self.call_limit.clone());
        self.spawn(async move {
            let _turn = turn.lock().await;
            let _permit = limit.acquire().await;
            let removing = async {
                if runtime.name() == "docker" {
                    logs::keep(&*runtime, &task, &sandbox).await;
                }
                runtime.remove(&task).await
            };
            let event = match timeout(REMOVE_TIMEOUT, removing).await {
                Ok(Ok(())) => Event::Removed(task),
                Ok(Err(error)) => {
                    info!(%task, %error, "a task was not removed; trying again");
                    Event::RemoveFailed(task)
                }
                Err(_) => Event::RemoveFailed(task),
            };
            let _ = events.send(event).await;
        });
    }

    /// Nothing is left of a task.
    pub(super) fn forget(&mut self, task: &TaskId) {
        self.watches.remove(task);
        self.checks.remove(task);
        self.turns.remove(task);
    }

    pub(super) fn start_checks(&mut self, runtime: &Arc<dyn Runtime>, task: &TaskId, plans: Vec<Plan>) {
        let probing = plans.into_iter().map(|plan| {
            let (events, reported) = (self.events.clone(), task.clone());
            let probing = prober::run(
                plan,
                task.clone(),
                runtime.clone(),
                self.probe_limit.clone(),
                move |key, probed| {
                    let (events, task) = (events.clone(), reported.clone());
                    async move { events.send(Event::Probed(task, key, probed)).await.is_ok() }
                },
            );
            AbortOnDropHandle::new(tokio::spawn(probing))
        });
        let probing = probing.collect();
        self.checks.insert(task.clone(), probing);
    }

    pub(super) fn stop_checks(&mut self, task: &TaskId) {
        self.checks.remove(task);
    }
}

/// Progress is news only while there is room for it.
fn progress(events: mpsc::Sender<Event>, task: TaskId) -> Progress {
    Arc::new(move |message: &str| {
        let _ = events.try_send(Event::Progress(task.clone(), message.to_owned()));
    })
}

/// Makes the sandbox ready: the directory, with the app's artifacts in it.
async fn prepare(
    runtime: &dyn Runtime,
    launch: &Launch,
    disk: &DataDir,
    progress: &Progress,
) -> Result<(), RuntimeError> {
    // Users of containers are not of this machine.
    let user = launch.app.user.as_deref().filter(|_| runtime.name() == "process");
    let failed =
        |error: &dyn std::fmt::Display| RuntimeError::Failed(format!("preparing the sandbox: {error}"));
    disk.sandboxes().create(&launch.task, user).map_err(|error| failed(&error))?;
    if launch.app.fetch.is_empty() {
        return Ok(());
    }
    progress("fetching artifacts");
    let fetched = sandbox::fetch(&launch.sandbox, &launch.app.fetch, user).await;
    fetched.map_err(|error| failed(&error))
}
