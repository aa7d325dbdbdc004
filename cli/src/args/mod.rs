//! The command line: verbs, options, and the texts that teach them. No behaviour.

mod daemon;
mod masters;

use std::path::PathBuf;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub use daemon::{AgentArgs, DevArgs, DocumentArgs, MasterArgs, Runtime};
pub use masters::{BackupArgs, MastersVerb, RecoverArgs, RestoreArgs};

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
    /// REST addresses of the masters. Any of them will do; when one does not answer, or knows no leader, the
    /// next is asked.
    #[arg(
        long,
        global = true,
        env = "CLUSTERCTL_MASTER",
        default_value = "http://127.0.0.1:8080",
        value_delimiter = ',',
        value_name = "URL[,URL...]",
        help_heading = "Options of every verb that asks a master"
    )]
    pub master: Vec<String>,
    /// Tables for people or JSON for programs.
    #[arg(
        long,
        short,
        global = true,
        value_enum,
        default_value_t = Output::Table,
        help_heading = "Options of every verb that asks a master"
    )]
    pub output: Output,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a whole cluster in this process, for a laptop.
    #[command(after_help = "Example:\n  clusterctl dev --data-dir ~/cluster --agents 2")]
    Dev(DevArgs),
    /// Run a master.
    #[command(after_help = "\
Example:
  clusterctl master --name m1 --data-dir m1 --bootstrap

A cluster of three masters, any one of which may be lost:
  on 10.0.0.1: clusterctl master --name m1 --data-dir m1 --bootstrap --insecure \\
      --http 10.0.0.1:8080 --rpc 10.0.0.1:5050 --dns 10.0.0.1:8053
  on 10.0.0.2: clusterctl master --name m2 --data-dir m2 --join 10.0.0.1:5050 --insecure \\
      --http 10.0.0.2:8080 --rpc 10.0.0.2:5050 --dns 10.0.0.2:8053
  on 10.0.0.3: the same with m3 and 10.0.0.3

Started again, each goes on with its log, whatever --bootstrap or --join say. One that lost its data
directory joins again under its old name, and takes its old place.")]
    Master(MasterArgs),
    /// Run an agent.
    #[command(
        after_help = "Example:\n  clusterctl agent --masters 127.0.0.1:5050 --data-dir agent --ip 127.0.0.1"
    )]
    Agent(AgentArgs),
    /// Create or change apps from a JSON document and wait until they run.
    #[command(
        after_help = "Example:\n  clusterctl deploy web.json\n\nA small app: {\"id\": \"/web\", \"cmd\": \"exec \
                      python3 -m http.server $PORT\"}\n\nExits with 0 when every task runs and is healthy, with 1 \
                      when it does not come to that. Ctrl-C ends the wait (130), not the deployment."
    )]
    Deploy(DeployArgs),
    /// List apps.
    #[command(after_help = "Example:\n  clusterctl apps --output json | jq '.[].id'")]
    Apps,
    /// List tasks, of one app or of all.
    #[command(after_help = "Example:\n  clusterctl tasks /shop/web")]
    Tasks {
        /// App id, for example /shop/web.
        app: Option<String>,
    },
    /// List agents with what they have and what is in use.
    #[command(after_help = "Example:\n  clusterctl agents")]
    Agents,
    /// List running deployments, or end one.
    #[command(after_help = "Example:\n  clusterctl deployments --cancel 0f4a3c5e-...")]
    Deployments(DeploymentsArgs),
    /// List apps whose tasks wait, and why.
    #[command(after_help = "Example:\n  clusterctl queue")]
    Queue,
    /// Change the number of instances of an app.
    #[command(after_help = "Example:\n  clusterctl scale /shop/web 5")]
    Scale {
        /// App id.
        app: String,
        /// Wanted number of instances.
        instances: u32,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Replace every task of an app.
    #[command(after_help = "Example:\n  clusterctl restart /shop/web")]
    Restart {
        /// App id.
        app: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Remove an app and end its tasks.
    #[command(after_help = "Example:\n  clusterctl remove /shop/web")]
    Remove {
        /// App id.
        app: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// End a task; its app starts another, unless --scale.
    #[command(after_help = "Example:\n  clusterctl kill shop_web.instance-0f4a3c5e-..._app.1 --scale")]
    Kill {
        /// Task id, as `clusterctl tasks` shows it.
        task: String,
        /// Take one off the app's instances instead of starting another.
        #[arg(long)]
        scale: bool,
    },
    /// Print what tasks wrote to their standard output and error.
    #[command(after_help = "Example:\n  clusterctl logs -f -n 20 /shop/web")]
    Logs(LogsArgs),
    /// Print events as they happen.
    #[command(after_help = "Example:\n  clusterctl events --type status_update_event --output json")]
    Events {
        /// Only events of this type; may be repeated.
        #[arg(long = "type", value_name = "EVENT_TYPE")]
        types: Vec<String>,
    },
    /// List the masters, take one out, or let another one lead.
    #[command(after_help = "Example:\n  clusterctl masters\n  clusterctl masters remove m2")]
    Masters {
        #[command(subcommand)]
        verb: Option<MastersVerb>,
    },
    /// Write the state of the cluster into a file, while it runs.
    #[command(
        after_help = "Example:\n  clusterctl backup cluster.gantry\n  clusterctl backup - | ssh host 'cat > cluster.gantry'\n\nThe file \
                            holds everything that the masters agree on: apps with their versions, deployments, \
                            tasks, agents. It is checked while it is written. To use it: clusterctl restore."
    )]
    Backup(BackupArgs),
    /// Make the first master of a new cluster from a backup. Works on files; nothing has to run.
    #[command(
        after_help = "Example:\n  clusterctl restore cluster.gantry --name m1 --data-dir /var/lib/gantry/master\n\n\
                            For when every master is lost; if one survives, see clusterctl recover. What was \
                            changed after the backup is gone: tasks that were started after it are ended when \
                            their agents come back. The old masters must be stopped and never started again; \
                            agents that have seen the new cluster refuse them."
    )]
    Restore(RestoreArgs),
    /// Make a cluster of one from the last master that survived. Works on files; nothing has to run.
    #[command(
        after_help = "Example:\n  clusterctl recover --name m1 --data-dir /var/lib/gantry/master --yes\n\n\
                            For when a majority of the masters is lost for good. While a majority can be \
                            started, start it instead: it knows everything, and a dead master is replaced with \
                            clusterctl master --join. A single survivor may lack changes that the others had \
                            acknowledged. If several survive, recover the one that is furthest."
    )]
    Recover(RecoverArgs),
    /// Write a completion script for a shell to standard output.
    #[command(after_help = "Example:\n  clusterctl completions bash > /etc/bash_completion.d/clusterctl")]
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
