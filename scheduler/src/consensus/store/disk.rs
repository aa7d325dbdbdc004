//! The log on disk: entries and hard states in segments (`log`), snapshots in files of their own (`pieces`), and what
//! is rare and small in `raft.redb`, among it which of those files count. Every record carries a checksum of its own,
//! a write returns when it is synced, and what cannot be trusted is refused rather than begun anew.
//!
//! Most writes are one frame. A snapshot of our own becomes the current one by a transaction that its own thread does:
//! the log's thread waits for none of it, and takes note afterwards. Until then it knows the log as it was, and
//! nothing that it knows has gone.
//!
//! A snapshot from the leader is a transaction and a frame, and a crash may come between. From the transaction on the
//! frames before do not count. It names a hard state of its own, the new one but for a commit index beyond the
//! snapshot. Without the frame after it the log ends with the snapshot: term and vote are kept, and nobody was told
//! of the entries.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use raft::eraftpb::{Entry, HardState, SnapshotMetadata};

use super::database::{RaftFile, corrupt};
use super::log::{Extent, Folder, Journal, Sizes, segment_number};
use super::outline::Outline;
use super::pieces::{Shelf, stage_number};
use super::{
    Adopted, Adoption, First, Identity, LogStore, Pieces, Received, Staged, Stager, StoreError, Write,
    convert, home, tables,
};

/// A log on disk, locked against other processes. Files are closed when it is dropped, also while snapshots
/// are being read or staged: those fail then.
#[derive(Debug)]
pub struct DiskStore {
    pub(super) file: Arc<RaftFile>,
    journal: Journal,
    shelf: Arc<Shelf>,
    outline: Outline,
    identity: Identity,
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
        home::set_aside(&dir, &dir.join(aside), first..=newest, self.outline.stage())?;
        home::put_in_place(&dir)?;
        let folder = Folder::at(&dir);
        for name in folder.names()? {
            let new = [segment_number(&name), stage_number(&name)].contains(&Some(number));
            if home::is_part(&name) && !new {
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
        let mut journal = Journal::open(folder.clone(), identity.group, extent, sizes, &mut outline)?;
        tables::plausible(&outline).map_err(|what| corrupt(file.path(), what))?;
        let (stage, pieces) = outline.stage();
        let shelf = Shelf::new(folder, identity.group, stage + 1);
        // Nothing is tidied away before the snapshot that counts is known to be there.
        drop(shelf.pieces(stage, pieces)?);
        shelf.tidy(stage)?;
        journal.tidy_up()?;
        Ok(Self { file: Arc::new(file), journal, shelf, outline, identity, failed: false, _lock: lock })
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
        self.shelf.close();
        self.file.close();
    }

    fn usable(&self) -> Result<(), StoreError> {
        if self.failed {
            let earlier = io::Error::other("an earlier write has failed");
            return Err(StoreError::io("write to", self.file.path(), earlier));
        }
        Ok(())
    }

    fn misuse(&self, what: String) -> StoreError {
        StoreError::Misuse { path: self.file.path().to_owned(), what }
    }

    fn make_durable(&mut self, write: &Write) -> Result<(), StoreError> {
        let before = self.outline.hard_state().clone();
        let after = write.hard_state.as_ref().unwrap_or(&before);
        let begin = match &write.received {
            Some(received) => self.receive(received, after)?,
            None => before.clone(),
        };
        if write.entries.is_empty() && *after == begin {
            return Ok(());
        }
        self.append(&write.entries, &begin, after)
    }

    /// Makes a snapshot from the leader the current one, and the log an empty one that begins with the hard state that
    /// is yielded. Then the segments before are free.
    fn receive(&mut self, received: &Received, after: &HardState) -> Result<HardState, StoreError> {
        let index = received.meta.index;
        let begin = HardState { commit: after.commit.min(index), ..after.clone() };
        let extent = self.journal.extent_anew(begin.clone());
        self.transact(|transaction| tables::receive(transaction, received, &extent))?;
        self.journal.let_go(extent, index);
        Ok(begin)
    }

    /// One frame; in a new segment when there is no room for it in the one before.
    fn append(&mut self, entries: &[Entry], before: &HardState, after: &HardState) -> Result<(), StoreError> {
        if !self.journal.encode(entries, after) {
            self.journal.begin_segment(before)?;
            let newest = self.journal.extent().newest;
            self.transact(|transaction| tables::write_newest(transaction, newest))?;
        }
        self.journal.write(entries)
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
        let (stage, count) = self.outline.stage();
        self.shelf.pieces(stage, count)
    }

    fn stager(&self) -> Stager {
        let shelf = Arc::clone(&self.shelf);
        Arc::new(move || Box::new(shelf.stage()))
    }

    fn adoption(&self, meta: SnapshotMetadata, compact: u64) -> Result<Adoption, StoreError> {
        self.usable()?;
        self.outline.check_own(&meta, compact).map_err(|what| self.misuse(what))?;
        let base = self.outline.base_at(compact);
        let first_segment = self.journal.first_needed(base.index);
        let file = Arc::clone(&self.file);
        Ok(Box::new(move |staged: Staged| {
            let (stage, pieces) = staged.numbers();
            let own = Adopted { meta, stage, pieces, base, first_segment };
            match file.guarded("write to", |db| tables::adopt(db, &own, first_segment)) {
                Ok(false) => Ok(None),
                Ok(true) => {
                    staged.keep();
                    Ok(Some(own))
                }
                // What has failed may yet be found on disk.
                Err(error) => {
                    staged.keep();
                    Err(error)
                }
            }
        }))
    }

    fn adopted(&mut self, own: Adopted) {
        if own.meta.index <= self.outline.snapshot().index {
            return self.shelf.forget(own.stage);
        }
        let (before, _) = self.outline.stage();
        self.outline.adopt(&own);
        let extent = Extent { first: own.first_segment, ..self.journal.extent().clone() };
        self.journal.let_go(extent, own.base.index);
        self.shelf.forget(before);
    }

    fn commit(&mut self, write: Write) -> Result<(), StoreError> {
        self.outline.check(&write).map_err(|what| self.misuse(what))?;
        self.usable()?;
        self.failed = true;
        self.make_durable(&write)?;
        self.failed = false;
        let (before, _) = self.outline.stage();
        self.outline.apply(&write);
        if write.received.is_some() {
            self.shelf.forget(before);
        }
        Ok(())
    }
}
