//! Options of the verbs about the masters themselves.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Far more than there will ever be: terms keep room above it.
const EPOCH_MAX: i64 = 1_000_000;

#[derive(Debug, Subcommand)]
pub enum MastersVerb {
    /// List the masters: who leads, who votes, who cannot be reached (the default).
    #[command(after_help = "Example:\n  clusterctl masters list --output json")]
    List,
    /// Take a master out of the cluster. A majority of the others has to be up.
    #[command(
        after_help = "Example:\n  clusterctl masters remove m2\n\nA master that lost its disk needs no \
                            removal: start it with --join and an empty directory, it takes its old place."
    )]
    Remove {
        /// Name or id, as `clusterctl masters` shows it.
        #[arg(value_name = "NAME|ID")]
        name: String,
    },
    /// Let another master lead, for example before the leader's machine is restarted.
    #[command(after_help = "Example:\n  clusterctl masters transfer m3")]
    Transfer {
        /// Who is to lead; the one that is furthest when not given.
        #[arg(value_name = "NAME")]
        to: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Where to put it; - writes to standard output.
    pub file: String,
    /// Replace a file of that name.
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// What `clusterctl backup` wrote.
    pub file: PathBuf,
    /// Name of the first master of the new cluster.
    #[arg(long)]
    pub name: String,
    /// Directory for it; must be empty or not there.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Begin in this epoch at least. Needed where agents have obeyed a cluster that was restored or recovered
    /// before from the same files: it must be later than that one's, which `restore` and `recover` said.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(u32).range(..=EPOCH_MAX))]
    pub epoch: u32,
}

#[derive(Debug, Args)]
pub struct RecoverArgs {
    /// Name of the master that survived.
    #[arg(long)]
    pub name: String,
    /// Its directory.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The other masters are gone for good, and what only they knew may be lost.
    #[arg(long)]
    pub yes: bool,
    /// Begin in this epoch at least. Needed where agents have obeyed a cluster that was restored or recovered
    /// before from the same files: it must be later than that one's, which `restore` and `recover` said.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(u32).range(..=EPOCH_MAX))]
    pub epoch: u32,
}
