//! The log on disk: entries and hard states in segments (`log`), snapshots and what else is rare in `raft.redb`.
//! Every record carries a checksum of its own, a write returns when it is synced, and what cannot be trusted is
//! refused rather than begun anew.
//!
//! Most writes are one frame. One with a snapshot is a frame and a transaction, and a crash may come between:
//!
//! * A snapshot of our own, or compaction: the frame is first. Without the transaction the entries and the hard
//!   state are new, and the snapshot is still the one before: a log that has not been compacted yet.
//! * A snapshot from the leader: the transaction is first, and from it on the frames before do not count. It names a
//!   hard state of its own, the new one but for a commit index beyond the snapshot. Without the frame after it the
//!   log ends with the snapshot: term and vote are kept, and nobody was told of the entries.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use raft::eraftpb::{Entry, HardState};

use super::database::{RaftFile, corrupt};
use super::log::{Extent, Folder, Journal, Sizes, is_log_file, segment_number};
use super::outline::Outline;
use super::{
    ChunkSink, First, Identity, LogStore, Pieces, SnapshotWrite, Staged, Stager, StoreError, Write, convert,
    home, tables,
};

/// A log on disk, locked against other processes. Files are closed when it is dropped, also while snapshots
/// are being read or staged: those fail then.
#[derive(Debug)]
pub struct DiskStore {
    pub(super) file: Arc<RaftFile>,
    journal: Journal,
    outline: Outline,
    identity: Identity,
    /// Number of the next stage.
    next_stage: Arc<AtomicU64>,
    /// A write failed: what is on disk is known again when the log is opened again.
    failed: bool,
    _lock: Option<File>,
}

impl Drop for DiskStore {
    /// The lock goes after it.
    fn drop(&mut self) {
        self.close();
    }
}

impl DiskStore {
    /// Whether a log was ever founded in `dir`.
    pub fn exists(dir: &Path) -> bool {
        home::exists(dir)
    }

    /// Whether a file of that name in a directory without a log is no obstacle to founding one: it was being
    /// founded when the process died.
    pub fn is_leftover(name: &str) -> bool {
        home::is_leftover(name)
    }

    /// Creates a log in `dir` that begins with `first`, unless there is one already, and opens it.
    pub fn create(dir: &Path, identity: &Identity, first: First<'_>) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(|error| StoreError::io("create", dir, error))?;
        let lock = home::lock(dir)?;
        if !Self::exists(dir) {
            home::build(dir, identity, first, 1, Sizes::default())?;
            home::put_in_place(dir)?;
        }
        Self::open_locked(dir, &identity.name, lock)
    }

    /// Opens the log in `dir`, checking every record of it. The id is the one on disk.
    pub fn open(dir: &Path, name: &str) -> Result<Self, StoreError> {
        let lock = home::lock(dir)?;
        Self::open_locked(dir, name, lock)
    }

    /// Puts another log in the place of this one and closes it. The log as it was stays, whole, in the directory
    /// `aside` of this one. A crash leaves the one or the other in place.
    pub fn replace(mut self, identity: &Identity, first: First<'_>, aside: &str) -> Result<(), StoreError> {
        let dir = self.file.path().parent().unwrap_or(Path::new(".")).to_owned();
        let number = home::unused_number(&dir)?;
        home::build(&dir, identity, first, number, Sizes::default())?;
        self.close();
        let Extent { first, newest, .. } = *self.journal.extent();
        home::set_aside(&dir, &dir.join(aside), first..=newest)?;
        home::put_in_place(&dir)?;
        let folder = Folder::at(&dir);
        for name in folder.names()? {
            if is_log_file(&name) && segment_number(&name) != Some(number) {
                folder.remove(&name)?;
            }
        }
        home::record_group(&dir, identity.group)
    }

    fn open_locked(dir: &Path, name: &str, lock: File) -> Result<Self, StoreError> {
        home::expect_file(dir)?;
        let file = RaftFile::open(&home::raft_file(dir))?;
        let store = Self::with_files(file, Folder::at(dir), Sizes::default(), Some(lock))?;
        store.expect_owner(name)?;
        home::record_group(dir, store.identity.group)?;
        Ok(store)
    }

    /// Reads and checks everything.
    pub(super) fn with_files(
        file: RaftFile,
        folder: Folder,
        sizes: Sizes,
        lock: Option<File>,
    ) -> Result<Self, StoreError> {
        let format = file.format()?;
        if format < tables::FORMAT {
            convert::convert(&file, &folder, format, sizes)?;
        }
        let read =
            || Ok((file.checked(|db| tables::read_head(db, true))?, file.checked(tables::read_extent)?));
        let found = read()?;
        file.check_pages(&found, read)?;
        let ((identity, mut outline), extent) = found;
        let mut journal = Journal::open(folder, identity.group, extent, sizes, &mut outline)?;
        tables::plausible(&outline).map_err(|what| corrupt(file.path(), what))?;
        let (stage, _) = outline.stage();
        file.guarded("tidy up", |db| tables::tidy(db, stage))?;
        journal.tidy_up()?;
        let next_stage = Arc::new(AtomicU64::new(stage + 1));
        Ok(Self { file: Arc::new(file), journal, outline, identity, next_stage, failed: false, _lock: lock })
    }

    fn expect_owner(&self, name: &str) -> Result<(), StoreError> {
        if self.identity.name == name {
            return Ok(());
        }
        let (path, found) = (self.file.path().to_owned(), self.identity.name.clone());
        Err(StoreError::Foreign { path, found, given: name.to_owned() })
    }

