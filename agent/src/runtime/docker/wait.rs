//! Waiting for the end of a container, across restarts of the Engine.

use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::WaitContainerOptionsBuilder;
use futures_util::StreamExt;

use super::{errors, inspect};
use crate::runtime::{Exit, RuntimeError, Status};

/// Between two tries while the Engine does not answer.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Returns once the container is not running. Never gives up on an Engine that is away: the container
/// may run on without it, and the caller drops the future when it has lost interest.
pub(super) async fn until_ended(api: &bollard::Docker, name: &str) -> Result<Exit, RuntimeError> {
    let mut pause = RETRY_MIN;
    loop {
        let waited = wait(api, name).await;
        if let Err(error) = waited.as_ref()
            && !errors::is_passing(error)
        {
            return Err(waited.err().map_or(RuntimeError::NotFound, errors::of_container));
        }
        match api.inspect_container(name, None).await.map(inspect::read) {
            Ok(inspected) => match inspected.status {
                Status::Exited(exit) => return Ok(exit),
                Status::Created => return Ok(never_started()),
                // Only while the Engine comes up again: the wait ended, the container did not.
                Status::Running => {}
            },
            Err(error) if errors::is_status(&error, 404) => return removed(waited.ok()),
            Err(error) if !errors::is_passing(&error) => return Err(errors::failure(error)),
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// The exit code, for the case that the container is removed before it can be inspected.
async fn wait(api: &bollard::Docker, name: &str) -> Result<i64, Error> {
    let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
    match Box::pin(api.wait_container(name, Some(options))).next().await {
        Some(Ok(end)) => Ok(end.status_code),
        // bollard makes an error of every code but 0.
        Some(Err(Error::DockerContainerWaitError { code, .. })) => Ok(code),
        Some(Err(error)) => Err(error),
        None => Err(Error::RequestTimeoutError),
    }
}

fn never_started() -> Exit {
    Exit { message: "Container was created and never started".to_owned(), ..Exit::default() }
}

fn removed(code: Option<i64>) -> Result<Exit, RuntimeError> {
    let code = code.ok_or(RuntimeError::NotFound)?;
    let message = format!("Container exited with status {code} and was removed");
    Ok(Exit { code: i32::try_from(code).ok(), message, ..Exit::default() })
}
