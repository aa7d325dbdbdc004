//! A replicated log of byte strings: TiKV's `raft` driven by one thread, on disk. No scheduling words in
//! here.
//!
//! What is replicated is a [`Machine`]: the driver hands it committed entries in order, on every master,
//! and asks it for snapshots. An entry is on disk (fsync) before it is acknowledged.
//!
//! ```text
//! open -> Handle ---- proposals, peers' messages ----> driver (one thread, the only clock)
//!                                                        |
//!                     Transport <---- messages ---- node (sans-I/O: raft + machine)
//!                                                        |
//!                                                     storage (raft's view, recent entries)
//!                                                        |
//!                                                     store (disk; memory: faults for tests)
//! ```

mod broken;
mod changes;
mod contents;
mod driver;
mod election;
mod handle;
mod inspect;
mod logger;
mod members;
mod news;
mod node;
mod open;
mod reads;
mod rebirth;
mod requests;
mod round;
mod shipping;
mod snapshots;
mod storage;
pub mod store;
mod transport;
mod turns;
mod waiting;

#[cfg(test)]
pub(crate) mod testing;

pub use handle::{Handle, ProposeError, SnapshotInlet, Status, Stopped};
pub use members::{MemberChange, Members, Standing};
pub use node::{Node, NodeConfig, NodeError};
pub use open::{OpenError, Options, Start, first_snapshot, open, open_with};
pub use raft::eraftpb::Message;
pub use rebirth::{BEFORE_RECOVER, Recovered, found_from, recover};
pub use snapshots::{SnapshotJob, SnapshotPolicy, Written};
pub use store::Commits;
pub use transport::{NoPeers, Pieces, Sent, Transport};
pub use turns::Turns;
pub use waiting::{Answer, Proposal};

/// Longest entry that is accepted; a raft message carries about as much.
pub const MAX_ENTRY_BYTES: usize = 1 << 20;

/// Longest batch of entries proposed at once, in bytes.
pub const MAX_BATCH_BYTES: usize = 8 << 20;

/// What the log drives. Called from the driver's thread only.
pub trait Machine: Send + 'static {
    /// What applying an entry yields to whoever proposed it.
    type Output: Send + 'static;

    /// Applies one committed entry. Must be deterministic. An entry that it cannot read stops the log: it may
    /// hold what a newer release has acknowledged, and to go on without it would be to lose that.
    fn apply(&mut self, index: u64, entry: &[u8]) -> Result<Self::Output, String>;

    /// Called after a run of `apply` calls: a good moment to publish what changed.
    fn applied(&mut self);

    /// A cheap frozen copy of the state, to be written out elsewhere without stopping `apply`.
    fn freeze(&self) -> Box<dyn Frozen>;

    /// Replaces the state with a snapshot, as the chunks that [`Frozen::chunks`] yielded. Also called on
    /// every start: a new cluster begins with a snapshot of the machine it was founded with.
    fn restore(&mut self, index: u64, chunks: Vec<Vec<u8>>) -> Result<(), String>;

    /// Leadership or term changed. `leading` only once everything of earlier terms is applied.
    fn leadership(&mut self, term: u64, leader: Option<u64>, leading: bool);
}

/// A state frozen for a snapshot.
pub trait Frozen: Send {
    /// The state in pieces of bounded size (about 1 MiB).
    fn chunks(self: Box<Self>) -> Box<dyn Iterator<Item = Vec<u8>>>;
}
