//! The directory of a log: whose it is, who uses it, how a new log comes into it and an old one is set aside. What
//! is in the files is the business of others.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use redb::Database;
use uuid::Uuid;

use super::database::guarded;
use super::log::{Folder, Journal, Sizes, is_log_file, segment_name, segment_number};
use super::pieces::{stage_name, stage_number, write_stage};
use super::{First, Identity, Received, StoreError, tables};

const FILE: &str = "raft.redb";
/// A log being founded; renamed to `FILE` when complete, so that a crash leaves either all or nothing.
const UNFINISHED: &str = "raft.redb.new";
/// Held by the process that uses the directory; names the cluster, so that a lost log is noticed.
const LOCK: &str = "raft.lock";

pub(super) fn raft_file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// Whether a log was ever founded in `dir`.
pub(super) fn exists(dir: &Path) -> bool {
    dir.join(FILE).exists() || recorded_group(dir).is_some()
}

/// Whether a file of that name may be what is left of a log that was being founded when the process died.
pub(super) fn is_leftover(name: &str) -> bool {
    [LOCK, UNFINISHED].contains(&name) || is_part(name)
}

/// Whether the name is that of a file beside [`FILE`].
pub(super) fn is_part(name: &str) -> bool {
    is_log_file(name) || stage_number(name).is_some()
}

/// There is a file, or there never was a log.
pub(super) fn expect_file(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(FILE);
    match recorded_group(dir) {
        Some(group) if !path.exists() => Err(StoreError::Lost { path, group }),
        _ => Ok(()),
    }
}

/// A number that no file of a segment or of a snapshot in `dir` bears.
pub(super) fn unused_number(dir: &Path) -> Result<u64, StoreError> {
    let names = Folder::at(dir).names()?;
    Ok(names.iter().filter_map(|name| segment_number(name).or_else(|| stage_number(name))).max().unwrap_or(0)
        + 1)
}

/// Writes a complete log beside the place where it is to be, and closes it. Its first segment and its
/// first snapshot bear `number`.
pub(super) fn build(
    dir: &Path,
    identity: &Identity,
    first: First<'_>,
    number: u64,
    sizes: Sizes,
) -> Result<(), StoreError> {
    let path = dir.join(UNFINISHED);
    if path.exists() {
        fs::remove_file(&path).map_err(|error| StoreError::io("replace", &path, error))?;
    }
    let state = tables::first_state(&first.meta);
    let first = stage_first(Folder::at(dir), identity, first, number)?;
    let journal = Journal::found(Folder::at(dir), identity.group, number, state, sizes)?;
    guarded(&path, "create", || {
        let db = Database::builder().create(&path)?;
        tables::write_first(&db, identity, &first, journal.extent())
    })
}

/// Writes the pieces of what a log begins with.
pub(super) fn stage_first(
    folder: Folder,
    identity: &Identity,
    first: First<'_>,
    number: u64,
) -> Result<Received, StoreError> {
    let chunks = first.chunks.map(|chunk| chunk.map_err(StoreError::Source));
    let (stage, pieces) = write_stage(folder, identity.group, number, chunks)?;
    Ok(Received { meta: first.meta, stage, pieces })
}

/// From here on the log that was built is the one.
pub(super) fn put_in_place(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(FILE);
    fs::rename(dir.join(UNFINISHED), &path).map_err(|error| StoreError::io("create", &path, error))?;
    sync_dir(dir)
}

/// Gives the files of a closed log further names, in the directory `aside`. What was there before goes.
pub(super) fn set_aside(
    dir: &Path,
    aside: &Path,
    segments: RangeInclusive<u64>,
    (stage, pieces): (u64, u32),
) -> Result<(), StoreError> {
    match fs::remove_dir_all(aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(StoreError::io("replace", aside, error));
        }
        _ => {}
    }
    fs::create_dir(aside).map_err(|error| StoreError::io("create", aside, error))?;
    let snapshot = (pieces > 0).then(|| stage_name(stage));
    for name in segments.map(segment_name).chain(snapshot).chain([FILE.to_owned()]) {
        let path = aside.join(&name);
        fs::hard_link(dir.join(&name), &path).map_err(|error| StoreError::io("create", &path, error))?;
    }
    sync_dir(aside)?;
    sync_dir(dir)
}

/// Takes the directory for this process; the system lets go when the file is closed, however that happens.
pub(super) fn lock(dir: &Path) -> Result<File, StoreError> {
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
fn recorded_group(dir: &Path) -> Option<String> {
    let text = fs::read_to_string(dir.join(LOCK)).ok()?;
    (!text.trim().is_empty()).then(|| text.trim().to_owned())
}

pub(super) fn record_group(dir: &Path, group: Uuid) -> Result<(), StoreError> {
    let (text, lock) = (group.to_string(), dir.join(LOCK));
    if recorded_group(dir).as_deref() == Some(&text) {
        return Ok(());
    }
    fs::write(&lock, text).map_err(|error| StoreError::io("write to", &lock, error))
}

fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| StoreError::io("sync", dir, error))
}
