//! When the others hear that something is committed.

use super::group::Group;

#[test]
fn the_next_entry_says_what_is_committed_or_an_announcement() {
    let mut group = Group::new(3, 1);
    let leader = group.elected();
    group.run(3);
    let applied = |group: &Group| -> Vec<usize> {
        let others = group.members.keys().filter(|id| **id != leader);
        others.map(|id| group.texts(*id).len()).collect()
    };
    group.propose(leader, &["a"]);
    group.deliver_all();
    assert_eq!(group.texts(leader), ["a"]);
    assert_eq!(applied(&group), [0, 0], "no message for that alone");
    group.propose(leader, &["b"]);
    group.deliver_all();
    assert_eq!(applied(&group), [1, 1], "the next entry said it");
    assert!(group.node(leader).unwrap().has_news());
    group.ask(leader, |node, _| node.announce());
    group.deliver_all();
    assert_eq!(applied(&group), [2, 2]);
    assert!(!group.node(leader).unwrap().has_news());
    group.ask(leader, |node, _| node.announce());
    assert!(group.mail.is_empty(), "there is nothing to say");
    group.propose(leader, &["c"]);
    group.deliver_all();
    group.run(1);
    assert_eq!(applied(&group), [3, 3], "a tick says it, too");
}

#[test]
fn a_single_member_has_nobody_to_tell() {
    let mut group = Group::new(1, 1);
    let leader = group.elected();
    group.propose(leader, &["a"]);
    assert_eq!(group.texts(leader), ["a"]);
    assert!(!group.node(leader).unwrap().has_news());
}
