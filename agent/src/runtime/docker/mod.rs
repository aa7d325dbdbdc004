//! Tasks as containers of a Docker Engine on this machine.
//!
//! Nothing is kept here that the containers do not say themselves: their names follow from the task ids,
//! their labels say whose they are. What is remembered only saves asking again.

mod create;
mod credentials;
mod errors;
mod exec;
mod image;
mod inspect;
mod log;
mod network;
mod parameters;
mod reference;
mod resources;
mod start;
mod transport;
mod usage;
mod volumes;
mod wait;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bollard::models::{ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::{
    KillContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use spec::ids::TaskId;
use spec::protocol::{LogFile, Measured};
use spec::time::Timestamp;

pub use create::{MESOS_TASK_LABEL, OWNER_LABEL, SANDBOX, TASK_LABEL, container_name, create_body};

use self::inspect::Inspected;
use super::clock::now;
use super::locks::TaskLocks;
use super::meter::Meter;
use super::{Exit, Found, Launch, LogStream, Progress, Runtime, RuntimeError, Signal, Status};

/// Inspections under way at once when the agent takes over what runs.
const INSPECTIONS: usize = 16;

/// The runtime of one Engine for one agent.
#[derive(Debug)]
pub struct Docker {
    api: bollard::Docker,
    owner: String,
    images: image::Images,
    locks: TaskLocks,
    known: Mutex<HashMap<TaskId, Known>>,
    meter: Meter,
}

/// What never changes while a container runs.
#[derive(Clone, Debug)]
struct Known {
    id: String,
    started_at: Option<Timestamp>,
    addresses: Vec<IpAddr>,
}

impl Docker {
    /// Connects to the Engine at `socket` (`None`: that of `DOCKER_HOST`, else `/var/run/docker.sock`).
    /// `owner` names the agent's data directory, for ever: containers of other owners are not seen.
    pub async fn connect(socket: Option<PathBuf>, owner: &str) -> Result<Self, RuntimeError> {
        let host = std::env::var("DOCKER_HOST").ok();
        let api = transport::connect(&transport::socket_path(socket, host.as_deref())?).await?;
        Ok(Self {
            images: image::Images::new(api.clone(), credentials::config_dir()),
            locks: TaskLocks::default(),
            known: Mutex::default(),
            meter: Meter::default(),
            owner: owner.to_owned(),
            api,
        })
    }

    /// The host's address on Docker's default bridge, where containers can reach the agent.
    pub async fn bridge_gateway(&self) -> Option<IpAddr> {
        let bridge = self.api.inspect_network("bridge", None).await.ok()?;
        bridge.ipam?.config?.into_iter().find_map(network::gateway)
    }

    async fn inspect(&self, task: &TaskId) -> Result<Inspected, RuntimeError> {
        let answer = self.api.inspect_container(&container_name(task), None).await;
        Ok(inspect::read(answer.map_err(errors::of_container)?))
    }

    fn known(&self, task: &TaskId) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(task).cloned()
    }

    fn remember(&self, task: &TaskId, known: Known) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(task.clone(), known);
    }

    /// Starts the container, with a pull before when the image is not here. Creating is tried first: the
    /// usual launch is two requests and no question before.
    async fn start(&self, launch: &Launch, progress: &Progress) -> Result<String, RuntimeError> {
        let body = create_body(launch, &self.owner)?;
        let image = create::image_of(&launch.app)?;
        if image.force_pull_image {
            self.images.refresh(&image.image, progress).await?;
        }
        match self.create(&launch.task, body.clone()).await {
            Err(start::Failure::ImageMissing) => {
                self.images.pull(&image.image, progress).await?;
                self.create(&launch.task, body).await.map_err(RuntimeError::from)
            }
            other => other.map_err(RuntimeError::from),
        }
    }

    async fn create(&self, task: &TaskId, body: ContainerCreateBody) -> Result<String, start::Failure> {
        let guard = self.locks.hold(task).await;
        start::run(&self.api, task, body, guard).await
    }

    /// What a started task is, with its addresses. One that shares the host's network has none of its own,
    /// and nothing is asked.
    async fn started(&self, launch: &Launch, id: String) -> Result<Found, RuntimeError> {
        if launch.app.is_host_mode() {
            let started_at = Some(now());
            self.remember(&launch.task, Known { id: id.clone(), started_at, addresses: Vec::new() });
            let (task, status) = (launch.task.clone(), Status::Running);
            return Ok(Found { task, status, started_at, addresses: Vec::new(), handle: id });
        }
        Ok(self.learn(&launch.task, self.inspect(&launch.task).await?))
    }

