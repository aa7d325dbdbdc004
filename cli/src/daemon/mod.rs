//! The verbs that stay up, and those that make what they start from: what daemons share about signals, logs
//! and listening safely.

pub mod agent;
mod banner;
pub mod dev;
mod home;
pub mod master;
pub mod recover;
pub mod restore;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, bail};
use scheduler::master::MasterError;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::memory;

/// What is logged unless `GANTRY_LOG` says otherwise.
pub const USUAL_LOG: &str = "info";

/// Runs a daemon on a runtime of its own, with logs on standard error.
pub fn block_on(
    usual_log: &str,
    daemon: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("GANTRY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual_log));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal).init();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().on_thread_park(memory::at_rest).build()?;
    let code = runtime.block_on(daemon);
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    code
}

/// For masters, to whom every agent is a connection, and for simulated agents, which are one each: as many open
/// files as the system grants, not the 1024 that programs begin with for the sake of `select`. Says how many that
/// is. Not for agents with real tasks, which would inherit it.
pub fn allow_files() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: limit.maximum, ..limit };
    let allowed = match rustix::process::setrlimit(rustix::process::Resource::Nofile, most) {
        Ok(()) => most.current,
        Err(error) => {
            tracing::warn!(%error, "the number of open files stays at {:?}", limit.current);
            limit.current
        }
    };
    allowed.unwrap_or(u64::MAX)
}

/// SIGINT (Ctrl-C), SIGTERM and, unless started with `nohup`, SIGHUP (the terminal was closed).
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl StopSignals {
    /// From now on they do not end the process any more.
    pub fn listen() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("cannot listen for signals");
        let hangup = if ignores_hangup() { None } else { Some(catch(SignalKind::hangup())?) };
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hangup,
        })
    }

    /// Resolves when one of them comes.
    pub async fn asked(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hangup => {}
        }
    }
}

/// Linux shows ignored signals as bits, the first for SIGHUP.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// A master that could not start, with the way out where another program has its port.
pub fn not_started(error: MasterError) -> anyhow::Error {
    let hint = match &error {
        MasterError::Bind { address, purpose, source } if source.kind() == ErrorKind::AddrInUse => {
            way_out(*address, purpose)
        }
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}. {hint}")
}

fn way_out(address: SocketAddr, purpose: &str) -> String {
    let option = match purpose {
        "REST" => "--http",
        "DNS" => "--dns",
        _ => "--rpc",
    };
    let free = (1..=100)
        .filter_map(|step| address.port().checked_add(step))
        .find(|port| std::net::TcpListener::bind((address.ip(), *port)).is_ok());
    let other = SocketAddr::new(address.ip(), free.unwrap_or(0));
    let tell = match purpose {
        "REST" => format!(", and tell the other verbs: export CLUSTERCTL_MASTER=http://{other}"),
        "agents" => ", and tell the agents with --masters".to_owned(),
        _ => String::new(),
    };
    format!("Something else uses it, perhaps another cluster; take another port with {option} {other}{tell}")
}

/// Nothing is encrypted or authenticated yet: whoever reaches an open port controls every agent. So a
/// daemon that is told to listen beyond loopback refuses, unless it is told that this is meant.
pub fn check_exposure(addresses: &[(&str, SocketAddr)], insecure: bool) -> anyhow::Result<()> {
    let open: Vec<String> = addresses
        .iter()
        .filter(|(_, address)| !address.ip().is_loopback())
        .map(|(option, address)| format!("{option} {address}"))
        .collect();
    if open.is_empty() || insecure {
        return Ok(());
    }
    bail!(
        "refusing to listen beyond loopback without TLS ({}): anyone who reaches it can run commands on every \
         agent. Use 127.0.0.1, or add --insecure on a network that you trust",
        open.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_open_by_default() {
        let local: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let open: SocketAddr = "0.0.0.0:80".parse().unwrap();
        assert!(check_exposure(&[("--http", local), ("--dns", "[::1]:53".parse().unwrap())], false).is_ok());
        assert!(check_exposure(&[("--http", open)], true).is_ok());
        let refused = check_exposure(&[("--http", open), ("--dns", local)], false).unwrap_err().to_string();
        assert!(refused.contains("--http 0.0.0.0:80") && refused.contains("--insecure"), "{refused}");
    }
}
