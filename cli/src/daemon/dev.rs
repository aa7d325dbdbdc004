//! `clusterctl dev`: a master and agents in one process. Without a data directory it leaves nothing behind.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent::options::Options as AgentOptions;
use anyhow::Context;
use scheduler::cluster::Options;
use scheduler::master::{Master, Setup};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::agent::{resolver, runtime};
use super::master::features;
use super::{asked_to_stop, check_exposure};
use crate::args::DevArgs;

/// Ports that tasks may get, shared out among the agents: they are all on one machine.
const PORTS: (u16, u16) = (31_000, 32_000);
/// An agent that shares our process is back at once or not at all.
const AGENT_TIMEOUT_MILLIS: u64 = 15_000;
/// As Marathon's `task_launch_timeout`.
const LAUNCH_TIMEOUT_MILLIS: u64 = 300_000;

/// Runs a whole cluster until told to stop.
pub async fn run(args: DevArgs) -> anyhow::Result<ExitCode> {
    check_exposure(&[("--http", args.http), ("--dns", args.dns)], args.insecure)?;
    let (dir, temporary) = data_dir(args.data_dir.as_deref())?;
    let master = Master::start(setup(&args, &dir)?).await?;
    let options: Vec<_> =
        (0..args.agents).map(|number| agent_options(&args, &dir, number, &master)).collect();
    let shutdown = CancellationToken::new();
    let mut agents = JoinSet::new();
    for one in options.clone() {
        agents.spawn(agent::node::run(one, shutdown.clone()));
    }
    info!("REST http://{}, DNS {}, data {}", args.http, args.dns, dir.display());
    let ended = tokio::select! {
        stopped = asked_to_stop() => stopped,
        reason = master.failed() => Err(anyhow::anyhow!("the master stopped: {reason}")),
        Some(ended) = agents.join_next() => Err(agent_ended(ended)),
    };
    shutdown.cancel();
    while agents.join_next().await.is_some() {}
    master.stop().await;
    if temporary {
        clean_up(&dir, options).await;
    }
    ended.map(|()| ExitCode::SUCCESS)
}

fn agent_ended(ended: Result<Result<(), agent::node::AgentError>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow::anyhow!("an agent ended"),
        Ok(Err(error)) => anyhow::Error::new(error).context("an agent ended"),
        Err(panic) => anyhow::Error::new(panic).context("an agent panicked"),
    }
}

/// The given directory, or a temporary one.
fn data_dir(given: Option<&Path>) -> anyhow::Result<(PathBuf, bool)> {
    let (dir, temporary) = match given {
        Some(dir) => (dir.to_owned(), false),
        None => (std::env::temp_dir().join(format!("gantry-dev-{}", std::process::id())), true),
    };
    std::fs::create_dir_all(&dir)
        .with_context(|| format!("cannot create the data directory {}", dir.display()))?;
    // Labels and sandboxes name the directory: one path for one directory, however it was given.
    let dir =
        dir.canonicalize().with_context(|| format!("cannot use the data directory {}", dir.display()))?;
    Ok((dir, temporary))
}

fn setup(args: &DevArgs, dir: &Path) -> anyhow::Result<Setup> {
    Ok(Setup {
        options: Options {
            name: "dev".to_owned(),
            http: args.http,
            // Only this process connects, and it asks which port it became.
            rpc: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            dns: args.dns,
            advertised_http: args.http.to_string(),
            features: features(&args.documents)?,
            dns_domain: "mesos".to_owned(),
            launch_timeout_millis: LAUNCH_TIMEOUT_MILLIS,
            agent_timeout_millis: AGENT_TIMEOUT_MILLIS,
        },
        data_dir: dir.join("master"),
        bootstrap: true,
    })
}

fn agent_options(args: &DevArgs, dir: &Path, number: u8, master: &Master) -> AgentOptions {
    let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, number + 1));
    let masters = vec![master.cluster().options.rpc];
    AgentOptions {
        ports: vec![share_of_ports(number, args.agents)],
        runtime: runtime(args.runtime),
        resolver: resolver(false, args.resolver_ip),
        ..AgentOptions::new(masters, dir.join(format!("agent-{}", number + 1)), ip)
    }
}

/// The ports of one agent among several.
fn share_of_ports(number: u8, agents: u8) -> (u16, u16) {
    let size = (PORTS.1 - PORTS.0 + 1) / u16::from(agents.max(1));
    let from = PORTS.0 + u16::from(number) * size;
    (from, from + size - 1)
}

/// Ends every task and removes the directory.
async fn clean_up(dir: &Path, agents: Vec<AgentOptions>) {
    for options in agents {
        if let Err(error) = agent::node::remove_everything(options).await {
            error!(%error, "some tasks could not be removed; `docker ps` shows containers that are left");
        }
    }
    if let Err(error) = std::fs::remove_dir_all(dir) {
        warn!(%error, dir = %dir.display(), "the temporary directory could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_share_the_ports() {
        assert_eq!(share_of_ports(0, 1), (31_000, 32_000));
        let shares: Vec<_> = (0..64).map(|number| share_of_ports(number, 64)).collect();
        assert!(shares.windows(2).all(|pair| pair[0].1 < pair[1].0));
        assert!(shares.iter().all(|(from, to)| from <= to && *to <= PORTS.1));
    }
}
