//! What a process task leaves on disk, in `<data dir>/process/<task>/`: written by the agent and the shim,
//! read by whichever agent comes after.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spec::ids::TaskId;
use spec::time::Timestamp;

use super::identity::Identity;
use super::proc::ProcessRef;
use crate::runtime::Exit;

/// What to run.
pub const SPEC: &str = "spec.json";
/// What runs.
pub const STARTED: &str = "started.json";
/// How it ended.
pub const EXIT: &str = "exit.json";
/// Why it could not be started, in words.
pub const FAILURE: &str = "failure";
/// The resolv.conf that it sees.
pub const RESOLV_CONF: &str = "resolv.conf";
/// What the shim said that it should not have to say.
pub const SHIM_LOG: &str = "shim.log";

/// Everything that the shim needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The task.
    pub task: TaskId,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Where it runs and writes `stdout` and `stderr`.
    pub sandbox: PathBuf,
    /// Whom it runs as; `None`: as the agent.
    pub identity: Option<Identity>,
    /// Its control group; `None`: there is none.
    pub group: Option<String>,
    /// What it sees elsewhere than others do.
    pub mounts: Vec<Mount>,
}

/// A bind mount in the task's own mount namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// On the machine.
    pub source: PathBuf,
    /// For the task.
    pub target: PathBuf,
    /// May it only be read?
    pub read_only: bool,
}

/// A task that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its parent.
    pub shim: ProcessRef,
    /// Itself; also the number of its session and process group.
    pub process: ProcessRef,
    /// The run of the machine in which it was.
    pub boot_id: String,
    /// When.
    pub at: Timestamp,
}

impl Started {
    /// Does the shim still run?
    pub fn is_watched(&self, boot_id: &str) -> bool {
        self.boot_id == boot_id && self.shim.is_alive()
    }
}

/// [`Exit`] on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    code: Option<i32>,
    out_of_memory: bool,
    message: String,
    at: Option<Timestamp>,
}

impl From<Exit> for Ended {
    fn from(exit: Exit) -> Self {
        Self { code: exit.code, out_of_memory: exit.out_of_memory, message: exit.message, at: exit.at }
    }
}

impl From<Ended> for Exit {
    fn from(ended: Ended) -> Self {
        Self { code: ended.code, out_of_memory: ended.out_of_memory, message: ended.message, at: ended.at }
    }
}

/// Reads a file; `None` when there is none.
pub fn read<T: DeserializeOwned>(directory: &Path, name: &str) -> io::Result<Option<T>> {
    let path = directory.join(name);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file whole or not at all; it may hold secrets and is the agent's alone. Never creates the
/// directory: where that is gone, the task is not wanted any more.
pub fn write<T: Serialize>(directory: &Path, name: &str, value: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(value).map_err(io::Error::other)?;
    let temporary = directory.join(format!("{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join(name))?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_whole_or_absent() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read::<Ended>(directory.path(), EXIT).unwrap(), None);
        let exit = Exit { code: Some(3), message: "m".to_owned(), ..Exit::default() };
        write(directory.path(), EXIT, &Ended::from(exit.clone())).unwrap();
        assert_eq!(read::<Ended>(directory.path(), EXIT).unwrap().map(Exit::from), Some(exit));
        fs::write(directory.path().join(EXIT), "{").unwrap();
        assert!(read::<Ended>(directory.path(), EXIT).is_err());
        let gone = directory.path().join("gone");
        assert!(write(&gone, EXIT, &Ended::default()).is_err());
        assert!(!gone.exists());
    }
}
