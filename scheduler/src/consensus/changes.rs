//! What a change of the members comes to, given the members in force. Decides; proposes nothing.

use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState};

use super::members::MemberChange;

/// What is to be done about a change.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plan {
    /// Nothing: it is so already.
    Done,
    /// It must not be, for this reason.
    Impossible(&'static str),
    /// To be proposed. More than one step passes through a joint configuration, which raft leaves by itself.
    Propose(ConfChangeV2),
}

pub(super) fn plan(change: MemberChange, now: &ConfState) -> Plan {
    let member = |id: &u64| now.voters.contains(id) || now.learners.contains(id);
    match change {
        MemberChange::AddLearner(raft::INVALID_ID) => Plan::Impossible("0 is not an id of a member"),
        MemberChange::AddLearner(id) if member(&id) => Plan::Done,
        MemberChange::AddLearner(id) => propose(&[(ConfChangeType::AddLearnerNode, id)]),
        MemberChange::Promote { id, .. } if !member(&id) => {
            Plan::Impossible("it is no member: it must be added as a learner first")
        }
        MemberChange::Promote { id, replacing } if replacing == Some(id) => {
            Plan::Impossible("a member cannot replace itself")
        }
        MemberChange::Promote { id, replacing } => {
            let add = Some((ConfChangeType::AddNode, id)).filter(|_| !now.voters.contains(&id));
            let remove = replacing.filter(member).map(|id| (ConfChangeType::RemoveNode, id));
            let steps: Vec<_> = add.into_iter().chain(remove).collect();
            if steps.is_empty() { Plan::Done } else { propose(&steps) }
        }
        MemberChange::Remove(id) if !member(&id) => Plan::Done,
        MemberChange::Remove(id) if now.voters == [id] => Plan::Impossible("the last voter cannot leave"),
        MemberChange::Remove(id) => propose(&[(ConfChangeType::RemoveNode, id)]),
    }
}

fn propose(steps: &[(ConfChangeType, u64)]) -> Plan {
    let mut change = ConfChangeV2::default();
    for (kind, node_id) in steps {
        let mut single = ConfChangeSingle { node_id: *node_id, ..ConfChangeSingle::default() };
        single.set_change_type(*kind);
        change.mut_changes().push(single);
    }
    Plan::Propose(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_done_impossible_or_proposed() {
        use ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};
        let now = ConfState { voters: vec![1, 2], learners: vec![3], ..ConfState::default() };
        let promote = |id, replacing| MemberChange::Promote { id, replacing };
        for (change, expected) in [
            (MemberChange::AddLearner(0), None),
            (MemberChange::AddLearner(4), Some(vec![(AddLearnerNode, 4)])),
            (MemberChange::AddLearner(3), Some(vec![])),
            (MemberChange::AddLearner(1), Some(vec![])),
            (promote(4, None), None),
            (promote(3, Some(3)), None),
            (promote(3, None), Some(vec![(AddNode, 3)])),
            (promote(3, Some(2)), Some(vec![(AddNode, 3), (RemoveNode, 2)])),
            (promote(3, Some(9)), Some(vec![(AddNode, 3)])),
            (promote(1, Some(2)), Some(vec![(RemoveNode, 2)])),
            (promote(1, None), Some(vec![])),
            (MemberChange::Remove(9), Some(vec![])),
            (MemberChange::Remove(3), Some(vec![(RemoveNode, 3)])),
            (MemberChange::Remove(2), Some(vec![(RemoveNode, 2)])),
        ] {
            let expected = expected.map(|steps| if steps.is_empty() { Plan::Done } else { propose(&steps) });
            match plan(change, &now) {
                Plan::Impossible(_) => assert_eq!(expected, None, "{change:?}"),
                other => assert_eq!(Some(other), expected, "{change:?}"),
            }
        }
        let alone = ConfState { voters: vec![1], ..ConfState::default() };
        assert!(matches!(plan(MemberChange::Remove(1), &alone), Plan::Impossible(_)));
    }
}
