//! `clusterctl agent`.

use std::process::ExitCode;

use agent::options::{CapacityOptions, Options, ResolverChoice, RuntimeChoice};
use anyhow::{Context, ensure};
use tokio_util::sync::CancellationToken;

use super::StopSignals;
use crate::args::{AgentArgs, Runtime};

/// Runs an agent until told to stop; its tasks go on.
pub async fn run(args: AgentArgs) -> anyhow::Result<ExitCode> {
    let count = args.hollow;
    ensure!(count.is_none() || args.runtime == Runtime::Hollow, "--hollow needs --runtime hollow");
    let options = options(args)?;
    let mut stop = StopSignals::listen()?;
    let shutdown = CancellationToken::new();
    let running = match count {
        Some(count) => tokio::spawn(agent::node::run_many(options, count, shutdown.clone())),
        None => tokio::spawn(agent::node::run(options, shutdown.clone())),
    };
    tokio::pin!(running);
    let ended = tokio::select! {
        () = stop.asked() => {
            shutdown.cancel();
            running.await
        }
        ended = &mut running => ended,
    };
    ended.context("the agent panicked")??;
    Ok(ExitCode::SUCCESS)
}

fn options(args: AgentArgs) -> anyhow::Result<Options> {
    Ok(Options {
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
    })
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
