//! Puts the agent together: one loop that owns the core, feeds it what happens, does what it says, and
//! keeps the session to the leader. Decides nothing.

mod answers;
mod clock;
mod crowd;
mod line;
mod logs;
mod perform;
mod registry;
mod sweep;
mod works;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use spec::ids::{AgentId, TaskId};
use spec::protocol::{AgentInfo, AgentMessage, Measured, Usage};
use spec::time::Timestamp;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tracing::{debug, info, warn};

pub use crowd::run_many;
pub use registry::Registry;
pub use sweep::remove_everything;

use crate::alarm::Alarm;
use crate::core::{Core, RuntimeKind};
use crate::identity::{DataDir, DiskError, Identity};
use crate::machine;
use crate::options::{Options, ResolverChoice, RuntimeChoice};
use crate::resolver::{self, Resolver};
use crate::sandbox::rotate::rotate;
use crate::session::{Heard, on_shared_grid};
use crate::usage::{Meter, Told};
use clock::Clock;
use crowd::Company;
use line::Line;
use works::{Event, Works};

/// How often a runtime that did not answer is asked again.
const RUNTIME_PAUSE: Duration = Duration::from_secs(5);
/// Events handled before what is to be said is said, however many wait.
const EVENTS_PER_REPORT: usize = 256;

/// Why an agent stopped, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The agent's directory cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Nowhere to connect to.
    #[error("no master to join: give at least one with --masters")]
    NoMasters,
    /// The machine could not be looked at.
    #[error("the machine's capacity could not be found ({0}): give --cpus, --mem and --disk")]
    Capacity(io::Error),
    /// No master takes this agent, and none will until somebody does something; or the agent obeys none of them.
    #[error("{0}")]
    Refused(String),
    /// Some of what was to be removed could not be.
    #[error(
        "not every task in {0} could be ended; is Docker running, and are the rights the same as before?"
    )]
    TasksLeft(PathBuf),
}

/// Runs an agent until `shutdown`, or until it cannot go on. Its tasks go on without it, unless
/// [`Options::kill_tasks_on_exit`] says otherwise.
pub async fn run(options: Options, shutdown: CancellationToken) -> Result<(), AgentError> {
    let (disk, identity) = open(&options)?;
    let registry = Registry::detect(&options, &identity.owner.to_string(), disk.root()).await;
    run_with(options, (disk, identity), registry, Company::new(), shutdown).await
}

fn open(options: &Options) -> Result<(Arc<DataDir>, Identity), AgentError> {
    let real = options.runtime != RuntimeChoice::Hollow;
    let (disk, identity) = DataDir::open(&options.data_dir, real)?;
    Ok((Arc::new(disk), identity))
}

/// Runs an agent over given runtimes.
async fn run_with(
    options: Options,
    (disk, identity): (Arc<DataDir>, Identity),
    registry: Registry,
    company: Arc<Company>,
    shutdown: CancellationToken,
) -> Result<(), AgentError> {
    let ended = {
        let (mut node, events) =
            Node::start(options.clone(), (disk.clone(), identity), registry.clone(), company, shutdown)
                .await?;
        node.live(events).await
    };
    if options.kill_tasks_on_exit {
        sweep::sweep(&registry, &disk).await;
    }
    ended
}

/// One agent at work.
struct Node {
    options: Options,
    info: AgentInfo,
    disk: Arc<DataDir>,
    identity: Identity,
    registry: Registry,
    resolver: Resolver,
    core: Core,
    clock: Clock,
    works: Works,
    line: Line,
    logs: HashMap<u64, logs::Reading>,
    meter: Arc<Mutex<Meter>>,
    measuring: Interval,
    /// How often a task has started, ended or gone.
    stirs: u64,
    /// Events handled since reports were last sent.
    unreported: usize,
    alarm: Alarm,
    /// The agent is to stop.
    shutdown: CancellationToken,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Ends what belongs to this run: the name server.
    _end: tokio_util::sync::DropGuard,
}

/// What the loop does next.
enum Step {
    Stop,
    Event(Event),
    Master(Option<Heard>),
    Say(OwnedPermit<AgentMessage>),
    Due,
    Measure,
    /// Something waited long enough.
    Look,
}

