//! The log in one `redb` file, `raft.redb`. Every record carries a checksum of its own, every write is one
//! fsynced transaction, and what cannot be trusted is refused rather than begun anew.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use raft::eraftpb::Entry;
use redb::Database;
use uuid::Uuid;

use super::outline::Outline;
use super::tables::{self, Failure};
use super::{ChunkSink, First, Identity, LogStore, Pieces, Staged, Stager, StoreError, Write};

const FILE: &str = "raft.redb";
/// A log being founded; renamed to `FILE` when complete, so that a crash leaves either all or nothing.
const UNFINISHED: &str = "raft.redb.new";
/// Held by the process that uses the directory; names the cluster, so that a lost log is noticed.
const LOCK: &str = "raft.lock";
/// Recent entries are cached a layer above: redb's own cache only has to hold the inner pages.
const PAGE_CACHE_BYTES: usize = 8 << 20;

/// A log on disk, locked against other processes. Files are closed when it is dropped, also while snapshots
/// are being read or staged: those fail then.
#[derive(Debug)]
pub struct DiskStore {
    shared: Arc<Shared>,
    outline: Outline,
    identity: Identity,
    _lock: Option<File>,
}

/// What the driver has in common with those who read or stage snapshots.
#[derive(Debug)]
struct Shared {
    /// Absent when closed.
    db: RwLock<Option<Database>>,
    path: PathBuf,
    /// Number of the next stage.
    next_stage: AtomicU64,
}

impl Shared {
    fn with_db<T>(&self, work: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, Failure> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        work(db.as_ref().ok_or(redb::Error::DatabaseClosed)?)
    }

    /// Runs `work`, turning redb's errors and its panics on damaged pages into ours.
    fn guarded<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Database) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        guarded(&self.path, action, || self.with_db(work))
    }

    fn read_all(&self) -> Result<(u32, Identity, Outline), StoreError> {
        let path = &self.path;
        let found = self.guarded("read", tables::read_format)?;
        let found = found.ok_or_else(|| corrupt(path, "the format version is damaged"))?;
        if !(tables::FORMAT_OLDEST..=tables::FORMAT).contains(&found) {
            return Err(StoreError::Format { path: path.clone(), found, known: tables::FORMAT });
        }
        let scan = self.guarded("read", |db| tables::scan(db, found))?;
        scan.map(|(identity, outline)| (found, identity, outline)).map_err(|what| corrupt(path, what))
    }

    /// Has redb check its pages, among them the list of free ones, which no record's checksum covers. When
    /// the repair goes back to an earlier commit, the file is set aside: it must not be taken for whole by
    /// the next start.
    fn check_pages(&self, outline: &Outline) -> Result<(), StoreError> {
        let check = || match self.db.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(db) => Ok(db.check_integrity()?),
            None => Ok(true),
        };
        if guarded(&self.path, "check", check)? {
            return Ok(());
        }
        tracing::warn!(path = %self.path.display(), "the log's list of free pages was damaged and is made anew");
        if self.read_all()?.2 == *outline {
            return Ok(());
        }
        let aside = self.path.with_extension("damaged");
        fs::rename(&self.path, &aside).map_err(|error| StoreError::io("set aside", &aside, error))?;
        Err(corrupt(&aside, "its last commit is damaged"))
    }

    fn close(&self) {
        let db = self.db.write().unwrap_or_else(PoisonError::into_inner).take();
        // On damaged pages redb may panic while it closes; what matters is on disk already.
        if catch_unwind(AssertUnwindSafe(move || drop(db))).is_err() {
            tracing::error!(path = %self.path.display(), "the log could not be closed in order");
        }
    }
}

