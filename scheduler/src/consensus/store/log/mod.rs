//! The log's entries and hard states, in files of their own: segments `raft-00000001.log` and on. A commit is one
//! frame, written and synced in one go into a file whose blocks are there already. What a frame means for the log
//! is said by [`super::outline`]; snapshots and what else is rare are kept in `raft.redb`, and so is which
//! segments there must be ([`Extent`]): one that is missing is noticed.
//!
//! A segment is used like this: a file full of zeros, or an old segment, is renamed; its header is written and
//! synced, and so is its name; then `raft.redb` is told; then come frames. So a file that `raft.redb` does not
//! know holds nothing, and one that it knows is whole but for its last frame.

mod frame;
mod medium;
mod places;
mod recover;
mod spares;

use std::collections::VecDeque;

use protobuf::Message as _;
use raft::eraftpb::{Entry, HardState};
use uuid::Uuid;

#[cfg(test)]
pub(super) use medium::{Blob, Medium};
pub(super) use medium::{Folder, LogFile};

use super::StoreError;
use frame::{HEADER_BYTES, Header, Seal, frame_bytes};
use places::{Place, Places};
use spares::{Spares, pre_written};

/// How large segments are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// The first one of a log: founding is to be quick, and a small cluster is to need little.
    pub first: u64,
    /// All others.
    pub usual: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { first: 1 << 20, usual: 16 << 20 }
    }
}

/// The buffer of frames is given back when one was larger than this.
const BUFFER_BYTES_MAX: usize = 4 << 20;
/// Segments are a multiple of this long.
const BLOCK_BYTES: u64 = 4096;

/// Which segments hold the log, and what they begin with. Durable in `raft.redb`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Extent {
    /// The oldest segment that is needed.
    pub first: u64,
    /// The one that is written to.
    pub newest: u64,
    /// Frames with a smaller number do not count: a snapshot from the leader has replaced them.
    pub from: u64,
    /// As it was before that frame.
    pub state: HardState,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    file: LogFile,
    bytes: u64,
    seal: Seal,
    /// Number of its first frame.
    sequence: u64,
    /// The highest index of an entry in it that counts or counted.
    reach: u64,
}

/// The segments, open.
#[derive(Debug)]
pub(super) struct Journal {
    folder: Folder,
    cluster: Uuid,
    extent: Extent,
    /// From `extent.first` to `extent.newest`; never empty.
    segments: VecDeque<Segment>,
    places: Places,
    spares: Spares,
    /// Where in the newest segment the next frame goes, and its number.
    offset: u64,
    next: u64,
    /// The last frame says that the log was closed in order.
    closed: bool,
    /// The newest segment has something behind its last frame that may be the begin of a lost one.
    torn: bool,
    /// The frame that is to be written.
    buffer: Vec<u8>,
}

/// Name of a segment's file.
pub(super) fn segment_name(number: u64) -> String {
    format!("raft-{number:08}.log")
}

/// The number in the name of a segment's file.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    name.strip_prefix("raft-")?.strip_suffix(".log")?.parse().ok()
}

/// Whether the name is that of a segment or of a file for one.
pub(super) fn is_log_file(name: &str) -> bool {
    name == spares::SPARE || segment_number(name).is_some()
}

impl Journal {
    /// Makes the first segment of a log, durable.
    pub(super) fn found(
        folder: Folder,
        cluster: Uuid,
        number: u64,
        state: HardState,
        sizes: Sizes,
    ) -> Result<Self, StoreError> {
        let bytes = sizes.first;
        let file = pre_written(&folder, &segment_name(number), bytes, || false)?;
        let mut journal = Self {
            extent: Extent { first: number, newest: number, from: 1, state: state.clone() },
            segments: VecDeque::new(),
            places: Places::default(),
            spares: Spares::new(folder.clone(), sizes.usual),
            folder,
            cluster,
            offset: 0,
            next: 1,
            closed: false,
            torn: false,
            buffer: Vec::new(),
        };
        journal.begin(file, bytes, state)?;
        Ok(journal)
    }

    /// Writes the header of the newest segment.
    fn begin(&mut self, file: LogFile, bytes: u64, state: HardState) -> Result<(), StoreError> {
        let (salt, _) = Uuid::new_v4().as_u64_pair();
        let (number, sequence) = (self.extent.newest, self.next);
        let header = Header { cluster: self.cluster, number, bytes, sequence, salt, state };
        file.write(0, &header.encode())?;
        file.sync()?;
        self.folder.sync()?;
        self.segments.push_back(Segment { number, file, bytes, seal: Seal::of(&header), sequence, reach: 0 });
        self.offset = HEADER_BYTES as u64;
        Ok(())
    }

    /// Which segments there are.
    pub(super) fn extent(&self) -> &Extent {
        &self.extent
    }

    fn newest(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("there is always a segment")
    }

    /// Encodes the next frame. Whether the newest segment has room for it, and for one that closes the log.
    pub(super) fn encode(&mut self, entries: &[Entry], state: &HardState) -> bool {
        frame::encode(&mut self.buffer, state, entries);
        let (needed, bytes) = (self.needed(), self.newest().bytes);
        self.offset + needed <= bytes
    }

    fn needed(&self) -> u64 {
        (frame_bytes(self.buffer.len() - frame::HEAD_BYTES) + frame::HEAD_BYTES) as u64
    }

