//! Pieces of a snapshot that has not taken effect. Each stage has a number of its own, so that several can be
//! written at once, also of one index, and none touches another or the current snapshot.

use std::fmt;
use std::sync::Arc;

use super::StoreError;

/// Opens a new stage; for whoever does not hold the store.
pub type Stager = Arc<dyn Fn() -> Box<dyn ChunkSink> + Send + Sync>;

/// Takes the pieces of a snapshot, on any thread. Dropped before `finish`, it removes them again.
pub trait ChunkSink: Send {
    /// Makes the next piece durable. Blocks.
    fn put(&mut self, chunk: &[u8]) -> Result<(), StoreError>;

    /// All pieces are there.
    fn finish(self: Box<Self>) -> Staged;
}

/// What removes the pieces of a stage.
type Remove = Box<dyn FnOnce(u64) + Send>;

/// Pieces that wait to become the current snapshot. They are removed when this is dropped and, should the process die
/// before, when the log is opened again.
pub struct Staged {
    stage: u64,
    pieces: u32,
    remove: Option<Remove>,
}

impl Staged {
    pub(super) fn new(stage: u64, remove: impl FnOnce(u64) + Send + 'static) -> Self {
        Self { stage, pieces: 0, remove: Some(Box::new(remove)) }
    }

    pub(super) fn count_in(&mut self) {
        self.pieces += 1;
    }

    /// Number of the stage and of its pieces.
    pub(super) fn numbers(&self) -> (u64, u32) {
        (self.stage, self.pieces)
    }

    /// The same, and whoever asks looks after them: they are, or will be, the current snapshot. Also of a write that
    /// fails: it may yet be found on disk.
    pub fn keep(mut self) -> (u64, u32) {
        self.remove = None;
        (self.stage, self.pieces)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(remove) = self.remove.take() {
            remove(self.stage);
        }
    }
}

impl fmt::Debug for Staged {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "stage {} of {} pieces", self.stage, self.pieces)
    }
}