    fn learn(&self, task: &TaskId, inspected: Inspected) -> Found {
        let Inspected { id, status, started_at, addresses, .. } = inspected;
        self.remember(task, Known { id: id.clone(), started_at, addresses: addresses.clone() });
        Found { task: task.clone(), status, started_at, addresses, handle: id }
    }

    /// One container of a list. Only those that are not known yet, or have ended, are inspected.
    async fn found(&self, task: TaskId, summary: ContainerSummary) -> Result<Option<Found>, RuntimeError> {
        let id = summary.id.unwrap_or_default();
        let known = self.known(&task).filter(|known| known.id == id);
        if let (Some(ContainerSummaryStateEnum::RUNNING), Some(known)) = (summary.state, known) {
            let Known { id, started_at, addresses } = known;
            return Ok(Some(Found { task, status: Status::Running, started_at, addresses, handle: id }));
        }
        match self.inspect(&task).await {
            Ok(inspected) => Ok(Some(self.learn(&task, inspected))),
            // Removed since it was listed.
            Err(RuntimeError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn forget_all_but(&self, tasks: &[Found]) {
        let keep: BTreeMap<&TaskId, ()> = tasks.iter().map(|found| (&found.task, ())).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|task, _| keep.contains_key(task) || self.locks.is_held(task));
    }
}

/// The task that a container's label names.
fn task_of(summary: &ContainerSummary) -> Option<TaskId> {
    let label = summary.labels.as_ref()?.get(TASK_LABEL)?;
    label.parse().inspect_err(|error| tracing::warn!(label, %error, "container of no task")).ok()
}

#[async_trait]
impl Runtime for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        let ours = HashMap::from([("label".to_owned(), vec![format!("{OWNER_LABEL}={}", self.owner)])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&ours).build();
        let summaries = self.api.list_containers(Some(options)).await.map_err(errors::failure)?;
        let tasks: Vec<_> = summaries.into_iter().filter_map(|one| Some((task_of(&one)?, one))).collect();
        let found: Vec<Option<Found>> = stream::iter(tasks)
            .map(|(task, summary)| self.found(task, summary))
            .buffer_unordered(INSPECTIONS)
            .try_collect()
            .await?;
        let found: Vec<Found> = found.into_iter().flatten().collect();
        self.forget_all_but(&found);
        Ok(found)
    }

    async fn launch(&self, launch: &Launch, progress: Progress) -> Result<Found, RuntimeError> {
        let id = self.start(launch, &progress).await?;
        self.started(launch, id).await
    }

    async fn wait(&self, task: &TaskId) -> Result<Exit, RuntimeError> {
        wait::until_ended(&self.api, &container_name(task)).await
    }

    /// `Term` is the stop signal of the image, if it names one (nginx wants SIGQUIT), as `docker stop`.
    async fn signal(&self, task: &TaskId, signal: Signal) -> Result<(), RuntimeError> {
        let name = match signal {
            Signal::Kill => "SIGKILL".to_owned(),
            Signal::Term => {
                let inspected = self.inspect(task).await?;
                if inspected.status != Status::Running {
                    return Ok(());
                }
                inspected.stop_signal.unwrap_or_else(|| "SIGTERM".to_owned())
            }
        };
        let options = KillContainerOptionsBuilder::default().signal(&name).build();
        match self.api.kill_container(&container_name(task), Some(options)).await {
            // Not running.
            Err(error) if errors::is_status(&error, 409) => Ok(()),
            result => result.map_err(errors::of_container),
        }
    }

    async fn remove(&self, task: &TaskId) -> Result<(), RuntimeError> {
        let _no_start_meanwhile = self.locks.hold(task).await;
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.api.remove_container(&container_name(task), Some(options)).await {
            Ok(()) => {}
            // Not there, or being removed already.
            Err(error) if errors::is_status(&error, 404) || errors::is_status(&error, 409) => {}
            Err(error) => return Err(errors::failure(error)),
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(task);
        Ok(())
    }

    async fn usage(&self, tasks: &[TaskId]) -> Vec<(TaskId, Measured)> {
        let mut readings = Vec::with_capacity(tasks.len());
        for task in tasks {
            let Some(known) = self.known(task) else {
                continue;
            };
            if let Some(reading) = usage::read(&self.api, &known.id).await {
                readings.push((task.clone(), reading));
            }
        }
        self.meter.measure(readings)
    }

    async fn exec(&self, task: &TaskId, command: &str) -> Result<i32, RuntimeError> {
        exec::run(&self.api, &container_name(task), command).await
    }

    async fn log(
        &self,
        task: &TaskId,
        file: LogFile,
        tail_lines: Option<u32>,
        follow: bool,
    ) -> Result<LogStream, RuntimeError> {
        // The stream itself would say too late that there is no such container.
        self.inspect(task).await?;
        log::read(&self.api, &container_name(task), file, tail_lines, follow).await
    }
}