impl Node {
    async fn start(
        options: Options,
        (disk, identity): (Arc<DataDir>, Identity),
        registry: Registry,
        company: Arc<Company>,
        shutdown: CancellationToken,
    ) -> Result<(Self, mpsc::Receiver<Event>), AgentError> {
        if options.masters.is_empty() {
            return Err(AgentError::NoMasters);
        }
        let info = describe(&options, &registry).map_err(AgentError::Capacity)?;
        let end = CancellationToken::new();
        let hollow = registry.get(RuntimeKind::Hollow).is_some();
        let choice = if hollow { ResolverChoice::Off } else { options.resolver };
        let resolver = resolver::start(choice, identity.resolver, registry.bridge, end.clone()).await;
        if let Some((masters, domain)) = &identity.dns {
            resolver.learn(masters, domain);
        }
        let core = Core::new(identity.kept, registry.offered(), info.capacity);
        let (works, events) = Works::new();
        let every = options.usage_interval.max(Duration::from_millis(100));
        // Agents that started together do not measure together, and not each at a moment of its own.
        let first = on_shared_grid(Instant::now() + every.mul_f64(fastrand::f64()));
        let mut measuring = interval_at(first, every);
        // Skipped, and not late from then on: they stay together.
        measuring.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut node = Self {
            line: Line::new(options.masters.clone(), identity.masters.clone(), company),
            clock: Clock::new(),
            logs: HashMap::new(),
            meter: Arc::default(),
            stirs: 0,
            unreported: 0,
            alarm: Alarm::new(),
            stopped: Box::pin(shutdown.clone().cancelled_owned()),
            shutdown,
            _end: end.drop_guard(),
            options,
            info,
            disk,
            identity,
            registry,
            resolver,
            core,
            works,
            measuring,
        };
        node.take_over().await?;
        Ok((node, events))
    }

    fn now(&mut self) -> Timestamp {
        self.clock.now()
    }

    async fn live(&mut self, mut events: mpsc::Receiver<Event>) -> Result<(), AgentError> {
        self.dial();
        loop {
            match self.next(&mut events).await {
                Step::Stop => {
                    info!("agent stops; its tasks go on unless it was told to end them");
                    return Ok(());
                }
                Step::Event(event) => self.on_event(event).await?,
                Step::Master(Some(heard)) => self.on_heard(heard).await?,
                Step::Master(None) => self.on_end().await?,
                Step::Say(permit) => self.say(permit),
                Step::Due => {
                    let now = self.now();
                    let effects = self.core.tick(now);
                    self.perform(effects).await?;
                }
                Step::Measure => self.measure(),
                Step::Look => {}
            }
        }
    }

    /// Reports go last, so that many events share one; but not after everything else for ever.
    async fn next(&mut self, events: &mut mpsc::Receiver<Event>) -> Step {
        let say_at = self.line.say_at(&self.core);
        let news = say_at.is_some_and(|at| at <= Instant::now());
        if self.unreported >= EVENTS_PER_REPORT
            && news
            && let Some(permit) = self.line.try_reserve()
        {
            return Step::Say(permit);
        }
        let due = self.core.next_due();
        let due = due.map(|at| Instant::now() + Duration::from_millis(at.millis_since(self.clock.now())));
        let outgoing = if news { self.line.outgoing() } else { None };
        let next = due.into_iter().chain(say_at.filter(|_| !news)).min();
        tokio::select! {
            biased;
            () = &mut self.stopped => Step::Stop,
            heard = self.line.receive() => Step::Master(heard),
            // The sender lives in `works`, so that the channel never closes.
            Some(event) = events.recv() => Step::Event(event),
            now = self.alarm.ring(next) => match now {
                now if due.is_some_and(|at| at <= now) => Step::Due,
                _ => Step::Look,
            },
            _ = self.measuring.tick() => Step::Measure,
            Some(permit) = reserve(outgoing) => Step::Say(permit),
        }
    }

