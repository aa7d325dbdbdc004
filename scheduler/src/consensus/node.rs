//! One member of the group without I/O of its own but its store's: raft, the machine and the store, driven
//! by ticks, messages and proposals. Single-threaded; the driver's thread or a simulator turns the crank.
//!
//! After any other call call [`Node::ready`], which is in `round`. What is asked for beside proposals (reads,
//! changes of the members, transfers of leadership) is in `requests`.

use raft::eraftpb::{ConfState, Entry, Message, MessageType, SnapshotMetadata};
use raft::{Config, ProgressState, RawNode, ReadOnlyOption, SnapshotStatus, StateRole};

use super::contents::restore;
use super::election::{ELECTION_TICKS, Election, HEARTBEAT_TICKS};
use super::handle::{ProposeError, Status};
use super::inspect::{self, Own};
use super::members::Members;
use super::requests::Requests;
use super::shipping::Shipping;
use super::snapshots::{Progress, SnapshotPolicy};
use super::storage::Storage;
use super::store::{Commits, LogStore, Staged, StoreError};
use super::transport::Sent;
use super::turns::Turns;
use super::waiting::{Answer, Proposal, Waiting};
use super::{Machine, logger};
use crate::mutants::{self, Mutant};

/// Bounds of raft's memory and messages; the defaults are none.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
const INFLIGHT_MESSAGES_MAX: usize = 256;
const UNCOMMITTED_BYTES_MAX: u64 = 64 << 20;

/// Settings of a node.
#[derive(Clone, Copy, Debug)]
pub struct NodeConfig {
    /// Id in the group; never 0.
    pub id: u64,
    /// Source of election timeouts.
    pub seed: u64,
    /// When to take snapshots.
    pub snapshots: SnapshotPolicy,
}

/// Why a node cannot go on. Nothing may be acknowledged after it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each text says what its fields are
pub enum NodeError {
    /// The log cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The snapshot does not fit the machine.
    #[error("the snapshot at index {index} cannot be restored: {reason}")]
    Restore { index: u64, reason: String },
    /// An entry does not fit the machine.
    #[error("the log entry at index {index} cannot be applied: {reason}")]
    Apply { index: u64, reason: String },
    /// The machine failed to write itself down.
    #[error("a snapshot cannot be taken: {0}")]
    Snapshot(String),
    /// The system refuses a thread.
    #[error("cannot start the snapshot's thread: {0}")]
    Thread(std::io::Error),
    /// raft refused what its rules do not allow.
    #[error("the replicated log cannot go on: {0}")]
    Raft(#[from] raft::Error),
}

/// One member of the group.
pub struct Node<M: Machine, S: LogStore> {
    pub(super) raw: RawNode<Storage<S>>,
    pub(super) machine: M,
    pub(super) id: u64,
    pub(super) applied: u64,
    /// Members as of `applied`.
    pub(super) members: ConfState,
    /// The last term of which an entry was applied.
    pub(super) applied_term: u64,
    pub(super) waiting: Waiting<M::Output>,
    pub(super) election: Election,
    pub(super) snapshots: Progress,
    pub(super) shipping: Shipping,
    /// Snapshots that raft was given and has not asked to be made durable.
    pub(super) incoming: Vec<(SnapshotMetadata, Staged)>,
    pub(super) requests: Requests,
    /// Ticks since the start.
    pub(super) ticks: u64,
    /// The term for which the leader before it asked this node to stand.
    invited: Option<u64>,
    /// Term, leader and whether this node leads, as last told to the machine.
    pub(super) told: (u64, Option<u64>, bool),
    /// What the others were last told to be committed, by messages that all of them get.
    pub(super) announced: u64,
}

impl<M: Machine, S: LogStore> Node<M, S> {
    /// Restores the machine from the store's snapshot, if it has one; the entries after it follow with
    /// `ready`.
    pub fn open(config: NodeConfig, store: S, mut machine: M) -> Result<Self, NodeError> {
        let meta = store.outline().snapshot().clone();
        let mut snapshots = Progress::new(config.snapshots);
        if meta.index > 0 {
            snapshots.sized(restore(&mut machine, &store)?);
        }
        let mut raw =
            RawNode::new(&raft_config(&config, meta.index), Storage::new(store), &logger::logger())?;
        let mut election = Election::new(config.seed ^ config.id.rotate_left(32));
        election.settle(&mut raw.raft);
        Ok(Self {
            raw,
            machine,
            id: config.id,
            applied: meta.index,
            applied_term: meta.term,
            members: meta.get_conf_state().clone(),
            waiting: Waiting::new(),
            election,
            snapshots,
            shipping: Shipping::default(),
            incoming: Vec::new(),
            requests: Requests::default(),
            ticks: 0,
            invited: None,
            told: (0, None, false),
            announced: 0,
        })
    }

