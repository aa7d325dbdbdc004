//! A partial update laid over the app that exists (reference section 1.1, `partialUpdate`): what the
//! update does not say stays, what it says replaces the old value whole.

use super::model::*;
use super::raw::{RawApp, RawContainer, RawDocker, RawLimit, RawLimits};

/// `update` over `current`, ready to be completed and judged as a whole. Null is absent, so nothing can be
/// cleared; but `executorResources` and `resourceLimits` always are what the update says.
pub(super) fn merge(current: &App, update: RawApp) -> RawApp {
    let old = said(current);
    RawApp {
        id: old.id,
        accepted_resource_roles: update.accepted_resource_roles.or(old.accepted_resource_roles),
        args: update.args.or(old.args),
        backoff_factor: update.backoff_factor.or(old.backoff_factor),
        backoff_seconds: update.backoff_seconds.or(old.backoff_seconds),
        check: update.check.or(old.check),
        cmd: update.cmd.or(old.cmd),
        constraints: update.constraints.or(old.constraints),
        container: update.container.or(old.container),
        cpus: update.cpus.or(old.cpus),
        dependencies: update.dependencies.or(old.dependencies),
        disk: update.disk.or(old.disk),
        env: update.env.or(old.env),
        executor: update.executor.or(old.executor),
        executor_resources: update.executor_resources,
        fetch: update.fetch.or(old.fetch),
        gpus: update.gpus.or(old.gpus),
        health_checks: update.health_checks.or(old.health_checks),
        instances: update.instances.or(old.instances),
        ip_address: None,
        kill_selection: update.kill_selection.or(old.kill_selection),
        labels: update.labels.or(old.labels),
        max_launch_delay_seconds: update.max_launch_delay_seconds.or(old.max_launch_delay_seconds),
        mem: update.mem.or(old.mem),
        networks: update.networks.or(old.networks),
        port_definitions: update.port_definitions.or(old.port_definitions),
        ports: None,
        readiness_checks: update.readiness_checks.or(old.readiness_checks),
        require_ports: update.require_ports.or(old.require_ports),
        residency: update.residency.or(old.residency),
        resource_limits: update.resource_limits,
        role: update.role.or(old.role),
        secrets: update.secrets.or(old.secrets),
        task_kill_grace_period_seconds: update
            .task_kill_grace_period_seconds
            .or(old.task_kill_grace_period_seconds),
        tty: update.tty.or(old.tty),
        unreachable_strategy: update.unreachable_strategy.or(old.unreachable_strategy),
        upgrade_strategy: update.upgrade_strategy.or(old.upgrade_strategy),
        uris: None,
        user: update.user.or(old.user),
        version: None,
    }
}

/// What a document would say that describes `app` completely.
fn said(app: &App) -> RawApp {
    let app = app.clone();
    RawApp {
        id: Some(app.id.to_string()),
        accepted_resource_roles: app.accepted_resource_roles,
        args: Some(app.args),
        backoff_factor: Some(app.backoff_factor),
        backoff_seconds: Some(app.backoff_seconds),
        check: app.check,
        cmd: app.cmd,
        constraints: Some(app.constraints.into_iter().map(parts).collect()),
        container: app.container.map(container),
        cpus: Some(app.cpus),
        dependencies: Some(app.dependencies),
        disk: Some(app.disk),
        env: Some(app.env),
        executor: Some(app.executor),
        executor_resources: app.executor_resources,
        fetch: Some(app.fetch),
        gpus: Some(app.gpus),
        health_checks: Some(app.health_checks),
        instances: Some(app.instances),
        ip_address: None,
        kill_selection: Some(app.kill_selection),
        labels: Some(app.labels),
        max_launch_delay_seconds: Some(app.max_launch_delay_seconds),
        mem: Some(app.mem),
        networks: Some(app.networks),
        port_definitions: app.port_definitions,
        ports: None,
        readiness_checks: Some(app.readiness_checks),
        require_ports: Some(app.require_ports),
        residency: app.residency,
        resource_limits: app.resource_limits.map(limits),
        role: Some(app.role),
        secrets: Some(app.secrets),
        task_kill_grace_period_seconds: app.task_kill_grace_period_seconds,
        tty: app.tty,
        unreachable_strategy: Some(app.unreachable_strategy),
        upgrade_strategy: Some(app.upgrade_strategy),
        uris: None,
        user: app.user,
        version: None,
    }
}

fn parts(constraint: Constraint) -> Vec<String> {
    let head = [constraint.field, constraint.operator.name().to_owned()];
    head.into_iter().chain(constraint.value).collect()
}

fn container(container: Container) -> RawContainer {
    let docker = |image| RawDocker { image, network: None, port_mappings: None, credential: false };
    RawContainer {
        kind: container.kind,
        docker: container.docker.map(docker),
        volumes: container.volumes,
        port_mappings: container.port_mappings,
        linux_info: container.linux_info,
    }
}

fn limits(limits: ResourceLimits) -> RawLimits {
    let limit = |limit| match limit {
        Limit::Amount(amount) => RawLimit::Amount(amount),
        Limit::Unlimited => RawLimit::Text("unlimited".to_owned()),
    };
    RawLimits { cpus: limits.cpus.map(limit), mem: limits.mem.map(limit) }
}
