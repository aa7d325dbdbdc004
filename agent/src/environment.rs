//! The environment of a task, exactly as Marathon makes it (reference section 4.1). Pure.
//!
//! Later rows override earlier ones: context, then ports and `HOST`, then the app's own `env`. References
//! to secrets are not injected: Marathon leaves that to a plugin, and without one nothing is set.

use std::collections::{BTreeMap, BTreeSet};

use spec::app::{App, ContainerType, EnvValue};
use spec::ids::TaskId;

/// Longest label value and, less the prefix, longest label key that become variables (Marathon's 512).
const VARIABLE_LENGTH_MAX: usize = 512;
/// Length of `MARATHON_APP_LABEL_`.
const LABEL_PREFIX_LENGTH: usize = 19;
/// Ports that are made up for a task begin here: those below need privileges.
const GENERATED_PORT_MIN: u16 = 1025;

/// What the environment is made from.
#[derive(Clone, Copy, Debug)]
pub struct EnvInput<'a> {
    /// The task.
    pub task: &'a TaskId,
    /// Its definition.
    pub app: &'a App,
    /// Allocated host ports, in the order of the declared ports that get one.
    pub host_ports: &'a [u16],
    /// `HOST`.
    pub hostname: &'a str,
    /// `MESOS_SANDBOX`: the sandbox as the task itself sees it.
    pub sandbox: &'a str,
    /// `MESOS_SLAVE_ID`.
    pub agent: &'a str,
    /// `MESOS_FRAMEWORK_ID`: the cluster stands in for Marathon's framework.
    pub cluster: &'a str,
    /// Prefix of port variables and `HOST` (Marathon's `--env_vars_prefix`); empty for none.
    pub prefix: &'a str,
}

/// The complete environment of a task.
pub fn environment(input: &EnvInput<'_>) -> BTreeMap<String, String> {
    let mut env = context(input);
    env.extend(labels(&input.app.labels));
    let mut prefixed = ports(input.app, &task_ports(input.task, input.app, input.host_ports));
    prefixed.insert("HOST".to_owned(), input.hostname.to_owned());
    env.extend(prefixed.into_iter().map(|(name, value)| (format!("{}{name}", input.prefix), value)));
    env.extend(input.app.env.iter().filter_map(|(name, value)| match value {
        EnvValue::Plain(text) => Some((name.clone(), text.clone())),
        EnvValue::Secret { .. } => None,
    }));
    env
}

fn context(input: &EnvInput<'_>) -> BTreeMap<String, String> {
    let app = input.app;
    let task = input.task.to_string();
    let mut env = vec![
        ("MESOS_TASK_ID", task.clone()),
        ("MESOS_EXECUTOR_ID", task),
        ("MESOS_SLAVE_ID", input.agent.to_owned()),
        ("MESOS_FRAMEWORK_ID", input.cluster.to_owned()),
        ("MESOS_SANDBOX", input.sandbox.to_owned()),
        ("MARATHON_APP_ID", app.id.to_string()),
        ("MARATHON_APP_VERSION", app.version.to_string()),
        ("MARATHON_APP_RESOURCE_CPUS", java_double(app.cpus)),
        ("MARATHON_APP_RESOURCE_MEM", java_double(app.mem)),
        ("MARATHON_APP_RESOURCE_DISK", java_double(app.disk)),
        ("MARATHON_APP_RESOURCE_GPUS", app.gpus.to_string()),
        // Group roles are not enforced here: `enforceRole` is not acted on.
        ("MARATHON_APP_ENFORCE_GROUP_ROLE", "FALSE".to_owned()),
    ];
    env.extend(docker_image(app).map(|image| ("MARATHON_APP_DOCKER_IMAGE", image.to_owned())));
    env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Only of DOCKER containers, not of images run by Mesos' own containerizer.
fn docker_image(app: &App) -> Option<&str> {
    let container = app.container.as_ref().filter(|container| container.kind == ContainerType::Docker)?;
    container.docker.as_ref().map(|docker| docker.image.as_str())
}

fn labels(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let valid: BTreeMap<String, &String> = labels
        .iter()
        .filter(|(key, value)| {
            key.chars().count() < VARIABLE_LENGTH_MAX - LABEL_PREFIX_LENGTH
                && value.chars().count() < VARIABLE_LENGTH_MAX
        })
        .map(|(key, value)| (variable_of_label(key), value))
        .collect();
    let names = valid.keys().map(String::as_str).collect::<Vec<_>>().join(" ");
    let mut env: BTreeMap<String, String> =
        valid.iter().map(|(key, value)| (format!("MARATHON_APP_LABEL_{key}"), (*value).clone())).collect();
    env.insert("MARATHON_APP_LABELS".to_owned(), names);
    env
}

/// Every run of characters that a variable's name may not have becomes one `_`, then upper case.
fn variable_of_label(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    let mut in_run = false;
    for c in key.chars() {
        let allowed = c.is_ascii_alphanumeric() || c == '_';
        if allowed {
            name.push(c.to_ascii_uppercase());
        } else if !in_run {
            name.push('_');
        }
        in_run = !allowed;
    }
    name
}

/// One declared port of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskPort {
    /// As declared: container port of a mapping, service port of a definition. 0: none given.
    pub declared: u16,
    /// Allocated on the host.
    pub host: Option<u16>,
    /// What the task listens on as far as it is told: host port, else container port, else made up.
    pub effective: u16,
}