    /// Time passes.
    pub fn tick(&mut self) {
        self.ticks += 1;
        self.announce();
        self.election.settle(&mut self.raw.raft);
        self.raw.tick();
        let prs = self.raw.raft.prs();
        let awaited = |to| prs.get(to).is_some_and(|progress| progress.state == ProgressState::Snapshot);
        for to in self.shipping.tick(awaited) {
            tracing::warn!(to, "nothing was heard of a snapshot for a long time: it counts as lost");
            self.raw.report_snapshot(to, SnapshotStatus::Failure);
        }
        self.observe();
        self.election.settle(&mut self.raw.raft);
    }

    /// A message from another member; a snapshot comes by `step_snapshot`. What breaks raft's rules, and what
    /// it has no use for, is dropped.
    pub fn step(&mut self, message: Message) {
        if message.get_msg_type() != MessageType::MsgSnapshot {
            self.take(message);
        }
    }

    pub(super) fn take(&mut self, mut message: Message) {
        let raft = &self.raw.raft;
        let last_index = raft.raft_log.last_index();
        let own = Own { id: self.id, term: raft.term, leader: raft.leader_id, last_index };
        if let Some(reason) = inspect::fault(&message, &own) {
            let kind = message.get_msg_type();
            tracing::warn!(from = message.from, to = message.to, ?kind, reason, "message dropped");
            return;
        }
        if message.get_msg_type() == MessageType::MsgHeartbeat && message.commit > last_index {
            // The leader believes that this log is longer: a disk has gone back. The entries come again.
            message.commit = 0;
        }
        if raft.prs().get(message.from).is_some() {
            self.requests.heard.insert(message.from, self.ticks);
        }
        if message.get_msg_type() == MessageType::MsgHeartbeatResponse {
            self.believe_less(&message);
        }
        if self.heard_while_leaving(&message) {
            return;
        }
        self.election.settle(&mut self.raw.raft);
        let invites = message.get_msg_type() == MessageType::MsgTimeoutNow;
        if let Err(error) = self.raw.step(message) {
            tracing::debug!(%error, "message not taken");
        }
        if invites && self.raw.raft.state != StateRole::Follower {
            self.invited = Some(self.raw.raft.term);
        }
        self.election.settle(&mut self.raw.raft);
    }

    /// A member that has committed less than it once said: its disk has gone back. raft holds on to the old word,
    /// and would send nothing before there is something new. To believe less is always safe; where the message
    /// was only late it costs a question.
    fn believe_less(&mut self, message: &Message) {
        let raft = &mut self.raw.raft;
        if raft.state != StateRole::Leader || message.term != raft.term {
            return;
        }
        let Some(progress) = raft.mut_prs().get_mut(message.from) else { return };
        if message.commit < progress.committed_index && progress.state != ProgressState::Snapshot {
            progress.committed_index = message.commit;
            progress.matched = progress.matched.min(message.commit);
            progress.become_probe();
        }
    }

    /// What the transport knows of its sendings. raft sends nothing more to a member that it believes to be
    /// busy with a snapshot until it hears how that went.
    pub fn report(&mut self, to: u64, sent: Sent) {
        if sent != Sent::Unreachable {
            self.shipping.ended(to);
        }
        match sent {
            Sent::Unreachable => self.raw.report_unreachable(to),
            Sent::SnapshotArrived => self.raw.report_snapshot(to, SnapshotStatus::Finish),
            Sent::SnapshotLost => self.raw.report_snapshot(to, SnapshotStatus::Failure),
        }
        self.election.settle(&mut self.raw.raft);
    }

    /// A single voter needs nobody's vote and does not wait for a timeout.
    pub fn campaign_if_alone(&mut self) -> Result<(), NodeError> {
        let alone = self.members.voters == [self.id] && self.members.voters_outgoing.is_empty();
        if alone && self.raw.raft.state == StateRole::Follower {
            self.raw.campaign()?;
            self.election.settle(&mut self.raw.raft);
        }
        Ok(())
    }

