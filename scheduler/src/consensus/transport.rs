//! How messages reach the other masters: a trait; the sockets behind it are elsewhere.

use raft::eraftpb::Message;

/// Sends raft's messages. Must not block; what cannot be sent is dropped, raft sends it again.
pub trait Transport: Send + 'static {
    /// Sends `message` to the member `to`. Messages to one member should arrive in order.
    fn send(&self, to: u64, message: Message);
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
}
