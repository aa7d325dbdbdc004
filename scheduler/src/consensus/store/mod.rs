//! Where the log, the hard state and the snapshot are kept: the [`LogStore`] trait, its implementation on
//! disk and its twin in memory. Nothing here knows what an entry means or who leads.
//!
//! The conf state has no record of its own: it is the snapshot's, changed by the entries after it. So the
//! commit index must be on disk before a membership change is applied; the node sees to that.

mod convert;
mod database;
mod disk;
mod home;
mod log;
mod memory;
mod outline;
mod pieces;
mod record;
mod staged;
mod tables;
mod timed;

#[cfg(test)]
mod damage;
#[cfg(test)]
mod power;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use raft::eraftpb::{Entry, HardState, SnapshotMetadata};
use uuid::Uuid;

pub use disk::DiskStore;
pub use memory::{Fault, MemoryDisk, MemoryStore};
pub use outline::{Outline, Position};
pub use staged::{ChunkSink, Staged, Stager};
pub use timed::{Commits, Timed};

/// The pieces of a snapshot, read from the store as they are asked for. Reading blocks: not on a runtime
/// thread. What is being read stays as it is, also when a newer snapshot replaces it meanwhile.
pub type Pieces = Box<dyn Iterator<Item = Result<Vec<u8>, StoreError>> + Send>;

/// Whose log this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the master, as given on the command line.
    pub name: String,
    /// Id of the master in the group; never 0.
    pub id: u64,
    /// The cluster: drawn when it was founded.
    pub group: Uuid,
}

/// Durable log of one member. Reads of terms, indexes and states are from memory.
pub trait LogStore: Send + 'static {
    /// What is known of the log without reading it.
    fn outline(&self) -> &Outline;

    /// The entries `[low, high)`, which must exist; at least one, otherwise at most `max_bytes` together.
    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StoreError>;

    /// The pieces of the current snapshot, in order; a view that nothing changes any more.
    fn pieces(&self) -> Result<Pieces, StoreError>;

    /// Where the pieces of a snapshot go before it becomes the current one.
    fn stager(&self) -> Stager;

    /// How a snapshot of our own state becomes the current one, with which the log begins after `compact`: what it is
    /// of must be committed on disk. Nothing is done yet; whoever has staged the pieces does it, beside whatever is
    /// committed meanwhile. All or nothing of it is found after a crash.
    fn adoption(&self, meta: SnapshotMetadata, compact: u64) -> Result<Adoption, StoreError>;

    /// Takes note that it was done, without waiting for a disk. Until then the store is as it was.
    fn adopted(&mut self, adopted: Adopted);

    /// Makes `write` durable. A crash meanwhile leaves all or nothing of one without a snapshot; of one with a snapshot
    /// also what [`DiskStore`] says may be found between its two parts ([`Fault::Halfway`] of the twin). After an error
    /// the store must not be used again.
    fn commit(&mut self, write: Write) -> Result<(), StoreError>;
}

/// What changes together.
#[derive(Clone, Debug, Default)]
pub struct Write {
    /// A snapshot from the leader: the log is replaced.
    pub received: Option<Received>,
    /// Entries to append, in order; those from the first one's index on are replaced.
    pub entries: Vec<Entry>,
    /// A new term, vote or commit index.
    pub hard_state: Option<HardState>,
}

/// A snapshot from the leader that becomes the current one; all its pieces have been staged. The one before it goes.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // index, term and members; number of the stage and of its pieces
pub struct Received {
    pub meta: SnapshotMetadata,
    pub stage: u64,
    pub pieces: u32,
}

/// Makes staged pieces the current snapshot, durable; on any thread. `None`, and they are removed, when a snapshot
/// that is as new came from the leader meanwhile. After an error the store must not be used again.
pub type Adoption = Box<dyn FnOnce(Staged) -> Result<Option<Adopted>, StoreError> + Send>;

/// A snapshot of our own state that is the current one on disk, which the store has not taken note of.
#[derive(Debug)]
pub struct Adopted {
    meta: SnapshotMetadata,
    stage: u64,
    pieces: u32,
    base: Position,
    first_segment: u64,
}

/// What a log begins with.
pub struct First<'a> {
    /// Index, term and members. Index 0, without members: nothing yet, a leader is to send it.
    pub meta: SnapshotMetadata,
    /// The state at that index, in pieces.
    pub chunks: Box<dyn Iterator<Item = io::Result<Vec<u8>>> + 'a>,
}

impl<'a> First<'a> {
    /// For a new member of a group.
    pub fn nothing() -> Self {
        Self { meta: SnapshotMetadata::default(), chunks: Box::new(std::iter::empty()) }
    }

    /// For a new group.
    pub fn new(meta: SnapshotMetadata, chunks: impl IntoIterator<Item = Vec<u8>, IntoIter: 'a>) -> Self {
        Self { meta, chunks: Box::new(chunks.into_iter().map(Ok)) }
    }
}

/// Why a store cannot be used. The text names the place and the way out.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each text says what its fields are
pub enum StoreError {
    /// Bytes on disk are not those that were written.
    #[error(
        "{}: {what}; the log is damaged and is not used: restore the directory from a copy, or, if other \
         masters hold the state, remove it and join again as a new master",
        path.display()
    )]
    Corrupt { path: PathBuf, what: String },
    /// Written by another version of this program.
    #[error(
        "{} has format {found}, this program knows format {known}: start it with the version that wrote it",
        path.display()
    )]
    Format { path: PathBuf, found: u32, known: u32 },
    /// The directory of another master.
    #[error(
        "{} belongs to master `{found}`, not to `{given}`: give this master a data directory of its own, or \
         its own name",
        path.display()
    )]
    Foreign { path: PathBuf, found: String, given: String },
    /// Two processes, one directory.
    #[error("{} is in use by another process: end that one first, or give another data directory", path.display())]
    InUse { path: PathBuf },
    /// The directory was used, but its log is gone.
    #[error(
        "{} is missing, though this directory held the log of cluster {group}: restore it from a copy, or \
         remove the directory to begin anew",
        path.display()
    )]
    Lost { path: PathBuf, group: String },
    /// The disk, or the rights on it.
    #[error("cannot {action} {}: {source}; {}", path.display(), advice(source))]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// What a log is to begin with cannot be read.
    #[error("cannot read the state to begin with: {0}")]
    Source(io::Error),
    /// A caller broke the rules of the log.
    #[error("{}: {what}", path.display())]
    Misuse { path: PathBuf, what: String },
}

impl StoreError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        StoreError::Io { action, path: path.to_owned(), source }
    }
}

/// What a person can do about an I/O error.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "make room and start again: nothing that was acknowledged is lost"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "the data directory must be writable by this user"
        }
        _ => "check the disk and the path of the data directory, then start again",
    }
}
