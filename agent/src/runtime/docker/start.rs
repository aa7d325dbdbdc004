//! Creating and starting a container as one step that cannot be left half way.
//!
//! The caller may drop its launch at any time. A request that is on its way to the Engine is carried out
//! all the same; so the step runs in a task of its own, and `remove` waits for its end.

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use spec::ids::TaskId;
use tokio::sync::OwnedMutexGuard;

use super::create::container_name;
use super::errors;
use crate::runtime::RuntimeError;

/// Why there is no container.
#[derive(Debug)]
pub(super) enum Failure {
    /// Its image is not on this machine.
    ImageMissing,
    /// Anything else.
    Error(RuntimeError),
}

impl From<Failure> for RuntimeError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::ImageMissing => {
                Self::Failed("the image was removed as soon as it was pulled".to_owned())
            }
            Failure::Error(error) => error,
        }
    }
}

/// Creates and starts a container; its id. The guard is kept until the step is done, whoever waits.
pub(super) async fn run(
    api: &bollard::Docker,
    task: &TaskId,
    body: ContainerCreateBody,
    guard: OwnedMutexGuard<()>,
) -> Result<String, Failure> {
    let (api, name) = (api.clone(), container_name(task));
    let step = tokio::spawn(async move {
        let _until_done = guard;
        create_and_start(&api, &name, body).await
    });
    step.await.unwrap_or_else(|error| Err(Failure::Error(RuntimeError::Failed(error.to_string()))))
}

async fn create_and_start(
    api: &bollard::Docker,
    name: &str,
    body: ContainerCreateBody,
) -> Result<String, Failure> {
    let id = create(api, name, body).await?;
    if let Err(error) = api.start_container(&id, None).await {
        discard(api, &id).await;
        return Err(Failure::Error(errors::failure(error)));
    }
    Ok(id)
}

/// A container of that name can only be what an earlier launch of the same task left: the name holds the
/// task's uuid and incarnation.
async fn create(api: &bollard::Docker, name: &str, body: ContainerCreateBody) -> Result<String, Failure> {
    match try_create(api, name, body.clone()).await {
        Err(error) if errors::is_status(&error, 409) => {
            discard(api, name).await;
            try_create(api, name, body).await.map_err(failure)
        }
        result => result.map_err(failure),
    }
}

fn failure(error: bollard::errors::Error) -> Failure {
    if errors::is_missing_image(&error) {
        Failure::ImageMissing
    } else {
        Failure::Error(errors::failure(error))
    }
}

async fn try_create(
    api: &bollard::Docker,
    name: &str,
    body: ContainerCreateBody,
) -> Result<String, bollard::errors::Error> {
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    let created = api.create_container(Some(options), body).await?;
    for warning in &created.warnings {
        tracing::debug!(name, warning, "container created");
    }
    Ok(created.id)
}

async fn discard(api: &bollard::Docker, name: &str) {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    if let Err(error) = api.remove_container(name, Some(options)).await {
        tracing::warn!(name, %error, "a container that did not start could not be removed");
    }
}
