//! Members with drivers: disks that hang, questions that are not proposals, members that come and go.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::Recorder;
use super::network::{Gate, Line, PATIENCE, leader, one_of_three, until};
use crate::consensus::{Handle, MemberChange, Options, ProposeError, SnapshotPolicy, Start, open_with};

type Network = super::network::Network<Recorder>;

const TICK: Duration = Duration::from_millis(20);

struct Member {
    handle: Handle<Recorder>,
    machine: Recorder,
    gate: Gate,
}

fn three(network: &Network) -> BTreeMap<u64, Member> {
    let member = |id| {
        let machine = Recorder::default();
        let (handle, gate) = one_of_three(id, machine.clone(), TICK, network);
        (id, Member { handle, machine, gate })
    };
    (1..=3).map(member).collect()
}

fn handles(members: &BTreeMap<u64, Member>) -> impl Iterator<Item = &Handle<Recorder>> {
    members.values().map(|member| &member.handle)
}

async fn stop(network: Network, members: BTreeMap<u64, Member>) {
    network.close();
    for member in members.into_values() {
        member.handle.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_disk_hangs_does_not_slow_the_others() {
    let network = Network::default();
    let members = three(&network);
    let leads = leader(handles(&members)).await;
    let hangs = members.keys().copied().find(|id| *id != leads).unwrap();
    members[&hangs].gate.hang(true);
    let handle = &members[&leads].handle;
    for number in 0..500 {
        let done = tokio::time::timeout(PATIENCE, handle.propose(format!("{number}").into_bytes())).await;
        done.expect("two of three are enough").unwrap();
        if number % 50 == 0 {
            handle.read_index().await.unwrap();
        }
    }
    assert!(members[&hangs].machine.texts().len() < 500, "it hangs");
    members[&hangs].gate.hang(false);
    let applied = handle.status().borrow().applied;
    until(&members[&hangs].handle, |status| status.applied >= applied).await;
    assert_eq!(members[&hangs].machine.texts().len(), 500);
    stop(network, members).await;
}

/// Its thread stands still, sends no heartbeats and hears nothing. The others cannot tell that from a dead one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_hangs_is_replaced_and_steps_down() {
    let network = Network::default();
    let members = three(&network);
    let old = leader(handles(&members)).await;
    let hangs = members[&old].handle.clone();
    hangs.propose(b"before".to_vec()).await.unwrap();
    members[&old].gate.hang(true);
    let under_way = tokio::spawn({
        let hangs = hangs.clone();
        async move { hangs.propose(b"under way".to_vec()).await }
    });
    let others = members.iter().filter(|(id, _)| **id != old).map(|(_, member)| &member.handle);
    let new = leader(others).await;
    for number in 0..100 {
        let done = tokio::time::timeout(PATIENCE, members[&new].handle.propose(format!("{number}").into()));
        done.await.expect("two of three are enough").unwrap();
    }
    assert!(hangs.status().borrow().leading, "it has not heard of the new leader");
    assert!(!under_way.is_finished(), "it promises nothing that is not on its disk");
    let (late, read) = tokio::join!(
        async { tokio::time::timeout(PATIENCE, hangs.propose(b"late".to_vec())).await.expect("an answer") },
        async {
            let read = hangs.read_index();
            members[&old].gate.hang(false);
            tokio::time::timeout(PATIENCE, read).await.expect("an answer")
        },
    );
    assert!(matches!(late, Err(ProposeError::NotLeader { .. } | ProposeError::Dropped)), "{late:?}");
    assert!(matches!(read, Err(ProposeError::NotLeader { .. } | ProposeError::Dropped)), "{read:?}");
    // The others may have it or not.
    assert_eq!(under_way.await.unwrap(), Err(ProposeError::Dropped));
    let applied = members[&new].handle.status().borrow().applied;
    until(&hangs, |status| !status.leading && status.applied >= applied).await;
    let texts = members[&new].machine.texts();
    assert_eq!(members[&old].machine.texts(), texts);
    assert_eq!(texts.iter().filter(|text| text.parse::<u32>().is_ok()).count(), 100);
    let own = members[&old].machine.seen().leadership.last().cloned();
    assert!(own.is_some_and(|(_, leader, leading, _)| leader != Some(old) && !leading), "it says so");
    stop(network, members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_changes_and_transfers_are_answered() {
    let network = Network::default();
    let members = three(&network);
    let leads = leader(handles(&members)).await;
    let handle = &members[&leads].handle;
    assert!(!handle.status().borrow().invited, "it was elected");
    let reads: Vec<_> = (0..200)
        .map(|_| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.read_index().await })
        })
        .collect();
    for read in reads {
        assert_eq!(read.await.unwrap(), Ok(()));
    }
    let impossible = handle.change_members(MemberChange::Promote { id: 9, replacing: None }).await;
    assert!(matches!(impossible, Err(ProposeError::Impossible { .. })));
    let to = members.keys().copied().find(|id| *id != leads).unwrap();
    handle.transfer(to).await.unwrap();
    until(&members[&to].handle, |status| status.leading).await;
    assert_eq!(handle.read_index().await, Err(ProposeError::NotLeader { leader: Some(to) }));
    let status = until(&members[&to].handle, |status| status.standings.len() == 3).await;
    assert!(status.invited, "it was asked to lead");
    let standings = status.standings;
    assert!(standings.iter().all(|standing| (1..=3).contains(&standing.id)), "{standings:?}");
    stop(network, members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gets_an_answer_finds_it_in_the_status() {
    let (dir, network) = (tempfile::tempdir().unwrap(), Network::default());
    let (handle, _) = on_disk(dir.path(), 1, Start::Found, &network);
    let mut applied = until(&handle, |status| status.leading).await.applied;
    for number in 0..300 {
        handle.propose(format!("{number}").into_bytes()).await.unwrap();
        let now = handle.status().borrow().applied;
        assert!(now > applied, "{now} after {applied}");
        applied = now;
    }
    network.close();
    handle.shutdown().await.unwrap();
}

fn on_disk(dir: &Path, id: u64, start: Start, network: &Network) -> (Handle<Recorder>, Recorder) {
    let machine = Recorder::default();
    let snapshots = SnapshotPolicy { entries: 50, keep_entries: 10, ..SnapshotPolicy::default() };
    let options = Options { tick: TICK, snapshots, ..Options::new(dir, format!("m{id}"), start, id) };
    let handle = open_with(options, machine.clone(), Line(id, network.clone())).unwrap();
    network.add(id, &handle);
    (handle, machine)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_joins_is_promoted_and_goes_on_when_the_founder_leaves() {
    let (dir, network) = (tempfile::tempdir().unwrap(), Network::default());
    let (first, _) = on_disk(&dir.path().join("1"), 1, Start::Found, &network);
    until(&first, |status| status.leading).await;
    for number in 0..200 {
        first.propose(format!("{number}").into_bytes()).await.unwrap();
    }
    let join = Start::Join { id: 2, group: first.identity().group };
    let (second, machine) = on_disk(&dir.path().join("2"), 2, join, &network);
    first.change_members(MemberChange::AddLearner(2)).await.unwrap();
    let applied = first.status().borrow().applied;
    until(&second, |status| status.applied >= applied).await;
    assert_eq!(machine.texts().len(), 200);
    // An existing log goes on whatever it is started with.
    network.remove(2);
    second.shutdown().await.unwrap();
    drop(second);
    let (second, machine) = on_disk(&dir.path().join("2"), 2, Start::Found, &network);
    assert_eq!((second.identity().id, second.identity().group), (2, first.identity().group));
    first.change_members(MemberChange::Promote { id: 2, replacing: Some(1) }).await.unwrap();
    until(&second, |status| status.leading).await;
    assert_eq!(until(&first, |status| !status.leading).await.members.voters, [2]);
    second.propose(b"alone".to_vec()).await.unwrap();
    assert_eq!(machine.texts().len(), 201);
    network.close();
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}
