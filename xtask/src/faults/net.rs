//! A network for the processes of a cluster: each node has a namespace with one address on a bridge in the
//! house's own network, and every pair of nodes can be cut in either direction.
//!
//! Nodes know each other's link address by a permanent neighbour entry. Cutting replaces it by an address that
//! nobody has: packets leave and reach no one, and no error tells the sender, as when a cable is pulled. That
//! takes no more than iproute2.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// A link address that nobody has.
const NOBODY: &str = "02:67:61:6e:ff:ff";
/// Delay of a slow link, and how much it varies.
const SLOW: [&str; 3] = ["delay", "80ms", "40ms"];
/// A slow link where the kernel cannot delay: some packets always wait.
const NARROW: [&str; 6] = ["rate", "400kbit", "burst", "4kb", "latency", "2s"];

/// One of the nodes, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub u8);

impl Node {
    /// Its address.
    pub fn ip(self) -> IpAddr {
        Ipv4Addr::new(10, 99, 0, 10 + self.0).into()
    }

    fn mac(self) -> String {
        format!("02:67:61:6e:00:{:02x}", self.0)
    }
}

/// The bridge and its nodes.
pub struct Network {
    names: Vec<String>,
    can_delay: bool,
}

impl Network {
    /// A network of nodes with these names, all connected.
    pub fn new(names: Vec<String>) -> anyhow::Result<Self> {
        ip(
            None,
            &[
                "link set lo up",
                "link add hub type bridge",
                "addr add 10.99.0.1/24 dev hub",
                "link set hub up",
            ],
        )?;
        let mut network = Self { names, can_delay: false };
        for node in network.nodes() {
            network.add(node)?;
        }
        for node in network.nodes() {
            network.heal(node, &network.nodes())?;
        }
        network.can_delay = network.probe_delay();
        Ok(network)
    }

    /// All nodes.
    pub fn nodes(&self) -> Vec<Node> {
        (0..self.names.len()).filter_map(|index| u8::try_from(index).ok().map(Node)).collect()
    }

    /// The name of a node's namespace.
    pub fn name(&self, node: Node) -> &str {
        &self.names[usize::from(node.0)]
    }

    fn add(&self, node: Node) -> anyhow::Result<()> {
        let (name, mac) = (self.name(node), node.mac());
        ip(
            None,
            &[
                &format!("netns add {name}"),
                &format!("link add to-{name} type veth peer name eth0 netns {name} address {mac}"),
                &format!("link set to-{name} master hub up"),
            ],
        )?;
        let address = format!("addr add {}/24 dev eth0", node.ip());
        ip(Some(name), &["link set lo up", &address, "link set eth0 up"])
    }

    /// From now on nothing that `from` sends reaches any of `to`.
    pub fn cut(&self, from: Node, to: &[Node]) -> anyhow::Result<()> {
        self.set_neighbours(from, to, |_| NOBODY.to_owned())
    }

    /// What `from` sends reaches them again.
    pub fn heal(&self, from: Node, to: &[Node]) -> anyhow::Result<()> {
        self.set_neighbours(from, to, Node::mac)
    }

    fn set_neighbours(&self, from: Node, to: &[Node], mac: impl Fn(Node) -> String) -> anyhow::Result<()> {
        let set = |other: &Node| {
            format!("neigh replace {} lladdr {} nud permanent dev eth0", other.ip(), mac(*other))
        };
        let lines: Vec<String> = to.iter().filter(|other| **other != from).map(set).collect();
        ip(Some(self.name(from)), &lines.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Does the kernel delay packets? Otherwise slow links are narrow ones.
    fn probe_delay(&self) -> bool {
        let Some(first) = self.nodes().first().copied() else { return false };
        let can = self.qdisc(first, "netem", &SLOW).is_ok();
        can && self.fast(first).is_ok()
    }

    /// Slows what a node sends.
    pub fn slow(&self, node: Node) -> anyhow::Result<()> {
        if self.can_delay { self.qdisc(node, "netem", &SLOW) } else { self.qdisc(node, "tbf", &NARROW) }
    }

    /// How slow links are slow.
    pub fn slowness(&self) -> String {
        if self.can_delay { SLOW.join(" ") } else { NARROW.join(" ") }
    }

    /// Undoes [`Network::slow`].
    pub fn fast(&self, node: Node) -> anyhow::Result<()> {
        run(Command::new("tc").args(["-n", self.name(node), "qdisc", "del", "dev", "eth0", "root"]))
    }

    fn qdisc(&self, node: Node, kind: &str, options: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new("tc");
        command.args(["-n", self.name(node), "qdisc", "replace", "dev", "eth0", "root", kind]).args(options);
        run(&mut command)
    }

    /// A command that runs a program on a node.
    pub fn command(&self, node: Node, program: &std::path::Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name(node))).arg("--").arg(program);
        command
    }
}

/// Runs lines of `ip`, in a namespace.
fn ip(namespace: Option<&str>, lines: &[&str]) -> anyhow::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut command = Command::new("ip");
    if let Some(name) = namespace {
        command.args(["-n", name]);
    }
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot run ip")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all((lines.join("\n") + "\n").as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("ip: {}: {}", lines.join("; "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
