//! How messages reach the other masters: a trait; the sockets behind it are elsewhere.

use raft::eraftpb::Message;

pub use super::store::Pieces;

/// Sends raft's messages. Must not block; what cannot be sent is dropped, raft sends it again.
pub trait Transport: Send + 'static {
    /// Sends `message` to the member `to`. Messages to one member should arrive in order.
    fn send(&self, to: u64, message: Message);

    /// Streams a snapshot: `message` says which, without its contents; they are `pieces`. Beside the other
    /// messages, which must not wait for it. How it went is to be reported ([`Sent`]): until then raft sends
    /// that member nothing more.
    fn send_snapshot(&self, to: u64, message: Message, pieces: Pieces);
}

/// What became of messages to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The last ones did not get through.
    Unreachable,
    /// A snapshot was delivered.
    SnapshotArrived,
    /// A snapshot was not delivered.
    SnapshotLost,
}

/// For a cluster of one master: there is nobody to send to.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

impl Transport for NoPeers {
    fn send(&self, to: u64, _: Message) {
        tracing::debug!(to, "no transport: message dropped");
    }

    fn send_snapshot(&self, to: u64, _: Message, _: Pieces) {
        tracing::debug!(to, "no transport: snapshot dropped");
    }
}
