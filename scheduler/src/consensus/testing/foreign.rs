//! Messages that no member would send: real ones with fields changed. Whatever arrives, a node must not break.

use raft::eraftpb::{Entry, MessageType};

use super::group::{Group, Letter};

/// Changes a field or two of a message.
fn mutate(letter: &mut Letter, source: &mut fastrand::Rng) {
    let numbers = [0, 1, 2, 3, 9, 50, 1 << 40, 1 << 62, u64::MAX - 1, u64::MAX];
    let message = &mut letter.0;
    for _ in 0..source.usize(1..3) {
        let number = *source.choice(&numbers).unwrap();
        let near = |field: u64, source: &mut fastrand::Rng| match source.u8(..3) {
            0 => number,
            1 => field.wrapping_add(1),
            _ => field.wrapping_sub(1),
        };
        match source.u8(..16) {
            0 => message.from = near(message.from, source),
            1 => message.term = near(message.term, source),
            2 => message.index = near(message.index, source),
            3 => message.log_term = near(message.log_term, source),
            4 => message.commit = near(message.commit, source),
            5 => message.commit_term = near(message.commit_term, source),
            6 => message.reject_hint = near(message.reject_hint, source),
            7 => message.request_snapshot = number,
            8 => message.reject = !message.reject,
            9 => message.context = vec![1; source.usize(..100)].into(),
            10 => message.set_msg_type(*source.choice(&KINDS).unwrap()),
            11 => message.entries.push(Entry { index: number, term: number, ..Entry::default() }),
            12 => drop(message.entries.pop()),
            13 if message.has_snapshot() => message.mut_snapshot().mut_metadata().index = u64::MAX,
            14 if message.has_snapshot() => {
                let ids = source.choice(&[vec![], vec![1, 1], vec![0], vec![1, 2, 3]]).unwrap().clone();
                let members = message.mut_snapshot().mut_metadata().mut_conf_state();
                *(if source.bool() { &mut members.voters } else { &mut members.learners }) = ids;
            }
            _ => message.priority = number as i64,
        }
    }
}

const KINDS: [MessageType; 19] = [
    MessageType::MsgHup,
    MessageType::MsgBeat,
    MessageType::MsgPropose,
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgSnapshot,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgUnreachable,
    MessageType::MsgSnapStatus,
    MessageType::MsgCheckQuorum,
    MessageType::MsgTransferLeader,
    MessageType::MsgTimeoutNow,
    MessageType::MsgReadIndex,
    MessageType::MsgReadIndexResp,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
];

#[test]
fn no_message_breaks_a_node() {
    let mut taken = 0;
    for seed in 0..60 {
        let mut source = fastrand::Rng::with_seed(seed);
        let mut group = Group::new(3, seed);
        for step in 0..1500 {
            let waiting = group.mail.0.lock().unwrap().len();
            let id = source.u64(1..=3);
            match source.u8(..100) {
                0..55 if waiting > 0 => group.deliver(source.usize(..waiting)),
                55..70 if waiting > 0 => {
                    let at = source.usize(..waiting);
                    mutate(&mut group.mail.0.lock().unwrap()[at], &mut source);
                    taken += 1;
                }
                70..80 => drop(group.propose(group.leader().unwrap_or(id), &[&step.to_string()])),
                80..82 => group.crash(id),
                82..88 if group.members[&id].node.is_none() => group.start(id),
                _ => group.tick(),
            }
        }
    }
    assert!(taken > 5000, "{taken}");
}
