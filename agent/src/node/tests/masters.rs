//! Several masters: how the agent finds the one that leads, moves over to it, and what it does not lose on the way.

use super::*;

/// An agent that is told of these masters.
fn options_of(masters: &[&Master], dir: &Path) -> Options {
    let addresses = masters.iter().map(|master| master.address()).collect();
    Options { masters: addresses, ..options(masters[0], dir) }
}

fn elsewhere(leader: &Master, term: u64) -> MasterMessage {
    MasterMessage::Elsewhere { leader: Some(leader.address()), term }
}

fn masters(all: &[&Master]) -> MasterMessage {
    let rpc = all.iter().map(|master| master.address()).collect();
    MasterMessage::Masters { rpc, dns: vec![([192, 0, 2, 1], 53).into()] }
}

/// The same as of a later leader.
fn of_term(term: u64, message: MasterMessage) -> MasterMessage {
    let MasterMessage::Wanted(mut wanted) = message else { panic!("{message:?}") };
    wanted.fence.term = term;
    MasterMessage::Wanted(wanted)
}

#[tokio::test]
async fn a_later_leader_finds_everything_as_it_was_and_hears_what_the_last_one_did_not_take_note_of() {
    let (first, second) = (Master::bind().await, Master::bind().await);
    let (dir, survivor) = (tempfile::tempdir().unwrap(), Survivor::new());
    let agent = spawn_over(&survivor, options_of(&[&first, &second], dir.path()));
    let mut peer = first.accept().await;
    peer.welcome_of(1, 1).await;
    peer.send(wants(2, true, &[1, 2], &[])).await;
    peer.until(&task(1), TaskState::Running).await;
    peer.until(&task(2), TaskState::Running).await;
    let seq = peer.seq;
    drop((peer, first));
    survivor.end(&task(2), Exit { code: Some(3), ..Exit::default() });

    let mut peer = second.accept_until(|hello| state_of(&hello.tasks, 2) == Some(TaskState::Failed)).await;
    assert_eq!(state_of(&peer.hello.tasks, 1), Some(TaskState::Running));
    assert_eq!(peer.hello.fence, Fence { term: 1, index: 2 });
    let seq_of = |n| peer.hello.tasks.iter().find(|report| report.task == task(n)).unwrap().seq;
    assert!(seq_of(1) <= seq && seq_of(2) > seq, "one is said again, the other is news");
    peer.welcome_of(2, 5).await;
    // The first leader had said to launch task 3 and nobody heard it; the complete set says it again.
    peer.send(of_term(2, wants(5, true, &[1, 2, 3], &[]))).await;
    peer.until(&task(3), TaskState::Running).await;
    assert!(survivor.has(&task(2)), "its ending is not acknowledged");
    peer.send(MasterMessage::Acknowledged { seq: peer.seq }).await;
    survivor.until(|survivor| !survivor.has(&task(2))).await;
    assert!(survivor.has(&task(1)));
    assert_eq!(survivor.launches(), 3, "nothing was started twice");
    agent.stop().await;
}

#[tokio::test]
async fn the_leader_that_others_name_is_tried_next_and_all_masters_are_remembered() {
    let (first, second, leader) = (Master::bind().await, Master::bind().await, Master::bind().await);
    let dir = tempfile::tempdir().unwrap();
    let agent = spawn(options_of(&[&first, &second], dir.path()));
    let mut peer = first.accept().await;
    peer.send(elsewhere(&leader, 1)).await;
    let mut peer = leader.accept().await;
    peer.welcome(1).await;
    peer.send(masters(&[&first, &leader])).await;
    peer.send(wants(2, true, &[1], &[])).await;
    peer.until(&task(1), TaskState::Running).await;
    agent.stop().await;
    drop((first, second, peer));
    // Those that it is started with are gone; the one that it was told of is still there.
    let gone = Master::bind().await.address();
    let agent = spawn(Options { masters: vec![gone], ..options(&leader, dir.path()) });
    leader.accept().await;
    agent.stop().await;
}

#[tokio::test]
async fn who_hangs_costs_no_more_than_a_moment() {
    // Its connections are accepted by the system and by nobody else.
    let (hung, leader) = (Master::bind().await, Master::bind().await);
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let agent = spawn(options_of(&[&hung, &leader], dir.path()));
    leader.accept().await.welcome(1).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    agent.stop().await;
}

#[tokio::test]
async fn a_silent_leader_is_left_for_a_later_one_and_for_no_other() {
    let (leader, other) = (Master::bind().await, Master::bind().await);
    let dir = tempfile::tempdir().unwrap();
    let agent = spawn(options_of(&[&leader, &other], dir.path()));
    let mut peer = leader.accept().await;
    peer.welcome_of(4, 1).await;
    peer.send(masters(&[&leader, &other])).await;
    // The leader says nothing more. As long as nobody knows of a later one, the agent stays.
    for (term, leader) in [(4, &leader), (3, &other), (4, &other)] {
        other.answer_who_leads(elsewhere(leader, term)).await;
    }
    peer.send(of_term(4, wants(2, true, &[1], &[]))).await;
    peer.until(&task(1), TaskState::Running).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_silent_leader_is_left_at_once_when_there_is_a_later_one() {
    let (leader, other) = (Master::bind().await, Master::bind().await);
    let dir = tempfile::tempdir().unwrap();
    let agent = spawn(options_of(&[&leader, &other], dir.path()));
    let mut peer = leader.accept().await;
    peer.welcome_of(4, 1).await;
    other.answer_who_leads(elsewhere(&other, 5)).await;
    let asked = Instant::now();
    other.accept().await.welcome_of(5, 1).await;
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}: it does not wait until the silence is too long");
    agent.stop().await;
}

#[tokio::test]
async fn masters_that_went_back_are_refused_in_words_also_after_a_restart() {
    const EPOCH: u64 = 1 << 32;
    for (term, index) in [(EPOCH + 1, 8), (EPOCH + 9, 8), (9, 900)] {
        let (master, dir) = (Master::bind().await, tempfile::tempdir().unwrap());
        let agent = spawn(options(&master, dir.path()));
        let mut peer = master.accept().await;
        peer.welcome_of(EPOCH + 1, 1).await;
        peer.send(of_term(EPOCH + 1, wants(9, true, &[1], &[]))).await;
        peer.until(&task(1), TaskState::Running).await;
        agent.stop().await;
        let agent = spawn(options(&master, dir.path()));
        let mut peer = master.accept_until(|hello| hello.fence.index == 9).await;
        peer.welcome_of(term, index).await;
        let error = agent.fails().await;
        assert!(error.contains("the masters went back") && error.contains("clusterctl restore"), "{error}");
        assert!(!error.contains('\n'), "one line");
    }
}

#[tokio::test]
async fn a_master_that_the_cluster_has_gone_on_without_stops_no_agent() {
    let (bygone, leader) = (Master::bind().await, Master::bind().await);
    let dir = tempfile::tempdir().unwrap();
    let agent = spawn(options_of(&[&bygone, &leader], dir.path()));
    bygone.accept().await.send(MasterMessage::Refused { reason: "of another epoch".to_owned() }).await;
    leader.accept().await.welcome(1).await;
    agent.stop().await;
}
