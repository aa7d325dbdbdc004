//! The files of the log as the log sees them: the few things it asks of a directory and of a file, behind traits
//! so that a test can remember every write and every sync. Nothing here knows what is in a file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use super::super::StoreError;

/// A directory.
pub(in super::super) trait Medium: Send + Sync {
    fn names(&self) -> io::Result<Vec<String>>;
    /// A new file. One that bears the name goes, and is not written to: it may have other names.
    fn create(&self, name: &str) -> io::Result<Arc<dyn Blob>>;
    fn open(&self, name: &str) -> io::Result<Arc<dyn Blob>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names durable.
    fn sync(&self) -> io::Result<()>;
    /// Does `work` without holding up the caller, where that is possible.
    fn beside(&self, work: Box<dyn FnOnce() + Send>) -> io::Result<()>;
}

/// A file.
pub(in super::super) trait Blob: Send + Sync {
    fn length(&self) -> io::Result<u64>;
    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()>;
    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes contents and length durable.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the file system.
#[derive(Debug)]
pub(in super::super) struct Directory(pub PathBuf);

impl Medium for Directory {
    fn names(&self) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        fs::read_dir(&self.0)?.map(name).collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Blob>> {
        match self.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let open = OpenOptions::new().read(true).write(true).create_new(true).open(self.0.join(name));
        Ok(Arc::new(open?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Blob>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(self.0.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    fn beside(&self, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        thread::Builder::new().name("log-segment".into()).spawn(work).map(drop)
    }
}

impl Blob for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, at)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A [`Medium`] whose errors name the path.
#[derive(Clone)]
pub(in super::super) struct Folder {
    medium: Arc<dyn Medium>,
    dir: PathBuf,
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.dir.fmt(formatter)
    }
}

impl Folder {
    pub(in super::super) fn new(medium: Arc<dyn Medium>, dir: PathBuf) -> Self {
        Self { medium, dir }
    }

    pub(in super::super) fn at(dir: &Path) -> Self {
        Self::new(Arc::new(Directory(dir.to_owned())), dir.to_owned())
    }

    pub(in super::super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(in super::super) fn names(&self) -> Result<Vec<String>, StoreError> {
        self.medium.names().map_err(|error| StoreError::io("read", &self.dir, error))
    }

    pub(in super::super) fn create(&self, name: &str) -> Result<LogFile, StoreError> {
        let path = self.path(name);
        let blob = self.medium.create(name).map_err(|error| StoreError::io("create", &path, error))?;
        Ok(LogFile { name: name.to_owned(), path, blob })
    }

    /// `None` when there is none.
    pub(in super::super) fn open(&self, name: &str) -> Result<Option<LogFile>, StoreError> {
        let path = self.path(name);
        match self.medium.open(name) {
            Ok(blob) => Ok(Some(LogFile { name: name.to_owned(), path, blob })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("open", &path, error)),
        }
    }

    pub(in super::super) fn rename(&self, file: LogFile, to: &str) -> Result<LogFile, StoreError> {
        let path = self.path(to);
        let renamed = self.medium.rename(&file.name, to);
        renamed.map_err(|error| StoreError::io("create", &path, error))?;
        Ok(LogFile { name: to.to_owned(), path, blob: file.blob })
    }

    /// Also of a file that is gone already.
    pub(in super::super) fn remove(&self, name: &str) -> Result<(), StoreError> {
        match self.medium.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &self.path(name), error))
            }
            _ => Ok(()),
        }
    }

    pub(in super::super) fn sync(&self) -> Result<(), StoreError> {
        self.medium.sync().map_err(|error| StoreError::io("sync", &self.dir, error))
    }

    pub(in super::super) fn beside(&self, work: Box<dyn FnOnce() + Send>) -> Result<(), StoreError> {
        self.medium.beside(work).map_err(|error| StoreError::io("begin a thread for", &self.dir, error))
    }
}

/// A file whose errors name it.
pub(in super::super) struct LogFile {
    pub name: String,
    pub path: PathBuf,
    blob: Arc<dyn Blob>,
}

impl std::fmt::Debug for LogFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.name.fmt(formatter)
    }
}

impl LogFile {
    pub(in super::super) fn length(&self) -> Result<u64, StoreError> {
        self.blob.length().map_err(|error| StoreError::io("read", &self.path, error))
    }

    pub(in super::super) fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; length];
        self.blob.read(at, &mut bytes).map_err(|error| StoreError::io("read", &self.path, error))?;
        Ok(bytes)
    }

    pub(in super::super) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.blob.write(at, bytes).map_err(|error| StoreError::io("write to", &self.path, error))
    }

    pub(in super::super) fn sync(&self) -> Result<(), StoreError> {
        self.blob.sync().map_err(|error| StoreError::io("sync", &self.path, error))
    }

    /// Writes zeros over `length` bytes from `at` on, and makes that durable unless `abandoned` says otherwise.
    pub(in super::super) fn zero(
        &self,
        at: u64,
        length: u64,
        abandoned: impl Fn() -> bool,
    ) -> Result<(), StoreError> {
        let zeros = vec![0; ZEROS_BYTES.min(usize::try_from(length).unwrap_or(ZEROS_BYTES))];
        let mut done = 0;
        while done < length && !abandoned() {
            let part = &zeros[..zeros.len().min(usize::try_from(length - done).unwrap_or(usize::MAX))];
            self.write(at + done, part)?;
            done += part.len() as u64;
        }
        self.sync()
    }
}

/// Written at once.
const ZEROS_BYTES: usize = 1 << 20;
