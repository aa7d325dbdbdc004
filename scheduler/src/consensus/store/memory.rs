//! The log's twin in memory, for tests and simulated clusters. It crashes on request, in the ways that the log on
//! disk can: a commit that is gone, a commit that is there though nobody heard of it, one with a snapshot of which
//! the first part is there (`power` holds that to the log on disk), and, to prove that a test would notice, a disk
//! that lies about what it has synced.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protobuf::Message as _;
use raft::eraftpb::{Entry, HardState};

use super::outline::Outline;
use super::{ChunkSink, First, LogStore, Pieces, SnapshotWrite, Staged, Stager, StoreError, Write};

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
        let snapshot = Some(SnapshotWrite::Received { meta: first.meta, stage, pieces });
        store.commit(Write { snapshot, hard_state: Some(state), ..Write::default() })?;
        Ok(disk)
    }

    /// A store on this disk, as after a start of the process.
    pub fn open(&self) -> MemoryStore {
        let mut disk = self.lock();
        disk.broken = false;
        let (current, _) = disk.now.outline.stage();
        disk.now.pieces.retain(|(stage, _), _| *stage == current);
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

    /// Number of commits so far.
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Image {
    fn apply(&mut self, write: &Write) {
        if matches!(write.snapshot, Some(SnapshotWrite::Received { .. })) {
            self.log.clear();
        }
        if let Some((new, _)) = write.snapshot.as_ref().map(SnapshotWrite::stage) {
            let (old, _) = self.outline.stage();
            self.pieces.retain(|(stage, _), _| *stage == new || *stage != old);
        }
        if let Some(first) = write.entries.first() {
            self.log.split_off(&first.index);
        }
        self.log.extend(write.entries.iter().map(|entry| (entry.index, entry.clone())));
        self.outline.apply(write);
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

    fn commit(&mut self, write: Write) -> Result<(), StoreError> {
        self.outline.check(&write).map_err(|what| StoreError::Misuse { path: path(), what })?;
        let mut disk = self.disk.lock();
        disk.usable()?;
        if let Some((stage, pieces)) = write.snapshot.as_ref().map(SnapshotWrite::stage)
            && disk.now.pieces.range((stage, 0)..=(stage, u32::MAX)).count() != pieces as usize
        {
            let what = format!("stage {stage} does not have {pieces} pieces");
            return Err(StoreError::Misuse { path: path(), what });
        }
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
    if let Some(SnapshotWrite::Received { meta, .. }) = &write.snapshot {
        let after = write.hard_state.as_ref().unwrap_or(outline.hard_state());
        let begin = HardState { commit: after.commit.min(meta.index), ..after.clone() };
        let whole = write.entries.is_empty() && *after == begin;
        let first = Write { snapshot: write.snapshot.clone(), hard_state: Some(begin), ..Write::default() };
        return (!whole).then_some(first);
    }
    let two = write.snapshot.is_some() || outline.base_after(write) != outline.base();
    let first =
        || Write { entries: write.entries.clone(), hard_state: write.hard_state.clone(), ..Write::default() };
    two.then(first)
}

impl Disk {
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
        disk.now.pieces.insert(self.staged.next_piece(), chunk.to_vec());
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
            disk.now.pieces.retain(|(stage, _), _| *stage != number);
        }
    }
}

fn path() -> PathBuf {
    PathBuf::from("(memory)")
}
