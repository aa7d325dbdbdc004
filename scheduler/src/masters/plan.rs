//! What the leader does about masters without being asked. Pure; at most one change of the group at a time.

use std::collections::BTreeMap;

use spec::ids::MasterId;
use spec::time::Timestamp;

use super::slow::{self, HandOver};
use super::view::View;
use crate::consensus::MemberChange;
use crate::state::{Command, MasterInfo};

/// A learner that lacks no more entries than this votes: it has the rest sooner than a vote is held.
const BEHIND_MAX: u64 = 64;
/// A master that was added and did not become a member in this time, or was removed from the group while its
/// leader crashed, is forgotten.
const OUTSIDE_MILLIS_MAX: u64 = 60_000;

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The state should say something else of a master.
    Ask(Command),
    /// The group should change.
    Change(MemberChange),
    /// Another master should lead: this one's disk is slow.
    HandOver(HandOver),
}

/// Since when masters are known that are no members. Of this reign: it begins empty.
#[derive(Debug, Default)]
pub struct Memory {
    outside: BTreeMap<u64, Timestamp>,
    disk: slow::Memory,
}

/// Everything that is to be done now.
pub fn plan(view: &View<'_>, memory: &mut Memory, now: Timestamp) -> Vec<Step> {
    let mut steps: Vec<Step> = news(view).collect();
    steps.extend(forgotten(view, memory, now));
    // A group that is being left is a change under way.
    if view.status.members.outgoing.is_empty() {
        steps.extend(promotion(view).or_else(|| surplus(view)).map(Step::Change));
    }
    // What is to be done is done first.
    if steps.is_empty() {
        steps.extend(slow::judge(view, &mut memory.disk, now).map(Step::HandOver));
    }
    steps
}

/// Members that are not as the state has them.
fn news<'a>(view: &'a View<'_>) -> impl Iterator<Item = Step> + 'a {
    let own = (view.own, view.info);
    let heard = view.heard.iter().map(|(id, info)| (*id, info)).filter(move |(id, _)| *id != own.0);
    let is_news = |(id, info): &(u64, &MasterInfo)| {
        view.is_member(*id) && view.entry(*id).is_none_or(|entry| entry.info != **info)
    };
    std::iter::once(own)
        .chain(heard)
        .filter(is_news)
        .map(|(id, info)| Step::Ask(Command::SetMaster { id: MasterId(id), info: info.clone() }))
}

/// Masters that have been no members for long, or whose place another one of their name has.
fn forgotten(view: &View<'_>, memory: &mut Memory, now: Timestamp) -> Vec<Step> {
    let outside: Vec<u64> =
        view.state.masters.keys().map(|id| id.0).filter(|id| !view.is_member(*id)).collect();
    memory.outside.retain(|id, _| outside.contains(id));
    let long = outside.into_iter().filter(|id| {
        let since = *memory.outside.entry(*id).or_insert(now);
        now.millis_since(since) >= OUTSIDE_MILLIS_MAX || was_replaced(view, *id)
    });
    long.map(|id| Step::Ask(Command::RemoveMaster { id: MasterId(id) })).collect()
}

fn was_replaced(view: &View<'_>, id: u64) -> bool {
    view.status.members.voters.iter().any(|voter| *voter > id && view.name(*voter) == view.name(id))
}

/// A learner that has caught up votes, in the place of the dead voter of its name if there is one. While that
/// one is there, it does not: two of one name cannot be told apart.
fn promotion(view: &View<'_>) -> Option<MemberChange> {
    let members = &view.status.members;
    let ready =
        |id: &&u64| view.is_active(**id) && view.behind(**id) <= BEHIND_MAX && view.entry(**id).is_some();
    members.learners.iter().filter(ready).find_map(|&id| {
        let replacing = members.voters.iter().copied().find(|voter| view.name(*voter) == view.name(id));
        if replacing.is_some_and(|voter| view.is_active(voter)) {
            return None;
        }
        let mut voters: Vec<u64> =
            members.voters.iter().copied().filter(|voter| Some(*voter) != replacing).collect();
        voters.push(id);
        view.has_majority(&voters).then_some(MemberChange::Promote { id, replacing })
    })
}

