//! Files for segments to come: old ones that are used again, and one that is written full of zeros ahead of time,
//! beside the driver. A file whose blocks are there already is written and synced without touching the file
//! system's own records, which takes half the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};

use super::super::StoreError;
use super::medium::{Folder, LogFile};

/// Old files kept to be used again; a snapshot every 64 MiB frees so many at once.
const KEPT_MAX: usize = 4;
/// Name of the file that is prepared ahead.
pub(super) const SPARE: &str = "raft-spare.log";

/// Files that hold nothing that counts.
#[derive(Debug)]
pub(super) struct Spares {
    folder: Folder,
    /// Bytes of each.
    bytes: u64,
    files: Vec<LogFile>,
    coming: Option<Receiver<Result<LogFile, StoreError>>>,
    /// Preparing ahead failed; it is not tried again before the next file is needed.
    failed: bool,
    abandoned: Arc<AtomicBool>,
}

impl Spares {
    pub(super) fn new(folder: Folder, bytes: u64) -> Self {
        let abandoned = Arc::default();
        Self { folder, bytes, files: Vec::new(), coming: None, failed: false, abandoned }
    }

    /// A file that is not needed any more. It is kept, or yielded to be removed.
    pub(super) fn give(&mut self, file: LogFile, bytes: u64) -> Option<LogFile> {
        if bytes == self.bytes && self.files.len() < KEPT_MAX {
            self.files.push(file);
            return None;
        }
        Some(file)
    }

    /// Begins to prepare a file unless there is one; takes over what has been prepared.
    pub(super) fn prepare(&mut self) {
        match self.coming.as_ref().map(Receiver::try_recv) {
            Some(Ok(made)) => self.prepared(made),
            Some(Err(TryRecvError::Disconnected)) => (self.coming, self.failed) = (None, true),
            Some(Err(TryRecvError::Empty)) => {}
            None if self.failed || !self.files.is_empty() => {}
            None => self.begin(),
        }
    }

    fn begin(&mut self) {
        let (sender, receiver) = mpsc::sync_channel(1);
        let (folder, bytes, abandoned) = (self.folder.clone(), self.bytes, Arc::clone(&self.abandoned));
        let begun = self.folder.beside(Box::new(move || {
            // Nobody takes it when the log was closed meanwhile.
            let _ = sender.send(pre_written(&folder, SPARE, bytes, || abandoned.load(Ordering::Relaxed)));
        }));
        match begun {
            Ok(()) => self.coming = Some(receiver),
            Err(error) => self.prepared(Err(error)),
        }
    }

    fn prepared(&mut self, made: Result<LogFile, StoreError>) {
        self.coming = None;
        match made {
            Ok(file) => self.files.push(file),
            Err(error) => {
                tracing::warn!(%error, "no file for the next part of the log could be prepared");
                self.failed = true;
            }
        }
    }

    /// Waits for the file that is being prepared, if any.
    fn settle(&mut self) {
        if let Some(coming) = self.coming.take() {
            match coming.recv() {
                Ok(made) => self.prepared(made),
                Err(_) => self.failed = true,
            }
        }
    }

    /// A file for `name`, of at least `bytes`, and its length. Only the name is not durable yet.
    pub(super) fn take(&mut self, name: &str, bytes: u64) -> Result<(LogFile, u64), StoreError> {
        self.settle();
        self.failed = false;
        if bytes <= self.bytes
            && let Some(file) = self.files.pop()
        {
            return Ok((self.folder.rename(file, name)?, self.bytes));
        }
        let bytes = bytes.max(self.bytes);
        Ok((pre_written(&self.folder, name, bytes, || false)?, bytes))
    }

    /// No thread writes to the directory after this. A file that was being prepared goes; should that fail, it does on
    /// the next start.
    pub(super) fn close(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
        if self.coming.is_some() {
            self.settle();
            let _ = self.folder.remove(SPARE);
        }
    }
}

/// A file full of zeros. Where that fails nothing is left.
pub(super) fn pre_written(
    folder: &Folder,
    name: &str,
    bytes: u64,
    abandoned: impl Fn() -> bool,
) -> Result<LogFile, StoreError> {
    let file = folder.create(name)?;
    if let Err(error) = file.zero(0, bytes, abandoned) {
        // The first error is the one to tell; what stays is removed on the next start.
        let _ = folder.remove(name);
        return Err(error);
    }
    Ok(file)
}