impl TaskPort {
    /// The number was made up: nobody gave one.
    fn is_generated(&self) -> bool {
        self.host.is_none() && self.declared == 0
    }
}

/// The declared ports of a task. A container port 0 without a host port gets a number that follows from
/// the task's id, so that the environment and the checks agree without storing it.
pub fn task_ports(task: &TaskId, app: &App, host_ports: &[u16]) -> Vec<TaskPort> {
    let declared = app.ports();
    let mut allocated = host_ports.iter().copied();
    let mut ports: Vec<TaskPort> = declared
        .iter()
        .map(|port| {
            let host = if port.host == spec::app::HostPort::None { None } else { allocated.next() };
            let declared = port.container_port.unwrap_or(port.service_port);
            TaskPort { declared, host, effective: host.unwrap_or(declared) }
        })
        .collect();
    let mut used: BTreeSet<u16> = ports.iter().flat_map(|port| [port.declared, port.effective]).collect();
    let mut seed = seed_of(task);
    for port in ports.iter_mut().filter(|port| port.is_generated()) {
        port.effective = generate(&mut seed, &mut used);
    }
    ports
}

fn seed_of(task: &TaskId) -> u64 {
    let (high, low) = task.instance.uuid.as_u64_pair();
    high ^ low.rotate_left(32) ^ u64::from(task.incarnation)
}

/// A port that is not used yet. Ends: an app's ports are far fewer than there are numbers; should they
/// all be taken, the last one tried is shared.
fn generate(seed: &mut u64, used: &mut BTreeSet<u16>) -> u16 {
    let span = u64::from(u16::MAX - GENERATED_PORT_MIN) + 1;
    let first = splitmix(seed) % span;
    let port_at = |step: u64| GENERATED_PORT_MIN + u16::try_from((first + step) % span).unwrap_or(0);
    let port = (0..span).map(port_at).find(|port| !used.contains(port)).unwrap_or_else(|| port_at(0));
    used.insert(port);
    port
}

/// SplitMix64: spreads the seed over all bits.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn ports(app: &App, ports: &[TaskPort]) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    if ports.is_empty() {
        return env;
    }
    for (index, (port, declared)) in ports.iter().zip(app.ports()).enumerate() {
        let value = port.effective.to_string();
        let number = if port.declared == 0 { port.effective } else { port.declared };
        env.insert(format!("PORT{index}"), value.clone());
        env.insert(format!("PORT_{number}"), value.clone());
        // Upper-cased only, hyphens stay: as Marathon.
        env.extend(declared.name.map(|name| (format!("PORT_{}", name.to_uppercase()), value)));
    }
    let assigned = ports.iter().filter_map(|port| port.host);
    let generated = ports.iter().filter(|port| port.is_generated()).map(|port| port.effective);
    let all: Vec<String> = assigned.chain(generated).map(|port| port.to_string()).collect();
    env.extend(all.first().map(|port| ("PORT".to_owned(), port.clone())));
    env.insert("PORTS".to_owned(), all.join(","));
    env
}

/// `Double.toString` of the JVM: `1.0`, `0.1`, and `1.0E7` or `1.0E-4` outside of [10^-3, 10^7).
fn java_double(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) || !value.is_finite() {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text.replace('e', "E"),
    }
}

#[cfg(test)]
#[path = "environment_tests.rs"]
pub(crate) mod tests;
