//! The agent's directory: who it is, what it has obeyed, and what it keeps about tasks. Nothing is decided
//! here.
//!
//! ```text
//! lock                 held while an agent uses the directory
//! identity.json        durable: written beside, synced, renamed
//! tasks/KEY.json       one file a task; survives a crash of the agent
//! sandboxes/KEY/       files of tasks
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use spec::ids::{AgentId, TaskId};
use uuid::Uuid;

use crate::core::{Kept, Record};
use crate::roster::Roster;
use crate::runtime::key::task_key;
use crate::sandbox::Sandboxes;

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Two agents in one directory.
    #[error("another agent uses {0}: stop it, or give this one a --data-dir of its own")]
    InUse(PathBuf),
    /// A damaged file is no reason to begin anew without being told.
    #[error("{path} is damaged ({why}): restore it from a copy, or remove {dir} to join as a new agent")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The agent's directory.
        dir: PathBuf,
    },
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

/// Who the agent is. Everything in it is durable before it is acted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Names the directory for ever; containers carry it, so that agents on one machine do not mix.
    pub owner: Uuid,
    /// The id that the cluster gave.
    pub agent_id: Option<AgentId>,
    /// The cluster.
    pub cluster_id: Option<Uuid>,
    /// What has been obeyed and said.
    pub kept: Kept,
    /// Where masters answered DNS and for which domain, so that names resolve before one is reached.
    #[serde(default)]
    pub dns: Option<(Vec<SocketAddr>, String)>,
    /// Where masters take agents, as the cluster told: the leader is found even if none of those on the command
    /// line is left.
    #[serde(default)]
    pub masters: Vec<SocketAddr>,
    /// The name server that tasks were given.
    #[serde(default)]
    pub resolver: Option<IpAddr>,
}

impl Identity {
    /// An agent that never joined a cluster.
    pub(crate) fn new(owner: Uuid) -> Self {
        Self {
            owner,
            agent_id: None,
            cluster_id: None,
            kept: Kept::default(),
            dns: None,
            masters: Vec::new(),
            resolver: None,
        }
    }
}

/// The directory, locked.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    sandboxes: Sandboxes,
    keeping: Keeping,
}

/// Who else is in the directory.
#[derive(Debug)]
enum Keeping {
    /// Nobody.
    Alone { sync: bool, _lock: File },
    /// Other simulated agents: who they are is kept for all of them, and nothing else.
    Among { roster: Arc<Roster>, number: u32 },
}

impl DataDir {
    /// Takes the directory, making it if need be. Without `sync` nothing is flushed: for simulated agents.
    pub fn open(root: &Path, sync: bool) -> Result<(Self, Identity), DiskError> {
        // Tasks have directories of their own, and what is mounted for them has to be named from the root.
        let root = &std::path::absolute(root).map_err(at(root))?;
        let tasks = root.join("tasks");
        // Environments of tasks are in there: nobody else's business.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&tasks).map_err(at(&tasks))?;
        let keeping = Keeping::Alone { sync, _lock: lock(root)? };
        let sandboxes = Sandboxes::open(root).map_err(at(root))?;
        let dir = Self { root: root.to_owned(), sandboxes, keeping };
        let identity = dir.read_identity()?;
        Ok((dir, identity))
    }

    /// One simulated agent of many; `root` is the directory that `roster` has taken.
    pub(crate) fn among(
        root: &Path,
        sandboxes: Sandboxes,
        roster: Arc<Roster>,
        number: u32,
    ) -> (Self, Identity) {
        let identity = roster.identity(number);
        (Self { root: root.to_owned(), sandboxes, keeping: Keeping::Among { roster, number } }, identity)
    }

    /// Does keeping the identity wait for no disk?
    pub(crate) fn is_quick(&self) -> bool {
        matches!(self.keeping, Keeping::Among { .. })
    }

    fn read_identity(&self) -> Result<Identity, DiskError> {
        let path = self.root.join("identity.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| DiskError::Damaged {
                path,
                why: error.to_string(),
                dir: self.root.clone(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let identity = Identity::new(Uuid::new_v4());
                self.save_identity(&identity)?;
                Ok(identity)
            }
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// Writes the identity; it is durable when this returns.
    pub fn save_identity(&self, identity: &Identity) -> Result<(), DiskError> {
        match &self.keeping {
            Keeping::Alone { sync, .. } => write(&self.root.join("identity.json"), identity, *sync),
            Keeping::Among { roster, number } => {
                roster.note(*number, identity);
                Ok(())
            }
        }
    }

    /// Everything kept about tasks. A file that cannot be read is left out and said: the task is found
    /// again by its runtime.
    pub fn records(&self) -> Result<Vec<Record>, DiskError> {
        let mut records = Vec::new();
        if matches!(self.keeping, Keeping::Among { .. }) {
            return Ok(records);
        }
        let dir = self.root.join("tasks");
        for entry in fs::read_dir(&dir).map_err(at(&dir))? {
            let path = entry.map_err(at(&dir))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let bytes = fs::read(&path).map_err(at(&path))?;
            match serde_json::from_slice(&bytes) {
                Ok(record) => records.push(record),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "unreadable task record left out")
                }
            }
        }
        Ok(records)
    }

