//! What is asked of a node beside proposals: linearizable reads, changes of the members, transfers of
//! leadership. All are answered by [`Node::ready`], with an empty list of outputs for success.

use std::collections::BTreeMap;

use raft::eraftpb::{Message, MessageType};
use raft::{ProgressState, StateRole};

use super::Machine;
use super::changes::{Plan, plan};
use super::election::ELECTION_TICKS;
use super::handle::ProposeError;
use super::members::{MemberChange, Standing};
use super::node::Node;
use super::reads::Reads;
use super::store::LogStore;
use super::waiting::Answer;
use crate::mutants::{self, Mutant};

/// Ticks between two looks at how far the members are.
const STANDINGS_TICKS: u64 = 5;
const ELECTION: u64 = ELECTION_TICKS as u64;

/// What was asked for and is not answered.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) reads: Reads,
    /// Term in which the reads were asked for.
    reads_term: u64,
    change: Option<Change>,
    transfer: Option<Transfer>,
    /// Answers that are known already.
    known: Vec<(u64, Result<(), ProposeError>)>,
    /// When each member was last heard of, in ticks.
    pub(super) heard: BTreeMap<u64, u64>,
    pub(super) standings: Vec<Standing>,
    /// Index of the removal of this leader, and when it was applied.
    leaving: Option<(u64, u64)>,
}

#[derive(Debug)]
struct Change {
    ticket: u64,
    term: u64,
    index: u64,
}

#[derive(Debug)]
struct Transfer {
    ticket: u64,
    since: u64,
}

impl<M: Machine, S: LogStore> Node<M, S> {
    /// A linearizable read: answered when everything acknowledged before is applied here.
    pub fn read_index(&mut self, ticket: u64) {
        if let Err(error) = self.ask_read(ticket) {
            self.requests.known.push((ticket, Err(error)));
        }
    }

    fn ask_read(&mut self, ticket: u64) -> Result<(), ProposeError> {
        self.expect_leader()?;
        if mutants::is(Mutant::StaleReads) {
            self.requests.known.push((ticket, Ok(())));
            return Ok(());
        }
        self.abandon_reads();
        self.requests.reads_term = self.raw.raft.term;
        if self.requests.reads.ask(ticket) { Ok(()) } else { Err(ProposeError::Busy) }
    }

    /// Reads of another term, or of a leader that leads no more, get an answer.
    fn abandon_reads(&mut self) {
        let requests = &mut self.requests;
        let raft = &self.raw.raft;
        if requests.reads.any() && (raft.state != StateRole::Leader || raft.term != requests.reads_term) {
            let dropped = requests.reads.abandon().into_iter();
            requests.known.extend(dropped.map(|ticket| (ticket, Err(ProposeError::Dropped))));
        }
    }

    /// Asks raft to confirm the reads that wait. Before this leader has committed something it would forget
    /// the question.
    pub(super) fn begin_round(&mut self) {
        self.abandon_reads();
        let leads = self.leads();
        if let Some(context) = leads.then(|| self.requests.reads.begin(self.raw.raft.term)).flatten() {
            self.raw.read_index(context);
        }
    }

    /// Proposes a change of the members: answered when it is in force.
    pub fn propose_members(&mut self, ticket: u64, change: MemberChange) {
        if let Some(answer) = self.ask_change(ticket, change).transpose() {
            self.requests.known.push((ticket, answer));
        }
    }

    /// `None`: it is under way.
    fn ask_change(&mut self, ticket: u64, change: MemberChange) -> Result<Option<()>, ProposeError> {
        self.expect_leader()?;
        let joint = !self.members.voters_outgoing.is_empty();
        if joint || self.requests.change.is_some() || self.raw.raft.has_pending_conf() {
            return Err(ProposeError::Busy);
        }
        let change = match plan(change, &self.members) {
            Plan::Done => return Ok(Some(())),
            Plan::Impossible(reason) => return Err(ProposeError::Impossible { reason }),
            Plan::Propose(change) => change,
        };
        let index = self.raw.raft.raft_log.last_index() + 1;
        self.raw.propose_conf_change(Vec::new(), change).map_err(|_| ProposeError::Busy)?;
        self.requests.change = Some(Change { ticket, term: self.raw.raft.term, index });
        Ok(None)
    }

    /// Hands leadership to the voter `to`: answered when somebody else leads, or when nothing came of it.
    pub fn transfer(&mut self, ticket: u64, to: u64) {
        if let Some(answer) = self.ask_transfer(ticket, to).transpose() {
            self.requests.known.push((ticket, answer));
        }
    }

    fn ask_transfer(&mut self, ticket: u64, to: u64) -> Result<Option<()>, ProposeError> {
        self.expect_leader()?;
        if to == self.id {
            return Ok(Some(()));
        }
        if !self.members.voters.contains(&to) {
            return Err(ProposeError::Impossible { reason: "only a voter can lead" });
        }
        let progress = self.raw.raft.prs().get(to);
        // Proposals are refused meanwhile: not for one that is far behind.
        let far = progress.is_none_or(|progress| progress.state == ProgressState::Snapshot);
        if far || self.requests.transfer.is_some() || self.raw.raft.lead_transferee.is_some() {
            return Err(ProposeError::Busy);
        }
        self.raw.transfer_leader(to);
        self.election.settle(&mut self.raw.raft);
        self.requests.transfer = Some(Transfer { ticket, since: self.ticks });
        Ok(None)
    }

