//! Opening a log: every segment is read and every frame checked before any of it is believed. A last frame that is
//! not whole was being written when the power failed, and nobody was told of it; anything else that is wrong is
//! damage, and refused.

use std::collections::VecDeque;

use uuid::Uuid;

use super::super::StoreError;
use super::super::outline::Outline;
use super::frame::{self, HEADER_BYTES, Header, Seal, frame_bytes};
use super::medium::Folder;
use super::places::{Place, Places};
use super::spares::Spares;
use super::{Extent, Journal, Segment, Sizes, corrupt, damaged, is_log_file, segment_name, segment_number};

/// What the frames amount to, as far as they have been read.
struct Reading<'a> {
    from: u64,
    outline: &'a mut Outline,
    places: Places,
    /// The next frame: where in the segment, and its number.
    offset: u64,
    next: u64,
    closed: bool,
    torn: bool,
}

impl Journal {
    /// Reads the log of `cluster`. `outline` is what is known of it without its entries; they are counted in.
    /// Nothing on disk is changed.
    pub(in super::super) fn open(
        folder: Folder,
        cluster: Uuid,
        extent: Extent,
        sizes: Sizes,
        outline: &mut Outline,
    ) -> Result<Self, StoreError> {
        let mut segments = open_all(&folder, cluster, &extent, outline)?;
        let (places, offset) = (Places::default(), HEADER_BYTES as u64);
        let mut reading =
            Reading { from: extent.from, outline, places, offset, next: 0, closed: false, torn: false };
        let ends: Vec<_> = segments.iter().skip(1).map(|segment| Some(segment.sequence)).collect();
        for (segment, end) in segments.iter_mut().zip(ends.into_iter().chain([None])) {
            reading.segment(segment, end)?;
        }
        let Reading { mut places, offset, next, closed, torn, .. } = reading;
        let newest = segments.back().ok_or_else(|| missing(&folder, cluster, extent.newest))?;
        if next < extent.from {
            return Err(damaged(newest, offset));
        }
        places.compact(outline.base().index);
        let spares = Spares::new(folder.clone(), sizes.usual);
        let journal = Self {
            folder,
            cluster,
            extent,
            segments,
            places,
            spares,
            offset,
            next,
            closed,
            torn,
            buffer: Vec::new(),
        };
        journal.expect_nothing_newer()?;
        Ok(journal)
    }

    /// A segment holds frames only when `raft.redb` knows it.
    fn expect_nothing_newer(&self) -> Result<(), StoreError> {
        let number = self.extent.newest + 1;
        let Some(file) = self.folder.open(&segment_name(number))? else { return Ok(()) };
        let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
        if length < HEADER_BYTES {
            return Ok(());
        }
        let header = Header::decode(&file.read(0, HEADER_BYTES)?);
        let Some(header) = header.filter(|header| (header.cluster, header.number) == (self.cluster, number))
        else {
            return Ok(());
        };
        let frames = file.read(HEADER_BYTES as u64, length - HEADER_BYTES)?;
        if Seal::of(&header).open(&frames, header.sequence).is_none() {
            return Ok(());
        }
        Err(corrupt(&file, "it is in use, but raft.redb is older and does not know it"))
    }

    /// Makes the directory ready for new frames. What is left of one that was cut short goes, so that no later crash
    /// can complete it, and so do files that are not needed. The last whole frame is made durable: when only the
    /// process died it may not be.
    pub(in super::super) fn tidy_up(&mut self) -> Result<(), StoreError> {
        if self.torn {
            let (at, end) = (self.offset, self.newest().bytes);
            tracing::info!(file = ?self.newest().file, at, "a write that was cut short is taken back");
            self.newest().file.zero(at, end - at, || false)?;
            self.torn = false;
        }
        self.newest().file.sync()?;
        let kept = self.extent.first..=self.extent.newest;
        for name in self.folder.names()? {
            if is_log_file(&name) && !segment_number(&name).is_some_and(|number| kept.contains(&number)) {
                self.folder.remove(&name)?;
            }
        }
        Ok(())
    }
}

