//! Several nodes in one thread: reads, changes of the members, transfers of leadership, newcomers, and those
//! who were removed.

use super::group::Group;
use crate::consensus::store::LogStore;
use crate::consensus::{MemberChange, Node, ProposeError, Standing};

fn promote(id: u64, replacing: Option<u64>) -> MemberChange {
    MemberChange::Promote { id, replacing }
}

/// Somebody else than `id`.
fn other(group: &Group, id: u64) -> u64 {
    group.members.keys().copied().find(|other| *other != id).unwrap()
}

#[test]
fn a_read_needs_a_majority_and_sees_what_was_acknowledged() {
    let mut group = Group::new(3, 21);
    let leader = group.elected();
    group.propose(leader, &["a"]);
    group.run(3);
    let reads: Vec<_> = (0..5).map(|_| group.ask(leader, Node::read_index)).collect();
    assert!(reads.iter().all(|read| !group.answers.contains_key(read)), "nobody has confirmed it");
    group.deliver_all();
    assert!(reads.iter().all(|read| group.answers[read] == Ok(vec![])), "without a tick");
    let follower = other(&group, leader);
    let refused = group.ask(follower, Node::read_index);
    assert_eq!(group.answers[&refused], Err(ProposeError::NotLeader { leader: Some(leader) }));
    // A leader that is cut off and does not know it must not answer.
    group.isolate(leader);
    let stale = group.ask(leader, Node::read_index);
    group.run(60);
    assert_eq!(group.answers[&stale], Err(ProposeError::Dropped));
}

#[test]
fn a_read_whose_messages_are_lost_is_confirmed_by_a_later_heartbeat() {
    let mut group = Group::new(3, 22);
    let leader = group.elected();
    group.run(2);
    let read = group.ask(leader, Node::read_index);
    group.mail.0.lock().unwrap().clear();
    group.run(3);
    assert_eq!(group.answers[&read], Ok(vec![]));
}

#[test]
fn a_single_voter_answers_reads_at_once() {
    let mut group = Group::new(1, 23);
    group.elected();
    let read = group.ask(1, Node::read_index);
    assert_eq!(group.answers[&read], Ok(vec![]));
    // Also with a learner that is not there.
    group.change(1, MemberChange::AddLearner(2));
    let read = group.ask(1, Node::read_index);
    assert_eq!(group.answers[&read], Ok(vec![]));
}

#[test]
fn leadership_goes_to_whom_it_is_given() {
    let mut group = Group::new(3, 24);
    let leader = group.elected();
    group.run(2);
    let to = other(&group, leader);
    let refused = group.ask(to, |node, ticket| node.transfer(ticket, leader));
    assert_eq!(group.answers[&refused], Err(ProposeError::NotLeader { leader: Some(leader) }));
    let stranger = group.ask(leader, |node, ticket| node.transfer(ticket, 9));
    assert!(matches!(group.answers[&stranger], Err(ProposeError::Impossible { .. })));
    let moved = group.ask(leader, |node, ticket| node.transfer(ticket, to));
    group.run(3);
    assert_eq!((group.leader(), &group.answers[&moved]), (Some(to), &Ok(vec![])));
    // To one that does not hear of it: it stays, and says so.
    let away = other(&group, to);
    group.isolate(away);
    let failed = group.ask(to, |node, ticket| node.transfer(ticket, away));
    group.run(25);
    assert_eq!((group.leader(), &group.answers[&failed]), (Some(to), &Err(ProposeError::Busy)));
    let after = group.propose(to, &["after"]);
    group.run(3);
    assert!(group.answers[&after].is_ok(), "proposals are taken again");
}

#[test]
fn a_newcomer_gets_a_snapshot_that_knows_it_and_is_promoted() {
    let mut group = Group::new(3, 25);
    let leader = group.elected();
    for number in 0..100 {
        group.propose(leader, &[&number.to_string()]);
        group.run(1);
    }
    group.join(4, &[1, 2, 3]);
    group.run(100);
    assert_eq!(group.node(4).unwrap().status().term, 0, "nobody knows it, and it asks nobody");
    let added = group.change(leader, MemberChange::AddLearner(4));
    group.run(10);
    assert_eq!(group.answers[&added], Ok(vec![]));
    let snapshot = group.node(4).unwrap().store().outline().snapshot().clone();
    assert_eq!(snapshot.get_conf_state().learners, [4]);
    assert_eq!(group.texts(4).len(), 100);
    let gone = other(&group, leader);
    let promoted = group.change(leader, promote(4, Some(gone)));
    let busy = group.change(leader, MemberChange::AddLearner(5));
    group.run(5);
    assert_eq!(group.answers[&busy], Err(ProposeError::Busy));
    assert_eq!(group.answers[&promoted], Ok(vec![]));
    let members = group.node(4).unwrap().status().members;
    assert!(members.voters.contains(&4) && !members.voters.contains(&gone), "{members:?}");
    assert!(members.outgoing.is_empty() && members.learners.is_empty(), "{members:?}");
}

