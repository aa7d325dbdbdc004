//! A backup: the whole replicated state in one file, which anybody can check without a cluster. Pure: bytes
//! out, [`std::io::Read`] in. Where the file lies, how it is sent and what a cluster does with it is elsewhere.
//!
//! ```text
//! "GANTRYBK"  format (u16)  record...
//! record:     kind (1 byte)  length (u32)  contents  sum (u32)
//! kinds:      H the head (once, first)   P a piece of the state   E the end: how many pieces (u64)
//! ```
//!
//! Numbers are little endian. A sum is the CRC32 of everything before it in the file but the other sums: a
//! record that is missing, repeated or from another file is found out like a changed bit. (Were the sums
//! summed up as well, a CRC would come to the same value after every record, and show none of that.)

mod read;
mod successor;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use spec::time::Timestamp;
use uuid::Uuid;

use crate::state::{CHUNK_BYTES_MAX, SnapshotError, State};

pub use read::Reader;
pub use successor::{successor, survivor};

const MAGIC: [u8; 8] = *b"GANTRYBK";
/// What this version writes, and the highest that it reads.
const FORMAT: u16 = 1;
const HEAD: u8 = b'H';
const PIECE: u8 = b'P';
const END: u8 = b'E';
/// No record is longer: four times what is written today.
const RECORD_BYTES_MAX: usize = 4 * CHUNK_BYTES_MAX;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Whose state.
    pub cluster_id: Uuid,
    /// Term of the leader that wrote it; names the epoch.
    pub term: u64,
    /// Log index of the state.
    pub index: u64,
    /// When it was made.
    pub at: Timestamp,
    /// Version of the program that wrote it.
    pub version: String,
}

impl Head {
    /// Of a backup of `state`, made by the leader of `term`.
    pub fn of(state: &State, term: u64, at: Timestamp) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { cluster_id: state.cluster_id, term, index: state.index, at, version }
    }
}

/// A file that is no usable backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something else.
    #[error("this is no backup of Gantry")]
    Foreign,
    /// From the future.
    #[error(
        "the backup has format {found}, this version reads up to {FORMAT}: use the clusterctl that wrote it"
    )]
    Format {
        /// What the file says.
        found: u16,
    },
    /// It has no end.
    #[error("the backup is cut short after {pieces} pieces")]
    Truncated {
        /// Those that are whole.
        pieces: u64,
    },
    /// Bytes are not those that were written.
    #[error("the backup is damaged after {pieces} good pieces")]
    Damaged {
        /// Those before the damage.
        pieces: u64,
    },
    /// It goes on after its end.
    #[error("the backup is followed by bytes that are not part of it")]
    Trailing,
    /// The file is whole, its contents are not.
    #[error(transparent)]
    State(#[from] SnapshotError),
    /// The contents are not what the head says.
    #[error("the head of the backup names another state than it holds")]
    Contradiction,
    /// The disk or the connection.
    #[error("the backup cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

/// The bytes of a backup in order, each part about as long as a chunk. `chunks` are those of
/// [`State::snapshot`], made as they are asked for.
pub fn write<C: Iterator<Item = Vec<u8>>>(head: &Head, chunks: C) -> impl Iterator<Item = Vec<u8>> + use<C> {
    let mut start = [&MAGIC[..], &FORMAT.to_le_bytes()].concat();
    let mut sum = crc32fast::Hasher::new();
    sum.update(&start);
    // Encoding into memory cannot fail.
    start.extend(record(&mut sum, HEAD, &postcard::to_stdvec(head).unwrap_or_default()));
    let mut parts = Parts { sum, chunks, pieces: 0, ended: false };
    std::iter::once(start).chain(std::iter::from_fn(move || parts.next()))
}

/// What follows the head.
struct Parts<C> {
    sum: crc32fast::Hasher,
    chunks: C,
    pieces: u64,
    ended: bool,
}

impl<C: Iterator<Item = Vec<u8>>> Parts<C> {
    fn next(&mut self) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        if let Some(chunk) = self.chunks.next() {
            self.pieces += 1;
            return Some(record(&mut self.sum, PIECE, &chunk));
        }
        self.ended = true;
        Some(record(&mut self.sum, END, &self.pieces.to_le_bytes()))
    }
}

fn record(sum: &mut crc32fast::Hasher, kind: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len() as u32; // at most RECORD_BYTES_MAX
    let mut record = Vec::with_capacity(contents.len() + 9);
    record.push(kind);
    record.extend(length.to_le_bytes());
    record.extend(contents);
    sum.update(&record);
    record.extend(sum.clone().finalize().to_le_bytes());
    record
}
