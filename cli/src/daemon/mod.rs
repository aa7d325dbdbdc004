//! The verbs that stay up: what daemons share about signals, logs and listening safely.

pub mod agent;
pub mod dev;
pub mod master;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

/// Runs a daemon on a runtime of its own, with logs on standard error.
pub fn block_on(daemon: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("GANTRY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(daemon);
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    code
}

/// Resolves at SIGINT (Ctrl-C) or SIGTERM.
pub async fn asked_to_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
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