#[test]
fn a_new_member_of_a_single_voter_replaces_it() {
    let mut group = Group::new(1, 26);
    group.elected();
    group.propose(1, &["a"]);
    group.join(2, &[1]);
    group.change(1, MemberChange::AddLearner(2));
    group.run(10);
    let replaced = group.change(1, promote(2, Some(1)));
    group.run(30);
    assert_eq!(group.answers[&replaced], Ok(vec![]));
    assert_eq!(group.leader(), Some(2), "the one who left has given up");
    group.crash(1);
    let alone = group.propose(2, &["b"]);
    assert!(group.answers[&alone].is_ok());
    assert_eq!(group.texts(2), ["a", "b"]);
}

#[test]
fn a_leader_that_removes_itself_hands_over_though_messages_are_lost() {
    for lost in 0..4 {
        let mut group = Group::new(2, 27);
        let leader = group.elected();
        let stays = other(&group, leader);
        let removed = group.change(leader, MemberChange::Remove(leader));
        for _ in 0..lost {
            // The message that would tell of the commit.
            let waiting = group.mail.0.lock().unwrap().len();
            (0..waiting).for_each(|_| group.deliver(0));
            if group.answers.contains_key(&removed) {
                group.mail.0.lock().unwrap().clear();
            }
        }
        group.run(60);
        assert_eq!(group.answers[&removed], Ok(vec![]), "{lost}");
        assert_eq!(group.leader(), Some(stays), "{lost}");
        let status = group.node(stays).unwrap().status();
        assert_eq!(status.members.voters, [stays]);
        let refused = group.propose(leader, &["x"]);
        assert!(matches!(group.answers[&refused], Err(ProposeError::NotLeader { .. })));
    }
}

#[test]
fn a_removed_member_that_runs_on_disturbs_nobody() {
    let mut group = Group::new(3, 28);
    let leader = group.elected();
    let removed = other(&group, leader);
    // It never hears of its removal.
    group.isolate(removed);
    group.change(leader, MemberChange::Remove(removed));
    group.run(5);
    group.cut.clear();
    let term = group.node(leader).unwrap().status().term;
    group.run(200);
    let status = group.node(leader).unwrap().status();
    assert_eq!((status.term, status.leading), (term, true));
    let done = group.propose(leader, &["still"]);
    group.run(3);
    assert!(group.answers[&done].is_ok());
}

#[test]
fn impossible_changes_are_refused_and_those_that_are_done_are_done() {
    let mut group = Group::new(1, 29);
    group.elected();
    for change in [MemberChange::Remove(1), promote(9, None), MemberChange::AddLearner(0)] {
        let refused = group.change(1, change);
        assert!(matches!(group.answers[&refused], Err(ProposeError::Impossible { .. })), "{change:?}");
    }
    let done = group.change(1, MemberChange::Remove(9));
    assert_eq!(group.answers[&done], Ok(vec![]));
}

#[test]
fn a_change_that_is_lost_with_its_leader_is_answered() {
    let mut group = Group::new(3, 30);
    let leader = group.elected();
    group.isolate(leader);
    let lost = group.change(leader, MemberChange::AddLearner(4));
    group.run(40);
    assert_eq!(group.answers[&lost], Err(ProposeError::Dropped));
    group.cut.clear();
    group.elected();
    group.run(20);
    assert!(group.node(leader).unwrap().status().members.learners.is_empty());
}

#[test]
fn only_the_leader_knows_how_far_the_members_are() {
    let mut group = Group::new(3, 31);
    let leader = group.elected();
    let away = other(&group, leader);
    group.run(10);
    group.crash(away);
    group.propose(leader, &["a"]);
    group.run(20);
    let status = group.node(leader).unwrap().status();
    let of = |id| *status.standings.iter().find(|standing: &&Standing| standing.id == id).unwrap();
    assert_eq!(status.standings.len(), 3);
    assert_eq!((of(leader).matched, of(leader).active), (status.last_index, true));
    assert!(!of(away).active && of(away).matched < status.last_index, "{:?}", of(away));
    let third = 6 - leader - away;
    assert_eq!((of(third).matched, of(third).active), (status.last_index, true));
    assert!(group.node(third).unwrap().status().standings.is_empty());
}

#[test]
fn a_snapshot_of_which_nothing_is_heard_is_sent_again() {
    let mut group = Group::new(3, 32);
    let leader = group.elected();
    let away = other(&group, leader);
    group.crash(away);
    for number in 0..100 {
        group.propose(leader, &[&number.to_string()]);
        group.run(1);
    }
    group.start(away);
    let mut lost = 0;
    for _ in 0..4000 {
        group.tick();
        // The transport swallows the first and never says so.
        while !group.mail.is_empty() {
            if lost == 0 && group.mail.lose_snapshots() {
                lost += 1;
            } else {
                group.deliver(0);
            }
        }
    }
    assert_eq!((lost, group.texts(away).len()), (1, 100));
}

#[test]
fn a_member_with_an_old_disk_catches_up() {
    let mut group = Group::new(3, 33);
    let leader = group.elected();
    let old = other(&group, leader);
    group.run(2);
    group.members[&old].disk.lie(true);
    for number in 0..10 {
        group.propose(leader, &[&number.to_string()]);
        group.run(1);
    }
    group.crash(old);
    group.members[&old].disk.lie(false);
    group.start(old);
    assert!(group.texts(old).len() < 10);
    // Also when there is nothing new, and nobody noticed that it was gone.
    group.run(30);
    assert_eq!(group.texts(old).len(), 10);
    group.assert_equal();
}
