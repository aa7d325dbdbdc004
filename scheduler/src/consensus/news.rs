//! How the other members learn that something is committed. The next entry tells them; a message of its own for each
//! would cost everybody as much as the entry's. When no entry follows soon they are told all the same.

use raft::StateRole;

use super::Machine;
use super::node::Node;
use super::store::LogStore;

impl<M: Machine, S: LogStore> Node<M, S> {
    /// Whether this node leads and the others do not know how much is committed. The next proposal tells them, or
    /// the next tick; [`Self::announce`] does so before.
    pub fn has_news(&self) -> bool {
        let raft = &self.raw.raft;
        raft.state == StateRole::Leader
            && raft.raft_log.committed > self.announced
            && raft.prs().iter().any(|(id, _)| *id != self.id)
    }

    /// Tells the others how much is committed, if they were not told.
    pub fn announce(&mut self) {
        if self.has_news() {
            self.note_announced();
            self.raw.raft.bcast_append();
        }
    }

    /// Messages that all others get have said it.
    pub(super) fn note_announced(&mut self) {
        self.announced = self.raw.raft.raft_log.committed;
    }
}
