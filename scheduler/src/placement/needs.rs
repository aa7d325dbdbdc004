//! What one task of an app needs of an agent, worked out once and then tried on many.

use spec::app::{App, ContainerType, HostPort};
use spec::protocol::AgentInfo;
use spec::resources::Resources;

use super::Reason;
use super::crowds::Crowds;
use super::index::Block;
use super::ports;
use super::rules::{Rule, Verdict};
use super::site::Site;
use crate::state::Presence;

/// The needs of one task.
#[derive(Clone, Debug)]
pub(super) struct Needs {
    pub(super) resources: Resources,
    pub(super) ports: Vec<HostPort>,
    pub(super) fixed_ports: Vec<u16>,
    pub(super) rules: Vec<Rule>,
    runtime: Runtime,
    /// Roles whose resources the app accepts, when it does not accept what nobody has reserved.
    pub(super) foreign_roles: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runtime {
    Docker,
    Process,
}

/// Which host ports are meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum PortsAsked<'a> {
    /// Any that answer the app's ports.
    Any,
    /// Exactly these.
    Given(&'a [u16]),
}

impl Needs {
    /// The needs of one task of `app`.
    pub(super) fn of(app: &App) -> Self {
        let ports = ports::asked(app);
        Self {
            resources: app.resources(),
            fixed_ports: ports::fixed(&ports),
            ports,
            rules: Rule::all_of(app),
            runtime: runtime_of(app),
            foreign_roles: foreign_roles(app),
        }
    }

    /// Every reason why the task cannot go there, in funnel order, found as they are asked for.
    pub(super) fn reasons<'a>(
        &'a self,
        site: &'a Site<'_>,
        crowds: &'a Crowds,
        asked: PortsAsked<'a>,
    ) -> impl Iterator<Item = Reason> + 'a {
        Reason::ALL.into_iter().filter(move |reason| self.holds(*reason, site, crowds, asked))
    }

    /// Is there no agent at all that could take it, whatever it has?
    pub(super) fn are_impossible(&self) -> bool {
        self.foreign_roles.is_some() || ports::has_duplicates(&self.fixed_ports)
    }

    /// The agents of a block that are there and can run this kind of task.
    pub(super) fn runnable(&self, block: &Block) -> u64 {
        block.connected & self.able(block)
    }

    /// Those that can run it, there or not.
    pub(super) fn able(&self, block: &Block) -> u64 {
        match self.runtime {
            Runtime::Docker => block.docker,
            Runtime::Process => block.process,
        }
    }

    /// Is one task's place another's? Not where its constraints count the tasks of an app.
    pub(super) fn are_like(&self, other: &Self) -> bool {
        let keys = |needs: &Self| needs.rules.iter().map(Rule::key).collect::<Vec<_>>();
        let counts = self.rules.iter().chain(&other.rules).any(Rule::counts);
        !counts
            && self.resources == other.resources
            && self.ports == other.ports
            && self.runtime == other.runtime
            && self.foreign_roles == other.foreign_roles
            && keys(self) == keys(other)
    }

    fn holds(&self, reason: Reason, site: &Site<'_>, crowds: &Crowds, asked: PortsAsked<'_>) -> bool {
        let (needed, free) = (&self.resources, &site.free);
        match reason {
            Reason::UnfulfilledRole => self.foreign_roles.is_some(),
            Reason::UnfulfilledConstraint => {
                self.runtime_missing(&site.agent.info).is_some()
                    || self.broken_rules(&site.agent.info, crowds).next().is_some()
            }
            // A lost agent takes nothing; the nearest word that Marathon has.
            Reason::AgentMaintenance => site.agent.presence != Presence::Connected,
            Reason::InsufficientCpus => needed.cpus_milli > free.cpus_milli,
            Reason::InsufficientMemory => needed.mem_mib > free.mem_mib,
            Reason::InsufficientDisk => needed.disk_mib > free.disk_mib,
            Reason::InsufficientGpus => needed.gpus > free.gpus,
            Reason::InsufficientPorts => match asked {
                PortsAsked::Any => !ports::are_there(&self.ports, site),
                PortsAsked::Given(given) => !ports::are_right(&self.ports, given, site),
            },
            // Nothing is reserved for one app yet, and agents with GPUs are only ranked lower.
            Reason::NoCorrespondingReservationFound | Reason::DeclinedScarceResources => false,
        }
    }

    /// Why the agent cannot run this kind of task at all.
    pub(super) fn runtime_missing(&self, info: &AgentInfo) -> Option<String> {
        let (name, answer) = match self.runtime {
            Runtime::Docker => ("Docker", &info.runtimes.docker),
            Runtime::Process => ("process runtime", &info.runtimes.process),
        };
        let why = answer.as_ref().filter(|_| !info.runtimes.hollow)?;
        Some(format!("no {name} on this agent: {why}"))
    }

    /// The constraints that one more task there would break.
    pub(super) fn broken_rules<'a>(
        &'a self,
        info: &'a AgentInfo,
        crowds: &'a Crowds,
    ) -> impl Iterator<Item = &'a Rule> + 'a {
        let is_broken = |(index, rule): &(usize, &Rule)| {
            rule.verdict_among(rule.value_on(info).as_deref(), crowds.at(*index)) != Verdict::Yes
        };
        self.rules.iter().enumerate().filter(is_broken).map(|(_, rule)| rule)
    }
}

fn runtime_of(app: &App) -> Runtime {
    let needs_image = |container: &spec::app::Container| {
        container.kind == ContainerType::Docker || container.docker.is_some()
    };
    if app.container.as_ref().is_some_and(needs_image) { Runtime::Docker } else { Runtime::Process }
}

/// Agents offer what nobody has reserved (role `*`); an app may accept only what is reserved for some
/// role, and then no agent will do.
fn foreign_roles(app: &App) -> Option<Vec<String>> {
    let accepted = app.accepted_resource_roles.as_ref()?;
    let is_foreign = !accepted.is_empty() && !accepted.iter().any(|role| role == "*");
    is_foreign.then(|| accepted.clone())
}
