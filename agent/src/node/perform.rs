//! Does what the core says, and tells it what happened.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use spec::ids::{AgentId, TaskId};
use spec::protocol::{AgentMessage, OpenLog};
use spec::time::Timestamp;
use tokio::time::Instant;
use tracing::{error, info};

use super::works::Event;
use super::{AgentError, Node, RUNTIME_PAUSE, logs, registry};
use crate::checks::plan::plans;
use crate::core::{Effect, LaunchOrder, RuntimeKind};
use crate::environment::{EnvInput, environment};
use crate::identity::{DiskError, Identity};
use crate::runtime::key::task_key;
use crate::runtime::{Found, Launch, Runtime, docker};

/// Where processes look for programs, unless the app says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a disk that cannot be written is waited for.
const DISK_PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const DISK_PAUSE: Duration = Duration::from_secs(1);

impl Node {
    /// Takes over what an earlier run left: records, then what each runtime has, then sandboxes.
    pub(super) async fn take_over(&mut self) -> Result<(), AgentError> {
        let mut identity = self.identity.clone();
        identity.resolver = self.resolver.addresses.host.or(identity.resolver);
        self.save(identity).await?;
        let (mut records, now) = (self.disk.records()?, self.now());
        for record in &mut records {
            record.app = record.app.take().map(|app| self.line.company.definitions.share(app));
        }
        let effects = self.core.restore(records, now);
        self.perform(effects).await?;
        let runtimes: Vec<_> = self.registry.all().map(|(kind, runtime)| (kind, runtime.clone())).collect();
        for (kind, runtime) in runtimes {
            match runtime.list().await {
                Ok(found) => {
                    let now = self.now();
                    let effects = self.core.found(kind, found, now);
                    self.perform(effects).await?;
                }
                Err(error) => {
                    info!(runtime = %kind, %error, "cannot list tasks yet; trying again");
                    self.list_later(kind);
                }
            }
        }
        if self.registry.awaits_docker(self.options.runtime) {
            self.list_later(RuntimeKind::Docker);
        }
        self.take_over_sandboxes().await
    }

    /// Asks a runtime that did not answer until it does.
    fn list_later(&mut self, kind: RuntimeKind) {
        let (options, owner) = (self.options.clone(), self.identity.owner.to_string());
        let (present, events) = (self.registry.get(kind), self.works.events());
        self.works.spawn(async move {
            loop {
                tokio::time::sleep(RUNTIME_PAUSE).await;
                let runtime = match &present {
                    Some(runtime) => Ok((runtime.clone(), None)),
                    None => registry::docker(&options, &owner).await,
                };
                if let Ok((runtime, bridge)) = runtime
                    && let Ok(found) = runtime.list().await
                {
                    return drop(events.send(Event::Listed { kind, runtime, found, bridge }).await);
                }
            }
        });
    }

    /// Sandboxes of tasks that are not known any more ended when they were last changed, as far as anyone
    /// knows. Names that are no task's are left alone.
    async fn take_over_sandboxes(&mut self) -> Result<(), AgentError> {
        let live: std::collections::BTreeSet<String> =
            self.core.hello().0.iter().map(|report| task_key(&report.task)).collect();
        let names = self.disk.sandboxes().names().unwrap_or_default();
        let tasks =
            names.into_iter().filter(|name| !live.contains(name)).filter_map(|name| name.parse().ok());
        let ended = tasks.filter_map(|task: TaskId| {
            let changed = std::fs::metadata(self.disk.sandboxes().path(&task)).ok()?.modified().ok()?;
            let millis = changed.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis();
            Some((task, Timestamp::from_millis(u64::try_from(millis).ok()?)))
        });
        let (ended, now) = (ended.collect(), self.now());
        let effects = self.core.found_sandboxes(ended, now);
        self.perform(effects).await
    }

