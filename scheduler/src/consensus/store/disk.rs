//! The log in one `redb` file, `raft.redb`. Every record carries a checksum of its own, every write is one
//! fsynced transaction, and what cannot be trusted is refused rather than begun anew.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft::eraftpb::Entry;
use redb::Database;
use uuid::Uuid;

use super::outline::Outline;
use super::tables::{self, Failure};
use super::{ChunkSink, Identity, LogStore, SnapshotWrite, Stager, StoreError, Write};

const FILE: &str = "raft.redb";
/// A log being founded; renamed to `FILE` when complete, so that a crash leaves either all or nothing.
const UNFINISHED: &str = "raft.redb.new";
/// Held by the process that uses the directory; names the cluster, so that a lost log is noticed.
const LOCK: &str = "raft.lock";
/// Recent entries are cached a layer above: redb's own cache only has to hold the inner pages.
const PAGE_CACHE_BYTES: usize = 8 << 20;

/// A log on disk, locked against other processes.
#[derive(Debug)]
pub struct DiskStore {
    shared: Arc<Shared>,
    outline: Outline,
    identity: Identity,
}

/// What the driver and the writer of snapshots have in common.
#[derive(Debug)]
struct Shared {
    /// Absent only while being dropped; it goes before the lock.
    db: Option<Database>,
    path: PathBuf,
    _lock: Option<File>,
}

impl Shared {
    fn db(&self) -> &Database {
        self.db.as_ref().expect("taken by drop alone")
    }

    fn read_all(&self) -> Result<(Identity, Outline), StoreError> {
        let path = &self.path;
        let found = guarded(path, "read", || tables::read_format(self.db()))?;
        let found = found.ok_or_else(|| corrupt(path, "the format version is damaged"))?;
        if found != tables::FORMAT {
            return Err(StoreError::Format { path: path.clone(), found, known: tables::FORMAT });
        }
        let scan = guarded(path, "read", || tables::scan(self.db()))?;
        scan.map_err(|what| corrupt(path, what))
    }

    /// Has redb check its pages, among them the list of free ones, which no record's checksum covers. When
    /// the repair goes back to an earlier commit, the file is set aside: it must not be taken for whole by
    /// the next start.
    fn check_pages(&mut self, outline: &Outline) -> Result<(), StoreError> {
        let Self { db: Some(db), path, .. } = self else {
            return Ok(());
        };
        if guarded(path, "check", || Ok(db.check_integrity()?))? {
            return Ok(());
        }
        tracing::warn!(path = %self.path.display(), "the log's list of free pages was damaged and is made anew");
        if self.read_all()?.1 == *outline {
            return Ok(());
        }
        let aside = self.path.with_extension("damaged");
        fs::rename(&self.path, &aside).map_err(|error| StoreError::io("set aside", &aside, error))?;
        Err(corrupt(&aside, "its last commit is damaged"))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let db = self.db.take();
        // On damaged pages redb may panic while it closes; what matters is on disk already.
        if catch_unwind(AssertUnwindSafe(move || drop(db))).is_err() {
            tracing::error!(path = %self.path.display(), "the log could not be closed in order");
        }
    }
}

impl DiskStore {
    /// Whether a log was ever founded in `dir`.
    pub fn exists(dir: &Path) -> bool {
        dir.join(FILE).exists() || recorded_group(&dir.join(LOCK)).is_some()
    }

    /// Founds a log in `dir` that begins with `snapshot`, unless there is one already, and opens it.
    pub fn create(dir: &Path, identity: &Identity, snapshot: SnapshotWrite) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(|error| StoreError::io("create", dir, error))?;
        let lock = lock(dir)?;
        if Self::exists(dir) {
            return Self::open_locked(dir, &identity.name, identity.id, lock);
        }
        let unfinished = dir.join(UNFINISHED);
        if unfinished.exists() {
            fs::remove_file(&unfinished).map_err(|error| StoreError::io("replace", &unfinished, error))?;
        }
        found(&unfinished, identity, snapshot)?;
        let path = dir.join(FILE);
        fs::rename(&unfinished, &path).map_err(|error| StoreError::io("create", &path, error))?;
        sync_dir(dir)?;
        Self::open_locked(dir, &identity.name, identity.id, lock)
    }

    /// Opens the log in `dir`, checking every record of it.
    pub fn open(dir: &Path, name: &str, id: u64) -> Result<Self, StoreError> {
        let lock = lock(dir)?;
        Self::open_locked(dir, name, id, lock)
    }

    fn open_locked(dir: &Path, name: &str, id: u64, lock: File) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        if let (false, Some(group)) = (path.exists(), recorded_group(&dir.join(LOCK))) {
            return Err(StoreError::Lost { path, group });
        }
        let db = guarded(&path, "open", || {
            Ok(Database::builder().set_cache_size(PAGE_CACHE_BYTES).open(&path)?)
        })?;
        let store = Self::with_database(db, path, Some(lock))?;
        store.expect_owner(name, id)?;
        record_group(&dir.join(LOCK), store.identity.group)?;
        Ok(store)
    }

    /// Reads and checks everything in `db`.
    pub(super) fn with_database(db: Database, path: PathBuf, lock: Option<File>) -> Result<Self, StoreError> {
        let mut shared = Shared { db: Some(db), path, _lock: lock };
        let (identity, outline) = shared.read_all()?;
        shared.check_pages(&outline)?;
        guarded(&shared.path, "tidy up", || tables::drop_unfinished(shared.db(), outline.snapshot().index))?;
        Ok(Self { shared: Arc::new(shared), outline, identity })
    }

    fn expect_owner(&self, name: &str, id: u64) -> Result<(), StoreError> {
        let Identity { name: found, id: found_id, .. } = &self.identity;
        if found == name && *found_id == id {
            return Ok(());
        }
        Err(StoreError::Foreign {
            path: self.shared.path.clone(),
            found: found.clone(),
            found_id: *found_id,
            given: name.to_owned(),
            given_id: id,
        })
    }

    /// Whose log this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

