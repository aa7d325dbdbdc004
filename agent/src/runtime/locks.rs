//! One lock for each task that something is being done to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use spec::ids::TaskId;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Keeps the start and the removal of one task apart, also when the caller of the start has gone.
#[derive(Debug, Default)]
pub struct TaskLocks {
    locks: Mutex<HashMap<TaskId, Arc<AsyncMutex<()>>>>,
}

impl TaskLocks {
    /// Waits until nothing else holds the task.
    pub async fn hold(&self, task: &TaskId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(task.clone()).or_default())
        };
        lock.lock_owned().await
    }

    /// Does anything hold it?
    pub fn is_held(&self, task: &TaskId) -> bool {
        let locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.get(task).is_some_and(|lock| Arc::strong_count(lock) > 1)
    }
}
