//! `clusterctl agent`.

use std::process::ExitCode;

use agent::options::{CapacityOptions, HollowOptions, Options, ResolverChoice, RuntimeChoice};
use anyhow::{Context, ensure};
use tokio_util::sync::CancellationToken;

use super::StopSignals;
use crate::args::{AgentArgs, Runtime};

/// Open files besides those of sessions, at most.
const FILES_BESIDES: u64 = 64;

/// What is logged: of many agents, what concerns them all.
pub fn usual_log(args: &AgentArgs) -> &'static str {
    if args.hollow.count.is_some() { "warn,agent::node::crowd=info" } else { super::USUAL_LOG }
}

/// Runs an agent until told to stop; its tasks go on.
pub async fn run(args: AgentArgs) -> anyhow::Result<ExitCode> {
    let count = args.hollow.count;
    ensure!(count.is_none() || args.runtime == Runtime::Hollow, "--hollow needs --runtime hollow");
    if let Some(count) = count {
        allow_files_for(count)?;
    }
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

/// Each simulated agent has a connection. Nothing that it starts inherits the limit.
fn allow_files_for(agents: u32) -> anyhow::Result<()> {
    let needed = u64::from(agents) + FILES_BESIDES;
    let allowed = super::allow_files();
    ensure!(
        allowed >= needed,
        "{agents} agents need {needed} open files and this process may have {allowed}: raise it with `ulimit -n \
         {needed}` (as root, or in /etc/security/limits.conf), or start fewer"
    );
    Ok(())
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
        hollow: HollowOptions {
            start_delay: args.hollow.start_delay,
            failure_rate: args.hollow.failure_rate,
            exit_after: args.hollow.exit_after,
            exit_code: args.hollow.exit_code,
            seed: args.hollow.seed,
            racks: args.hollow.racks,
        },
        usage_interval: args.usage_interval,
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
