//! Options of the verbs that stay up.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use scheduler::placement::Policy;

use super::duration;

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
    /// End every task of the cluster in --data-dir, remove the directory, and exit. The cluster must not
    /// be running.
    #[arg(long, requires = "data_dir")]
    pub remove: bool,
    /// Where REST answers.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "IP:PORT")]
    pub http: SocketAddr,
    /// Where DNS answers.
    #[arg(long, default_value = "127.0.0.1:8053", value_name = "IP:PORT")]
    pub dns: SocketAddr,
    /// What runs tasks.
    #[arg(long, value_enum, default_value_t = Runtime::Auto)]
    pub runtime: Runtime,
    /// Number of masters: 1, 3 or 5. The first one answers at --http and --dns, the others at ports of their own.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = master_count)]
    pub masters: u8,
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

/// An even number is lost as soon as one less.
fn master_count(text: &str) -> Result<u8, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err("1, 3 or 5".to_owned()),
    }
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
    /// Where agents and other masters connect.
    #[arg(long, default_value = "127.0.0.1:5050", value_name = "IP:PORT")]
    pub rpc: SocketAddr,
    /// Where DNS answers.
    #[arg(long, default_value = "127.0.0.1:8053", value_name = "IP:PORT")]
    pub dns: SocketAddr,
    /// Begin a new cluster if the data directory holds none. For the first master only.
    #[arg(long, conflicts_with = "join")]
    pub bootstrap: bool,
    /// Join the cluster of these masters (their --rpc) if the data directory holds none. The master votes as
    /// soon as it has caught up; if one of its name is dead, it takes that one's place.
    #[arg(long, value_delimiter = ',', value_name = "IP:PORT")]
    pub join: Vec<SocketAddr>,
    /// Address that clients, agents and other masters reach this one by, when it listens on 0.0.0.0.
    #[arg(long, value_name = "IP")]
    pub advertise: Option<IpAddr>,
    /// Silence of an agent after which its tasks count as unreachable.
    #[arg(long, default_value = "75s", value_parser = duration, value_name = "TIME")]
    pub agent_timeout: Duration,
    /// Time from placed to running after which a task is started anew; includes pulling its image.
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "TIME")]
    pub task_launch_timeout: Duration,
    /// Which agent a task goes to, of those that can take it: `spread` (the least used), `pack` (the fullest) or
    /// `first` (in order of their ids). GPUs are packed with the first two.
    #[arg(long, default_value = "spread", value_name = "POLICY")]
    pub placement: Policy,
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
    #[command(flatten)]
    pub hollow: HollowArgs,
    /// Time between two measurements of what tasks use.
    #[arg(long, default_value = "5s", value_parser = duration, value_name = "TIME")]
    pub usage_interval: Duration,
    /// Address for the tasks' resolver, port 53; chosen among the loopback addresses when not given.
    #[arg(long, value_name = "IP")]
    pub resolver_ip: Option<IpAddr>,
    /// Do not run a resolver: tasks use the machine's own.
    #[arg(long, conflicts_with = "resolver_ip")]
    pub no_resolver: bool,
}

/// Options of simulated agents.
#[derive(Debug, Args)]
pub struct HollowArgs {
    /// With --runtime hollow: so many simulated agents in this process, hollow-0001 and so on. They need a file
    /// each for their session: `ulimit -n`.
    #[arg(long = "hollow", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub count: Option<u32>,
    /// Simulated tasks take up to this long to start.
    #[arg(long = "hollow-start-delay", default_value = "0s", value_parser = duration, value_name = "TIME")]
    pub start_delay: Duration,
    /// Share of simulated starts that fail, 0 to 1.
    #[arg(long = "hollow-failure-rate", default_value_t = 0.0, value_name = "SHARE")]
    pub failure_rate: f64,
    /// Simulated tasks end by themselves after this time on average, as likely in one second as in any other.
    #[arg(long = "hollow-exit-after", value_parser = duration, value_name = "TIME")]
    pub exit_after: Option<Duration>,
    /// Exit code of simulated tasks that end by themselves.
    #[arg(long = "hollow-exit-code", default_value_t = 0, value_name = "CODE")]
    pub exit_code: i32,
    /// Makes simulations differ.
    #[arg(long = "hollow-seed", default_value_t = 0)]
    pub seed: u64,
    /// Puts simulated agents into so many racks, attribute `rack`.
    #[arg(long = "hollow-racks", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub racks: Option<u32>,
}
