//! The masters, for whoever asks who there is. Pure.

use std::collections::BTreeSet;

use spec::ids::MasterId;

use super::view::View;
use crate::cluster::{MasterRole, MasterStatus};

/// Every master that the state or the group knows, by number.
pub(super) fn roster(view: &View<'_>) -> Vec<MasterStatus> {
    let members = &view.status.members;
    let mut all: BTreeSet<u64> = view.state.masters.keys().map(|id| id.0).collect();
    all.extend(members.voters.iter().chain(&members.outgoing).chain(&members.learners));
    all.into_iter().map(|id| status(view, id)).collect()
}

fn status(view: &View<'_>, id: u64) -> MasterStatus {
    let role = match () {
        () if view.status.members.voters.contains(&id) => MasterRole::Voter,
        () if view.status.members.learners.contains(&id) => MasterRole::Learner,
        () => MasterRole::Outside,
    };
    let leads = view.status.leading;
    MasterStatus {
        id: MasterId(id),
        info: view.entry(id).map(|entry| entry.info.clone()),
        role,
        leader: view.status.leader == Some(id),
        reachable: leads.then(|| view.is_active(id)),
        // One that was not heard of since this one leads may have much or little.
        behind: (leads && role != MasterRole::Outside && view.is_known(id)).then(|| view.behind(id)),
        log: (id == view.own).then_some((view.status.commits, view.status.turns)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masters::fixture::{Bench, COMMIT};

    /// Number, role, whether it leads, can be reached, and lacks how much.
    type Row = (u64, MasterRole, bool, Option<bool>, Option<u64>);

    fn seen(bench: &Bench) -> Vec<Row> {
        let line =
            |master: MasterStatus| (master.id.0, master.role, master.leader, master.reachable, master.behind);
        bench.view(roster).into_iter().map(line).collect()
    }

    #[test]
    fn only_the_leader_knows_how_the_others_are() {
        use MasterRole::{Learner, Outside, Voter};
        let mut bench = Bench::new(&[1, 2], &[3, 4]).away(&[3]).matched(2, COMMIT - 7);
        bench.status.members.learners.retain(|id| *id != 4);
        assert_eq!(
            seen(&bench),
            [
                (1, Voter, true, Some(true), Some(0)),
                (2, Voter, false, Some(true), Some(7)),
                (3, Learner, false, Some(false), None),
                (4, Outside, false, Some(true), None),
            ]
        );
        (bench.status.leading, bench.status.leader) = (false, Some(2));
        assert_eq!(seen(&bench)[1], (2, Voter, true, None, None));
    }

    #[test]
    fn a_member_without_a_name_is_listed() {
        let mut bench = Bench::new(&[1, 2], &[]);
        bench.state.masters.remove(&MasterId(2));
        assert_eq!(bench.view(roster)[1].info, None);
    }
}
