//! Messages of other members before raft sees them. raft panics on what breaks its rules, for example a
//! commit index beyond the log; what can be told from the message and the log is refused here.

use raft::eraftpb::{ConfState, Message, MessageType, Snapshot};

use super::{MAX_BATCH_BYTES, MAX_ENTRY_BYTES};
use crate::mutants::{self, Mutant};

/// No term or index comes near it; sums with one stay clear of an overflow.
const NUMBER_MAX: u64 = 1 << 62;
/// Bytes of all entries in a message: raft fills up to its limit, or sends one entry whatever its size.
const ENTRIES_BYTES_MAX: usize = MAX_BATCH_BYTES + MAX_ENTRY_BYTES;
/// Round of reads, or the mark of a transfer of leadership.
const CONTEXT_BYTES_MAX: usize = 64;

/// What of this member's own state is needed to judge a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) id: u64,
    pub(super) term: u64,
    pub(super) leader: u64,
    pub(super) last_index: u64,
}

/// Why a message is dropped, if it is.
pub(super) fn fault(message: &Message, own: &Own) -> Option<&'static str> {
    let numbers = [message.term, message.index, message.log_term, message.commit, message.commit_term];
    if message.to != own.id || message.from == own.id || message.from == raft::INVALID_ID {
        return Some("it is from or for somebody else");
    }
    if message.term == 0 || numbers.iter().any(|number| *number >= NUMBER_MAX) {
        return Some("a term or an index is impossible");
    }
    if message.context.len() > CONTEXT_BYTES_MAX {
        return Some("its context is too long");
    }
    match message.get_msg_type() {
        MessageType::MsgAppend => entries(message),
        MessageType::MsgAppendResponse => response(message, own),
        MessageType::MsgSnapshot => snapshot(message.get_snapshot(), message.term),
        MessageType::MsgTimeoutNow => {
            let of_leader = message.from == own.leader && message.term == own.term;
            (!of_leader).then_some("only the leader may ask for an election")
        }
        MessageType::MsgHeartbeat
        | MessageType::MsgHeartbeatResponse
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse => None,
        // Proposals and reads are refused at their origin instead of forwarded; the rest never travels.
        _ => Some("this kind is not for other members"),
    }
}

/// They follow one another, and none is newer than its leader. No entry has term 0: raft takes that for the
/// term of entries it does not have.
fn entries(message: &Message) -> Option<&'static str> {
    if (message.index == 0) != (message.log_term == 0) {
        return Some("it follows an entry that cannot be");
    }
    if mutants::is(Mutant::BatchAppend) {
        return None;
    }
    let (mut index, mut term, mut bytes) = (message.index, message.log_term, 0);
    for entry in &message.entries {
        index += 1;
        if entry.index != index || entry.term < term.max(1) || entry.term > message.term {
            return Some("its entries do not follow one another");
        }
        term = entry.term;
        bytes += entry.data.len() + entry.context.len();
    }
    (bytes > ENTRIES_BYTES_MAX).then_some("its entries are too large")
}

/// Nobody holds more of this leader's log than the leader.
fn response(message: &Message, own: &Own) -> Option<&'static str> {
    let beyond = message.index > own.last_index || message.reject_hint > own.last_index;
    if own.leader == own.id && message.term == own.term && beyond {
        return Some("it speaks of entries that do not exist");
    }
    let hint = message.reject_hint >= NUMBER_MAX || message.request_snapshot != 0;
    hint.then_some("it asks for what is never asked for")
}

fn snapshot(snapshot: &Snapshot, term: u64) -> Option<&'static str> {
    let meta = snapshot.get_metadata();
    let possible = (1..NUMBER_MAX).contains(&meta.index) && (1..=term).contains(&meta.term);
    if !possible || !snapshot.data.is_empty() {
        return Some("the snapshot is impossible");
    }
    (!sound(meta.get_conf_state())).then_some("the snapshot's members are impossible")
}

