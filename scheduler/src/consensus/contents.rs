//! Snapshots as a node handles them: those that arrive from the leader, those of its own state, and how either
//! becomes the current one.

use raft::Ready;
use raft::eraftpb::{Message, MessageType, SnapshotMetadata};

use super::Machine;
use super::node::{Node, NodeError};
use super::snapshots::{SnapshotJob, Written};
use super::storage::is_member;
use super::store::{LogStore, SnapshotWrite, Staged, Stager, Write};

impl<M: Machine, S: LogStore> Node<M, S> {
    /// Where the pieces of a snapshot for `step_snapshot` go.
    pub fn stager(&self) -> Stager {
        self.store().stager()
    }

    /// A snapshot from the leader whose pieces have been staged here (see [`Node::stager`]). If raft has no
    /// use for it the pieces are removed.
    pub fn step_snapshot(&mut self, message: Message, pieces: Staged) {
        if message.get_msg_type() != MessageType::MsgSnapshot {
            return;
        }
        self.incoming.push((message.get_snapshot().get_metadata().clone(), pieces));
        self.take(message);
        let wanted = self.raw.snap().map(|snapshot| snapshot.get_metadata().clone());
        self.incoming.retain(|(meta, _)| wanted.as_ref() == Some(meta));
    }

    /// One atomic commit of a snapshot, entries and hard state. A commit index alone is not worth an fsync:
    /// it goes with the next write, and is learnt again after a crash.
    pub(super) fn persist(&mut self, ready: &mut Ready) -> Result<(), NodeError> {
        if !ready.must_sync() {
            return Ok(());
        }
        let mut snapshot = None;
        if !ready.snapshot().is_empty() {
            let meta = ready.snapshot().get_metadata().clone();
            let at = self.incoming.iter().position(|(staged, _)| *staged == meta);
            let unknown = || NodeError::Restore { index: meta.index, reason: "its pieces are gone".into() };
            let (stage, pieces) = self.incoming.remove(at.ok_or_else(unknown)?).1.keep();
            snapshot = Some(SnapshotWrite::Received { meta, stage, pieces });
        }
        let received = snapshot.as_ref().map(|snapshot| snapshot.meta().clone());
        let hard_state = Some(self.raw.raft.hard_state());
        let entries = ready.take_entries();
        self.raw.mut_store().commit(Write { snapshot, entries, hard_state, compact: 0 })?;
        received.map_or(Ok(()), |meta| self.install(meta))
    }

    fn install(&mut self, meta: SnapshotMetadata) -> Result<(), NodeError> {
        restore(&mut self.machine, self.raw.store().store())?;
        (self.applied, self.applied_term) = (meta.index, meta.term);
        self.members = meta.get_conf_state().clone();
        self.machine.applied();
        Ok(())
    }

    /// A snapshot to be written now, if one is due. It is not due again before `snapshot_written`.
    pub fn snapshot_due(&mut self) -> Option<SnapshotJob> {
        let current = self.store().outline().snapshot();
        let lacks = |id: &u64| is_member(&self.members, *id) && !is_member(current.get_conf_state(), *id);
        let wanted = self.raw.store().lacking().filter(lacks).is_some();
        if !self.snapshots.due(wanted) || self.applied <= current.index {
            return None;
        }
        self.snapshots.begun();
        let mut meta =
            SnapshotMetadata { index: self.applied, term: self.applied_term, ..SnapshotMetadata::default() };
        meta.set_conf_state(self.members.clone());
        let sink = self.stager()();
        Some(SnapshotJob { meta, frozen: self.machine.freeze(), sink })
    }

    /// The job has ended (`None`: without a snapshot): makes it the current one and forgets old entries.
    pub fn snapshot_written(&mut self, written: Option<Written>) -> Result<(), NodeError> {
        self.snapshots.ended();
        let outline = self.store().outline();
        let Some(Written { meta, staged }) = written.filter(|new| new.meta.index > outline.snapshot().index)
        else {
            return Ok(());
        };
        let policy = self.snapshots.policy();
        let compact = outline.compaction(meta.index, policy.keep_entries, policy.keep_bytes);
        let (stage, pieces) = staged.keep();
        let snapshot = Some(SnapshotWrite::Own { meta, stage, pieces });
        let hard_state = Some(self.committed(self.applied));
        self.raw.mut_store().commit(Write { snapshot, hard_state, compact, entries: Vec::new() })?;
        Ok(())
    }
}

pub(super) fn restore<M: Machine>(machine: &mut M, store: &impl LogStore) -> Result<(), NodeError> {
    let index = store.outline().snapshot().index;
    let chunks = store.pieces()?.collect::<Result<_, _>>()?;
    machine.restore(index, chunks).map_err(|reason| NodeError::Restore { index, reason })
}
