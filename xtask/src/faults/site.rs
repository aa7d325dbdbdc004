//! The processes of a cluster in a house: masters and agents, each on its own node with its own directory, that
//! can be started, killed, stopped and started again. Knows nothing of what runs on them.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::net::{Network, Node};
use crate::stop;

/// Port of REST on every master.
const HTTP: u16 = 8080;
/// Port for agents and other masters.
const RPC: u16 = 5050;
/// Port of DNS.
const DNS: u16 = 8053;
/// Silence of an agent after which its tasks count as unreachable: short enough that some faults are longer.
pub const AGENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a process has to end when it is asked to.
const END_MAX: Duration = Duration::from_secs(30);
/// What a process wrote last, shown when it ended by itself.
const LAST_LINES: usize = 15;

/// What runs on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `clusterctl master`.
    Master,
    /// `clusterctl agent`.
    Agent,
}

/// One process.
pub struct Member {
    /// Its node.
    pub node: Node,
    /// Its name, also of the node's namespace.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Its data directory.
    pub dir: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Member {
    /// Where a master's REST answers.
    pub fn http(&self) -> SocketAddr {
        SocketAddr::new(self.node.ip(), HTTP)
    }

    /// Was it started, and not killed since?
    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        if let Some(child) = &self.child {
            stop::signal(child.id(), signal);
        }
    }

    /// `kill -9`, also of one that is stopped.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Forgets everything it had on disk.
    pub fn lose_disk(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        std::fs::remove_dir_all(&self.dir).with_context(|| format!("cannot remove {}", self.dir.display()))
    }

    /// Ends it in order.
    pub fn end(&mut self) -> anyhow::Result<()> {
        self.signal(libc::SIGCONT);
        self.signal(libc::SIGTERM);
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let deadline = Instant::now() + END_MAX;
        loop {
            if let Some(status) = child.try_wait()? {
                if !status.success() {
                    bail!("{} ended with {status}:\n{}", self.name, self.last_lines());
                }
                return Ok(());
            }
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                bail!("{} does not end:\n{}", self.name, self.last_lines());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it said last and its exit code, once it has ended by itself.
    pub fn ended(&mut self) -> anyhow::Result<Option<(Option<i32>, String)>> {
        let status = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
        Ok(status.map(|status| (status.code(), self.last_lines())))
    }

    /// Fails when it has ended although nobody killed it.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some((code, said)) => bail!("{} ended by itself ({code:?}):\n{said}", self.name),
        }
    }

    fn last_lines(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    fn spawn(&mut self, command: &mut Command) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        // A group of its own: Ctrl-C is for us.
        std::os::unix::process::CommandExt::process_group(command, 0);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().with_context(|| format!("cannot start {}", self.name))?);
        Ok(())
    }
}

/// All of them.
pub struct Site {
    /// What connects them.
    pub network: Network,
    /// Masters, then agents; the place is that of the node.
    pub members: Vec<Member>,
    clusterctl: PathBuf,
}

impl Site {
    /// Nodes for so many masters and agents; nothing runs yet.
    pub fn new(clusterctl: PathBuf, scratch: &Path, masters: u8, agents: u8) -> anyhow::Result<Self> {
        let named =
            |role: Role, count: u8, letter: char| (1..=count).map(move |n| (role, format!("{letter}{n}")));
        let all: Vec<_> = named(Role::Master, masters, 'm').chain(named(Role::Agent, agents, 'a')).collect();
        let network = Network::new(all.iter().map(|(_, name)| name.clone()).collect())?;
        let members = network.nodes().into_iter().zip(all).map(|(node, (role, name))| Member {
            node,
            role,
            dir: scratch.join(&name),
            log: scratch.join(format!("{name}.log")),
            name,
            child: None,
        });
        Ok(Self { members: members.collect(), network, clusterctl })
    }

    /// Nodes of a role.
    pub fn nodes(&self, role: Role) -> Vec<Node> {
        self.members.iter().filter(|member| member.role == role).map(|member| member.node).collect()
    }

    /// Where the masters' REST answers.
    pub fn https(&self) -> Vec<SocketAddr> {
        self.members.iter().filter(|member| member.role == Role::Master).map(Member::http).collect()
    }

    /// The process on a node.
    pub fn member(&mut self, node: Node) -> &mut Member {
        &mut self.members[usize::from(node.0)]
    }

    /// Starts what belongs on a node, unless it runs. The first master founds the cluster, `found` permitting;
    /// a master whose directory has a log goes on with that.
    pub fn start(&mut self, node: Node, found: bool) -> anyhow::Result<()> {
        if self.member(node).is_started() {
            return Ok(());
        }
        let clusterctl = self.clusterctl.clone();
        let mut command = self.network.command(node, &clusterctl);
        let masters = self.nodes(Role::Master);
        let rpcs = |except: Node| {
            let others = masters.iter().filter(|other| **other != except);
            others.map(|other| format!("{}:{RPC}", other.ip())).collect::<Vec<_>>().join(",")
        };
        let member = self.member(node);
        match member.role {
            Role::Master => {
                command.args(["master", "--insecure", "--name", &member.name, "--data-dir"]).arg(&member.dir);
                for (option, port) in [("--http", HTTP), ("--rpc", RPC), ("--dns", DNS)] {
                    command.args([option, &format!("{}:{port}", node.ip())]);
                }
                command.args(["--agent-timeout", &format!("{}s", AGENT_TIMEOUT.as_secs())]);
                if found || masters.len() == 1 {
                    command.arg("--bootstrap")
                } else {
                    command.args(["--join", &rpcs(node)])
                };
            }
            Role::Agent => {
                command.args(["agent", "--masters", &rpcs(node), "--hostname", &member.name]);
                command.args(["--runtime", "process", "--no-resolver", "--cpus", "16", "--mem", "16384"]);
                command.args(["--ip", &node.ip().to_string(), "--data-dir"]).arg(&member.dir);
            }
        }
        member.spawn(&mut command)
    }

    /// The machine of an agent loses power: everything that runs on its node is killed at once.
    pub fn power_off(&mut self, node: Node) -> anyhow::Result<()> {
        self.member(node).kill()?;
        let name = Path::new("/run/netns").join(self.network.name(node));
        // What runs may start more meanwhile.
        for _ in 0..20 {
            let all = super::tasks::processes_of_network(&name)?;
            if all.is_empty() {
                return Ok(());
            }
            all.into_iter().for_each(|pid| stop::signal(pid, libc::SIGKILL));
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("{}: something outlives SIGKILL", self.network.name(node))
    }

    /// Fails when a process has ended although nobody killed it.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.members.iter_mut().try_for_each(Member::check)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
        }
    }
}