/// What raft can restore: voters, nobody twice in a role, learners that do not vote.
fn sound(members: &ConfState) -> bool {
    let distinct = |ids: &[u64]| {
        let set: std::collections::BTreeSet<_> = ids.iter().collect();
        set.len() == ids.len() && !ids.contains(&raft::INVALID_ID)
    };
    let ConfState { voters, voters_outgoing, learners, learners_next, auto_leave, .. } = members;
    let votes = |id: &u64| voters.contains(id) || voters_outgoing.contains(id);
    !voters.is_empty()
        && [voters, voters_outgoing, learners, learners_next].into_iter().all(|ids| distinct(ids))
        && !learners.iter().any(votes)
        && learners_next.iter().all(|id| voters_outgoing.contains(id) && !voters.contains(id))
        && (!*auto_leave || !voters_outgoing.is_empty())
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::{Entry, SnapshotMetadata};

    use super::*;

    const OWN: Own = Own { id: 1, term: 5, leader: 2, last_index: 10 };

    fn message(kind: MessageType) -> Message {
        let mut message = Message { from: 2, to: 1, term: 5, ..Message::default() };
        message.set_msg_type(kind);
        message
    }

    fn with(kind: MessageType, change: impl Fn(&mut Message)) -> Message {
        let mut message = message(kind);
        change(&mut message);
        message
    }

    fn append(entries: &[(u64, u64)]) -> Message {
        with(MessageType::MsgAppend, |message| {
            (message.index, message.log_term) = (10, 4);
            let entry = |(index, term): &(u64, u64)| Entry { index: *index, term: *term, ..Entry::default() };
            message.entries = entries.iter().map(entry).collect();
        })
    }

    fn of_members(voters: &[u64], learners: &[u64], outgoing: &[u64]) -> Message {
        with(MessageType::MsgSnapshot, |message| {
            let mut meta = SnapshotMetadata { index: 20, term: 5, ..SnapshotMetadata::default() };
            let (voters, learners) = (voters.to_vec(), learners.to_vec());
            let voters_outgoing = outgoing.to_vec();
            meta.set_conf_state(ConfState { voters, learners, voters_outgoing, ..ConfState::default() });
            message.mut_snapshot().set_metadata(meta);
        })
    }

    #[test]
    fn what_raft_sends_passes() {
        use MessageType::*;
        for kind in [MsgHeartbeat, MsgHeartbeatResponse, MsgRequestVote, MsgRequestPreVote, MsgTimeoutNow] {
            assert_eq!(fault(&message(kind), &OWN), None, "{kind:?}");
        }
        assert_eq!(fault(&append(&[(11, 4), (12, 5)]), &OWN), None);
        assert_eq!(fault(&of_members(&[1, 2], &[3], &[2, 4]), &OWN), None);
    }

    #[test]
    fn what_breaks_the_rules_does_not() {
        use MessageType::*;
        let leading = Own { leader: 1, ..OWN };
        for (case, message) in [
            with(MsgHeartbeat, |message| message.to = 3),
            with(MsgHeartbeat, |message| message.from = 1),
            with(MsgHeartbeat, |message| message.from = 0),
            with(MsgHeartbeat, |message| message.term = 0),
            with(MsgHeartbeat, |message| message.term = u64::MAX),
            with(MsgHeartbeat, |message| message.context = vec![0; 65].into()),
            with(MsgTimeoutNow, |message| message.from = 3),
            message(MsgPropose),
            message(MsgReadIndex),
            message(MsgHup),
            with(MsgAppend, |message| message.index = 30),
            append(&[(12, 5)]),
            append(&[(11, 5), (12, 4)]),
            append(&[(11, 6)]),
            append(&[(11, 3)]),
            with(MsgAppendResponse, |message| message.request_snapshot = 3),
            with(MsgAppendResponse, |message| message.index = 11),
            with(MsgAppendResponse, |message| message.reject_hint = 11),
            with(MsgSnapshot, |_| {}),
            of_members(&[], &[1], &[]),
            of_members(&[1, 1], &[], &[]),
            of_members(&[1, 0], &[], &[]),
            of_members(&[1], &[1], &[]),
            of_members(&[1], &[2], &[2]),
        ]
        .into_iter()
        .enumerate()
        {
            assert!(fault(&message, &leading).is_some(), "case {case}: {message:?}");
        }
    }
}