    /// Keeps a task's record.
    pub fn save_record(&self, record: &Record) -> Result<(), DiskError> {
        match self.keeping {
            Keeping::Alone { .. } => write(&self.record_path(&record.task), record, false),
            Keeping::Among { .. } => Ok(()),
        }
    }

    /// Forgets a task's record.
    pub fn remove_record(&self, task: &TaskId) -> Result<(), DiskError> {
        if matches!(self.keeping, Keeping::Among { .. }) {
            return Ok(());
        }
        let path = self.record_path(task);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path)(error)),
            _ => Ok(()),
        }
    }

    /// Files of tasks.
    pub fn sandboxes(&self) -> &Sandboxes {
        &self.sandboxes
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn record_path(&self, task: &TaskId) -> PathBuf {
        self.root.join("tasks").join(format!("{}.json", task_key(task)))
    }
}

/// Takes the directory for this process.
pub(crate) fn lock(root: &Path) -> Result<File, DiskError> {
    let path = root.join("lock");
    let lock = File::options().create(true).append(true).open(&path).map_err(at(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(DiskError::InUse(root.to_owned())),
        Err(TryLockError::Error(error)) => Err(at(&path)(error)),
    }
}

/// Beside, then renamed: a crash leaves the old or the new content, never half of one.
pub(crate) fn write(path: &Path, value: &impl Serialize, sync: bool) -> Result<(), DiskError> {
    let beside = path.with_extension("new");
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        if sync {
            file.sync_all()?;
        }
        fs::rename(&beside, path)?;
        match path.parent() {
            Some(parent) if sync => File::open(parent)?.sync_all(),
            _ => Ok(()),
        }
    };
    write().map_err(at(path))
}

pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> DiskError + '_ {
    |source| DiskError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use spec::protocol::Fence;

    use super::*;
    use crate::core::Stage;
    use crate::core::tests::task;

    #[test]
    fn identity_is_kept_and_the_directory_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, mut identity) = DataDir::open(dir.path(), true).unwrap();
        identity.agent_id = Some(AgentId::new("c-S1"));
        identity.masters = vec![([192, 0, 2, 1], 5070).into()];
        identity.kept = Kept { fence: Fence { term: 3, index: 9 }, seq_ceiling: 7 };
        disk.save_identity(&identity).unwrap();
        let error = DataDir::open(dir.path(), true).unwrap_err();
        assert!(error.to_string().starts_with("another agent uses"), "{error}");
        drop(disk);
        assert_eq!(DataDir::open(dir.path(), true).unwrap().1, identity);
    }

    #[test]
    fn a_relative_directory_is_one_from_the_root() {
        let dir = tempfile::tempdir_in(".").unwrap();
        let relative = Path::new(dir.path().file_name().unwrap());
        let (disk, _) = DataDir::open(relative, true).unwrap();
        assert_eq!(disk.root(), std::env::current_dir().unwrap().join(relative));
    }

    #[test]
    fn an_identity_of_an_agent_that_knew_no_masters_is_read() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path(), true).unwrap());
        let before = r#"{"owner":"00000000-0000-0000-0000-000000000001","agent_id":"c-S1","cluster_id":null,
            "kept":{"fence":{"term":3,"index":9},"seq_ceiling":7},"dns":[["192.0.2.1:53"],"mesos"],
            "resolver":"127.0.1.53"}"#;
        fs::write(dir.path().join("identity.json"), before).unwrap();
        let identity = DataDir::open(dir.path(), true).unwrap().1;
        assert_eq!((identity.kept.fence, identity.masters), (Fence { term: 3, index: 9 }, vec![]));
    }

    #[test]
    fn a_damaged_identity_is_no_fresh_start() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path(), true).unwrap());
        fs::write(dir.path().join("identity.json"), b"{\"owner\":").unwrap();
        let error = DataDir::open(dir.path(), true).unwrap_err().to_string();
        assert!(error.contains("is damaged") && error.contains("join as a new agent"), "{error}");
    }

    #[test]
    fn records_are_kept_until_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, _) = DataDir::open(dir.path(), true).unwrap();
        let record = Record {
            task: task(1),
            app: None,
            host_ports: vec![1],
            runtime: Some(crate::core::RuntimeKind::Docker),
            kill_grace_millis: Some(5),
            stage: Stage::Accepted,
        };
        disk.save_record(&record).unwrap();
        fs::write(dir.path().join("tasks/x.json"), b"torn").unwrap();
        fs::write(dir.path().join("tasks/y.new"), b"half").unwrap();
        assert_eq!(disk.records().unwrap(), [record]);
        disk.remove_record(&task(1)).unwrap();
        disk.remove_record(&task(1)).unwrap();
        assert_eq!(disk.records().unwrap(), []);
    }
}
