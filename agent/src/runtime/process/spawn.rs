//! Starting a shim and hearing from it that the task runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::files::{SHIM_LOG, SPEC};
use crate::shim::READY;

/// Far more than a start takes; a machine that swaps is slow.
const START_MAX: Duration = Duration::from_secs(30);
/// The shim says a word or one error.
const ANSWER_MAX: u64 = 4096;

/// How this program is called as a shim.
#[derive(Clone, Debug)]
pub struct ShimCommand {
    /// The program.
    pub program: PathBuf,
    /// What comes before `--spec FILE`.
    pub args: Vec<OsString>,
    /// Additional environment of the shim, not of the task.
    pub env: Vec<(OsString, OsString)>,
}

impl ShimCommand {
    /// The verb `shim` of the running program, also when its file was replaced by a newer one meanwhile.
    pub fn of_this_program() -> Self {
        Self { program: "/proc/self/exe".into(), args: vec!["shim".into()], env: Vec::new() }
    }
}

/// Starts the shim for the task of a directory; returns when the task runs. The error is for people.
pub(super) async fn start(shim: &ShimCommand, directory: &Path) -> Result<(), String> {
    let answer = tokio::time::timeout(START_MAX, ask(shim, directory)).await;
    let answer = match answer {
        Ok(answer) => answer.map_err(|error| format!("starting the shim: {error}"))?,
        Err(_) => {
            return Err(format!("the task did not start within {} s", START_MAX.as_secs()));
        }
    };
    match answer.trim() {
        READY => Ok(()),
        "" => {
            let log = std::fs::read_to_string(directory.join(SHIM_LOG)).unwrap_or_default();
            Err(format!("the shim ended without a word {}", log.trim()))
        }
        error => Err(error.to_owned()),
    }
}

async fn ask(shim: &ShimCommand, directory: &Path) -> std::io::Result<String> {
    let log = std::fs::File::create(directory.join(SHIM_LOG))?;
    let mut child = tokio::process::Command::new(&shim.program)
        .args(&shim.args)
        .arg("--spec")
        .arg(directory.join(SPEC))
        .envs(shim.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()?;
    let mut answer = String::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(ANSWER_MAX).read_to_string(&mut answer).await?;
    }
    // The first process of the two has nothing to wait for.
    child.wait().await?;
    Ok(answer)
}