    fn expect_leader(&self) -> Result<(), ProposeError> {
        let leader = self.leader();
        if self.may_propose() { Ok(()) } else { Err(ProposeError::NotLeader { leader }) }
    }

    /// The answers that are known by now.
    pub(super) fn settle_requests(&mut self) -> Vec<Answer<M::Output>> {
        self.abandon_reads();
        let done = self.requests.reads.applied(self.applied);
        let change = self.settle_change();
        let transfer = self.settle_transfer();
        let known = self.requests.known.drain(..).chain(done.into_iter().map(|ticket| (ticket, Ok(()))));
        let answer = |(ticket, outcome): (u64, Result<(), _>)| Answer {
            ticket,
            outcome: outcome.map(|()| Vec::new()),
        };
        known.chain(change).chain(transfer).map(answer).collect()
    }

    fn settle_change(&mut self) -> Option<(u64, Result<(), ProposeError>)> {
        let Change { ticket, term, index } = *self.requests.change.as_ref()?;
        let outcome = if self.applied_in(term, index) && self.members.voters_outgoing.is_empty() {
            Ok(())
        } else if self.raw.raft.state == StateRole::Leader && self.raw.raft.term == term {
            return None;
        } else {
            Err(ProposeError::Dropped)
        };
        self.requests.change = None;
        Some((ticket, outcome))
    }

    /// The entry of that term is applied, not another one at its index.
    fn applied_in(&self, term: u64, index: u64) -> bool {
        self.applied >= index && self.raw.raft.raft_log.term(index).is_ok_and(|found| found == term)
    }

    fn settle_transfer(&mut self) -> Option<(u64, Result<(), ProposeError>)> {
        let Transfer { ticket, since } = *self.requests.transfer.as_ref()?;
        let leads = self.raw.raft.state == StateRole::Leader;
        let moved = !leads && self.leader().is_some();
        let failed = leads && self.raw.raft.lead_transferee.is_none() || self.ticks - since >= 2 * ELECTION;
        if !moved && !failed {
            return None;
        }
        self.requests.transfer = None;
        Some((ticket, if moved { Ok(()) } else { Err(ProposeError::Busy) }))
    }

    /// A leader that was removed stays until a majority of the others knows of it: without that they might
    /// need its vote. Then it asks the one that is furthest to lead.
    pub(super) fn leave_if_removed(&mut self) {
        let raft = &mut self.raw.raft;
        if raft.state != StateRole::Leader || raft.promotable() {
            self.requests.leaving = None;
            return;
        }
        let (index, since) = *self.requests.leaving.get_or_insert((self.applied, self.ticks));
        let voters = self.members.voters.iter().filter_map(|id| Some((*id, raft.prs().get(*id)?)));
        let know: Vec<_> = voters.filter(|(_, progress)| progress.committed_index >= index).collect();
        if know.len() <= self.members.voters.len() / 2 && self.ticks - since < ELECTION {
            return;
        }
        let successor = know.iter().max_by_key(|(id, progress)| (progress.matched, *id)).map(|(id, _)| *id);
        if let Some(successor) = successor {
            raft.send_timeout_now(successor);
        }
        let term = raft.term;
        raft.become_follower(term, raft::INVALID_ID);
        self.election.settle(raft);
    }

    /// A leader that was removed must not commit anything more, and raft would break in trying: of what the
    /// others have it only takes note.
    pub(super) fn heard_while_leaving(&mut self, message: &Message) -> bool {
        let raft = &mut self.raw.raft;
        let leaving = raft.state == StateRole::Leader && !raft.promotable() && message.term == raft.term;
        if !leaving || message.get_msg_type() != MessageType::MsgAppendResponse {
            return false;
        }
        if let Some(progress) = raft.mut_prs().get_mut(message.from).filter(|_| !message.reject) {
            progress.maybe_update(message.index);
            progress.update_committed(message.commit);
        }
        true
    }

    /// Looks how far the members are, every few ticks; only a leader knows.
    pub(super) fn observe(&mut self) {
        if !self.may_propose() {
            self.requests.standings.clear();
            return;
        }
        if !self.ticks.is_multiple_of(STANDINGS_TICKS) && !self.requests.standings.is_empty() {
            return;
        }
        let prs = self.raw.raft.prs();
        self.requests.heard.retain(|id, _| prs.get(*id).is_some());
        let heard = &self.requests.heard;
        let active = |id| id == self.id || heard.get(&id).is_some_and(|at| self.ticks - at <= ELECTION);
        let standing = |(id, progress): (&u64, &raft::Progress)| Standing {
            id: *id,
            matched: progress.matched,
            active: active(*id),
        };
        let mut standings: Vec<_> = prs.iter().map(standing).collect();
        standings.sort_unstable_by_key(|standing| standing.id);
        self.requests.standings = standings;
    }
}
