//! One round of a node: what raft has ready is made durable, sent and applied, in the order that its promises
//! ask for. How a node is opened, asked and told is in `node` and `requests`.

use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeV2, Entry, EntryType, HardState, Message, MessageType};
use raft::{Ready, SnapshotStatus};

use super::Machine;
use super::broken;
use super::node::{Node, NodeError};
use super::store::{LogStore, Write};
use super::transport::Transport;
use super::waiting::Answer;
use crate::mutants::{self, Mutant};

/// Entries that are committed and wait to be applied while something else is looked after.
const UNAPPLIED_ENTRIES_MAX: u64 = 256;
/// Of entries that are applied without looking up: at least one. Any of them may be about a thousand tasks.
const APPLIED_BYTES_MAX: u64 = 64 << 10;
/// The same while nothing else is looked after, as on a start: entries are read from disk by whole frames.
const APPLIED_LAGGING_BYTES_MAX: u64 = 4 << 20;

impl<M: Machine, S: LogStore> Node<M, S> {
    /// Handles what is outstanding: makes durable what must be, sends what may be sent, applies what is committed.
    /// Yields the answers to whoever asked for something. Asked now and then whether that is `enough` for now; what is
    /// left then is for the next call ([`Self::has_more`]).
    pub fn ready(
        &mut self,
        transport: &dyn Transport,
        enough: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Answer<M::Output>>, NodeError> {
        let mut answers = self.settle_waiting();
        loop {
            self.begin_round();
            self.leave_if_removed();
            if mutants::is(Mutant::CommitAlone) && self.leads() {
                broken::commit_alone(&mut self.raw.raft.raft_log);
            }
            if !self.raw.has_ready() {
                break;
            }
            let bytes = if self.lags() { APPLIED_LAGGING_BYTES_MAX } else { APPLIED_BYTES_MAX };
            self.raw.raft.set_max_committed_size_per_ready(bytes);
            let ready = self.raw.ready();
            self.handle(ready, transport, &mut answers)?;
            self.election.settle(&mut self.raw.raft);
            if self.has_more() && !self.lags() && enough() {
                break;
            }
        }
        self.tell_leadership();
        answers.extend(self.settle_requests());
        Ok(answers)
    }

    /// Whether there is something to do without anything new.
    pub fn has_more(&self) -> bool {
        self.raw.has_ready()
    }

    /// So much is committed and not applied that this goes before everything else.
    fn lags(&self) -> bool {
        self.raw.raft.raft_log.committed.saturating_sub(self.applied) > UNAPPLIED_ENTRIES_MAX
    }

    fn handle(
        &mut self,
        mut ready: Ready,
        transport: &dyn Transport,
        answers: &mut Vec<Answer<M::Output>>,
    ) -> Result<(), NodeError> {
        for read in ready.take_read_states() {
            self.requests.reads.confirmed(&read.request_ctx, read.index);
        }
        // A leader's messages may leave before its own fsync (thesis, section 10.2.1); all others are
        // promises, and leave after it.
        let mut unsent = self.send(transport, ready.take_messages())?;
        if mutants::is(Mutant::PromiseBeforeSync) {
            unsent.extend(self.send(transport, ready.take_persisted_messages())?);
        }
        self.persist(&mut ready)?;
        let committed = ready.take_committed_entries();
        unsent.extend(self.send(transport, ready.take_persisted_messages())?);
        // Before anything is applied: a leader that applies its own removal is not asked for its progress.
        let mut light = self.raw.advance_append(ready);
        unsent.extend(self.send(transport, light.take_messages())?);
        self.apply(committed, answers)?;
        self.apply(light.take_committed_entries(), answers)?;
        self.raw.advance_apply();
        for to in unsent {
            self.raw.report_snapshot(to, SnapshotStatus::Failure);
        }
        Ok(())
    }

    /// Sends messages, and streams the snapshots among them. Yields to whom a snapshot could not be sent
    /// because a newer one has replaced it.
    fn send(&mut self, transport: &dyn Transport, messages: Vec<Message>) -> Result<Vec<u64>, NodeError> {
        let mut unsent = Vec::new();
        for message in messages {
            let to = message.to;
            if message.get_msg_type() != MessageType::MsgSnapshot {
                transport.send(to, message);
            } else if message.get_snapshot().get_metadata() == self.store().outline().snapshot() {
                let pieces = self.store().pieces()?;
                transport.send_snapshot(to, message, self.shipping.begin(to, pieces));
            } else {
                unsent.push(to);
            }
        }
        Ok(unsent)
    }

    fn apply(
        &mut self,
        mut entries: Vec<Entry>,
        answers: &mut Vec<Answer<M::Output>>,
    ) -> Result<(), NodeError> {
        if entries.iter().any(|entry| entry.get_entry_type() != EntryType::EntryNormal) {
            // The members in force must be found again after a crash (see `store`).
            self.persist_commit(entries.last().map_or(self.applied, |last| last.index))?;
        }
        let some = !entries.is_empty();
        if mutants::is(Mutant::SwapEntries) {
            broken::swap(&mut entries);
        }
        for entry in entries {
            (self.applied, self.applied_term) = (entry.index, entry.term);
            self.snapshots.applied(entry.data.len());
            match entry.get_entry_type() {
                // A new leader's first entry is empty and raft's own.
                EntryType::EntryNormal if entry.data.is_empty() => {}
                EntryType::EntryNormal => {
                    let index = entry.index;
                    let output = self.machine.apply(index, &entry.data);
                    let output = output.map_err(|reason| NodeError::Apply { index, reason })?;
                    answers.extend(self.waiting.applied(entry.index, output));
                }
                kind => self.apply_members(kind, &entry.data)?,
            }
        }
        if some {
            self.machine.applied();
        }
        Ok(())
    }

    fn apply_members(&mut self, kind: EntryType, data: &[u8]) -> Result<(), NodeError> {
        self.members = if kind == EntryType::EntryConfChangeV2 {
            let change = ConfChangeV2::parse_from_bytes(data).map_err(raft::Error::from)?;
            self.raw.apply_conf_change(&change)?
        } else {
            let change = ConfChange::parse_from_bytes(data).map_err(raft::Error::from)?;
            self.raw.apply_conf_change(&change)?
        };
        Ok(())
    }

    pub(super) fn persist_commit(&mut self, commit: u64) -> Result<(), NodeError> {
        let hard_state = Some(self.committed(commit));
        if hard_state.as_ref() == Some(self.store().outline().hard_state()) {
            return Ok(());
        }
        Ok(self.raw.mut_store().commit(Write { hard_state, ..Write::default() })?)
    }

    /// The hard state on disk with a later commit index. Not raft's own: between a message and `ready` that
    /// may speak of entries that are not on disk yet.
    pub(super) fn committed(&self, commit: u64) -> HardState {
        let stored = self.store().outline().hard_state();
        HardState { commit: stored.commit.max(commit), ..stored.clone() }
    }
}
