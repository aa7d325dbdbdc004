//! A complete, valid document becomes an [`App`]: constant defaults, and what Marathon's own conversion
//! drops because it has no meaning where it stands. What validation should have refused is refused here
//! once more rather than trusted.

use crate::app::model::*;
use crate::app::raw::{RawApp, RawContainer, RawLimit, RawLimits};
use crate::ids::AppId;
use crate::time::Timestamp;
use crate::violation::{Violation, Violations};

/// The app that `raw` describes.
pub(in crate::app) fn finish(raw: RawApp) -> Result<App, Violations> {
    build(raw).map_err(|violation| Violations::invalid(vec![violation]))
}

fn build(raw: RawApp) -> Result<App, Violation> {
    let id = raw.id.as_deref().unwrap_or_default();
    Ok(App {
        id: AppId::parse(id).map_err(|error| Violation::new("/id", error.to_string()))?,
        accepted_resource_roles: raw.accepted_resource_roles,
        args: raw.args.unwrap_or_default(),
        backoff_factor: raw.backoff_factor.unwrap_or(1.15),
        backoff_seconds: raw.backoff_seconds.unwrap_or(1),
        check: raw.check,
        cmd: raw.cmd,
        constraints: constraints(raw.constraints.unwrap_or_default())?,
        container: raw.container.map(container),
        cpus: raw.cpus.unwrap_or(1.0),
        dependencies: raw.dependencies.unwrap_or_default(),
        disk: raw.disk.unwrap_or(0.0),
        env: raw.env.unwrap_or_default(),
        executor: raw.executor.unwrap_or_default(),
        executor_resources: raw.executor_resources,
        fetch: raw.fetch.unwrap_or_default(),
        gpus: raw.gpus.unwrap_or(0),
        health_checks: raw.health_checks.unwrap_or_default().into_iter().map(health_check).collect(),
        instances: raw.instances.unwrap_or(1),
        kill_selection: raw.kill_selection.unwrap_or(KillSelection::YoungestFirst),
        labels: raw.labels.unwrap_or_default(),
        max_launch_delay_seconds: raw.max_launch_delay_seconds.unwrap_or(300),
        mem: raw.mem.unwrap_or(128.0),
        networks: raw.networks.unwrap_or_default(),
        port_definitions: raw.port_definitions,
        readiness_checks: raw.readiness_checks.unwrap_or_default(),
        require_ports: raw.require_ports.unwrap_or(false),
        residency: raw.residency,
        resource_limits: raw.resource_limits.map(limits).transpose()?,
        role: raw.role.unwrap_or_default(),
        secrets: raw.secrets.unwrap_or_default(),
        task_kill_grace_period_seconds: raw.task_kill_grace_period_seconds,
        tty: raw.tty,
        unreachable_strategy: raw.unreachable_strategy.unwrap_or(UnreachableStrategy::Disabled),
        upgrade_strategy: raw.upgrade_strategy.unwrap_or(FULL_UPGRADE),
        user: raw.user,
        version: Timestamp::default(),
        version_info: None,
    })
}

const FULL_UPGRADE: UpgradeStrategy =
    UpgradeStrategy { maximum_over_capacity: 1.0, minimum_health_capacity: 1.0 };

/// Marathon reads operators in any case here and then fails to convert them; we keep the upper case.
fn constraints(raw: Vec<Vec<String>>) -> Result<Vec<Constraint>, Violation> {
    let parse = |(n, parts): (usize, Vec<String>)| {
        constraint(parts)
            .ok_or_else(|| Violation::new(format!("/constraints({n})"), "illegal constraint specification"))
    };
    let parsed: Result<Vec<Constraint>, Violation> = raw.into_iter().enumerate().map(parse).collect();
    parsed.map(crate::app::read::node::distinct)
}

fn constraint(parts: Vec<String>) -> Option<Constraint> {
    let mut parts = parts.into_iter();
    let (field, operator) = (parts.next()?, parts.next()?);
    let operator = Operator::from_name(&operator.to_uppercase())?;
    Some(Constraint { field, operator, value: parts.next() })
}

fn container(raw: RawContainer) -> Container {
    let is_docker = raw.kind == ContainerType::Docker;
    let image = |mut image: DockerImage| {
        // Only the Docker engine knows privileged containers (reference section 2.5).
        image.privileged &= is_docker;
        image
    };
    Container {
        kind: raw.kind,
        docker: raw.docker.map(|docker| image(docker.image)),
        volumes: raw.volumes,
        port_mappings: raw.port_mappings,
        linux_info: raw.linux_info,
    }
}

/// Each protocol keeps what it uses (reference section 2.8).
fn health_check(mut check: HealthCheck) -> HealthCheck {
    use HealthProtocol::*;
    let is_http = matches!(check.protocol, Http | Https);
    check.ignore_http1xx = is_http.then(|| check.ignore_http1xx.unwrap_or(false));
    match check.protocol {
        Command => (check.path, check.port, check.port_index) = (None, None, None),
        Tcp | MesosTcp => (check.path, check.command) = (None, None),
        Http | Https | MesosHttp | MesosHttps => check.command = None,
    }
    check
}

fn limits(raw: RawLimits) -> Result<ResourceLimits, Violation> {
    let limit = |raw: RawLimit| match raw {
        RawLimit::Amount(amount) => Ok(Limit::Amount(amount)),
        RawLimit::Text(text) if text == "unlimited" => Ok(Limit::Unlimited),
        RawLimit::Text(text) => Err(Violation::new("/resourceLimits", format!("'{text}' is no limit"))),
    };
    Ok(ResourceLimits { cpus: raw.cpus.map(limit).transpose()?, mem: raw.mem.map(limit).transpose()? })
}
