//! How far this member's log is surely its leader's. raft lets a heartbeat commit whatever the leader remembers that
//! was acknowledged once, and looks at nothing here. After a restart that need not be so: a disk that has gone back
//! may hold other entries there, of an older leader, that were never committed. Pure.

use raft::RaftLog;
use raft::eraftpb::{Message, MessageType};
use raft::storage::Storage;

/// What the leader of one term has sent since this process came up.
#[derive(Debug, Default)]
pub(super) struct Trust {
    term: u64,
    /// The last entry.
    index: u64,
}

impl Trust {
    /// An append that is about to be taken: the entries in it, and that before them, are the leader's.
    pub(super) fn note<T: Storage>(&mut self, message: &Message, log: &RaftLog<T>, term: u64) {
        let is_taken = message.get_msg_type() == MessageType::MsgAppend
            && message.term >= term
            && message.index >= log.committed
            && log.match_term(message.index, message.log_term);
        if !is_taken {
            return;
        }
        let index = message.index.saturating_add(message.entries.len() as u64);
        let before = if self.term == message.term { self.index } else { 0 };
        *self = Self { term: message.term, index: index.max(before) };
    }

    /// What a heartbeat may commit here. The rest is sent again, as the answer says that it is not committed.
    pub(super) fn bound<T: Storage>(&self, heartbeat: &Message, log: &RaftLog<T>) -> u64 {
        let sent = if self.term == heartbeat.term { self.index.min(log.last_index()) } else { 0 };
        heartbeat.commit.min(sent.max(log.committed))
    }
}
