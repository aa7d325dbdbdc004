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
/// Fails when tasks may be left: the directory is needed to find them again.
pub async fn remove_everything(options: Options) -> Result<(), AgentError> {
    let (disk, identity) = open(&options)?;
    let registry = Registry::detect(&options, &identity.owner.to_string(), disk.root()).await;
    if sweep(&registry, &disk).await && !away(&registry, &disk)? {
        return Ok(());
    }
    Err(AgentError::TasksLeft(disk.root().to_owned()))
}

/// Were tasks started by a runtime that does not answer now?
fn away(registry: &Registry, disk: &DataDir) -> Result<bool, AgentError> {
    let records = disk.records()?;
    Ok(records.iter().filter_map(|record| record.runtime).any(|kind| registry.get(kind).is_none()))
}

/// Ends and removes every task that the runtimes have; what was kept about them goes too. Are all gone?
pub(super) async fn sweep(registry: &Registry, disk: &Arc<DataDir>) -> bool {
    let mut all_gone = true;
    for (kind, runtime) in registry.all() {
        match runtime.list().await {
            Ok(found) => all_gone &= sweep_runtime(kind, runtime, found, disk).await,
            Err(error) => {
                all_gone = false;
                warn!(runtime = %kind, %error, "tasks could not be listed, and so not removed");
            }
        }
    }
    all_gone
}

async fn sweep_runtime(
    kind: RuntimeKind,
    runtime: &Arc<dyn Runtime>,
    found: Vec<Found>,
    disk: &Arc<DataDir>,
) -> bool {
    if !found.is_empty() {
        info!(runtime = %kind, tasks = found.len(), "ending every task");
    }
    let ends = stream::iter(found).map(|found| end(&**runtime, found, disk)).buffer_unordered(AT_ONCE);
    // To the end, also after one that could not be removed.
    ends.fold(true, |all, gone| async move { all && gone }).await
}

async fn end(runtime: &dyn Runtime, found: Found, disk: &DataDir) -> bool {
    let task = found.task;
    if found.status == Status::Running && runtime.signal(&task, Signal::Term).await.is_ok() {
        let _ = tokio::time::timeout(GRACE, runtime.wait(&task)).await;
    }
    match runtime.remove(&task).await {
        Ok(()) => {
            let _ = disk.remove_record(&task);
            true
        }
        Err(error) => {
            warn!(%task, %error, "a task could not be removed");
            false
        }
    }
}
