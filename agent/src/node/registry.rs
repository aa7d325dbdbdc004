//! The runtimes that an agent has: which were asked for, which answer, and why the others do not.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use spec::protocol::Runtimes;

use crate::core::RuntimeKind;
use crate::options::{Options, RuntimeChoice};
use crate::runtime::Runtime;
use crate::runtime::docker::Docker;
use crate::runtime::hollow::Hollow;
use crate::runtime::process::Process;

/// The runtimes of one agent.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    present: BTreeMap<RuntimeKind, Arc<dyn Runtime>>,
    missing: BTreeMap<RuntimeKind, String>,
    /// The host's address on Docker's bridge.
    pub(super) bridge: Option<IpAddr>,
}

impl Registry {
    /// What `options` ask for. `owner` names the agent's directory.
    pub async fn detect(options: &Options, owner: &str, root: &Path) -> Self {
        let mut registry = Self::default();
        match options.runtime {
            RuntimeChoice::Hollow => {
                registry.add(RuntimeKind::Hollow, Arc::new(Hollow::new(options.hollow)));
            }
            RuntimeChoice::Docker => {
                registry.try_docker(options, owner).await;
                registry.lacks(RuntimeKind::Process, "the agent was started with --runtime docker");
            }
            RuntimeChoice::Process => {
                registry.try_process(options, root);
                registry.lacks(RuntimeKind::Docker, "the agent was started with --runtime process");
            }
            RuntimeChoice::Auto => {
                registry.try_docker(options, owner).await;
                registry.try_process(options, root);
            }
        }
        registry
    }

    /// Exactly these.
    pub fn of(runtimes: impl IntoIterator<Item = (RuntimeKind, Arc<dyn Runtime>)>) -> Self {
        let mut registry = Self::default();
        registry.lacks(RuntimeKind::Docker, "not chosen");
        registry.lacks(RuntimeKind::Process, "not chosen");
        for (kind, runtime) in runtimes {
            registry.add(kind, runtime);
        }
        registry
    }

    async fn try_docker(&mut self, options: &Options, owner: &str) {
        match docker(options, owner).await {
            Ok((runtime, bridge)) => {
                self.bridge = bridge;
                self.add(RuntimeKind::Docker, runtime);
            }
            Err(reason) => self.lacks(RuntimeKind::Docker, &reason),
        }
    }

    fn try_process(&mut self, options: &Options, root: &Path) {
        match Process::open(root, options.shim.clone()) {
            Ok(process) => self.add(RuntimeKind::Process, Arc::new(process)),
            Err(error) => self.lacks(RuntimeKind::Process, &error.to_string()),
        }
    }

    pub(super) fn add(&mut self, kind: RuntimeKind, runtime: Arc<dyn Runtime>) {
        self.missing.remove(&kind);
        self.present.insert(kind, runtime);
    }

    fn lacks(&mut self, kind: RuntimeKind, reason: &str) {
        self.missing.insert(kind, reason.to_owned());
    }

    /// The runtime of a kind, if there is one.
    pub(super) fn get(&self, kind: RuntimeKind) -> Option<Arc<dyn Runtime>> {
        self.present.get(&kind).cloned()
    }

    /// Every runtime.
    pub(super) fn all(&self) -> impl Iterator<Item = (RuntimeKind, &Arc<dyn Runtime>)> {
        self.present.iter().map(|(kind, runtime)| (*kind, runtime))
    }

    /// Is there nothing to measure while no task starts or ends?
    pub(super) fn uses_constantly(&self) -> bool {
        !self.present.is_empty() && self.present.values().all(|runtime| runtime.uses_constantly())
    }

    /// What is said of them to the leader.
    pub(super) fn offered(&self) -> Runtimes {
        let missing = |kind| self.missing.get(&kind).cloned();
        let hollow = self.present.contains_key(&RuntimeKind::Hollow);
        let reason = || hollow.then(|| "everything is simulated".to_owned());
        Runtimes {
            docker: missing(RuntimeKind::Docker).or_else(reason),
            process: missing(RuntimeKind::Process).or_else(reason),
            hollow,
        }
    }

    /// Is Docker asked for and away?
    pub(super) fn awaits_docker(&self, choice: RuntimeChoice) -> bool {
        let wanted = matches!(choice, RuntimeChoice::Auto | RuntimeChoice::Docker);
        wanted
            && !self.present.contains_key(&RuntimeKind::Docker)
            && !self.present.contains_key(&RuntimeKind::Hollow)
    }
}

/// Connects to Docker and makes sure that it answers.
pub(super) async fn docker(
    options: &Options,
    owner: &str,
) -> Result<(Arc<dyn Runtime>, Option<IpAddr>), String> {
    let docker =
        Docker::connect(options.docker_socket.clone(), owner).await.map_err(|error| error.to_string())?;
    docker.list().await.map_err(|error| error.to_string())?;
    let bridge = docker.bridge_gateway().await;
    Ok((Arc::new(docker), bridge))
}