/// Opens the segments and believes their headers. The outline's hard state becomes the one they begin with.
fn open_all(
    folder: &Folder,
    cluster: Uuid,
    extent: &Extent,
    outline: &mut Outline,
) -> Result<VecDeque<Segment>, StoreError> {
    outline.set_hard_state(&extent.state);
    let mut segments: VecDeque<Segment> = VecDeque::new();
    for number in extent.first..=extent.newest {
        let (segment, header) = open_segment(folder, cluster, number)?;
        match segments.back() {
            Some(before) if before.sequence > segment.sequence => {
                return Err(corrupt(&segment.file, "its frames are out of order"));
            }
            Some(_) => {}
            None if segment.sequence > extent.from => outline.set_hard_state(&header.state),
            None => {}
        }
        segments.push_back(segment);
    }
    Ok(segments)
}

fn open_segment(folder: &Folder, cluster: Uuid, number: u64) -> Result<(Segment, Header), StoreError> {
    let file = folder.open(&segment_name(number))?.ok_or_else(|| missing(folder, cluster, number))?;
    let length = file.length()?;
    if length < HEADER_BYTES as u64 {
        return Err(corrupt(&file, format!("it was cut to {length} bytes")));
    }
    let header = Header::decode(&file.read(0, HEADER_BYTES)?);
    let header = header.ok_or_else(|| corrupt(&file, "its header is damaged"))?;
    if header.cluster != cluster {
        return Err(corrupt(&file, format!("it belongs to cluster {}, not to {cluster}", header.cluster)));
    }
    if header.number != number {
        return Err(corrupt(&file, format!("it is part {} of the log, not {number}", header.number)));
    }
    if header.bytes != length {
        return Err(corrupt(&file, format!("it has {length} bytes instead of {}", header.bytes)));
    }
    let (bytes, seal, sequence) = (length, Seal::of(&header), header.sequence);
    Ok((Segment { number, file, bytes, seal, sequence, reach: 0 }, header))
}

fn missing(folder: &Folder, cluster: Uuid, number: u64) -> StoreError {
    StoreError::Lost { path: folder.path(&segment_name(number)), group: cluster.to_string() }
}

impl Reading<'_> {
    /// Reads a segment up to the frame with number `end`, or to the end of the log.
    fn segment(&mut self, segment: &mut Segment, end: Option<u64>) -> Result<(), StoreError> {
        let length = usize::try_from(segment.bytes).unwrap_or(usize::MAX);
        let bytes = segment.file.read(0, length)?;
        let mut at = HEADER_BYTES;
        (self.next, self.closed) = (segment.sequence, false);
        while end != Some(self.next)
            && let Some(payload) = segment.seal.open(&bytes[at..], self.next)
        {
            let whole = frame_bytes(payload.len());
            self.frame(segment, at, payload)?;
            at = (at + whole).min(length);
            self.next += 1;
        }
        self.offset = at as u64;
        let rest = &bytes[at..];
        let damage = match end {
            Some(end) => end != self.next,
            None => segment.seal.goes_on(rest, self.next),
        };
        if damage {
            return Err(damaged(segment, self.offset));
        }
        self.torn = !self.closed && rest.iter().any(|byte| *byte != 0);
        Ok(())
    }

    fn frame(&mut self, segment: &mut Segment, at: usize, payload: &[u8]) -> Result<(), StoreError> {
        self.closed = payload.is_empty();
        if self.closed || self.next < self.from {
            return Ok(());
        }
        let decoded = frame::decode(payload);
        let (state, entries) = decoded.ok_or_else(|| damaged(segment, at as u64))?;
        let again = self.outline.replay(&entries, &state);
        again.map_err(|what| corrupt(&segment.file, format!("at byte {at}: {what}")))?;
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            segment.reach = segment.reach.max(last.index);
            self.places.push(Place {
                first: first.index,
                last: last.index,
                segment: segment.number,
                offset: at as u64,
                bytes: frame_bytes(payload.len()),
                sequence: self.next,
            });
        }
        Ok(())
    }
}
