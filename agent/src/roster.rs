//! Who the simulated agents of one process are: one file for all of them, instead of a directory each. Their
//! tasks end with the process, so nothing else of them is worth keeping: neither records, nor what they have
//! obeyed and said.
//!
//! ```text
//! lock                 held while a process uses the directory
//! agents.json          number of the agent: the cluster and the id that it gave
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use spec::ids::AgentId;
use uuid::Uuid;

use crate::identity::{DiskError, Identity, at, lock, write};

/// What is kept of one agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Member {
    cluster_id: Uuid,
    agent_id: AgentId,
}

/// All of them.
#[derive(Debug)]
pub struct Roster {
    path: PathBuf,
    members: Mutex<Members>,
    _lock: File,
}

#[derive(Debug, Default)]
struct Members {
    by_number: BTreeMap<u32, Member>,
    /// Some are not on disk.
    changed: bool,
}

impl Roster {
    /// Takes the directory, making it if need be.
    pub fn open(root: &Path) -> Result<Self, DiskError> {
        std::fs::create_dir_all(root).map_err(at(root))?;
        let (lock, path) = (lock(root)?, root.join("agents.json"));
        let by_number = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| DiskError::Damaged {
                path: path.clone(),
                why: error.to_string(),
                dir: root.to_owned(),
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(at(&path)(error)),
        };
        Ok(Self { path, members: Mutex::new(Members { by_number, changed: false }), _lock: lock })
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who an agent is, as far as anybody knows.
    pub(crate) fn identity(&self, number: u32) -> Identity {
        let member = self.members().by_number.get(&number).cloned();
        Identity {
            agent_id: member.as_ref().map(|member| member.agent_id.clone()),
            cluster_id: member.map(|member| member.cluster_id),
            ..Identity::new(Uuid::new_v4())
        }
    }

    /// Takes note; on disk after the next [`Self::save`].
    pub(crate) fn note(&self, number: u32, identity: &Identity) {
        let (Some(cluster_id), Some(agent_id)) = (identity.cluster_id, &identity.agent_id) else { return };
        let mut members = self.members();
        let known = members.by_number.get(&number);
        if known.is_none_or(|known| known.cluster_id != cluster_id || known.agent_id != *agent_id) {
            members.by_number.insert(number, Member { cluster_id, agent_id: agent_id.clone() });
            members.changed = true;
        }
    }

    /// Writes the file if it has changed. It is not flushed: an agent that is forgotten comes as a new one.
    pub fn save(&self) -> Result<(), DiskError> {
        let mut members = self.members();
        if members.changed {
            write(&self.path, &members.by_number, false)?;
            members.changed = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_known_again_and_the_directory_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let roster = Roster::open(dir.path()).unwrap();
        let stranger = roster.identity(7);
        assert_eq!((&stranger.agent_id, stranger.cluster_id), (&None, None));
        let agent_id = Some(AgentId::new("c-S1"));
        let member =
            Identity { agent_id: agent_id.clone(), cluster_id: Some(Uuid::from_u128(1)), ..stranger };
        roster.note(7, &member);
        roster.save().unwrap();
        assert!(Roster::open(dir.path()).unwrap_err().to_string().starts_with("another agent uses"));
        drop(roster);
        let again = Roster::open(dir.path()).unwrap().identity(7);
        assert_eq!((again.agent_id, again.cluster_id), (agent_id, member.cluster_id));
    }

    #[test]
    fn a_damaged_file_is_no_fresh_start() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("agents.json"), "{").unwrap();
        assert!(Roster::open(dir.path()).unwrap_err().to_string().contains("is damaged"));
    }
}
