//! `clusterctl agent`.

use std::process::ExitCode;

use agent::options::{CapacityOptions, Options, ResolverChoice, RuntimeChoice};
use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::asked_to_stop;
use crate::args::{AgentArgs, Runtime};

/// Runs an agent until told to stop; its tasks go on.
pub async fn run(args: AgentArgs) -> anyhow::Result<ExitCode> {
    let options = Options {
        hostname: args.hostname,
        ports: agent::options::parse_ports(&args.ports).context("--ports")?,
        attributes: agent::options::parse_attributes(&args.attributes).context("--attributes")?,
        capacity: CapacityOptions {
            cpus: args.cpus,
            mem_mib: args.mem,
            disk_mib: args.disk,
            gpus: args.gpus,
        },
        runtime: runtime(args.runtime),
        resolver: resolver(args.no_resolver, args.resolver_ip),
        ..Options::new(args.masters, args.data_dir, args.ip)
    };
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(agent::node::run(options, shutdown.clone()));
    tokio::pin!(running);
    let ended = tokio::select! {
        stopped = asked_to_stop() => {
            stopped?;
            shutdown.cancel();
            running.await
        }
        ended = &mut running => ended,
    };
    ended.context("the agent panicked")??;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn runtime(choice: Runtime) -> RuntimeChoice {
    match choice {
        Runtime::Auto => RuntimeChoice::Auto,
        Runtime::Docker => RuntimeChoice::Docker,
        Runtime::Process => RuntimeChoice::Process,
        Runtime::Hollow => RuntimeChoice::Hollow,
    }
}

pub(super) fn resolver(off: bool, ip: Option<std::net::IpAddr>) -> ResolverChoice {
    match ip {
        _ if off => ResolverChoice::Off,
        Some(ip) => ResolverChoice::On(ip),
        None => ResolverChoice::Auto,
    }
}
