//! A stream of records cut into chunks, and put together again. A chunk is a magic number, the format,
//! its own number, its share of the stream, and a CRC-32 of all that; integers are little-endian. In the
//! stream each record follows its length. Knows nothing of what the records say.

use serde::Serialize;

use super::SnapshotError;
use crate::state::Form;

/// No chunk is longer.
pub const CHUNK_BYTES_MAX: usize = 1024 * 1024;

const MAGIC: [u8; 4] = *b"GSNP";
/// The newest format; all before it are read. Format 2 added masters, format 3 packed definitions.
const FORMAT: u16 = 3;
const HEAD_BYTES: usize = 10;
const CRC_BYTES: usize = 4;
const SHARE_BYTES_MAX: usize = CHUNK_BYTES_MAX - HEAD_BYTES - CRC_BYTES;

/// The chunks of a snapshot, in order.
pub struct Chunks {
    records: Box<dyn Iterator<Item = Vec<u8>> + Send>,
    /// Read from `records` and not yet given out.
    pending: Vec<u8>,
    number: u32,
    format: u16,
}

impl Chunks {
    /// Of records with definitions in `form`.
    pub(super) fn new<R: Serialize>(records: impl Iterator<Item = R> + Send + 'static, form: Form) -> Self {
        let format = match form {
            Form::Json => FORMAT - 1,
            Form::Packed => FORMAT,
        };
        let records = Box::new(records.map(|record| framed(&record)));
        Self { records, pending: Vec::new(), number: 0, format }
    }
}

fn framed(record: &impl Serialize) -> Vec<u8> {
    let mut frame = postcard::to_extend(record, vec![0; 4])
        .expect("records hold nothing that postcard or JSON cannot write");
    let length = u32::try_from(frame.len() - 4).expect("a record is far below 4 GiB");
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame
}

impl Iterator for Chunks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        while self.pending.len() < SHARE_BYTES_MAX {
            match self.records.next() {
                Some(record) => self.pending.extend(record),
                None => break,
            }
        }
        if self.pending.is_empty() {
            return None;
        }
        let rest = self.pending.split_off(self.pending.len().min(SHARE_BYTES_MAX));
        let share = std::mem::replace(&mut self.pending, rest);
        self.number += 1;
        Some(sealed(self.format, self.number - 1, &share))
    }
}

fn sealed(format: u16, number: u32, share: &[u8]) -> Vec<u8> {
    let mut chunk = Vec::with_capacity(HEAD_BYTES + share.len() + CRC_BYTES);
    chunk.extend(MAGIC);
    chunk.extend(format.to_le_bytes());
    chunk.extend(number.to_le_bytes());
    chunk.extend(share);
    let crc = crc32fast::hash(&chunk);
    chunk.extend(crc.to_le_bytes());
    chunk
}

/// Checks every chunk; what is left is their shares of the stream.
pub(super) fn open<C: AsRef<[u8]>>(chunks: &[C]) -> Result<Frames<'_>, SnapshotError> {
    let shares = chunks.iter().enumerate().map(|(number, chunk)| share(number, chunk.as_ref()));
    let shares: Vec<&[u8]> = shares.collect::<Result<_, _>>()?;
    let left = shares.iter().map(|share| share.len()).sum();
    Ok(Frames { shares: shares.into_iter(), current: &[], left })
}

fn share(number: usize, chunk: &[u8]) -> Result<&[u8], SnapshotError> {
    let rest = chunk.strip_prefix(&MAGIC).ok_or(SnapshotError::Foreign)?;
    let (format, _) = rest.split_first_chunk().ok_or(SnapshotError::Damaged(number))?;
    let format = u16::from_le_bytes(*format);
    if !(1..=FORMAT).contains(&format) {
        return Err(SnapshotError::Format(format));
    }
    let (sealed, crc) = chunk.split_last_chunk().ok_or(SnapshotError::Damaged(number))?;
    let share = sealed.get(HEAD_BYTES..).ok_or(SnapshotError::Damaged(number))?;
    let in_place = sealed[HEAD_BYTES - 4..HEAD_BYTES] == (number as u32).to_le_bytes();
    let whole = crc32fast::hash(sealed) == u32::from_le_bytes(*crc);
    if in_place && whole { Ok(share) } else { Err(SnapshotError::Damaged(number)) }
}

/// The records of a stream, as bytes.
pub(super) struct Frames<'a> {
    shares: std::vec::IntoIter<&'a [u8]>,
    current: &'a [u8],
    left: usize,
}

impl Frames<'_> {
    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, SnapshotError> {
        if self.left == 0 {
            return Ok(None);
        }
        let length = self.take(4)?;
        let length = length.try_into().map(u32::from_le_bytes).map_err(|_| SnapshotError::Truncated)?;
        self.take(length as usize).map(Some)
    }

    fn take(&mut self, wanted: usize) -> Result<Vec<u8>, SnapshotError> {
        // Checked before anything is reserved: the length may be nonsense.
        self.left = self.left.checked_sub(wanted).ok_or(SnapshotError::Truncated)?;
        let mut bytes = Vec::with_capacity(wanted);
        while bytes.len() < wanted {
            if self.current.is_empty() {
                self.current = self.shares.next().ok_or(SnapshotError::Truncated)?;
            }
            let (now, later) = self.current.split_at(self.current.len().min(wanted - bytes.len()));
            bytes.extend(now);
            self.current = later;
        }
        Ok(bytes)
    }
}