    /// Outputs of processes have no Docker that bounds them.
    fn bound_outputs(&mut self) {
        if self.registry.get(RuntimeKind::Process).is_none() {
            return;
        }
        let processes = self.core.running().filter(|(_, kind)| *kind == RuntimeKind::Process);
        let sandboxes: Vec<PathBuf> = processes.map(|(task, _)| self.disk.sandboxes().path(task)).collect();
        if sandboxes.is_empty() {
            return;
        }
        self.works.spawn_blocking(move || {
            for sandbox in sandboxes {
                if let Err(error) = rotate(&sandbox) {
                    debug!(sandbox = %sandbox.display(), %error, "an output was not cut");
                }
            }
        });
    }

    /// Measures beside the loop, if there is anything to measure; the result comes back as an event.
    fn measure(&mut self) {
        self.bound_outputs();
        let (at, stirs, constant) = (self.now(), self.stirs, self.registry.uses_constantly());
        let Some(told) = self.line.told() else { return };
        if constant && let Some(message) = told.as_before(at, stirs) {
            return self.say_if_room(|_| message);
        }
        let mut running: HashMap<RuntimeKind, Vec<TaskId>> = HashMap::new();
        for (task, kind) in self.core.running() {
            running.entry(kind).or_default().push(task.clone());
        }
        let runtimes: Vec<_> =
            running.into_iter().filter_map(|(kind, tasks)| Some((self.registry.get(kind)?, tasks))).collect();
        let (meter, events) = (self.meter.clone(), self.works.events());
        self.works.spawn(async move {
            let mut usage = Usage { at, ..Usage::default() };
            for (runtime, tasks) in runtimes {
                usage.tasks.extend(runtime.usage(&tasks).await);
            }
            usage.machine = match constant {
                // What is simulated uses a simulated machine.
                true => sum(&usage.tasks),
                false => meter.lock().unwrap_or_else(PoisonError::into_inner).measure(),
            };
            let _ = events.send(Event::Measured { usage, stirs }).await;
        });
    }

    /// Soft: when there is no room, the next one tells as much.
    fn say_if_room(&mut self, message: impl FnOnce(&mut Told) -> AgentMessage) {
        if let Some(permit) = self.line.try_reserve()
            && let Some(told) = self.line.told()
        {
            permit.send(message(told));
        }
    }

    /// The id to give to tasks; they are only started after the agent has one.
    fn agent_id(&self) -> AgentId {
        self.identity.agent_id.clone().unwrap_or_else(|| AgentId::new(""))
    }
}

fn sum(tasks: &[(TaskId, Measured)]) -> Measured {
    let add = |sum: Measured, (_, task): &(_, Measured)| Measured {
        cpus_milli: sum.cpus_milli.saturating_add(task.cpus_milli),
        mem_bytes: sum.mem_bytes.saturating_add(task.mem_bytes),
    };
    tasks.iter().fold(Measured::default(), add)
}

async fn reserve(outgoing: Option<mpsc::Sender<AgentMessage>>) -> Option<OwnedPermit<AgentMessage>> {
    match outgoing {
        // A closed channel is seen by the receiving side.
        Some(outgoing) => outgoing.reserve_owned().await.ok(),
        None => std::future::pending().await,
    }
}

fn describe(options: &Options, registry: &Registry) -> io::Result<AgentInfo> {
    let runtimes = registry.offered();
    let wanted = |choice| options.runtime == RuntimeChoice::Auto || options.runtime == choice;
    for (kind, choice, reason) in [
        ("docker", RuntimeChoice::Docker, &runtimes.docker),
        ("process", RuntimeChoice::Process, &runtimes.process),
    ] {
        if let Some(reason) = reason.as_ref().filter(|_| wanted(choice)) {
            warn!(runtime = kind, reason, "this runtime is not available");
        }
    }
    Ok(AgentInfo {
        hostname: options.hostname.clone().unwrap_or_else(|| options.ip.to_string()),
        ip: options.ip,
        capacity: machine::capacity(&options.capacity, &options.data_dir)?,
        ports: options.ports.clone(),
        attributes: options.attributes.clone(),
        runtimes,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

#[cfg(test)]
mod tests;
