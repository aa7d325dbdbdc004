//! The command line: verbs, options, and the texts that teach them. No behaviour.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Errors.
pub const RED: Style = AnsiColor::Red.on_default().bold();
/// What is well.
pub const GREEN: Style = AnsiColor::Green.on_default();
/// What waits.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();

/// Gantry: run containers and commands on a cluster.
///
/// Try it: `clusterctl dev` starts a whole cluster in one process; in another terminal
/// `clusterctl deploy app.json` runs an app, `clusterctl tasks` shows where, `clusterctl logs -f /app`
/// what it says.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub client: ClientArgs,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of every verb that talks to a master.
#[derive(Clone, Debug, Args)]
pub struct ClientArgs {
    /// REST address of a master.
    #[arg(
        long,
        global = true,
        env = "CLUSTERCTL_MASTER",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    pub master: String,
    /// Tables for people or JSON for programs.
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a whole cluster in this process, for a laptop.
    Dev(DevArgs),
    /// Run a master.
    Master(MasterArgs),
    /// Run an agent.
    Agent(AgentArgs),
    /// Create or change apps from a JSON document and wait until they run.
    Deploy(DeployArgs),
    /// List apps.
    Apps,
    /// List tasks, of one app or of all.
    Tasks {
        /// App id, for example /shop/web.
        app: Option<String>,
    },
    /// List agents with what they have and what is in use.
    Agents,
    /// List running deployments, or end one.
    Deployments(DeploymentsArgs),
    /// List apps whose tasks wait, and why.
    Queue,
    /// Change the number of instances of an app.
    Scale {
        /// App id.
        app: String,
        /// Wanted number of instances.
        instances: u32,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Replace every task of an app.
    Restart {
        /// App id.
        app: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Remove an app and end its tasks.
    Remove {
        /// App id.
        app: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// End a task; its app starts another, unless --scale.
    Kill {
        /// Task id, as `clusterctl tasks` shows it.
        task: String,
        /// Take one off the app's instances instead of starting another.
        #[arg(long)]
        scale: bool,
    },
    /// Print what tasks wrote to their standard output and error.
    Logs(LogsArgs),
    /// Print events as they happen.
    Events {
        /// Only events of this type; may be repeated.
        #[arg(long = "type", value_name = "EVENT_TYPE")]
        types: Vec<String>,
    },
    /// Write a completion script for a shell to standard output.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Parent of one process task; started by the agent.
    #[command(hide = true)]
    Shim(ShimArgs),
}

#[derive(Debug, Args)]
pub struct ShimArgs {
    /// What to run.
    #[arg(long)]
    pub spec: PathBuf,
}

/// What can run tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    /// Docker where an engine answers, and processes.
    Auto,
    /// Docker only.
    Docker,
    /// Processes only: apps without an image.
    Process,
    /// Nothing is really run.
    Hollow,
}

#[derive(Debug, Args)]
pub struct DevArgs {
    /// Keep the cluster here and find it again next time: tasks go on running when this process ends.
    /// Without it everything is temporary and removed on exit.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where REST answers.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "IP:PORT")]
    pub http: SocketAddr,
    /// Where DNS answers.
    #[arg(long, default_value = "127.0.0.1:8053", value_name = "IP:PORT")]
    pub dns: SocketAddr,
    /// What runs tasks.
    #[arg(long, value_enum, default_value_t = Runtime::Auto)]
    pub runtime: Runtime,
    /// Number of agents, each with a loopback address of its own (127.0.0.1, 127.0.0.2, ...).
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub agents: u8,
    /// Address for the tasks' resolver, port 53; chosen among the loopback addresses when not given.
    #[arg(long, value_name = "IP")]
    pub resolver_ip: Option<IpAddr>,
    #[command(flatten)]
    pub documents: DocumentArgs,
    /// Listen on addresses beyond loopback although nothing is encrypted or authenticated.
    #[arg(long)]
    pub insecure: bool,
}

/// Options that change what app documents may say.
#[derive(Clone, Debug, Args)]
pub struct DocumentArgs {
    /// Features of documents to accept: vips, task_killing, external_volumes, secrets, gpu_resources.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub enable_features: Vec<String>,
    /// Role of apps directly under /.
    #[arg(long, default_value = "*", value_name = "ROLE")]
    pub mesos_role: String,
    /// Network for container networks that name none.
    #[arg(long, value_name = "NAME")]
    pub default_network_name: Option<String>,
}

#[derive(Debug, Args)]
pub struct MasterArgs {
    /// Name of this master; stays with its data directory.
    #[arg(long)]
    pub name: String,
    /// Holds the replicated log.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Where REST answers.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "IP:PORT")]
    pub http: SocketAddr,
    /// Where agents connect.
    #[arg(long, default_value = "127.0.0.1:5050", value_name = "IP:PORT")]
    pub rpc: SocketAddr,
    /// Where DNS answers.
    #[arg(long, default_value = "127.0.0.1:8053", value_name = "IP:PORT")]
    pub dns: SocketAddr,
    /// Begin a new cluster if the data directory is empty.
    #[arg(long)]
    pub bootstrap: bool,
    /// Address that others reach this master by, when it listens on 0.0.0.0.
    #[arg(long, value_name = "IP")]
    pub advertise: Option<IpAddr>,
    /// Silence of an agent after which its tasks count as unreachable.
    #[arg(long, default_value = "75s", value_parser = duration, value_name = "TIME")]
    pub agent_timeout: Duration,
    /// Time from placed to running after which a task is started anew; includes pulling its image.
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "TIME")]
    pub task_launch_timeout: Duration,
    #[command(flatten)]
    pub documents: DocumentArgs,
    /// Listen on addresses beyond loopback although nothing is encrypted or authenticated.
    #[arg(long)]
    pub insecure: bool,
}

