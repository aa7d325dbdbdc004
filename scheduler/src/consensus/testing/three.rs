//! Groups that elect, replicate, crash, catch up and change: what must hold of the log on the way, step by step.

use raft::eraftpb::MessageType;

use super::group::Group;
use crate::consensus::store::{Fault, LogStore};
use crate::consensus::{MemberChange, Message, ProposeError, Sent};

#[test]
fn three_elect_replicate_and_agree() {
    let mut group = Group::new(3, 1);
    let leader = group.elected();
    let ticket = group.propose(leader, &["a", "b"]);
    group.propose(leader, &["c"]);
    group.run(5);
    assert_eq!(group.answers[&ticket].as_ref().unwrap().len(), 2);
    assert_eq!(group.texts(leader), ["a", "b", "c"]);
    group.assert_equal();
    let follower = group.members.keys().copied().find(|id| *id != leader).unwrap();
    let refused = group.propose(follower, &["d"]);
    assert_eq!(group.answers[&refused], Err(ProposeError::NotLeader { leader: Some(leader) }));
}

#[test]
fn nothing_is_acknowledged_before_a_majority_has_it_on_disk() {
    let mut group = Group::new(3, 2);
    let leader = group.elected();
    group.isolate(leader);
    let ticket = group.propose(leader, &["alone"]);
    group.run(3);
    assert!(!group.answers.contains_key(&ticket));
    // Without a majority it steps down, and says that it does not know.
    group.run(30);
    assert_eq!(group.answers[&ticket], Err(ProposeError::Dropped));
    group.cut.clear();
    group.elected();
    group.run(20);
    assert!(group.texts(leader).is_empty(), "another leader's log has replaced it");
    group.assert_equal();
}

#[test]
fn a_follower_that_loses_what_was_not_synced_catches_up() {
    for fault in [Fault::Fail, Fault::FailAfterSync] {
        let mut group = Group::new(3, 3);
        let leader = group.elected();
        let victim = group.members.keys().copied().find(|id| *id != leader).unwrap();
        group.propose(leader, &["before"]);
        group.run(2);
        group.members[&victim].disk.inject(fault);
        let during = group.propose(leader, &["during"]);
        group.run(2);
        assert!(group.members[&victim].node.is_none(), "its disk failed");
        assert!(group.answers[&during].is_ok(), "two of three are enough");
        group.propose(leader, &["meanwhile"]);
        group.run(2);
        group.start(victim);
        group.run(30);
        assert_eq!(group.texts(victim), ["before", "during", "meanwhile"]);
        group.assert_equal();
    }
}

#[test]
fn a_leader_that_dies_in_its_commit_loses_nothing_acknowledged() {
    for fault in [Fault::Fail, Fault::FailAfterSync] {
        let mut group = Group::new(3, 4);
        let first = group.elected();
        let kept = group.propose(first, &["kept"]);
        group.run(2);
        group.members[&first].disk.inject(fault);
        let unsure = group.propose(first, &["unsure"]);
        assert!(group.members[&first].node.is_none());
        let second = group.elected();
        assert_ne!(first, second);
        group.propose(second, &["later"]);
        group.run(2);
        group.start(first);
        group.run(30);
        assert!(group.answers[&kept].is_ok());
        assert!(!group.answers.contains_key(&unsure), "nobody was told that it is done");
        let texts = group.texts(second);
        assert_eq!((texts.first().unwrap().as_str(), texts.last().unwrap().as_str()), ("kept", "later"));
        group.assert_equal();
    }
}

#[test]
fn who_was_away_for_long_gets_a_snapshot() {
    let mut group = Group::new(3, 5);
    let leader = group.elected();
    let away = group.members.keys().copied().find(|id| *id != leader).unwrap();
    group.crash(away);
    for number in 0..150 {
        group.propose(leader, &[&number.to_string()]);
        group.run(1);
    }
    let store = group.node(leader).unwrap().store();
    assert!(store.outline().first_index() > 50, "the log was compacted");
    group.start(away);
    // The first snapshot is lost on the way; the transport says so.
    for _ in 0..40 {
        group.tick();
        while !group.mail.is_empty() {
            if group.mail.lose_snapshots() {
                group.node(leader).unwrap().report(away, Sent::SnapshotLost);
            } else {
                group.deliver(0);
            }
        }
    }
    assert_eq!(group.members[&away].machine.seen().restored.len(), 1);
    group.run(40);
    assert!(group.members[&away].machine.seen().restored.len() > 1, "restored from the leader's snapshot");
    assert_eq!(group.texts(away).len(), 150);
    group.crash(away);
    group.start(away);
    group.run(40);
    group.assert_equal();
}

#[test]
fn a_lying_disk_is_found_out() {
    let mut group = Group::new(1, 6);
    group.members[&1].disk.lie(true);
    let leader = group.elected();
    let ticket = group.propose(leader, &["gone"]);
    assert!(group.answers[&ticket].is_ok());
    group.crash(1);
    group.start(1);
    group.elected();
    assert!(group.texts(1).is_empty(), "an acknowledged entry is lost, and these tests would see it");
}

#[test]
fn members_change_and_are_found_again_after_a_crash() {
    let mut group = Group::new(1, 7);
    let leader = group.elected();
    group.propose(leader, &["a"]);
    group.join(2, &[1]);
    group.join(3, &[1]);
    for id in [2, 3] {
        let added = group.change(leader, MemberChange::AddLearner(id));
        group.run(20);
        assert_eq!(group.answers[&added], Ok(vec![]));
        let promoted = group.change(leader, MemberChange::Promote { id, replacing: None });
        group.run(10);
        assert_eq!(group.answers[&promoted], Ok(vec![]));
        let node = group.node(leader).unwrap();
        let on_disk = node.store().outline().hard_state().commit;
        assert_eq!(on_disk, node.status().applied, "or a crash would go back to the old members");
    }
    let ticket = group.propose(leader, &["b"]);
    group.run(5);
    assert!(group.answers[&ticket].is_ok());
    for id in 1..=3 {
        group.crash(id);
    }
    group.mail.0.lock().unwrap().clear();
    group.start(1);
    group.run(60);
    assert_eq!(group.leader(), None, "one of three is no majority, also after a crash");
    group.start(2);
    group.start(3);
    group.elected();
    group.run(20);
    assert_eq!(group.texts(3), ["a", "b"]);
    group.assert_equal();
}

#[test]
fn foreign_and_malformed_messages_are_dropped() {
    let mut group = Group::new(1, 8);
    group.elected();
    let mut snapshot = Message { to: 1, from: 9, term: 99, ..Message::default() };
    snapshot.set_msg_type(MessageType::MsgSnapshot);
    snapshot.mut_snapshot().data = vec![255; 9].into();
    let mut proposal = Message { to: 1, from: 9, ..Message::default() };
    proposal.set_msg_type(MessageType::MsgPropose);
    let misdirected = Message { to: 2, from: 9, term: 99, ..Message::default() };
    for message in [snapshot, proposal, misdirected] {
        group.node(1).unwrap().step(message);
        group.settle(1);
    }
    assert_eq!(group.leader(), Some(1));
}
