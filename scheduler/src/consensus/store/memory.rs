//! The log's twin in memory, for tests and simulated clusters. It crashes on request, in the ways that the log on
//! disk can: a commit that is gone, a commit that is there though nobody heard of it, one with a snapshot from the
//! leader of which the first part is there (`power` holds that to the log on disk), and, to prove that a test would notice, a disk
//! that lies about what it has synced.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protobuf::Message as _;
use raft::eraftpb::{Entry, HardState, SnapshotMetadata};

use super::outline::Outline;
use super::{
    Adopted, Adoption, ChunkSink, First, LogStore, Pieces, Received, Staged, Stager, StoreError, Write,
};

/// What goes wrong with the next commit. After any of them the store only fails until it is opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails; nothing of it is kept. A torn commit looks like this once an atomic store has recovered.
    Fail,
    /// It fails, but is found complete after the crash.
    FailAfterSync,
    /// The next one that has two parts on disk (see [`super::DiskStore`]) fails, and after the crash the first of
    /// them is found. Commits of one part meanwhile are as usual.
    Halfway,
}

/// The disk: outlives the stores that use it.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    now: Image,
    /// What a crash goes back to while the disk lies; otherwise every commit is synced.
    synced: Option<Image>,
    fault: Option<Fault>,
    broken: bool,
    commits: u64,
    stages: u64,
}

#[derive(Clone, Debug, Default)]
struct Image {
    outline: Outline,
    log: BTreeMap<u64, Entry>,
    pieces: BTreeMap<(u64, u32), Vec<u8>>,
}

impl MemoryDisk {
    /// A disk with a log that begins with `first`.
    pub fn founded(first: First<'_>) -> Result<Self, StoreError> {
        let state = HardState { term: first.meta.term, commit: first.meta.index, ..HardState::default() };
        let disk = Self::default();
        let mut store = disk.open();
        let mut sink = store.stager()();
        for chunk in first.chunks {
            sink.put(&chunk.map_err(StoreError::Source)?)?;
        }
        let (stage, pieces) = sink.finish().keep();
        let received = Some(Received { meta: first.meta, stage, pieces });
        store.commit(Write { received, hard_state: Some(state), ..Write::default() })?;
        Ok(disk)
    }

    /// A store on this disk, as after a start of the process.
    pub fn open(&self) -> MemoryStore {
        let mut disk = self.lock();
        disk.broken = false;
        disk.now.tidy_up();
        MemoryStore { outline: disk.now.outline.clone(), disk: self.clone() }
    }

    /// Lets something go wrong with the next commit.
    pub fn inject(&self, fault: Fault) {
        self.lock().fault = Some(fault);
    }

    /// From now on (`true`) commits are acknowledged but lost by the next crash.
    pub fn lie(&self, lying: bool) {
        let mut disk = self.lock();
        disk.synced = lying.then(|| disk.now.clone());
    }

    /// The process or the machine dies: what was not synced is gone, stores that are still open are dead, and
    /// a fault that has not struck is forgotten.
    pub fn crash(&self) {
        let mut disk = self.lock();
        if let Some(image) = disk.synced.clone() {
            disk.now = image;
        }
        disk.fault = None;
        disk.broken = true;
    }

    /// Another disk with the same on it: an image that a machine may come back with later.
    pub fn image(&self) -> Self {
        let disk = self.lock();
        let (now, stages) = (disk.now.clone(), disk.stages);
        Self(Arc::new(Mutex::new(Disk { now, stages, ..Disk::default() })))
    }

    /// Forgets a fault that has not struck.
    pub fn mend(&self) {
        self.lock().fault = None;
    }