    /// Begins the segment that the encoded frame goes to; `state` is the hard state before that frame.
    /// [`Self::extent`] must be durable before the frame is written.
    pub(super) fn begin_segment(&mut self, state: &HardState) -> Result<(), StoreError> {
        self.extent.newest += 1;
        let needed = (HEADER_BYTES as u64 + self.needed()).next_multiple_of(BLOCK_BYTES);
        let (file, bytes) = self.spares.take(&segment_name(self.extent.newest), needed)?;
        self.begin(file, bytes, state.clone())
    }

    /// Makes the encoded frame durable. `entries` are those that it was encoded from.
    pub(super) fn write(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        let (offset, sequence) = (self.offset, self.next);
        let bytes = self.write_frame()?;
        self.closed = false;
        let segment = self.newest();
        let half = offset * 2 > segment.bytes;
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            let (first, last) = (first.index, last.index);
            segment.reach = segment.reach.max(last);
            let segment = segment.number;
            self.places.push(Place { first, last, segment, offset, bytes, sequence });
        }
        if self.buffer.capacity() > BUFFER_BYTES_MAX {
            self.buffer = Vec::new();
        }
        if half {
            self.spares.prepare();
        }
        Ok(())
    }

    fn write_frame(&mut self) -> Result<usize, StoreError> {
        let segment = self.segments.back().expect("there is always a segment");
        segment.seal.seal(&mut self.buffer, self.next);
        segment.file.write(self.offset, &self.buffer)?;
        segment.file.sync()?;
        self.offset += self.buffer.len() as u64;
        self.next += 1;
        Ok(self.buffer.len())
    }

    /// The entries `[low, high)`: at least one, otherwise at most `max_bytes`.
    pub(super) fn read(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StoreError> {
        let mut found: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        for place in self.places.from(low).take_while(|place| place.first < high) {
            for entry in self.read_place(place)? {
                if entry.index < low || entry.index > place.last.min(high - 1) {
                    continue;
                }
                if entry.index != low + found.len() as u64 {
                    return Err(damaged(self.segment(place), place.offset));
                }
                bytes += u64::from(entry.compute_size());
                if bytes > max_bytes && !found.is_empty() {
                    return Ok(found);
                }
                found.push(entry);
            }
        }
        Ok(found)
    }

    /// All entries of a frame, checked again.
    fn read_place(&self, place: &Place) -> Result<Vec<Entry>, StoreError> {
        let at = place.segment.checked_sub(self.extent.first).and_then(|at| usize::try_from(at).ok());
        let segment =
            at.and_then(|at| self.segments.get(at)).expect("no entry is in a segment that was let go");
        let bytes = segment.file.read(place.offset, place.bytes)?;
        let opened = segment.seal.open(&bytes, place.sequence).and_then(frame::decode);
        let (_, entries) = opened.ok_or_else(|| damaged(segment, place.offset))?;
        Ok(entries)
    }

    fn segment(&self, place: &Place) -> &Segment {
        let at = place.segment.checked_sub(self.extent.first).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.segments.get(at)).expect("no entry is in a segment that was let go")
    }

    /// The oldest segment that is needed when the log begins after `base`. Later writes do not change it.
    pub(super) fn first_needed(&self, base: u64) -> u64 {
        let unneeded = self.segments.iter().take_while(|segment| segment.reach <= base).count();
        self.extent.first + unneeded.min(self.segments.len() - 1) as u64
    }

    /// What [`Self::extent`] is to be when nothing counts any more that was written so far.
    pub(super) fn extent_anew(&self, state: HardState) -> Extent {
        let newest = self.extent.newest;
        Extent { first: newest, newest, from: self.next, state }
    }

    /// `extent` is durable, and the log begins after `base`: the segments before it may be used for others.
    pub(super) fn let_go(&mut self, extent: Extent, base: u64) {
        if extent.from != self.extent.from {
            self.places.clear();
            self.segments.iter_mut().for_each(|segment| segment.reach = 0);
        }
        self.places.compact(base);
        self.extent = extent;
        let mut surplus = Vec::new();
        while let Some(old) = self.segments.pop_front_if(|old| old.number < self.extent.first) {
            surplus.extend(self.spares.give(old.file, old.bytes));
        }
        if !surplus.is_empty() {
            self.remove_beside(surplus);
        }
    }

    /// Nobody waits until they are gone, and those that stay are removed when the log is opened again.
    fn remove_beside(&self, surplus: Vec<LogFile>) {
        let folder = self.folder.clone();
        let remove = move || surplus.iter().try_for_each(|file| folder.remove(&file.name));
        let begun = self.folder.beside(Box::new(move || {
            if let Err(error) = remove() {
                tracing::debug!(%error, "a part of the log that is not needed stays for now");
            }
        }));
        if let Err(error) = begun {
            tracing::debug!(%error, "parts of the log that are not needed stay for now");
        }
    }

    /// The last frame, unless the log has not changed since the one before. With it, also a wrong bit in the
    /// last commit is told from a write that was cut short.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        self.spares.close();
        if self.closed {
            return Ok(());
        }
        frame::begin(&mut self.buffer);
        self.write_frame()?;
        self.closed = true;
        Ok(())
    }

    /// Stops without that frame: what is on disk is not known any more.
    pub(super) fn abandon(&mut self) {
        self.spares.close();
    }
}

fn damaged(segment: &Segment, offset: u64) -> StoreError {
    corrupt(&segment.file, format!("what begins at byte {offset} is not what was written there"))
}

fn corrupt(file: &LogFile, what: impl Into<String>) -> StoreError {
    StoreError::Corrupt { path: file.path.clone(), what: what.into() }
}
