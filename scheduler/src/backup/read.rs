//! Reading a backup: record by record, with bounded memory, and nothing is believed before its sum was right.

use std::io::Read;

use super::{BackupError, END, FORMAT, HEAD, Head, MAGIC, PIECE, RECORD_BYTES_MAX};
use crate::state::State;

/// A backup that is being read.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    sum: crc32fast::Hasher,
    head: Head,
    pieces: u64,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the head.
    pub fn open(from: R) -> Result<Self, BackupError> {
        let head = Head {
            cluster_id: uuid::Uuid::nil(),
            term: 0,
            index: 0,
            at: spec::Timestamp::default(),
            version: String::new(),
        };
        let mut reader = Self { from, sum: crc32fast::Hasher::new(), head, pieces: 0, ended: false };
        reader.format()?;
        let (kind, contents) = reader.record()?;
        if kind != HEAD {
            return Err(reader.damaged());
        }
        reader.head = postcard::from_bytes(&contents).map_err(|_| reader.damaged())?;
        Ok(reader)
    }

    /// What it holds.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The next chunk of the state; `None` once the end was there and nothing after it.
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>, BackupError> {
        if self.ended {
            return Ok(None);
        }
        match self.record()? {
            (PIECE, contents) => {
                self.pieces += 1;
                Ok(Some(contents))
            }
            (END, contents) if contents == self.pieces.to_le_bytes() => {
                self.ended = true;
                if self.up_to(1)?.is_empty() { Ok(None) } else { Err(BackupError::Trailing) }
            }
            _ => Err(self.damaged()),
        }
    }

    /// The rest, as a state.
    pub fn state(mut self) -> Result<State, BackupError> {
        let mut chunks = Vec::new();
        while let Some(chunk) = self.piece()? {
            chunks.push(chunk);
        }
        let state = State::restore(&chunks)?;
        if (state.cluster_id, state.index) != (self.head.cluster_id, self.head.index) {
            return Err(BackupError::Contradiction);
        }
        Ok(state)
    }

    fn format(&mut self) -> Result<(), BackupError> {
        let start = self.up_to(MAGIC.len() + 2)?;
        let Some((magic, format)) = start.split_first_chunk::<8>() else {
            return Err(BackupError::Foreign);
        };
        if *magic != MAGIC {
            return Err(BackupError::Foreign);
        }
        match format.try_into().map(u16::from_le_bytes) {
            Err(_) => Err(self.truncated()),
            Ok(0) => Err(self.damaged()),
            Ok(found) if found > FORMAT => Err(BackupError::Format { found }),
            Ok(_) => {
                self.sum.update(&start);
                Ok(())
            }
        }
    }

    /// The next record, its sum checked.
    fn record(&mut self) -> Result<(u8, Vec<u8>), BackupError> {
        let [kind, length @ ..] = self.exactly::<5>()?;
        let length = u32::from_le_bytes(length) as usize;
        if length > RECORD_BYTES_MAX {
            return Err(self.damaged());
        }
        let contents = self.up_to(length)?;
        if contents.len() < length {
            return Err(self.truncated());
        }
        self.sum.update(&[kind]);
        self.sum.update(&(length as u32).to_le_bytes());
        self.sum.update(&contents);
        if u32::from_le_bytes(self.exactly()?) != self.sum.clone().finalize() {
            return Err(self.damaged());
        }
        Ok((kind, contents))
    }

    fn exactly<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        self.up_to(N)?.try_into().map_err(|_| self.truncated())
    }

    /// So many bytes, fewer at the end. Takes no more memory than there are bytes.
    fn up_to(&mut self, length: usize) -> Result<Vec<u8>, BackupError> {
        let mut bytes = Vec::new();
        self.from.by_ref().take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn truncated(&self) -> BackupError {
        BackupError::Truncated { pieces: self.pieces }
    }

    fn damaged(&self) -> BackupError {
        BackupError::Damaged { pieces: self.pieces }
    }
}