    /// Whose log this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Closes the files; what comes after it fails.
    pub(super) fn close(&mut self) {
        if self.failed {
            self.journal.abandon();
        } else if let Err(error) = self.journal.close() {
            tracing::error!(%error, "the log could not be closed in order");
        }
        self.failed = true;
        self.file.close();
    }

    fn check(&self, write: &Write) -> Result<(), StoreError> {
        let path = || self.file.path().to_owned();
        self.outline.check(write).map_err(|what| StoreError::Misuse { path: path(), what })?;
        if self.failed {
            let earlier = io::Error::other("an earlier write has failed");
            return Err(StoreError::io("write to", self.file.path(), earlier));
        }
        let Some((stage, pieces)) = write.snapshot.as_ref().map(|snapshot| snapshot.stage()) else {
            return Ok(());
        };
        if self.file.guarded("read", |db| tables::has_pieces(db, stage, pieces))? {
            return Ok(());
        }
        let what = format!("stage {stage} does not have {pieces} pieces");
        Err(StoreError::Misuse { path: path(), what })
    }

    fn make_durable(&mut self, write: &Write) -> Result<(), StoreError> {
        let before = self.outline.hard_state().clone();
        let after = write.hard_state.as_ref().unwrap_or(&before);
        if let Some(SnapshotWrite::Received { meta, .. }) = &write.snapshot {
            let begin = HardState { commit: after.commit.min(meta.index), ..after.clone() };
            let extent = self.journal.extent_anew(begin.clone());
            self.record(write, extent)?;
            return if write.entries.is_empty() && *after == begin {
                Ok(())
            } else {
                self.append(&write.entries, &begin, after)
            };
        }
        // Segments that a snapshot makes free are so only with a frame behind them.
        let base = self.outline.base_after(write);
        let rare = write.snapshot.is_some() || base != self.outline.base();
        if rare || !write.entries.is_empty() || *after != before {
            self.append(&write.entries, &before, after)?;
        }
        if rare { self.record(write, self.journal.extent_from(base.index)) } else { Ok(()) }
    }

    /// One frame; in a new segment when there is no room for it in the one before.
    fn append(&mut self, entries: &[Entry], before: &HardState, after: &HardState) -> Result<(), StoreError> {
        if !self.journal.encode(entries, after) {
            self.journal.begin_segment(before)?;
            self.transact(|transaction| tables::write_extent(transaction, self.journal.extent()))?;
        }
        self.journal.write(entries)
    }

    /// What of a write is in `raft.redb`. Then the segments that `extent` does not name are free.
    fn record(&mut self, write: &Write, extent: Extent) -> Result<(), StoreError> {
        self.transact(|transaction| tables::write(transaction, &self.outline, write, &extent))?;
        self.journal.let_go(extent, self.outline.base_after(write).index)
    }

    /// The pieces of a snapshot that another has taken the place of are many: nobody waits until they are gone.
    /// Those that cannot be removed now are when the log is opened again.
    fn forget_stage(&self, stage: u64) {
        let file = Arc::clone(&self.file);
        if let Err(error) = self.journal.beside(Box::new(move || file.remove_stage(stage))) {
            tracing::debug!(%error, "pieces of an old snapshot stay for now");
        }
    }

    fn transact(
        &self,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<(), tables::Failure>,
    ) -> Result<(), StoreError> {
        self.file.guarded("write to", |db| {
            let transaction = db.begin_write()?;
            work(&transaction)?;
            Ok(transaction.commit()?)
        })
    }
}

impl LogStore for DiskStore {
    fn outline(&self) -> &Outline {
        &self.outline
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StoreError> {
        self.journal.read(low, high, max_bytes)
    }

    fn pieces(&self) -> Result<Pieces, StoreError> {
        let (stage, pieces) = self.outline.stage();
        let path: PathBuf = self.file.path().to_owned();
        let table = self.file.guarded("read", tables::open_pieces)?;
        Ok(Box::new((0..pieces).map(move |piece| {
            let read = super::database::guarded(&path, "read", || tables::read_piece(&table, stage, piece))?;
            read.map_err(|what| corrupt(&path, what))
        })))
    }

    fn stager(&self) -> Stager {
        let (file, next_stage) = (Arc::clone(&self.file), Arc::clone(&self.next_stage));
        Arc::new(move || {
            let number = next_stage.fetch_add(1, Ordering::Relaxed);
            let (file, removing) = (Arc::clone(&file), Arc::clone(&file));
            Box::new(Stage { file, staged: Staged::new(number, move |number| removing.remove_stage(number)) })
        })
    }

    fn commit(&mut self, write: Write) -> Result<(), StoreError> {
        self.check(&write)?;
        self.failed = true;
        self.make_durable(&write)?;
        self.failed = false;
        let before = self.outline.stage().0;
        self.outline.apply(&write);
        if self.outline.stage().0 != before {
            self.forget_stage(before);
        }
        Ok(())
    }
}

/// Writes pieces while the driver goes on committing: a transaction for each, so that no commit waits long.
struct Stage {
    file: Arc<RaftFile>,
    staged: Staged,
}

impl ChunkSink for Stage {
    fn put(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        let (stage, piece) = self.staged.next_piece();
        self.file.guarded("write to", |db| {
            let transaction = db.begin_write()?;
            tables::write_piece(&transaction, stage, piece, chunk)?;
            Ok(transaction.commit()?)
        })?;
        self.staged.count_in();
        Ok(())
    }

    fn finish(self: Box<Self>) -> Staged {
        self.staged
    }
}
