//! Snapshots as a node handles them: those that arrive from the leader, those of its own state, and how either
//! becomes the current one.

use raft::Ready;
use raft::eraftpb::{Message, MessageType, SnapshotMetadata};

use super::Machine;
use super::node::{Node, NodeError};
use super::snapshots::{SnapshotJob, Written};
use super::storage::is_member;
use super::store::{LogStore, Received, Staged, Stager, Write};

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
        let mut received = None;
        if !ready.snapshot().is_empty() {
            let meta = ready.snapshot().get_metadata().clone();
            let at = self.incoming.iter().position(|(staged, _)| *staged == meta);
            let unknown = || NodeError::Restore { index: meta.index, reason: "its pieces are gone".into() };
            let (stage, pieces) = self.incoming.remove(at.ok_or_else(unknown)?).1.keep();
            received = Some(Received { meta, stage, pieces });
        }
        let installed = received.as_ref().map(|received| received.meta.clone());
        let hard_state = Some(self.raw.raft.hard_state());
        let entries = ready.take_entries();
        self.raw.mut_store().commit(Write { received, entries, hard_state })?;
        installed.map_or(Ok(()), |meta| self.install(meta))
    }

    fn install(&mut self, meta: SnapshotMetadata) -> Result<(), NodeError> {
        let bytes = restore(&mut self.machine, self.raw.store().store())?;
        self.snapshots.sized(bytes);
        (self.applied, self.applied_term) = (meta.index, meta.term);
        self.members = meta.get_conf_state().clone();
        self.machine.applied();
        Ok(())
    }

    /// A snapshot to be written now, if one is due. It is not due again before `snapshot_written`. What it is of is on
    /// disk as committed before it is begun; everything else is the job's, also that it becomes the current one.
    pub fn snapshot_due(&mut self) -> Result<Option<SnapshotJob>, NodeError> {
        let current = self.store().outline().snapshot();
        let lacks = |id: &u64| is_member(&self.members, *id) && !is_member(current.get_conf_state(), *id);
        let wanted = self.raw.store().lacking().filter(lacks).is_some();
        if !self.snapshots.due(wanted) || self.applied <= current.index {
            return Ok(None);
        }
        self.persist_commit(self.applied)?;
        self.snapshots.begun();
        let mut meta =
            SnapshotMetadata { index: self.applied, term: self.applied_term, ..SnapshotMetadata::default() };
        meta.set_conf_state(self.members.clone());
        let (policy, outline) = (self.snapshots.policy(), self.store().outline());
        let compact = outline.compaction(meta.index, policy.keep_entries, policy.keep_bytes);
        let adoption = self.store().adoption(meta, compact)?;
        Ok(Some(SnapshotJob { frozen: self.machine.freeze(), sink: self.stager()(), adoption }))
    }

    /// The job has ended (`None`: without a snapshot): takes note of what it did, and forgets old entries.
    pub fn snapshot_written(&mut self, written: Option<Written>) {
        self.snapshots.ended();
        if let Some(Written { adopted, bytes }) = written {
            self.snapshots.sized(bytes);
            self.raw.mut_store().adopted(adopted);
        }
    }
}

/// Yields how many bytes the state is.
pub(super) fn restore<M: Machine>(machine: &mut M, store: &impl LogStore) -> Result<u64, NodeError> {
    let index = store.outline().snapshot().index;
    let chunks: Vec<Vec<u8>> = store.pieces()?.collect::<Result<_, _>>()?;
    let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    machine.restore(index, chunks).map_err(|reason| NodeError::Restore { index, reason })?;
    Ok(bytes)
}