impl Drop for DiskStore {
    /// The lock goes after it.
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl DiskStore {
    /// Whether a log was ever founded in `dir`.
    pub fn exists(dir: &Path) -> bool {
        dir.join(FILE).exists() || recorded_group(&dir.join(LOCK)).is_some()
    }

    /// Creates a log in `dir` that begins with `first`, unless there is one already, and opens it.
    pub fn create(dir: &Path, identity: &Identity, first: First<'_>) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(|error| StoreError::io("create", dir, error))?;
        let lock = lock(dir)?;
        if !Self::exists(dir) {
            build(dir, identity, first)?;
            put_in_place(dir)?;
        }
        Self::open_locked(dir, &identity.name, lock)
    }

    /// Opens the log in `dir`, checking every record of it. The id is the one on disk.
    pub fn open(dir: &Path, name: &str) -> Result<Self, StoreError> {
        let lock = lock(dir)?;
        Self::open_locked(dir, name, lock)
    }

    /// Puts another log in the place of this one and closes it. The file as it was stays, under the name
    /// `aside`. A crash leaves the one or the other in place.
    pub fn replace(self, identity: &Identity, first: First<'_>, aside: &str) -> Result<(), StoreError> {
        let dir = self.shared.path.parent().unwrap_or(Path::new(".")).to_owned();
        build(&dir, identity, first)?;
        self.shared.close();
        let (path, aside) = (dir.join(FILE), dir.join(aside));
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("replace", &aside, error));
            }
            _ => {}
        }
        fs::hard_link(&path, &aside).map_err(|error| StoreError::io("create", &aside, error))?;
        put_in_place(&dir)?;
        record_group(&dir.join(LOCK), identity.group)
    }

    fn open_locked(dir: &Path, name: &str, lock: File) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        if let (false, Some(group)) = (path.exists(), recorded_group(&dir.join(LOCK))) {
            return Err(StoreError::Lost { path, group });
        }
        let db = guarded(&path, "open", || {
            Ok(Database::builder().set_cache_size(PAGE_CACHE_BYTES).open(&path)?)
        })?;
        let store = Self::with_database(db, path, Some(lock))?;
        store.expect_owner(name)?;
        record_group(&dir.join(LOCK), store.identity.group)?;
        Ok(store)
    }

    /// Reads and checks everything in `db`.
    pub(super) fn with_database(db: Database, path: PathBuf, lock: Option<File>) -> Result<Self, StoreError> {
        let shared = Shared { db: RwLock::new(Some(db)), path, next_stage: AtomicU64::new(0) };
        let (format, identity, outline) = shared.read_all()?;
        shared.check_pages(&outline)?;
        let (stage, _) = outline.stage();
        shared.guarded("tidy up", |db| tables::tidy(db, stage, format))?;
        shared.next_stage.store(stage + 1, Ordering::Relaxed);
        Ok(Self { shared: Arc::new(shared), outline, identity, _lock: lock })
    }

    fn expect_owner(&self, name: &str) -> Result<(), StoreError> {
        if self.identity.name == name {
            return Ok(());
        }
        let (path, found) = (self.shared.path.clone(), self.identity.name.clone());
        Err(StoreError::Foreign { path, found, given: name.to_owned() })
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
        let read = self.shared.guarded("read", |db| tables::read_entries(db, low, high, max_bytes))?;
        read.map_err(|what| corrupt(&self.shared.path, what))
    }

    fn pieces(&self) -> Result<Pieces, StoreError> {
        let (stage, pieces) = self.outline.stage();
        let path = self.shared.path.clone();
        let table = self.shared.guarded("read", tables::open_pieces)?;
        Ok(Box::new((0..pieces).map(move |piece| {
            let read = guarded(&path, "read", || tables::read_piece(&table, stage, piece))?;
            read.map_err(|what| corrupt(&path, what))
        })))
    }

    fn stager(&self) -> Stager {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || {
            let number = shared.next_stage.fetch_add(1, Ordering::Relaxed);
            let (shared, removing) = (Arc::clone(&shared), Arc::clone(&shared));
            Box::new(Stage {
                shared,
                staged: Staged::new(number, move |number| removing.remove_stage(number)),
            })
        })
    }

    fn commit(&mut self, write: Write) -> Result<(), StoreError> {
        let path = &self.shared.path;
        let misuse = |what| StoreError::Misuse { path: path.clone(), what };
        self.outline.check(&write).map_err(misuse)?;
        if let Some((stage, pieces)) = write.snapshot.as_ref().map(|snapshot| snapshot.stage())
            && !self.shared.guarded("read", |db| tables::has_pieces(db, stage, pieces))?
        {
            return Err(misuse(format!("stage {stage} does not have {pieces} pieces")));
        }
        self.shared.guarded("write to", |db| {
            let transaction = db.begin_write()?;
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
    staged: Staged,
}

impl ChunkSink for Stage {
    fn put(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        let (stage, piece) = self.staged.next_piece();
        self.shared.guarded("write to", |db| {
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

impl Shared {
    /// What cannot be removed now is when the log is opened again.
    fn remove_stage(&self, stage: u64) {
        let removed = self.guarded("tidy up", |db| {
            let transaction = db.begin_write()?;
            tables::remove_stage(&transaction, stage)?;
            Ok(transaction.commit()?)
        });
        if let Err(error) = removed {
            tracing::debug!(%error, "pieces of a snapshot that came to nothing stay for now");
        }
    }
}

/// Writes a complete log beside the place where it is to be, and closes it.
fn build(dir: &Path, identity: &Identity, first: First<'_>) -> Result<(), StoreError> {
    let path = dir.join(UNFINISHED);
    if path.exists() {
        fs::remove_file(&path).map_err(|error| StoreError::io("replace", &path, error))?;
    }
    guarded(&path, "create", || {
        let db = Database::builder().create(&path)?;
        tables::write_first(&db, identity, first)
    })?
}

fn put_in_place(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(FILE);
    fs::rename(dir.join(UNFINISHED), &path).map_err(|error| StoreError::io("create", &path, error))?;
    sync_dir(dir)
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
