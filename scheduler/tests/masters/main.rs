//! Several masters in one process, with their real sockets and disks: joining, voting, dying, coming back.

#![allow(missing_docs, reason = "tests")]

mod cluster;
mod starting;
mod strangers;

use cluster::{Masters, until};
use gantry_scheduler::cluster::{AskError, MasterRole, MastersError};
use gantry_scheduler::master::Start;
use spec::ids::MasterId;

#[tokio::test]
async fn three_masters_outlive_one_of_them() {
    let mut masters = Masters::three().await;
    let first = masters.leader().await;
    masters.write(first, "/one").await;
    for index in 0..3 {
        masters.knows(index, "/one").await;
    }
    // Everybody knows where the leader is, and only it leads.
    let http = masters[first].cluster().options.advertised_http.clone();
    for index in 0..3 {
        let mut leadership = masters[index].cluster().leadership();
        let told =
            until("the leader is known", leadership.wait_for(|now| now.leader_http.as_ref() == Some(&http)))
                .await;
        assert!(told.is_ok());
    }
    let other = (first + 1) % 3;
    assert_eq!(masters[other].cluster().current().await, Err(AskError::NotLeader));

    let dir = masters.crash(first);
    let second = masters.leader().await;
    assert_ne!(first, second);
    masters.write(second, "/two").await;
    // It comes back at another address, which it tells the others, and has what it missed.
    masters.start(first, dir, Start::Existing).await;
    masters.knows(first, "/two").await;
    let rpc = masters[first].cluster().options.rpc;
    masters
        .settled(|masters| {
            masters.iter().any(|master| master.info.as_ref().is_some_and(|info| info.rpc == rpc))
        })
        .await;
    masters.stop().await;
}

#[tokio::test]
async fn a_master_that_lost_its_disk_takes_its_old_place_as_a_new_one() {
    let mut masters = Masters::three().await;
    let leader = masters.leader().await;
    masters.write(leader, &large("/one")).await;
    let lost = (leader + 1) % 3;
    let old = masters.id(lost).await;
    // While it is there, nobody else can be it.
    let name = masters[lost].cluster().options.name.clone();
    let refused = masters.try_start(&name, masters.join()).await.err().expect("refused").to_string();
    assert!(refused.contains("--name"), "{refused}");

    drop(masters.crash(lost));
    masters.settled(|list| list.iter().any(|master| master.reachable == Some(false))).await;
    let join = masters.join();
    masters.start(lost, tempfile::tempdir().unwrap(), join).await;
    masters.knows(lost, &large("/one")).await;
    let list = masters
        .settled(|list| {
            list.iter().filter(|master| master.role == MasterRole::Voter).count() == 3
                && list.iter().all(|master| master.id != old)
        })
        .await;
    assert_eq!(list.len(), 3, "{list:?}");
    masters.stop().await;
}

#[tokio::test]
async fn who_is_removed_stops_also_when_it_leads() {
    let mut masters = Masters::three().await;
    let leader = masters.leader().await;
    let cluster = masters[leader].cluster().clone();
    let gone = MasterId(99);
    assert_eq!(cluster.remove_master(gone).await, Err(MastersError::Unknown(gone)));
    // The leader itself: another one leads, and removes it. Nobody may be away then.
    let id = masters.id(leader).await;
    masters.settled(|list| list.iter().all(|master| master.reachable == Some(true))).await;
    assert_eq!(cluster.remove_master(id).await, Ok(()));
    let reason = until("it stops", masters[leader].failed()).await;
    assert!(reason.contains("removed"), "{reason}");
    let dir = masters.crash(leader);
    let next = masters.leader().await;
    masters.write(next, "/after").await;
    let list = masters.settled(|list| list.len() == 2).await;
    assert!(list.iter().all(|master| master.id != id));
    // With its old disk it is told so again.
    masters.start(leader, dir, Start::Existing).await;
    let reason = until("it stops again", masters[leader].failed()).await;
    assert!(reason.contains("removed"), "{reason}");
    masters.crash(leader);
    // Of two masters that vote, one that is away cannot be outvoted.
    let stays = masters.leader().await;
    let goes = (0..3).find(|index| *index != leader && *index != stays).unwrap();
    let away = masters.id(goes).await;
    masters.crash(goes);
    let cluster = masters[stays].cluster().clone();
    assert!(until("it is refused", cluster.remove_master(away)).await.is_err());
    let mut leadership = cluster.leadership();
    assert!(until("nobody leads", leadership.wait_for(|now| !now.leading)).await.is_ok());
    masters.stop().await;
}

#[tokio::test]
async fn leadership_is_handed_over_when_asked_and_on_an_orderly_stop() {
    let mut masters = Masters::three().await;
    let first = masters.leader().await;
    let cluster = masters[first].cluster().clone();
    let to = (first + 1) % 3;
    let id = masters.id(to).await;
    assert_eq!(cluster.transfer_leadership(Some(id)).await, Ok(()));
    assert_eq!(masters.leader().await, to);
    let refused = masters[to].cluster().transfer_leadership(Some(MasterId(99))).await;
    assert_eq!(refused, Err(MastersError::Unknown(MasterId(99))));
    let term = masters[to].cluster().leadership().borrow().term;
    masters.stop_one(to).await;
    let next = masters.leader().await;
    // Nobody had to wait for silence: the next term is the one of the hand-over.
    assert_eq!(masters[next].cluster().leadership().borrow().term, term + 1);
    masters.stop().await;
}

/// A name of an app that makes a snapshot of several pieces.
fn large(id: &str) -> String {
    format!("{id}#large")
}
