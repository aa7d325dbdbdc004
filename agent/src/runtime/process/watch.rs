//! Waiting for the end of a process that is not a child.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::proc::ProcessRef;

/// How often to look where the kernel has no pidfd (before Linux 5.3).
const POLL: Duration = Duration::from_millis(200);

/// Returns once the process has ended.
pub(super) async fn until_dead(process: ProcessRef) {
    let handle = open(process);
    // Opened first, looked at second: the number cannot have gone to another between the two.
    while process.is_alive() {
        match &handle {
            Some(handle) => drop(handle.readable().await),
            None => tokio::time::sleep(POLL).await,
        }
    }
}

fn open(process: ProcessRef) -> Option<AsyncFd<OwnedFd>> {
    let handle = pidfd_open(process.raw()?, PidfdFlags::empty()).ok()?;
    // SAFETY: an `OwnedFd` stays open, and its number the same, for as long as it is owned.
    unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) }.ok()
}