/// A learner that is away, and whose name a later master has: it lost its disk before it ever voted.
fn surplus(view: &View<'_>) -> Option<MemberChange> {
    let members = &view.status.members;
    let has_heir = |id: u64| {
        let later = members.voters.iter().chain(&members.learners).filter(move |other| **other > id);
        later.into_iter().any(|other| view.name(*other) == view.name(id))
    };
    let gone = members.learners.iter().copied().find(|id| !view.is_active(*id) && has_heir(*id));
    gone.map(MemberChange::Remove)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masters::fixture::{Bench, COMMIT, info};

    fn planned(bench: &Bench) -> Vec<Step> {
        bench.view(|view| plan(view, &mut Memory::default(), Timestamp::default()))
    }

    fn set(id: u64, name: &str) -> Step {
        Step::Ask(Command::SetMaster { id: MasterId(id), info: info(name) })
    }

    #[test]
    fn learners_vote_when_they_have_caught_up() {
        let promote = |id, replacing| vec![Step::Change(MemberChange::Promote { id, replacing })];
        for (case, bench, expected) in [
            ("nothing to do", Bench::new(&[1, 2, 3], &[]), vec![]),
            ("caught up", Bench::new(&[1], &[2]), promote(2, None)),
            ("nearly", Bench::new(&[1], &[2]).matched(2, COMMIT - 64), promote(2, None)),
            ("not yet", Bench::new(&[1], &[2]).matched(2, COMMIT - 65), vec![]),
            ("away", Bench::new(&[1], &[2]).away(&[2]), vec![]),
            ("one at a time", Bench::new(&[1], &[2, 3]), promote(2, None)),
            ("the slow one waits", Bench::new(&[1], &[2, 3]).matched(2, 0), promote(3, None)),
            (
                "in the place of the dead one",
                Bench::new(&[1, 2, 3], &[4]).named(4, "m3").away(&[3]),
                promote(4, Some(3)),
            ),
            ("the dead one lives", Bench::new(&[1, 2, 3], &[4]).named(4, "m3"), vec![]),
            ("too few would be there", Bench::new(&[1, 2, 3, 4], &[5]).away(&[2, 3, 4]), vec![]),
        ] {
            assert_eq!(planned(&bench), expected, "{case}");
        }
    }

    #[test]
    fn nothing_is_changed_while_the_group_changes() {
        let mut bench = Bench::new(&[1, 2], &[3]);
        bench.status.members.outgoing = vec![1];
        assert_eq!(planned(&bench), vec![]);
    }

    #[test]
    fn a_learner_that_came_again_under_its_name_is_dropped() {
        let bench = Bench::new(&[1, 2], &[3, 4]).named(4, "m3").away(&[3]).matched(4, 0);
        assert_eq!(planned(&bench), vec![Step::Change(MemberChange::Remove(3))]);
        // The later one is away as well: who knows which of them comes back.
        let bench = Bench::new(&[1, 2], &[3, 4]).named(4, "m3").away(&[4]).matched(3, 0);
        assert_eq!(planned(&bench), vec![]);
    }

    #[test]
    fn addresses_are_kept_true() {
        let mut bench = Bench::new(&[1, 2], &[]).named(2, "old");
        bench.heard.insert(2, info("new"));
        // Of nobody who is no member, and not twice.
        bench.heard.insert(9, info("m9"));
        assert_eq!(planned(&bench), vec![set(2, "new")]);
        bench.state.masters.remove(&MasterId(1));
        assert_eq!(planned(&bench), vec![set(1, "m1"), set(2, "new")]);
    }

    #[test]
    fn who_is_no_member_for_long_is_forgotten() {
        let mut bench = Bench::new(&[1, 2], &[3]).away(&[3]);
        bench.status.members.learners.clear();
        let mut memory = Memory::default();
        let mut at = |millis| bench.view(|view| plan(view, &mut memory, Timestamp::from_millis(millis)));
        let forget = vec![Step::Ask(Command::RemoveMaster { id: MasterId(3) })];
        assert_eq!([at(1_000), at(60_999), at(61_000)], [vec![], vec![], forget.clone()]);
        // Its heir votes: at once.
        let mut bench = Bench::new(&[1, 2, 4], &[3]).named(4, "m3");
        bench.status.members.learners.clear();
        assert_eq!(planned(&bench), forget);
    }
}