    /// Appends proposals, all in one step. Yields answers only for those that are refused at once.
    pub fn propose(&mut self, proposals: Vec<Proposal>) -> Vec<Answer<M::Output>> {
        let mut answers = self.settle_waiting();
        if !self.may_propose() {
            let leader = self.leader();
            answers.extend(refuse(&proposals, || ProposeError::NotLeader { leader }));
            return answers;
        }
        let counts: Vec<_> = proposals.iter().map(|proposal| proposal.entries.len()).collect();
        let tickets: Vec<_> = proposals.iter().map(|proposal| proposal.ticket).collect();
        let mut message = Message { from: self.id, ..Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        let entry = |data: Vec<u8>| Entry { data: data.into(), ..Entry::default() };
        message.entries = proposals.into_iter().flat_map(|proposal| proposal.entries).map(entry).collect();
        let mut first = self.raw.raft.raft_log.last_index() + 1;
        if message.entries.is_empty() || self.raw.step(message).is_err() {
            let busy = |ticket| Answer { ticket, outcome: Err(ProposeError::Busy) };
            answers.extend(tickets.into_iter().map(busy));
            return answers;
        }
        self.note_announced();
        for (ticket, count) in tickets.into_iter().zip(counts) {
            self.waiting.appended(self.raw.raft.term, first, ticket, count);
            first += count as u64;
        }
        answers
    }

    /// The last act of a node. When it stops in order the commit index is known at once on the next start.
    pub fn close(mut self, orderly: bool) -> Result<(), NodeError> {
        if self.told.2 {
            self.machine.leadership(self.told.0, None, false);
        }
        if orderly { self.persist_commit(self.applied) } else { Ok(()) }
    }

    pub(super) fn settle_waiting(&mut self) -> Vec<Answer<M::Output>> {
        let raft = &self.raw.raft;
        self.waiting.leads((raft.state == StateRole::Leader).then_some(raft.term))
    }

    /// Leads, and has not been removed meanwhile.
    pub(super) fn may_propose(&self) -> bool {
        self.raw.raft.state == StateRole::Leader && self.raw.raft.promotable()
    }

    /// Leads, and has applied everything of earlier terms.
    pub(super) fn leads(&self) -> bool {
        self.may_propose() && self.applied_term == self.raw.raft.term
    }

    pub(super) fn tell_leadership(&mut self) {
        let now = (self.raw.raft.term, self.leader(), self.leads());
        if now != self.told {
            self.told = now;
            self.machine.leadership(now.0, now.1, now.2);
        }
    }

    pub(super) fn leader(&self) -> Option<u64> {
        Some(self.raw.raft.leader_id).filter(|leader| *leader != raft::INVALID_ID)
    }

    /// Where the node stands.
    pub fn status(&self) -> Status {
        let outline = self.store().outline();
        let (term, leader, leading) = self.told;
        Status {
            term,
            leader,
            leading,
            invited: leading && self.invited == Some(term),
            commit: self.raw.raft.raft_log.committed,
            applied: self.applied,
            last_index: outline.last_index(),
            log_bytes: outline.bytes(),
            snapshot_index: outline.snapshot().index,
            members: Members {
                voters: self.members.voters.clone(),
                outgoing: self.members.voters_outgoing.clone(),
                learners: self.members.learners.clone(),
            },
            standings: self.requests.standings.clone(),
            commits: Commits::default(),
            turns: Turns::default(),
            failure: None,
        }
    }

    /// What is replicated.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The log, to look at.
    pub fn store(&self) -> &S {
        self.raw.store().store()
    }
}

fn refuse<O>(proposals: &[Proposal], why: impl Fn() -> ProposeError) -> Vec<Answer<O>> {
    proposals.iter().map(|proposal| Answer { ticket: proposal.ticket, outcome: Err(why()) }).collect()
}

/// Every bound is set: raft's defaults are one entry a message and no limits. `batch_append` stays off: it
/// acknowledges entries that a follower does not hold when messages are reordered. That an entry is committed is
/// told with the next one and by `announce`: a message of its own each time would cost as much as the
/// entry's.
fn raft_config(config: &NodeConfig, applied: u64) -> Config {
    Config {
        id: config.id,
        election_tick: ELECTION_TICKS,
        heartbeat_tick: HEARTBEAT_TICKS,
        applied,
        max_size_per_msg: MESSAGE_BYTES_MAX,
        max_inflight_msgs: INFLIGHT_MESSAGES_MAX,
        check_quorum: true,
        pre_vote: true,
        read_only_option: ReadOnlyOption::Safe,
        batch_append: mutants::is(Mutant::BatchAppend),
        skip_bcast_commit: true,
        max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
        ..Config::default()
    }
}
