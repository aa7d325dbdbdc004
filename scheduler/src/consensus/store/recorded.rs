//! A disk that remembers every write and sync of every file and of its names, so that each state a crash could leave
//! on it can be made, opened again, and crash once more. What must be found then is said in `power`.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

use super::log::{Blob, Medium};

/// A disk writes these at once or not at all.
const SECTOR_BYTES: usize = 512;

/// Files are told apart by their number in [`Image::files`].
#[derive(Clone, Debug)]
enum Op {
    Write(usize, usize, Vec<u8>),
    Resize(usize, usize),
    Sync(usize),
    /// A file, and its name.
    Name(usize, String),
    Unname(String),
    SyncNames,
}

/// What is on a disk.
#[derive(Clone, Debug, Default)]
struct Image {
    files: Vec<Vec<u8>>,
    names: BTreeMap<String, usize>,
}

impl Image {
    fn file(&mut self, number: usize) -> &mut Vec<u8> {
        self.files.resize(self.files.len().max(number + 1), Vec::new());
        &mut self.files[number]
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Write(file, at, bytes) => {
                let file = self.file(*file);
                file.resize(file.len().max(at + bytes.len()), 0);
                file[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Op::Resize(file, length) => self.file(*file).resize(*length, 0),
            Op::Name(file, name) => {
                self.names.retain(|_, named| named != file);
                self.names.insert(name.clone(), *file);
            }
            Op::Unname(name) => drop(self.names.remove(name)),
            Op::Sync(_) | Op::SyncNames => {}
        }
    }

    /// Some of the sectors of a write.
    fn apply_torn(&mut self, op: &Op, source: &mut fastrand::Rng) {
        let Op::Write(file, at, bytes) = op else {
            return self.apply(op);
        };
        for (number, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
            if source.bool() {
                self.apply(&Op::Write(*file, at + number * SECTOR_BYTES, sector.to_vec()));
            }
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// What was on the disk when it was made.
    begin: Image,
    ops: Vec<Op>,
    now: Image,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn with(begin: Image, ops: &[Op]) -> Self {
        let mut now = begin.clone();
        ops.iter().for_each(|op| now.apply(op));
        Self(Arc::new(Mutex::new(State { begin, ops: ops.to_vec(), now })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The file of `raft.redb`: the first one, and it has its name for ever.
    pub(super) fn database(&self) -> Recorded {
        Recorded(self.clone(), 0)
    }

    fn did(&self, op: Op) {
        let mut state = self.lock();
        state.now.apply(&op);
        state.ops.push(op);
    }

    pub(super) fn count(&self) -> usize {
        self.lock().ops.len()
    }

    /// As it is when the process dies after so many operations: nothing is lost, and nothing more is synced.
    pub(super) fn killed(&self, after: usize) -> Self {
        let state = self.lock();
        Self::with(state.begin.clone(), &state.ops[..after])
    }

    /// As it may be when the power fails after so many operations: what was synced is there for certain, of the
    /// rest any part in any order.
    pub(super) fn cut(&self, after: usize, source: &mut fastrand::Rng) -> Self {
        let state = self.lock();
        let ops = &state.ops[..after];
        let mut image = state.begin.clone();
        for (at, op) in ops.iter().enumerate() {
            let synced = ops[at..].iter().any(|later| match (op, later) {
                (Op::Write(file, ..) | Op::Resize(file, _), Op::Sync(synced)) => file == synced,
                (Op::Name(..) | Op::Unname(_), Op::SyncNames) => true,
                _ => false,
            });
            match source.u8(..4) {
                _ if synced => image.apply(op),
                0 => image.apply_torn(op, source),
                1 => {}
                _ => image.apply(op),
            }
        }
        Self::with(image, &[])
    }
}

/// A file on it.
#[derive(Debug)]
pub(super) struct Recorded(Disk, usize);

impl Blob for Recorded {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.lock().now.file(self.1).len() as u64)
    }

    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        let found = state.now.file(self.1).get(at as usize..at as usize + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.did(Op::Write(self.1, at as usize, bytes.to_vec()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.did(Op::Sync(self.1));
        Ok(())
    }
}

impl StorageBackend for Recorded {
    fn len(&self) -> io::Result<u64> {
        self.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        Blob::read(self, offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.did(Op::Resize(self.1, len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        Blob::write(self, offset, data)
    }
}

impl Medium for Disk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().now.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Blob>> {
        // The first one is the database's.
        let number = self.lock().now.files.len().max(1);
        self.did(Op::Resize(number, 0));
        self.did(Op::Name(number, name.to_owned()));
        Ok(Arc::new(Recorded(self.clone(), number)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Blob>> {
        let number = *self.lock().now.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Recorded(self.clone(), number)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let number = *self.lock().now.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        self.did(Op::Name(number, to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.did(Op::Unname(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.did(Op::SyncNames);
        Ok(())
    }

    /// At once, so that a run can be repeated.
    fn beside(&self, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        work();
        Ok(())
    }
}
