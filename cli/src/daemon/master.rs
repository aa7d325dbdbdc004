//! `clusterctl master`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use scheduler::cluster::Options;
use scheduler::master::{Master, Setup, Start};
use spec::features::{Features, KNOWN};

use super::{StopSignals, allow_files, check_exposure, not_started};
use crate::args::{DocumentArgs, MasterArgs};
use crate::memory;

/// Runs a master until told to stop.
pub async fn run(args: MasterArgs) -> anyhow::Result<ExitCode> {
    check_exposure(&[("--http", args.http), ("--rpc", args.rpc), ("--dns", args.dns)], args.insecure)?;
    std::fs::create_dir_all(&args.data_dir).with_context(|| cannot_create(&args.data_dir))?;
    let setup = Setup {
        options: Options {
            name: args.name,
            http: args.http,
            rpc: args.rpc,
            dns: args.dns,
            advertised_http: SocketAddr::new(args.advertise.unwrap_or(args.http.ip()), args.http.port())
                .to_string(),
            features: features(&args.documents)?,
            dns_domain: "mesos".to_owned(),
            launch_timeout_millis: millis(args.task_launch_timeout),
            placement: args.placement,
            agent_timeout_millis: millis(args.agent_timeout),
        },
        data_dir: args.data_dir,
        start: start(args.bootstrap, args.join),
        at_rest: memory::at_rest,
    };
    allow_files();
    let mut stop = StopSignals::listen()?;
    let master = tokio::select! {
        started = Master::start(setup) => started.map_err(not_started)?,
        // It may wait for a cluster that is not there.
        () = stop.asked() => return Ok(ExitCode::SUCCESS),
    };
    let failure = tokio::select! {
        () = stop.asked() => None,
        reason = master.failed() => Some(reason),
    };
    master.stop().await;
    match failure {
        None => Ok(ExitCode::SUCCESS),
        Some(reason) => bail!("the master stopped: {reason}"),
    }
}

fn start(bootstrap: bool, join: Vec<SocketAddr>) -> Start {
    match bootstrap {
        true => Start::Bootstrap,
        false if join.is_empty() => Start::Existing,
        false => Start::Join(join),
    }
}

fn cannot_create(directory: &Path) -> String {
    format!("cannot create the data directory {} (--data-dir names another one)", directory.display())
}

pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What documents may say.
pub(super) fn features(args: &DocumentArgs) -> anyhow::Result<Features> {
    let enabled: BTreeSet<String> = args.enable_features.iter().cloned().collect();
    if let Some(unknown) = enabled.iter().find(|name| !KNOWN.contains(&name.as_str())) {
        bail!("unknown feature `{unknown}`: there are {}", KNOWN.join(", "));
    }
    Ok(Features {
        enabled,
        default_role: args.mesos_role.clone(),
        default_network_name: args.default_network_name.clone(),
        ..Features::default()
    })
}
