//! The pieces of snapshots: each snapshot has a file of its own, `raft-00000007.snapshot` by the number of its stage.
//! Whoever writes one waits for nobody who writes to the log, nor does anybody wait for him. Which of them is the
//! current one, and how many pieces it has, is said in `raft.redb`; a file that it does not name holds nothing.
//!
//! A piece is its length (4 bytes), a checksum over cluster, stage, number and contents (4 bytes), and its contents.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use uuid::Uuid;

use super::database::corrupt;
use super::log::{Folder, LogFile};
use super::record::{SUM_BYTES, sum};
use super::{ChunkSink, Pieces, Staged, StoreError};

const LENGTH_BYTES: usize = 4;
const HEAD_BYTES: usize = LENGTH_BYTES + SUM_BYTES;

/// Name of a stage's file.
pub(super) fn stage_name(stage: u64) -> String {
    format!("raft-{stage:08}.snapshot")
}

/// The number in the name of a stage's file.
pub(super) fn stage_number(name: &str) -> Option<u64> {
    name.strip_prefix("raft-")?.strip_suffix(".snapshot")?.parse().ok()
}

/// Writes a whole stage of a log that nobody uses yet; its number, and how many pieces there are. What is left where
/// that fails is overwritten by the next attempt.
pub(super) fn write_stage(
    folder: Folder,
    cluster: Uuid,
    number: u64,
    chunks: impl IntoIterator<Item = Result<Vec<u8>, StoreError>>,
) -> Result<(u64, u32), StoreError> {
    let mut stage = Box::new(Shelf::new(folder, cluster, number).stage());
    let written = chunks.into_iter().try_for_each(|chunk| stage.put(&chunk?));
    let numbers = stage.finish().keep();
    written.map(|()| numbers)
}

/// The files of all stages in a directory.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: Folder,
    cluster: Uuid,
    /// Number of the next stage.
    next: AtomicU64,
    /// Nothing is written or removed any more once this is false.
    open: RwLock<bool>,
}

impl Shelf {
    /// `next`: number of the first stage that is begun.
    pub(super) fn new(folder: Folder, cluster: Uuid, next: u64) -> Arc<Self> {
        Arc::new(Self { folder, cluster, next: AtomicU64::new(next), open: RwLock::new(true) })
    }

    /// A new stage. Its file is made with its first piece.
    pub(super) fn stage(self: &Arc<Self>) -> Stage {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let shelf = Arc::clone(self);
        let staged = Staged::new(number, move |number| shelf.forget(number));
        Stage { shelf: Arc::clone(self), file: None, length: 0, staged }
    }

    /// The pieces of a stage, in order. Its file may be removed while they are read.
    pub(super) fn pieces(&self, stage: u64, count: u32) -> Result<Pieces, StoreError> {
        if count == 0 {
            return Ok(Box::new(std::iter::empty()));
        }
        let name = stage_name(stage);
        let missing = || StoreError::Lost { path: self.folder.path(&name), group: self.cluster.to_string() };
        let file = self.folder.open(&name)?.ok_or_else(missing)?;
        let length = file.length()?;
        Ok(Box::new(Reader { cluster: self.cluster, file, length, at: 0, stage, next: 0, count }))
    }

    /// Removes a stage beside the caller: its file may be large. One that cannot be removed now is when the log is
    /// opened again.
    pub(super) fn forget(self: &Arc<Self>, stage: u64) {
        let shelf = Arc::clone(self);
        let removing = move || shelf.while_open(|| shelf.folder.remove(&stage_name(stage)));
        let begun = self.folder.beside(Box::new(move || {
            if let Err(error) = removing() {
                tracing::debug!(%error, "pieces of a snapshot that is not needed stay for now");
            }
        }));
        if let Err(error) = begun {
            tracing::debug!(%error, "pieces of a snapshot that is not needed stay for now");
        }
    }

    /// Removes all stages but one.
    pub(super) fn tidy(&self, current: u64) -> Result<(), StoreError> {
        for name in self.folder.names()? {
            if stage_number(&name).is_some_and(|stage| stage != current) {
                self.folder.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Waits for what is being written or removed; later attempts fail.
    pub(super) fn close(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = false;
    }

    fn while_open<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if *open {
            return work();
        }
        Err(StoreError::io("write to", &self.folder.path(""), io::Error::other("the log was closed")))
    }
}

/// A stage that is being written: every piece is durable before the next one, so that there is never much for a sync
/// of the log to wait for.
pub(super) struct Stage {
    shelf: Arc<Shelf>,
    file: Option<LogFile>,
    length: u64,
    staged: Staged,
}

impl Stage {
    /// Its file, whose name is durable.
    fn file(&mut self) -> Result<&LogFile, StoreError> {
        let (stage, _) = self.staged.numbers();
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let file = self.shelf.folder.create(&stage_name(stage))?;
                self.shelf.folder.sync()?;
                file
            }
        };
        Ok(self.file.insert(file))
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        let (stage, piece) = self.staged.numbers();
        let sum = sum(&key(self.shelf.cluster, stage, piece), chunk);
        let at = self.length;
        let file = self.file()?;
        let too_long = |_| StoreError::Misuse { path: file.path.clone(), what: "a piece is too long".into() };
        let length = u32::try_from(chunk.len()).map_err(too_long)?;
        file.write(at, &[length.to_le_bytes(), sum.to_le_bytes()].concat())?;
        file.write(at + HEAD_BYTES as u64, chunk)?;
        file.sync()?;
        self.length += (HEAD_BYTES + chunk.len()) as u64;
        Ok(())
    }
}

impl ChunkSink for Stage {
    fn put(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        let shelf = Arc::clone(&self.shelf);
        shelf.while_open(|| self.write(chunk))?;
        self.staged.count_in();
        Ok(())
    }

    fn finish(self: Box<Self>) -> Staged {
        self.staged
    }
}

struct Reader {
    cluster: Uuid,
    file: LogFile,
    length: u64,
    at: u64,
    stage: u64,
    next: u32,
    count: u32,
}

impl Reader {
    fn piece(&mut self) -> Result<Vec<u8>, StoreError> {
        let damaged = || corrupt(&self.file.path, format!("piece {} of the snapshot is damaged", self.next));
        let left = self.length.saturating_sub(self.at);
        if left < HEAD_BYTES as u64 {
            return Err(damaged());
        }
        let head = self.file.read(self.at, HEAD_BYTES)?;
        let (length, expected) = head.split_at(LENGTH_BYTES);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        let (length, expected) = (number(length), number(expected));
        if u64::from(length) > left - HEAD_BYTES as u64 {
            return Err(damaged());
        }
        let chunk = self.file.read(self.at + HEAD_BYTES as u64, length as usize)?;
        if sum(&key(self.cluster, self.stage, self.next), &chunk) != expected {
            return Err(damaged());
        }
        self.at += HEAD_BYTES as u64 + u64::from(length);
        Ok(chunk)
    }
}

impl Iterator for Reader {
    type Item = Result<Vec<u8>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.count {
            return None;
        }
        let piece = self.piece();
        // Where the one after a damaged piece begins is not known.
        self.next = if piece.is_ok() { self.next + 1 } else { self.count };
        Some(piece)
    }
}

fn key(cluster: Uuid, stage: u64, piece: u32) -> [u8; 28] {
    let mut key = [0; 28];
    key[..16].copy_from_slice(cluster.as_bytes());
    key[16..24].copy_from_slice(&stage.to_le_bytes());
    key[24..].copy_from_slice(&piece.to_le_bytes());
    key
}
