//! `clusterctl dev`: masters and agents in one process. Without a data directory it leaves nothing behind.

use std::convert::Infallible;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::options::Options as AgentOptions;
use anyhow::ensure;
use futures_util::future::{join_all, select_all};
use scheduler::cluster::Options;
use scheduler::master::{Master, Setup, Start};
use scheduler::state::{Agent, Presence};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::agent::{resolver, runtime};
use super::home::{self, Home};
use super::master::features;
use super::{StopSignals, banner, check_exposure, not_started};
use crate::args::DevArgs;
use crate::memory;

/// Ports that tasks may get, shared out among the agents: they are all on one machine.
const PORTS: (u16, u16) = (31_000, 32_000);
/// An agent that shares our process is back at once or not at all.
const AGENT_TIMEOUT_MILLIS: u64 = 15_000;

/// Time for the agents to join before the cluster counts as up; it goes on either way.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a whole cluster until told to stop, or removes one.
pub async fn run(args: DevArgs) -> anyhow::Result<ExitCode> {
    if let (true, Some(dir)) = (args.remove, &args.data_dir) {
        home::remove(dir).await?;
        println!("{} is removed, and every task of it", dir.display());
        return Ok(ExitCode::SUCCESS);
    }
    check_exposure(&[("--http", args.http), ("--dns", args.dns)], args.insecure)?;
    mention_killed();
    let mut stop = StopSignals::listen()?;
    let home = Home::open(args.data_dir.as_deref())?;
    let ended = live(&args, &home, &mut stop).await;
    if home.temporary {
        remove_temporary(&home.dir).await;
    }
    ended.map(|()| ExitCode::SUCCESS)
}

/// The life of the cluster. Tasks are left running.
async fn live(args: &DevArgs, home: &Home, stop: &mut StopSignals) -> anyhow::Result<()> {
    let masters = tokio::select! {
        started = start_masters(args, home) => started?,
        // Of several, some may wait for the others.
        () = stop.asked() => return Ok(()),
    };
    let shutdown = CancellationToken::new();
    let mut agents = JoinSet::new();
    for number in 0..args.agents {
        agents.spawn(agent::node::run(agent_options(args, home, number, &masters), shutdown.clone()));
    }
    let failed = select_all(masters.iter().map(|master| Box::pin(master.failed())));
    let ended = tokio::select! {
        () = stop.asked() => Ok(()),
        (reason, ..) = failed => Err(anyhow::anyhow!("a master stopped: {reason}")),
        Some(ended) = agents.join_next() => Err(agent_ended(ended)),
        never = welcome(args, home, &masters) => match never {},
    };
    shutdown.cancel();
    while agents.join_next().await.is_some() {}
    // At once: none shall lead when the others have gone.
    join_all(masters.into_iter().map(Master::stop)).await;
    ended
}

/// The first one begins the cluster, the others join it. Later all of them tell each other where they are
/// now.
async fn start_masters(args: &DevArgs, home: &Home) -> anyhow::Result<Vec<Master>> {
    let there = home.masters();
    ensure!(
        there <= args.masters,
        "the cluster in {} has {there} masters and needs most of them: start it with --masters {there}",
        home.dir.display()
    );
    let mut masters: Vec<Master> = Vec::new();
    for number in 0..args.masters {
        let rpc = masters.iter().map(|master| master.cluster().options.rpc).collect();
        let start = if number == 0 { Start::Bootstrap } else { Start::Join(rpc) };
        masters.push(Master::start(setup(args, home, number, start)?).await.map_err(not_started)?);
    }
    Ok(masters)
}

/// Says that the cluster is up as soon as it is.
async fn welcome(args: &DevArgs, home: &Home, masters: &[Master]) -> Infallible {
    let deadline = Instant::now() + JOIN_TIMEOUT;
    let state = loop {
        let state = masters[0].cluster().state();
        let here = |agent: &&Arc<Agent>| agent.presence == Presence::Connected;
        if state.agents.values().filter(here).count() >= usize::from(args.agents) || Instant::now() > deadline
        {
            break state;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let runtimes = state.agents.values().next().map(|agent| agent.info.runtimes.clone()).unwrap_or_default();
    let at = |master: &Master| (master.cluster().options.http, master.cluster().options.dns);
    let masters: Vec<_> = masters.iter().map(at).collect();
    let text = banner::text(&masters, args.agents, &runtimes, home);
    // Nobody may be reading: the cluster is up all the same.
    let _ = std::io::stdout().write_all(text.as_bytes());
    std::future::pending().await
}

fn mention_killed() {
    for dir in home::killed_before() {
        let dir = dir.display();
        warn!(
            "a cluster was killed and may have left tasks: `clusterctl dev --data-dir {dir} --remove` ends them"
        );
    }
}

async fn remove_temporary(dir: &Path) {
    if let Err(error) = home::discard(dir).await {
        let dir = dir.display();
        error!("{error:#}; try again with `clusterctl dev --data-dir {dir} --remove`");
    }
}

fn agent_ended(ended: Result<Result<(), agent::node::AgentError>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow::anyhow!("an agent ended"),
        Ok(Err(error)) => anyhow::Error::new(error).context("an agent ended"),
        Err(panic) => anyhow::Error::new(panic).context("an agent panicked"),
    }
}

fn setup(args: &DevArgs, home: &Home, number: u8, start: Start) -> anyhow::Result<Setup> {
    let first = number == 0;
    let at = |asked: SocketAddr| if first { asked } else { SocketAddr::new(asked.ip(), 0) };
    Ok(Setup {
        // To `rpc` only this process connects, and it asks which port it became.
        options: Options {
            http: at(args.http),
            dns: at(args.dns),
            advertised_http: at(args.http).to_string(),
            features: features(&args.documents)?,
            agent_timeout_millis: AGENT_TIMEOUT_MILLIS,
            ..Options::on_free_ports(if first { "dev".to_owned() } else { format!("dev-{}", number + 1) })
        },
        data_dir: home.master(number),
        start,
        at_rest: memory::at_rest,
    })
}

fn agent_options(args: &DevArgs, home: &Home, number: u8, masters: &[Master]) -> AgentOptions {
    let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, number + 1));
    let masters = masters.iter().map(|master| master.cluster().options.rpc).collect();
    AgentOptions {
        ports: vec![share_of_ports(number, args.agents)],
        runtime: runtime(args.runtime),
        resolver: resolver(false, args.resolver_ip),
        ..AgentOptions::new(masters, home.agent(number), ip)
    }
}

/// The ports of one agent among several.
fn share_of_ports(number: u8, agents: u8) -> (u16, u16) {
    let size = (PORTS.1 - PORTS.0 + 1) / u16::from(agents.max(1));
    let from = PORTS.0 + u16::from(number) * size;
    (from, from + size - 1)
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
