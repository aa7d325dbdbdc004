//! Ends and removes every task of an agent: for clusters that are to leave nothing behind.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tracing::{info, warn};

use super::{AgentError, Registry, open};
use crate::core::RuntimeKind;
use crate::identity::DataDir;
use crate::options::Options;
use crate::runtime::{Found, Runtime, Signal, Status};

/// Time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(3);
/// Tasks ended at once.
const AT_ONCE: usize = 32;

/// Ends and removes every task of the agent whose directory `options` name. The agent must not be running.
pub async fn remove_everything(options: Options) -> Result<(), AgentError> {
    let (disk, identity) = open(&options)?;
    let registry = Registry::detect(&options, &identity.owner.to_string(), disk.root()).await;
    sweep(&registry, &disk).await;
    Ok(())
}

/// Ends and removes every task that the runtimes have; what was kept about them goes too.
pub(super) async fn sweep(registry: &Registry, disk: &Arc<DataDir>) {
    for (kind, runtime) in registry.all() {
        match runtime.list().await {
            Ok(found) => sweep_runtime(kind, runtime, found, disk).await,
            Err(error) => {
                warn!(runtime = %kind, %error, "tasks could not be listed, and so not removed")
            }
        }
    }
}

async fn sweep_runtime(
    kind: RuntimeKind,
    runtime: &Arc<dyn Runtime>,
    found: Vec<Found>,
    disk: &Arc<DataDir>,
) {
    info!(runtime = %kind, tasks = found.len(), "ending every task");
    stream::iter(found).for_each_concurrent(AT_ONCE, |found| end(&**runtime, found, disk)).await;
}

async fn end(runtime: &dyn Runtime, found: Found, disk: &DataDir) {
    let task = found.task;
    if found.status == Status::Running && runtime.signal(&task, Signal::Term).await.is_ok() {
        let _ = tokio::time::timeout(GRACE, runtime.wait(&task)).await;
    }
    match runtime.remove(&task).await {
        Ok(()) => drop(disk.remove_record(&task)),
        Err(error) => warn!(%task, %error, "a task could not be removed"),
    }
}