    /// Changes the identity; durable when this returns. A disk that is full is waited for, with everything
    /// that would have followed; for long, that is an agent that only seems to work, and it ends.
    pub(super) async fn save(&mut self, identity: Identity) -> Result<(), AgentError> {
        if identity == self.identity {
            return Ok(());
        }
        self.identity = identity;
        let deadline = Instant::now() + DISK_PATIENCE;
        while let Err(error) = self.try_save().await {
            if Instant::now() > deadline || self.shutdown.is_cancelled() {
                return Err(error.into());
            }
            error!(%error, "the agent's disk cannot be written; nothing is done until it can");
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                () = tokio::time::sleep(DISK_PAUSE) => {}
            }
        }
        Ok(())
    }

    async fn try_save(&self) -> Result<(), DiskError> {
        if self.disk.is_quick() {
            return self.disk.save_identity(&self.identity);
        }
        let (disk, identity) = (self.disk.clone(), self.identity.clone());
        let saving = tokio::task::spawn_blocking(move || disk.save_identity(&identity));
        // The closure does not panic, and nobody aborts it.
        saving.await.unwrap_or(Ok(()))
    }

    /// Does everything in order. What has to be durable first is made so once, for all of it.
    pub(super) async fn perform(&mut self, effects: Vec<Effect>) -> Result<(), AgentError> {
        let kept = effects.iter().rev().find_map(|effect| match effect {
            Effect::Persist(kept) => Some(*kept),
            _ => None,
        });
        if let Some(kept) = kept {
            let identity = Identity { kept, ..self.identity.clone() };
            self.save(identity).await?;
        }
        for effect in effects {
            self.perform_one(effect);
        }
        Ok(())
    }

    fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(_) => {}
            Effect::Record(record) => {
                if let Err(error) = self.disk.save_record(&record) {
                    error!(task = %record.task, %error, "a task's record was not kept");
                }
            }
            Effect::Forget(task) => {
                self.works.forget(&task);
                if let Err(error) = self.disk.remove_record(&task) {
                    error!(%task, %error, "a task's record was not removed");
                }
            }
            Effect::Launch(order) => self.launch(order),
            Effect::CancelLaunch(task) => self.works.cancel_launch(&task),
            Effect::Watch { task, runtime } => {
                if let Some(runtime) = self.registry.get(runtime) {
                    self.works.watch(runtime, task);
                }
            }
            Effect::Signal { task, runtime, signal } => {
                if let Some(runtime) = self.registry.get(runtime) {
                    self.works.signal(runtime, task, signal);
                }
            }
            Effect::Remove { task, runtime } => self.remove(task, runtime),
            Effect::StartChecks(target) => {
                if let Some(runtime) = self.registry.get(target.runtime) {
                    self.works.start_checks(&runtime, &target.task, plans(&target, self.options.ip));
                }
            }
            Effect::StopChecks(task) => self.works.stop_checks(&task),
            Effect::DropSandbox(task) => {
                let disk = self.disk.clone();
                self.works.spawn_blocking(move || {
                    if let Err(error) = disk.sandboxes().remove(&task) {
                        info!(%task, %error, "a sandbox could not be removed");
                    }
                });
            }
        }
    }

    fn launch(&mut self, order: LaunchOrder) {
        let Some(runtime) = self.registry.get(order.runtime) else {
            // Restored for a runtime that is away: asked again like one that does not answer.
            let error = crate::runtime::RuntimeError::Unavailable(format!("no {} runtime", order.runtime));
            let (events, task) = (self.works.events(), order.task);
            return self
                .works
                .spawn(async move { drop(events.send(Event::LaunchFailed(task, error)).await) });
        };
        let (agent, sandbox) = (self.agent_id(), self.disk.sandboxes().path(&order.task));
        // Nobody reads that of what is simulated.
        let real = order.runtime != RuntimeKind::Hollow;
        let mut env = if real { self.environment(&order, &agent, &sandbox) } else { BTreeMap::new() };
        let LaunchOrder { task, app, host_ports, .. } = order;
        if order.runtime == RuntimeKind::Process {
            // As Mesos' executor: what a command starts must find its programs.
            env.entry("PATH".to_owned()).or_insert_with(|| PATH.to_owned());
        }
        let resolvers = self.resolver.addresses;
        let launch = Launch { task, app, host_ports, env, agent, sandbox, resolvers };
        self.works.launch(runtime, launch, self.disk.clone());
    }

    fn environment(&self, order: &LaunchOrder, agent: &AgentId, sandbox: &Path) -> BTreeMap<String, String> {
        let inside = match order.runtime {
            RuntimeKind::Docker => docker::SANDBOX.to_owned(),
            RuntimeKind::Process | RuntimeKind::Hollow => sandbox.display().to_string(),
        };
        environment(&EnvInput {
            task: &order.task,
            app: &order.app,
            host_ports: &order.host_ports,
            hostname: &self.info.hostname,
            sandbox: &inside,
            agent: agent.as_str(),
            cluster: &self.identity.cluster_id.map(|id| id.to_string()).unwrap_or_default(),
            prefix: &self.options.env_vars_prefix,
        })
    }

    fn remove(&mut self, task: TaskId, kind: RuntimeKind) {
        match self.registry.get(kind) {
            Some(runtime) => {
                let sandbox = self.disk.sandboxes().path(&task);
                self.works.remove(runtime, task, sandbox);
            }
            None => {
                let events = self.works.events();
                self.works.spawn(async move { drop(events.send(Event::RemoveFailed(task)).await) });
            }
        }
    }

    /// Tells the core what happened.
    pub(super) async fn on_event(&mut self, event: Event) -> Result<(), AgentError> {
        self.unreported += 1;
        self.stirs += u64::from(event.stirs());
        let now = self.now();
        let effects = match event {
            Event::Launched(found) => {
                self.works.launch_over(&found.task);
                self.core.launched(found, now)
            }
            Event::LaunchFailed(task, error) => {
                self.works.launch_over(&task);
                info!(%task, %error, "launch failed");
                self.core.launch_failed(&task, &error, now)
            }
            Event::LaunchCancelled(task) => {
                self.works.launch_over(&task);
                self.core.launch_cancelled(&task, now)
            }
            Event::Progress(task, message) => self.core.progress(&task, &message, now),
            Event::Exited(task, exit) => self.core.exited(&task, &exit, now),
            Event::Vanished(task) => self.core.vanished(&task, now),
            Event::Removed(task) => self.core.removed(&task, now),
            Event::RemoveFailed(task) => self.core.remove_failed(&task, now),
            Event::Probed(task, key, probed) => self.core.probed(&task, &key, &probed, now),
            Event::Listed { kind, runtime, found, bridge } => {
                self.resolver.reach(bridge).await;
                self.on_listed(kind, runtime, found).await
            }
            Event::Dialled { attempt, stream, turn } => {
                return self.on_dialled(attempt, stream, turn);
            }
            Event::Leads { leader, term } => {
                self.on_leads(leader, term);
                return Ok(());
            }
            Event::Measured { usage, stirs } => {
                self.say_if_room(|told| told.news(usage, stirs));
                return Ok(());
            }
            Event::LogEnded(stream) => {
                self.logs.remove(&stream);
                return Ok(());
            }
        };
        self.perform(effects).await
    }

    /// A runtime that had not answered does: what it has is taken over, and the leader told of it.
    async fn on_listed(
        &mut self,
        kind: RuntimeKind,
        runtime: Arc<dyn Runtime>,
        found: Vec<Found>,
    ) -> Vec<Effect> {
        info!(runtime = %kind, "this runtime answers now");
        self.registry.add(kind, runtime);
        self.core.offer(self.registry.offered());
        let now = self.now();
        let effects = self.core.found(kind, found, now);
        if self.info.runtimes != self.registry.offered() {
            self.info.runtimes = self.registry.offered();
            self.redial();
        }
        effects
    }

    /// Begins to send a task's log.
    pub(super) fn open_log(&mut self, request: OpenLog) {
        let Some(outgoing) = self.line.outgoing() else {
            return;
        };
        let stream = request.stream;
        if self.logs.len() >= logs::STREAMS_MAX {
            let error = Some(format!("this agent already reads {} logs", logs::STREAMS_MAX));
            self.works
                .spawn(async move { drop(outgoing.send(AgentMessage::LogEnd { stream, error }).await) });
            return;
        }
        let runtime = self.core.runtime_of(&request.task).and_then(|kind| self.registry.get(kind));
        let (sandbox, events) = (self.disk.sandboxes().path(&request.task), self.works.events());
        let reading = logs::Reading::start(|window| async move {
            logs::send(request, runtime, sandbox, outgoing, window).await;
            let _ = events.send(Event::LogEnded(stream)).await;
        });
        self.logs.insert(stream, reading);
    }
}