    /// Number of commits so far. Snapshots of our own are none: they are somebody else's than the log's thread.
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Image {
    fn apply(&mut self, write: &Write) {
        if write.received.is_some() {
            self.log.clear();
            let (old, _) = self.outline.stage();
            self.forget_stage(old);
        }
        if let Some(first) = write.entries.first() {
            self.log.split_off(&first.index);
        }
        self.log.extend(write.entries.iter().map(|entry| (entry.index, entry.clone())));
        self.outline.apply(write);
    }

    /// A snapshot of our own becomes the current one, unless there is one that is as new. What it makes superfluous
    /// stays until the store has taken note.
    fn adopt(&mut self, own: &Adopted) -> bool {
        let newer = own.meta.index > self.outline.snapshot().index;
        if newer {
            self.outline.adopt(own);
        }
        newer
    }

    fn forget_stage(&mut self, number: u64) {
        self.pieces.retain(|(stage, _), _| *stage != number);
    }

    /// What does not count goes.
    fn tidy_up(&mut self) {
        let (current, _) = self.outline.stage();
        self.pieces.retain(|(stage, _), _| *stage == current);
        self.log = self.log.split_off(&self.outline.first_index());
    }
}

/// A log in memory.
#[derive(Debug)]
pub struct MemoryStore {
    disk: MemoryDisk,
    outline: Outline,
}

impl LogStore for MemoryStore {
    fn outline(&self) -> &Outline {
        &self.outline
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StoreError> {
        let disk = self.disk.lock();
        let mut bytes = 0;
        let fits = |(at, entry): &(usize, &Entry)| {
            bytes += u64::from(entry.compute_size());
            *at == 0 || bytes <= max_bytes
        };
        let found = disk.now.log.range(low..high).map(|(_, entry)| entry).enumerate().take_while(fits);
        Ok(found.map(|(_, entry)| entry.clone()).collect())
    }

    fn pieces(&self) -> Result<Pieces, StoreError> {
        let (disk, (stage, _)) = (self.disk.lock(), self.outline.stage());
        let view = disk.now.pieces.range((stage, 0)..=(stage, u32::MAX));
        let view: Vec<_> = view.map(|(_, piece)| Ok(piece.clone())).collect();
        Ok(Box::new(view.into_iter()))
    }

    fn stager(&self) -> Stager {
        let disk = self.disk.clone();
        Arc::new(move || {
            let mut state = disk.lock();
            state.stages += 1;
            let removing = disk.clone();
            let staged = Staged::new(state.stages, move |number| removing.remove_stage(number));
            Box::new(MemoryStage { disk: disk.clone(), staged })
        })
    }

    fn adoption(&self, meta: SnapshotMetadata, compact: u64) -> Result<Adoption, StoreError> {
        self.disk.lock().usable()?;
        self.outline.check_own(&meta, compact).map_err(|what| StoreError::Misuse { path: path(), what })?;
        let (disk, base) = (self.disk.clone(), self.outline.base_at(compact));
        Ok(Box::new(move |staged: Staged| {
            let (stage, pieces) = staged.numbers();
            let own = Adopted { meta, stage, pieces, base, first_segment: 0 };
            let done = disk.lock().adopt(&own);
            if !matches!(done, Ok(false)) {
                staged.keep();
            }
            Ok(done?.then_some(own))
        }))
    }

    fn adopted(&mut self, own: Adopted) {
        let (current, _) = self.outline.stage();
        let mut disk = self.disk.lock();
        if own.meta.index <= self.outline.snapshot().index {
            return disk.now.forget_stage(own.stage);
        }
        self.outline.adopt(&own);
        disk.now.forget_stage(current);
        disk.now.log = disk.now.log.split_off(&self.outline.first_index());
    }

    fn commit(&mut self, write: Write) -> Result<(), StoreError> {
        self.outline.check(&write).map_err(|what| StoreError::Misuse { path: path(), what })?;
        let mut disk = self.disk.lock();
        disk.usable()?;
        let first = first_part(&self.outline, &write);
        let fault = disk.fault.take_if(|fault| *fault != Fault::Halfway || first.is_some());
        let found = match fault {
            Some(Fault::Fail) => None,
            Some(Fault::Halfway) => first.as_ref(),
            Some(Fault::FailAfterSync) | None => Some(&write),
        };
        if let Some(found) = found {
            disk.now.apply(found);
            disk.commits += 1;
        }
        disk.broken = fault.is_some();
        disk.usable()?;
        drop(disk);
        self.outline.apply(&write);
        Ok(())
    }
}

/// What a crash leaves of a write between its two parts; `None`: it has one.
fn first_part(outline: &Outline, write: &Write) -> Option<Write> {
    let received = write.received.clone()?;
    let after = write.hard_state.as_ref().unwrap_or(outline.hard_state());
    let begin = HardState { commit: after.commit.min(received.meta.index), ..after.clone() };
    let whole = write.entries.is_empty() && *after == begin;
    let first = Write { received: Some(received), hard_state: Some(begin), ..Write::default() };
    (!whole).then_some(first)
}

impl Disk {
    /// A commit of one part.
    fn adopt(&mut self, own: &Adopted) -> Result<bool, StoreError> {
        self.usable()?;
        let fault = self.fault.take_if(|fault| *fault != Fault::Halfway);
        let done = fault != Some(Fault::Fail) && self.now.adopt(own);
        self.broken = fault.is_some();
        self.usable()?;
        Ok(done)
    }

    fn usable(&self) -> Result<(), StoreError> {
        let dead = || StoreError::io("write to", &path(), std::io::Error::other("the disk has failed"));
        if self.broken { Err(dead()) } else { Ok(()) }
    }
}

struct MemoryStage {
    disk: MemoryDisk,
    staged: Staged,
}

impl ChunkSink for MemoryStage {
    fn put(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        let mut disk = self.disk.lock();
        disk.usable()?;
        disk.now.pieces.insert(self.staged.numbers(), chunk.to_vec());
        self.staged.count_in();
        Ok(())
    }

    fn finish(self: Box<Self>) -> Staged {
        self.staged
    }
}

impl MemoryDisk {
    fn remove_stage(&self, number: u64) {
        let mut disk = self.lock();
        if disk.usable().is_ok() {
            disk.now.forget_stage(number);
        }
    }
}

fn path() -> PathBuf {
    PathBuf::from("(memory)")
}