impl LogStore for DiskStore {
    fn outline(&self) -> &Outline {
        &self.outline
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StoreError> {
        let path = &self.shared.path;
        let read = guarded(path, "read", || tables::read_entries(self.shared.db(), low, high, max_bytes))?;
        read.map_err(|what| corrupt(path, what))
    }

    fn chunks(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let path = &self.shared.path;
        let (index, pieces) = (self.outline.snapshot().index, self.outline.pieces());
        let read = guarded(path, "read", || tables::read_pieces(self.shared.db(), index, pieces))?;
        read.map_err(|what| corrupt(path, what))
    }

    fn stage(&self, index: u64) -> Box<dyn ChunkSink> {
        Box::new(Stage { shared: Arc::clone(&self.shared), index, next: 0 })
    }

    fn stager(&self) -> Stager {
        let shared = Arc::clone(&self.shared);
        Box::new(move |index| Box::new(Stage { shared: Arc::clone(&shared), index, next: 0 }))
    }

    fn commit(&mut self, write: Write) -> Result<(), StoreError> {
        let path = &self.shared.path;
        self.outline.check(&write).map_err(|what| StoreError::Misuse { path: path.clone(), what })?;
        guarded(path, "write to", || {
            let transaction = self.shared.db().begin_write()?;
            tables::write(&transaction, &self.outline, &write)?;
            Ok(transaction.commit()?)
        })?;
        self.outline.apply(&write);
        Ok(())
    }
}

/// Writes pieces while the driver goes on committing: a transaction for each, so that no commit waits long.
struct Stage {
    shared: Arc<Shared>,
    index: u64,
    next: u32,
}

impl ChunkSink for Stage {
    fn put(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        guarded(&self.shared.path, "write to", || {
            let transaction = self.shared.db().begin_write()?;
            tables::write_piece(&transaction, self.index, self.next, chunk)?;
            Ok(transaction.commit()?)
        })?;
        self.next += 1;
        Ok(())
    }
}

/// Writes a complete log at `path` and closes it.
fn found(path: &Path, identity: &Identity, snapshot: SnapshotWrite) -> Result<(), StoreError> {
    guarded(path, "create", || {
        let db = Database::builder().create(path)?;
        let transaction = db.begin_write()?;
        tables::write_first(&transaction, identity, snapshot)?;
        Ok(transaction.commit()?)
    })
}

/// Runs `work`, turning redb's errors and its panics on damaged pages into ours.
fn guarded<T>(
    path: &Path,
    action: &'static str,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|Failure(error)| store_error(path, action, *error)),
        Err(_) => Err(corrupt(path, format!("cannot {action} the file, its pages are inconsistent"))),
    }
}

fn store_error(path: &Path, action: &'static str, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
            corrupt(path, format!("not a log ({source})"))
        }
        redb::Error::Io(source) => StoreError::io(action, path, source),
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse { path: path.to_owned() },
        redb::Error::UpgradeRequired(_) | redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
            StoreError::io(action, path, io::Error::other(error))
        }
        other => corrupt(path, other.to_string()),
    }
}

fn corrupt(path: &Path, what: impl Into<String>) -> StoreError {
    StoreError::Corrupt { path: path.to_owned(), what: what.into() }
}

/// Takes the directory for this process; the system lets go when the file is closed, however that happens.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK);
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = open.map_err(|error| StoreError::io("use", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", &path, error)),
    }
}

/// The cluster whose log the directory was last seen to hold.
fn recorded_group(lock: &Path) -> Option<String> {
    let text = fs::read_to_string(lock).ok()?;
    (!text.trim().is_empty()).then(|| text.trim().to_owned())
}

fn record_group(lock: &Path, group: Uuid) -> Result<(), StoreError> {
    let text = group.to_string();
    if recorded_group(lock).as_deref() == Some(&text) {
        return Ok(());
    }
    fs::write(lock, text).map_err(|error| StoreError::io("write to", lock, error))
}

fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| StoreError::io("sync", dir, error))
}
