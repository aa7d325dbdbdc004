//! The way a change takes: a plan is made from the state as it is, proposed together with what it was
//! made from, and made anew when that has changed meanwhile.

use std::time::Duration;

use spec::ids::{AppId, DeploymentId, TaskId};
use uuid::Uuid;

use super::answer::Accepted;
use super::context::Api;
use super::failure::Failure;
use crate::cluster::{AskError, Options};
use crate::state::{Command, Deploy, Outcome, PutApp, Refusal, State};

/// How often a plan is made anew before the client is told to try again.
const ATTEMPTS: usize = 5;
/// A change that is not answered for this long is given up; it may still take effect. A master that passes
/// the request on waits longer (`forward::READ_TIMEOUT`), so that it is this master who says so.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(8);

/// What is to change; becomes a [`Deploy`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Change {
    pub put: Vec<PutApp>,
    pub remove: Vec<AppId>,
    pub restart: Vec<AppId>,
    pub kill: Vec<TaskId>,
}

impl Change {
    fn into_deploy(self, options: &Options, force: bool) -> Deploy {
        let ports = &options.features.service_ports;
        Deploy {
            id: DeploymentId(Uuid::new_v4()),
            force,
            put: self.put,
            remove: self.remove,
            restart: self.restart,
            kill: self.kill,
            service_ports: (*ports.start(), *ports.end()),
        }
    }
}

/// Plans and proposes until it is accepted, refused for good, or has changed too often. What the last
/// plan carried comes back with the deployment.
pub(super) async fn deploy<T>(
    api: &Api,
    force: bool,
    plan: impl Fn(&State) -> Result<(Change, T), Failure>,
) -> Result<(Accepted, T), Failure> {
    in_time(attempts(api, force, plan)).await
}

async fn attempts<T>(
    api: &Api,
    force: bool,
    plan: impl Fn(&State) -> Result<(Change, T), Failure>,
) -> Result<(Accepted, T), Failure> {
    let (mut last, mut looked_again) = (Failure::internal(), false);
    for _ in 0..ATTEMPTS {
        let planned = plan(&api.cluster.state());
        if planned.is_err() && !looked_again {
            // No log has a say in it: a master that does not lead any more must not refuse.
            api.current().await?;
            looked_again = true;
            continue;
        }
        let (change, carried) = planned?;
        let command = Command::Deploy(change.into_deploy(&api.cluster.options, force));
        match api.cluster.ask(command).await? {
            Outcome::Deployed { id, version } => return Ok((Accepted { id, version }, carried)),
            // What the plan saw is no longer so: look again.
            Outcome::Refused(refusal @ (Refusal::Changed(_) | Refusal::AppExists(_))) => {
                last = refusal.into();
            }
            Outcome::Refused(refusal) => return Err(refusal.into()),
            Outcome::Done | Outcome::Registered { .. } | Outcome::MasterAdded { .. } => {
                return Err(Failure::internal());
            }
        }
    }
    Err(last)
}

/// Does not wait for a change for ever.
pub(super) async fn in_time<T, E: Into<Failure>>(
    change: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(ASK_TIMEOUT, change).await {
        Ok(changed) => changed.map_err(Into::into),
        Err(_) => Err(AskError::TimedOut.into()),
    }
}

/// Proposes a command.
pub(super) async fn ask(api: &Api, command: Command) -> Result<Outcome, Failure> {
    in_time(api.cluster.ask(command)).await
}

/// Proposes a command whose success says nothing.
pub(super) async fn ask_done(api: &Api, command: Command) -> Result<(), Failure> {
    match ask(api, command).await? {
        Outcome::Refused(refusal) => Err(refusal.into()),
        Outcome::Done
        | Outcome::Deployed { .. }
        | Outcome::Registered { .. }
        | Outcome::MasterAdded { .. } => Ok(()),
    }
}
