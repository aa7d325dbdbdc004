//! Drives the control loop while this master leads: feeds it what changed, proposes what it decides,
//! waits for the outcomes, and looks again. The decisions are `control`'s.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::broadcast::{Receiver, error::RecvError, error::TryRecvError};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::clock;
use crate::cluster::{AskError, Cluster};
use crate::control::{self, Memory, Settings};
use crate::state::{Applied, Command, Outcome};

/// Looks again after this long even when nothing happens: a lost wake-up may cost time, never a task.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// Pause after commands that were not taken.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Pause before a full queue is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Runs until `shutdown`.
pub async fn run(cluster: Arc<Cluster>, shutdown: CancellationToken) {
    let mut leadership = cluster.leadership();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            leads = leadership.wait_for(|now| now.leading) => if leads.is_err() { return },
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = lead(&cluster) => {}
            lost = leadership.wait_for(|now| !now.leading) => if lost.is_err() { return },
        }
    }
}

/// One reign: memory begins empty and everything is looked at once.
async fn lead(cluster: &Cluster) {
    let options = &cluster.options;
    let settings =
        Settings { launch_timeout_millis: options.launch_timeout_millis, placement: options.placement };
    let mut news = cluster.subscribe();
    let mut memory = Memory::default();
    clock::not_before(cluster.state().now);
    memory.note_everything(&cluster.state());
    loop {
        if !take_news(cluster, &mut news, &mut memory) {
            return;
        }
        let now = clock::now();
        // In a large cluster a step takes long; what waits for the runtime's threads goes on meanwhile.
        let (state, seed) = (cluster.state(), fastrand::u64(..));
        let deciding = tokio::task::spawn_blocking(move || {
            let step = control::step(&state, &mut memory, now, seed, &settings);
            (memory, step)
        });
        let step;
        (memory, step) = match deciding.await {
            Ok(decided) => decided,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime shuts down.
                Err(_) => return,
            },
        };
        cluster.waiting.store(Arc::new(memory.waiting()));
        if step.commands.is_empty() {
            let pause = step.next_due.map_or(IDLE_MAX, |due| Duration::from_millis(due.millis_since(now)));
            if !wait_for_news(cluster, &mut news, &mut memory, pause.min(IDLE_MAX)).await {
                return;
            }
        } else if !propose(cluster, step.commands).await {
            tokio::time::sleep(RETRY_PAUSE).await;
            memory.note_everything(&cluster.state());
        }
    }
}

/// Takes in everything that has been applied; false when nothing will come any more.
fn take_news(cluster: &Cluster, news: &mut Receiver<Arc<Applied>>, memory: &mut Memory) -> bool {
    loop {
        match news.try_recv() {
            Ok(applied) => memory.note(&applied),
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Lagged(_)) => memory.note_everything(&cluster.state()),
            Err(TryRecvError::Closed) => return false,
        }
    }
}

async fn wait_for_news(
    cluster: &Cluster,
    news: &mut Receiver<Arc<Applied>>,
    memory: &mut Memory,
    pause: Duration,
) -> bool {
    match tokio::time::timeout(pause, news.recv()).await {
        Ok(Ok(applied)) => memory.note(&applied),
        Ok(Err(RecvError::Lagged(_))) => memory.note_everything(&cluster.state()),
        Ok(Err(RecvError::Closed)) => return false,
        Err(_) => {}
    }
    true
}

/// Proposes and waits for every outcome; false when one was not taken.
async fn propose(cluster: &Cluster, commands: Vec<Command>) -> bool {
    debug!(count = commands.len(), "control proposes");
    let commands = commands.into_iter().flat_map(control::fitting);
    let outcomes = join_all(commands.map(|command| insist(cluster, command))).await;
    outcomes.into_iter().all(|outcome| match outcome {
        Ok(_) => true,
        Err(AskError::NotLeader | AskError::Closed) => false,
        Err(error) => {
            warn!(%error, "a decision of the control loop was not taken; deciding again");
            false
        }
    })
}

/// Asks again while the queue is full: nothing was done, and the decision stands.
async fn insist(cluster: &Cluster, command: Command) -> Result<Outcome, AskError> {
    loop {
        match cluster.ask(command.clone()).await {
            Err(AskError::Busy) => tokio::time::sleep(BUSY_PAUSE).await,
            outcome => return outcome,
        }
    }
}
