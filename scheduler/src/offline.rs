//! Clusters that are made from files, while no master runs: from a backup, or from the log of one survivor.
//! Both begin in the next epoch, so that agents tell the new cluster from what is left of the old one, and
//! with a new group of masters, so that masters do. Files know only the epoch that they were written in: where
//! one cluster has been begun from them already, a second one has to be told to begin in a later epoch than that.

use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use spec::protocol::{Fence, epoch_begin, next_epoch};
use uuid::Uuid;

use crate::backup::{self, BackupError, Head};
use crate::consensus::{self, Frozen, Machine, OpenError};
use crate::machine::FrozenState;
use crate::state::{Batch, State};

/// Why there is no new cluster. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// What was to be restored.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Where it was to go, or what was to be recovered.
    #[error(transparent)]
    Log(#[from] OpenError),
}

/// What a cluster holds when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// As before.
    pub cluster_id: Uuid,
    /// The number of the only master.
    pub master: u64,
    /// The group that further masters join.
    pub group: Uuid,
    /// Agents refuse what comes from an earlier one.
    pub epoch: u64,
    /// Where the log begins.
    pub index: u64,
    /// So many apps.
    pub apps: usize,
    /// So many tasks, as far as was known.
    pub tasks: usize,
    /// So many agents.
    pub agents: usize,
    /// Masters that no longer belong to it.
    pub lost: Vec<u64>,
}

/// Makes a directory for the first master of a cluster that begins with a backup. `dir` must be empty or not
/// there. It begins in the epoch after that of the backup, or in `epoch_min` where that is later.
pub fn restore(
    file: impl Read,
    dir: &Path,
    name: &str,
    epoch_min: u32,
) -> Result<(Head, Begun), OfflineError> {
    let reader = backup::Reader::open(file)?;
    let head = reader.head().clone();
    let state = backup::successor(reader.state()?);
    let (master, index, term) = (state.last_master, state.index, first_term(head.term, epoch_min));
    let group = consensus::found_from(dir, name, master, index, term, state.snapshot().map(Ok))?;
    let began = consensus::Recovered { id: master, group, index, term, lost: Vec::new() };
    Ok((head, begun(&state, began)))
}

/// Makes the master `name`, whose log is in `dir`, the only one of its cluster. Everything in its log counts,
/// also what it did not know to be acknowledged. The old log is kept beside the new one. It goes on in the epoch
/// after that of the log, or in `epoch_min` where that is later.
pub fn recover(dir: &Path, name: &str, epoch_min: u32) -> Result<Begun, OfflineError> {
    let kept = Arc::new(Mutex::new(State::default()));
    let machine = Survivor { state: State::default(), name: name.to_owned(), kept: kept.clone() };
    let recovered = consensus::recover(dir, name, |last| first_term(last, epoch_min), machine)?;
    let state = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(begun(&state, recovered))
}

fn first_term(last: u64, epoch_min: u32) -> u64 {
    next_epoch(last).max(epoch_begin(epoch_min))
}

fn begun(state: &State, from: consensus::Recovered) -> Begun {
    Begun {
        cluster_id: state.cluster_id,
        master: from.id,
        group: from.group,
        epoch: Fence { term: from.term, index: from.index }.epoch(),
        index: from.index,
        apps: state.apps.values().filter(|app| !app.retired).count(),
        tasks: state.tasks.len(),
        agents: state.agents.len(),
        lost: from.lost,
    }
}

/// The state as a log is read to its end, for nobody but the snapshot that a new log begins with.
struct Survivor {
    state: State,
    name: String,
    /// What went into the snapshot.
    kept: Arc<Mutex<State>>,
}

impl Machine for Survivor {
    type Output = ();

    fn apply(&mut self, index: u64, entry: &[u8]) -> Result<(), String> {
        let batch = Batch::decode(entry).map_err(|error| error.to_string())?;
        self.state.apply(index, batch);
        Ok(())
    }

    fn applied(&mut self) {}

    fn freeze(&self) -> Box<dyn Frozen> {
        let state = backup::survivor(self.state.clone(), &self.name);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = state.clone();
        Box::new(FrozenState(state))
    }

    fn restore(&mut self, _: u64, chunks: Vec<Vec<u8>>) -> Result<(), String> {
        self.state = State::restore(&chunks).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn leadership(&mut self, _: u64, _: Option<u64>, _: bool) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_begins_twice_from_the_same_can_begin_later_than_before() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/backup-v1.gantry");
        let dir = tempfile::tempdir().unwrap();
        // The epoch that was asked for, and the one that came of it.
        for (number, (asked, first)) in [(0, 4), (4, 4), (5, 5), (9, 9)].into_iter().enumerate() {
            let dir = dir.path().join(number.to_string());
            let file = std::fs::File::open(&fixture).unwrap();
            let (head, restored) = restore(file, &dir, "m1", asked).unwrap();
            assert_eq!((head.term >> 32, restored.epoch), (3, first), "restore from {asked}");
            for (asked, next) in [(0, first + 1), (first as u32 + 7, first + 7)] {
                assert_eq!(recover(&dir, "m1", asked).unwrap().epoch, next, "recover from {asked}");
            }
        }
    }
}
