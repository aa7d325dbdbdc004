//! The whole state as bytes and back. A stream of records, cut into chunks that each carry a format
//! number and a checksum: what is damaged, cut short or from the future is refused, never half believed.
//! Derived indexes are not written; reading rebuilds them.

mod chunks;
mod read;
mod records;

pub use chunks::{CHUNK_BYTES_MAX, Chunks};

use super::State;

/// A snapshot that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// No snapshot at all.
    #[error("this is no snapshot of Gantry's state")]
    Foreign,
    /// Written by a newer version.
    #[error("snapshot has format {0}, which this version does not know: upgrade this master")]
    Format(u16),
    /// The checksum or the place of a chunk is wrong.
    #[error("chunk {0} of the snapshot is damaged")]
    Damaged(usize),
    /// It ends too early.
    #[error("the snapshot is cut short")]
    Truncated,
    /// Every byte is as written, but what was written makes no sense.
    #[error("the snapshot contradicts itself: {0}")]
    Inconsistent(String),
}

impl State {
    /// This state as chunks of at most [`CHUNK_BYTES_MAX`], made as they are asked for. Holds a clone of
    /// the state, which is cheap, so that `apply` goes on meanwhile. Definitions are in the form that all masters
    /// read.
    pub fn snapshot(&self) -> Chunks {
        let form = self.form();
        Chunks::new(records::of(self, form), form)
    }

    /// Reads back what [`State::snapshot`] of this or an earlier version wrote.
    pub fn restore<C: AsRef<[u8]>>(chunks: &[C]) -> Result<Self, SnapshotError> {
        read::state(chunks::open(chunks)?)
    }
}
