//! A one-process cluster (`clusterctl dev`) as a child, ended in order.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::cargo::must;
use crate::{http, stop};

/// Time for a cluster to answer, and to clean up.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How to start one.
#[derive(Clone, Debug, Default)]
pub struct Dev {
    /// `--runtime`.
    pub runtime: &'static str,
    /// Wanted REST port; 0 for any.
    pub http: u16,
    /// Wanted DNS port; 0 for any.
    pub dns: u16,
    /// `--data-dir`; temporary when not given.
    pub data_dir: Option<PathBuf>,
    /// Further arguments.
    pub more: Vec<String>,
}

/// A running cluster.
pub struct Cluster {
    child: Child,
    clusterctl: PathBuf,
    /// REST, `host:port`.
    pub http: SocketAddr,
    /// DNS.
    pub dns: SocketAddr,
    /// Its log.
    pub log: PathBuf,
}

impl Cluster {
    /// Starts one on the given ports, or on free ones where these are taken; up when this returns.
    pub fn start(programs: &Path, scratch: &Path, dev: &Dev) -> anyhow::Result<Self> {
        let clusterctl = programs.join("clusterctl");
        let (http, dns) = (free(dev.http)?, free(dev.dns)?);
        let log = scratch.join("clusterctl.log");
        let file = std::fs::File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(&clusterctl);
        command.args([
            "dev",
            "--runtime",
            dev.runtime,
            "--http",
            &http.to_string(),
            "--dns",
            &dns.to_string(),
        ]);
        if let Some(dir) = &dev.data_dir {
            command.arg("--data-dir").arg(dir);
        }
        let child = command
            .args(&dev.more)
            // Ctrl-C is for us: we end it in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot run {}", clusterctl.display()))?;
        let mut cluster = Self { child, clusterctl, http, dns, log };
        cluster.wait_until_up()?;
        Ok(cluster)
    }

    /// Ends it as a power cut would: SIGKILL, nothing is cleaned up.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Ok(answer) = self.get("/v2/agents")
                && answer.contains("\"connected\"")
            {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the cluster ended at once ({status}):\n{}", self.last_lines());
            }
            if Instant::now() > deadline || stop::asked() {
                bail!("the cluster does not come up:\n{}", self.last_lines());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The body of a GET that must succeed.
    pub fn get(&self, path: &str) -> anyhow::Result<String> {
        let answer = http::tcp(&self.http.to_string(), "GET", path, &[])?;
        if answer.status != 200 {
            bail!("GET {path}: {} {}", answer.status, answer.body);
        }
        Ok(answer.body)
    }

    /// A verb of `clusterctl` against this cluster.
    pub fn clusterctl(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.clusterctl);
        command.args(["--master", &format!("http://{}", self.http)]).args(args);
        command
    }

    /// Has it ended by itself?
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The end of its log.
    pub fn last_lines(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Cluster {
    /// Ends it as Ctrl-C would, so that it removes its tasks; kills it only when it hangs.
    fn drop(&mut self) {
        stop::signal(self.child.id(), libc::SIGTERM);
        let deadline = Instant::now() + TIMEOUT;
        while self.ended().is_none() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Ends every task of the cluster that kept its data in `dir`, however it ended, and removes the directory.
pub fn remove(programs: &Path, dir: &Path) -> anyhow::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let mut command = Command::new(programs.join("clusterctl"));
    command.args(["dev", "--remove", "--data-dir"]).arg(dir).env("GANTRY_LOG", "warn");
    must(command.stdout(Stdio::null()).process_group(0))
}

/// The port if it is free, else another.
fn free(port: u16) -> anyhow::Result<SocketAddr> {
    let port = if port != 0 && is_free(port) { port } else { free_port()? };
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// A loopback port that is free for TCP and UDP. Below those that the system gives to whoever asks for any,
/// and below those of tasks: nobody takes it before it is used.
pub fn free_port() -> anyhow::Result<u16> {
    let tries = (0..1000).map(|_| 20_000 + (RandomState::new().build_hasher().finish() % 10_000) as u16);
    tries.into_iter().find(|port| is_free(*port)).context("no free port between 20000 and 30000")
}

fn is_free(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}
