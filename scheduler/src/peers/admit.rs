//! Who may speak to this master as a member of its group. Pure.

use spec::ids::MasterId;
use uuid::Uuid;

use super::wire::{Introduction, Refusal};
use crate::consensus::Members;
use crate::state::State;

/// Who this master is in the group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) id: u64,
    pub(super) group: Uuid,
}

/// The objection to what somebody says of itself.
pub(super) fn objection(who: &Introduction, own: Own, state: &State, members: &Members) -> Option<Refusal> {
    if who.group != own.group {
        return Some(Refusal::Group(own.group));
    }
    if who.to.is_some_and(|to| to != own.id) {
        return Some(Refusal::Addressee(own.id));
    }
    if who.from == own.id || who.from == 0 {
        return Some(Refusal::Reason(format!("this is master {}: was its data directory copied?", own.id)));
    }
    if was_removed(who.from, state, members) {
        return Some(Refusal::Removed);
    }
    super::book::flaw(&who.info).map(Refusal::Reason)
}

/// Was it a master once? Numbers are never used again, so whoever is gone stays gone. One that this master
/// has not heard of yet, because its log is behind, has a number above all it knows.
pub fn was_removed(id: u64, state: &State, members: &Members) -> bool {
    id <= state.last_master.max(1)
        && state.last_master > 0
        && !state.masters.contains_key(&MasterId(id))
        && ![&members.voters, &members.outgoing, &members.learners].iter().any(|some| some.contains(&id))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::masters::fixture;

    const OWN: Own = Own { id: 2, group: Uuid::from_u128(7) };

    /// Masters 2, 3 and 5 are known, 4 was removed, 1 founded the cluster and votes but has not said so.
    fn group() -> (State, Members) {
        let mut state = State { last_master: 5, ..State::default() };
        for id in [2, 3, 5] {
            state.masters.insert(MasterId(id), Arc::new(fixture::entry(id, &format!("m{id}"))));
        }
        (state, Members { voters: vec![1, 2, 3], ..Members::default() })
    }

    fn judged(change: impl FnOnce(&mut Introduction)) -> Option<Refusal> {
        let (state, members) = group();
        let info = fixture::info("m3");
        let mut who = Introduction { group: OWN.group, from: 3, to: Some(2), info };
        change(&mut who);
        objection(&who, OWN, &state, &members)
    }

    #[test]
    fn members_are_let_in() {
        // The founder, one that is known, one that is no member yet, and one that was added meanwhile.
        for from in [1, 3, 5, 6] {
            assert_eq!(judged(|who| who.from = from), None, "{from}");
        }
        assert_eq!(judged(|who| who.to = None), None);
    }

    #[test]
    fn others_are_told_why_not() {
        assert_eq!(judged(|who| who.group = Uuid::from_u128(8)), Some(Refusal::Group(OWN.group)));
        assert_eq!(judged(|who| who.to = Some(4)), Some(Refusal::Addressee(2)));
        assert_eq!(judged(|who| who.from = 4), Some(Refusal::Removed));
        for (number, word) in [(0, "copied"), (2, "copied")] {
            let refusal = judged(|who| who.from = number).unwrap().to_string();
            assert!(refusal.contains(word), "{refusal}");
        }
        for info in [
            fixture::info(""),
            crate::state::MasterInfo { rpc: "0.0.0.0:5".parse().unwrap(), ..fixture::info("m3") },
            crate::state::MasterInfo { version: "x".repeat(300), ..fixture::info("m3") },
        ] {
            assert!(matches!(judged(|who| who.info = info), Some(Refusal::Reason(_))));
        }
    }

    #[test]
    fn a_master_that_knows_nothing_yet_refuses_nobody() {
        assert!(!was_removed(3, &State::default(), &Members::default()));
    }
}