#[derive(Debug, Args)]
pub struct AgentArgs {
    /// Where the masters listen for agents.
    #[arg(long, required = true, value_delimiter = ',', value_name = "IP:PORT")]
    pub masters: Vec<SocketAddr>,
    /// Holds the agent's identity, sandboxes and the records of its tasks.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Address that its tasks are reached by.
    #[arg(long, value_name = "IP")]
    pub ip: IpAddr,
    /// Name shown as the host of its tasks.
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Ports that tasks may get.
    #[arg(long, default_value = "31000-32000", value_name = "FROM-TO[,FROM-TO]")]
    pub ports: String,
    /// Cores to hand out; what the machine has when not given.
    #[arg(long)]
    pub cpus: Option<f64>,
    /// Memory to hand out in MiB; what the machine has when not given.
    #[arg(long, value_name = "MiB")]
    pub mem: Option<u64>,
    /// Disk to hand out in MiB; what is free under the data directory when not given.
    #[arg(long, value_name = "MiB")]
    pub disk: Option<u64>,
    /// GPUs to hand out; none are looked for.
    #[arg(long)]
    pub gpus: Option<u32>,
    /// For constraints: rack:r1;zone:z1.
    #[arg(long, default_value = "", value_name = "NAME:VALUE;...")]
    pub attributes: String,
    /// What runs tasks.
    #[arg(long, value_enum, default_value_t = Runtime::Auto)]
    pub runtime: Runtime,
    /// Address for the tasks' resolver, port 53; chosen among the loopback addresses when not given.
    #[arg(long, value_name = "IP")]
    pub resolver_ip: Option<IpAddr>,
    /// Do not run a resolver: tasks use the machine's own.
    #[arg(long, conflicts_with = "resolver_ip")]
    pub no_resolver: bool,
}

/// Whether and how long to wait for a change to be done.
#[derive(Clone, Debug, Args)]
pub struct WaitArgs {
    /// Cancel other deployments of the same apps.
    #[arg(long)]
    pub force: bool,
    /// Do not wait for the deployment.
    #[arg(long)]
    pub detach: bool,
    /// Longest wait.
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "TIME")]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
pub struct DeployArgs {
    /// JSON document with an app or an array of apps; - reads standard input.
    pub file: String,
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Give up when an app has failed this often while it was being deployed; 0 never does.
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub max_failures: u32,
}

#[derive(Debug, Args)]
pub struct DeploymentsArgs {
    /// End this deployment and bring back what was before.
    #[arg(long, value_name = "DEPLOYMENT")]
    pub cancel: Option<String>,
    /// With --cancel: just stop it where it stands.
    #[arg(long, requires = "cancel")]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// App or task id.
    pub id: String,
    /// Go on as more is written.
    #[arg(long, short)]
    pub follow: bool,
    /// Begin this many lines before the end.
    #[arg(long, short = 'n', value_name = "LINES")]
    pub tail: Option<u32>,
    /// Only one of the two outputs.
    #[arg(long, value_enum)]
    pub file: Option<LogFile>,
}

/// One of a task's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFile {
    Stdout,
    Stderr,
}

impl LogFile {
    /// As the REST API names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// `90`, `90s`, `500ms`, `5m`, `1h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 =
        text[..digits].parse().map_err(|_| format!("`{text}` is not a time such as 90s or 5m"))?;
    let millis = match &text[digits..] {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        unit => return Err(format!("`{unit}` is not a unit of time: use ms, s, m or h")),
    };
    millis.map(Duration::from_millis).ok_or_else(|| format!("`{text}` is too long"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "m", "5 m", "1y", "99999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
