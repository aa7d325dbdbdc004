//! The file `raft.redb` as such: opened, used by several, its pages checked, closed; redb's errors and its panics on
//! damaged pages turned into ours. What is in it is `tables`' business.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::Database;

use super::StoreError;
use super::tables::{self, Damage, Failure};

/// It holds a few small records; only one of an old format holds more.
const PAGE_CACHE_BYTES: usize = 1 << 20;

/// What the driver has in common with those who make a snapshot the current one.
#[derive(Debug)]
pub(super) struct RaftFile {
    /// Absent when closed.
    db: RwLock<Option<Database>>,
    path: PathBuf,
}

impl RaftFile {
    pub(super) fn new(db: Database, path: PathBuf) -> Self {
        Self { db: RwLock::new(Some(db)), path }
    }

    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let db =
            guarded(path, "open", || Ok(Database::builder().set_cache_size(PAGE_CACHE_BYTES).open(path)?))?;
        Ok(Self::new(db, path.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn with_db<T>(&self, work: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, Failure> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        work(db.as_ref().ok_or(redb::Error::DatabaseClosed)?)
    }

    pub(super) fn guarded<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Database) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        guarded(&self.path, action, || self.with_db(work))
    }

    /// Reads records that may be damaged.
    pub(super) fn checked<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<Result<T, Damage>, Failure>,
    ) -> Result<T, StoreError> {
        self.guarded("read", work)?.map_err(|what| corrupt(&self.path, what))
    }

    /// The format, which this program knows.
    pub(super) fn format(&self) -> Result<u32, StoreError> {
        let found = self.guarded("read", tables::read_format)?;
        let found = found.ok_or_else(|| corrupt(&self.path, "the format version is damaged"))?;
        if (tables::FORMAT_OLDEST..=tables::FORMAT).contains(&found) {
            return Ok(found);
        }
        Err(StoreError::Format { path: self.path.clone(), found, known: tables::FORMAT })
    }

    /// Has redb check its pages, among them the list of free ones, which no record's checksum covers. When
    /// the repair goes back to an earlier commit, so that `read` yields another thing than before, the file is
    /// set aside: it must not be taken for whole by the next start.
    pub(super) fn check_pages<T: PartialEq>(
        &self,
        before: &T,
        read: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<(), StoreError> {
        let check = || match self.db.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(db) => Ok(db.check_integrity()?),
            None => Ok(true),
        };
        if guarded(&self.path, "check", check)? {
            return Ok(());
        }
        tracing::warn!(path = %self.path.display(), "the file's list of free pages was damaged and is made anew");
        if read()? == *before {
            return Ok(());
        }
        let aside = self.path.with_extension("damaged");
        fs::rename(&self.path, &aside).map_err(|error| StoreError::io("set aside", &aside, error))?;
        Err(corrupt(&aside, "its last commit is damaged"))
    }

    pub(super) fn close(&self) {
        let db = self.db.write().unwrap_or_else(PoisonError::into_inner).take();
        // On damaged pages redb may panic while it closes; what matters is on disk already.
        if catch_unwind(AssertUnwindSafe(move || drop(db))).is_err() {
            tracing::error!(path = %self.path.display(), "the file could not be closed in order");
        }
    }
}

/// Runs `work`, turning redb's errors and its panics on damaged pages into ours.
pub(super) fn guarded<T>(
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

pub(super) fn corrupt(path: &Path, what: impl Into<String>) -> StoreError {
    StoreError::Corrupt { path: path.to_owned(), what: what.into() }
}
