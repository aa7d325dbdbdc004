//! Many simulated agents in one process. Each has a session, a core and a simulation of its own; they share the
//! directory, and how many of them look for the leader at once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{AgentError, Registry, run_with};
use crate::definitions::Definitions;
use crate::identity::{DataDir, at};
use crate::machine;
use crate::options::{CapacityOptions, Options};
use crate::roster::Roster;
use crate::sandbox::Sandboxes;

/// Agents that open a session at once: masters hold places for 256 strangers, for all agents there are.
const DIALS_MAX: usize = 64;
/// How often progress is looked at, and who the agents are is kept.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What agents of one process share while they run. A lone agent is a company of one.
#[derive(Debug)]
pub(super) struct Company {
    dials: Arc<Semaphore>,
    standing: AtomicU32,
    /// What their tasks are, each definition once.
    pub(super) definitions: Arc<Definitions>,
}

impl Company {
    pub(super) fn new() -> Arc<Self> {
        let (dials, standing) = (Arc::new(Semaphore::new(DIALS_MAX)), AtomicU32::new(0));
        Arc::new(Self { dials, standing, definitions: Arc::default() })
    }

    /// Waits for a turn to look for the leader; it is over when the permit is dropped. `None`: never.
    pub(super) async fn turn(self: Arc<Self>) -> Option<OwnedSemaphorePermit> {
        self.dials.clone().acquire_owned().await.ok()
    }

    /// An agent has a session, until this is dropped.
    pub(super) fn stand(self: &Arc<Self>) -> Standing {
        self.standing.fetch_add(1, Ordering::Relaxed);
        Standing(self.clone())
    }

    fn standing(&self) -> u32 {
        self.standing.load(Ordering::Relaxed)
    }
}

/// One session that stands.
pub(super) struct Standing(Arc<Company>);

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.standing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs `count` agents that differ in name and seed until `shutdown`, or until one of them cannot go on. Their
/// tasks end with them; who they are is kept in `options.data_dir`.
pub async fn run_many(options: Options, count: u32, shutdown: CancellationToken) -> Result<(), AgentError> {
    let roster = Arc::new(Roster::open(&options.data_dir)?);
    let sandboxes = Sandboxes::open(&options.data_dir).map_err(at(&options.data_dir))?;
    // Looked at once: it is the same machine for all.
    let options = with_capacity(options)?;
    let (company, stop) = (Company::new(), shutdown.child_token());
    let mut agents = JoinSet::new();
    for number in 1..=count {
        let options = one_of(&options, number);
        let (disk, identity) = DataDir::among(&options.data_dir, sandboxes.clone(), roster.clone(), number);
        let (company, stop) = (company.clone(), stop.clone());
        agents.spawn(async move {
            let registry = Registry::detect(&options, "", disk.root()).await;
            run_with(options, (Arc::new(disk), identity), registry, company, stop).await
        });
    }
    let ended = tokio::select! {
        ended = first_failure(&mut agents) => ended,
        never = tell(&company, count, &roster, &options.data_dir) => match never {},
    };
    stop.cancel();
    while agents.join_next().await.is_some() {}
    save(&roster, &options.data_dir);
    ended
}

fn with_capacity(mut options: Options) -> Result<Options, AgentError> {
    let found = machine::capacity(&options.capacity, &options.data_dir).map_err(AgentError::Capacity)?;
    options.capacity =
        CapacityOptions { mem_mib: Some(found.mem_mib), disk_mib: Some(found.disk_mib), ..options.capacity };
    Ok(options)
}

/// The options of one agent: `hollow-0001`, or so behind the host name that was given.
fn one_of(options: &Options, number: u32) -> Options {
    let mut options = options.clone();
    let name = options.hostname.as_deref().unwrap_or("hollow");
    options.hostname = Some(format!("{name}-{number:04}"));
    options.hollow.seed = options.hollow.seed.wrapping_add(u64::from(number));
    if let Some(racks) = options.hollow.racks.filter(|racks| *racks > 0) {
        options.attributes.insert("rack".to_owned(), format!("r{}", number % racks));
    }
    options
}

/// Until all have ended, or one in vain.
async fn first_failure(agents: &mut JoinSet<Result<(), AgentError>>) -> Result<(), AgentError> {
    while let Some(ended) = agents.join_next().await {
        match ended {
            Ok(ended) => ended?,
            // Nobody aborts them: they ended in a panic.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    Ok(())
}

/// Says how many have a session whenever that changes; and keeps who they are.
async fn tell(company: &Company, count: u32, roster: &Roster, dir: &Path) -> std::convert::Infallible {
    let (mut looks, began) = (interval(LOOK_EVERY), Instant::now());
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut said, mut searching_since) = (0, began);
    loop {
        looks.tick().await;
        let standing = company.standing();
        if standing != said {
            match standing == count {
                true => info!(
                    "all {count} agents have a session, after {:.1} s",
                    searching_since.elapsed().as_secs_f64()
                ),
                false => info!("{standing} of {count} agents have a session"),
            }
            if said == count {
                searching_since = Instant::now();
            }
            said = standing;
        }
        save(roster, dir);
    }
}

fn save(roster: &Roster, dir: &Path) {
    if let Err(error) = roster.save() {
        warn!(dir = %dir.display(), %error, "who the agents are was not kept: after a restart they come as new ones");
    }
}
