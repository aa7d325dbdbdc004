//! A real master, and agents made of this test that speak the real protocol with it over TCP.

#![allow(missing_docs, reason = "tests")]

mod logs;
mod masters;
mod peer;
mod strangers;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gantry_scheduler::cluster::AskError;
use gantry_scheduler::fleet::UNASKED_AFTER;
use gantry_scheduler::state::{Command, Condition, Outcome, Presence};
use peer::{PATIENCE, Peer, app, deploy, hello, hello_again, master, report, until};
use spec::ids::{AgentId, TaskId};
use spec::protocol::{AgentMessage, KillTask, MasterMessage, TaskState, Usage, Wanted, Welcome};

/// Longer than any of these tests.
const NEVER: u64 = 600_000;

#[tokio::test]
async fn a_task_arrives_is_reported_and_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    let (mut agent, first) = Peer::join_whole(&master, hello()).await;
    assert!(first.run.is_empty() && first.kill.is_empty());
    deploy(master.cluster(), 1).await;
    let wanted = agent.wanted().await;
    assert!(!wanted.complete && wanted.fence > first.fence);
    let [run] = &wanted.run[..] else { panic!("{wanted:?}") };
    assert_eq!(wanted.apps[run.app as usize].0.id, app());
    assert!((31_000..=32_000).contains(&run.host_ports[0]));
    // It is acknowledged once it is in the state.
    agent.report(report(&run.task, 1, TaskState::Running)).await;
    assert_eq!(master.cluster().state().tasks[&run.task].condition, Condition::Running);
    deploy(master.cluster(), 0).await;
    let kill = agent.wanted().await.kill;
    assert!(matches!(&kill[..], [KillTask { task, .. }] if *task == run.task), "{kill:?}");
    agent.report(report(&run.task, 2, TaskState::Killed)).await;
    assert!(master.cluster().state().tasks.is_empty());
    master.stop().await;
}

#[tokio::test]
async fn a_beat_is_answered_at_once_and_who_does_not_ask_hears_something_too() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    let (mut agent, _) = Peer::join_whole(&master, hello()).await;
    agent.beat().await;
    let began = Instant::now();
    for _ in 0..5 {
        agent.say(AgentMessage::Beat).await;
        agent.beat().await;
        agent.say(AgentMessage::UsageChanges(Usage::default())).await;
        agent.beat().await;
    }
    let took = began.elapsed();
    assert!(took < 5 * UNASKED_AFTER, "{took:?}");
    master.stop().await;
}

#[tokio::test]
async fn who_reconnects_gets_the_complete_set() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    let (mut agent, _) = Peer::join_whole(&master, hello()).await;
    deploy(master.cluster(), 2).await;
    until(master.cluster(), "both are placed", |state| state.tasks.len() == 2).await;
    let mut told = agent.wanted().await;
    if told.run.len() < 2 {
        told.run.extend(agent.wanted().await.run);
    }
    let [first, second] = [told.run[0].task.clone(), told.run[1].task.clone()];
    agent.report(report(&first, 1, TaskState::Running)).await;
    let welcome = agent.welcome.clone();
    drop(agent);
    // It knows the first one, was never told of the second as far as it says, and runs a stranger.
    let stranger: TaskId = format!("{}.9", first.to_string().rsplit_once('.').unwrap().0).parse().unwrap();
    let knows = vec![report(&first, 1, TaskState::Running), report(&stranger, 2, TaskState::Running)];
    let (mut agent, complete) = Peer::join_whole(&master, hello_again(&welcome, knows)).await;
    assert_eq!(agent.welcome.agent_id, welcome.agent_id);
    let mut run: Vec<_> = complete.run.iter().map(|run| run.task.clone()).collect();
    run.sort();
    let mut both = vec![first, second];
    both.sort();
    assert_eq!((run, complete.kill), (both, vec![]), "the stranger is not named, and so an orphan");
    // Reported later, it is ended by name.
    agent.say(AgentMessage::Status(vec![report(&stranger, 3, TaskState::Running)])).await;
    assert_eq!(agent.wanted().await.kill[0].task, stranger);
    assert_eq!(master.cluster().state().tasks.len(), 2);
    master.stop().await;
}

#[tokio::test]
async fn what_is_explained_bears_the_fence_of_the_last_order() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    let (mut agent, _) = Peer::join_whole(&master, hello()).await;
    deploy(master.cluster(), 1).await;
    let ordered = agent.wanted().await;
    let task = ordered.run[0].task.clone();
    let explained = |wanted: &Wanted| {
        let [run] = &wanted.run[..] else { panic!("{wanted:?}") };
        assert!(!wanted.complete && run.task == task && wanted.apps[run.app as usize].0.id == app());
    };
    // The state has gone on, as it has when changes are still on their way: they are not to be refused.
    agent.report(report(&task, 1, TaskState::Running)).await;
    agent.say(AgentMessage::Explain(vec![task.clone()])).await;
    let told = agent.wanted().await;
    explained(&told);
    assert!(told.fence == ordered.fence && told.fence.index < master.cluster().state().index);
    let welcome = agent.welcome.clone();
    drop(agent);
    // And where nothing has happened since the complete set it is said all the same.
    let knows = vec![report(&task, 1, TaskState::Running)];
    let (mut agent, complete) = Peer::join_whole(&master, hello_again(&welcome, knows)).await;
    assert!(complete.apps.is_empty());
    agent.say(AgentMessage::Explain(vec![task.clone()])).await;
    let told = agent.wanted().await;
    explained(&told);
    assert_eq!(told.fence, complete.fence);
    master.stop().await;
}

#[tokio::test]
async fn a_session_holds_no_state_that_has_passed() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    let (_agent, _) = Peer::join_whole(&master, hello()).await;
    let passed = Arc::downgrade(&master.cluster().state());
    deploy(master.cluster(), 1).await;
    until(master.cluster(), "the last one holds no state", |_| passed.strong_count() == 0).await;
    master.stop().await;
}

#[tokio::test]
async fn what_a_returning_agent_does_not_name_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    let (mut agent, _) = Peer::join_whole(&master, hello()).await;
    deploy(master.cluster(), 1).await;
    let task = agent.wanted().await.run[0].task.clone();
    agent.report(report(&task, 1, TaskState::Running)).await;
    let welcome = agent.welcome.clone();
    drop(agent);
    let (_agent, complete) = Peer::join_whole(&master, hello_again(&welcome, vec![])).await;
    assert!(complete.run.iter().all(|run| run.task != task));
    assert!(!master.cluster().state().tasks.contains_key(&task));
    master.stop().await;
}

#[tokio::test]
async fn an_agent_with_very_many_tasks_can_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    let (mut agent, _) = Peer::join_whole(&master, hello()).await;
    deploy(master.cluster(), 2).await;
    until(master.cluster(), "both are placed", |state| state.tasks.len() == 2).await;
    let tasks: Vec<TaskId> = master.cluster().state().tasks.keys().cloned().collect();
    for (seq, task) in (1..).zip(&tasks) {
        agent.report(report(task, seq, TaskState::Running)).await;
    }
    let welcome = agent.welcome.clone();
    drop(agent);
    // Together they are larger than an entry of the log; most of them are nobody's.
    let base = tasks[0].to_string();
    let base = base.rsplit_once('.').unwrap().0;
    let strangers = (100..8_000u64).map(|n| format!("{base}.{n}").parse::<TaskId>().unwrap());
    let mut knows: Vec<_> = strangers.map(|task| report(&task, 9, TaskState::Running)).collect();
    knows.iter_mut().for_each(|report| report.message = "x".repeat(200));
    knows.push(report(&tasks[1], 2, TaskState::Running));
    let (_agent, complete) = Peer::join_whole(&master, hello_again(&welcome, knows)).await;
    let state = master.cluster().state();
    assert!(state.tasks.contains_key(&tasks[1]) && !state.tasks.contains_key(&tasks[0]));
    assert!(complete.run.iter().any(|run| run.task == tasks[1]));
    master.stop().await;
}

#[tokio::test]
async fn who_is_silent_for_too_long_is_lost_and_may_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), 700).await;
    let (mut agent, _) = Peer::join_whole(&master, hello()).await;
    deploy(master.cluster(), 1).await;
    let task = agent.wanted().await.run[0].task.clone();
    agent.report(report(&task, 1, TaskState::Running)).await;
    let welcome = agent.welcome.clone();
    let id = welcome.agent_id.clone();
    drop(agent);
    let lost = |presence| {
        move |state: &gantry_scheduler::state::State| {
            state.agents.values().all(|agent| agent.presence == presence)
        }
    };
    let state = until(master.cluster(), "it is lost", lost(Presence::Lost)).await;
    assert!(state.tasks[&task].is_unreachable());
    let back = hello_again(&welcome, vec![report(&task, 1, TaskState::Running)]);
    let (_agent, complete) = Peer::join_whole(&master, back).await;
    assert_eq!(complete.run[0].task, task);
    let state = master.cluster().state();
    assert_eq!(
        (state.agents[&id].presence, state.tasks[&task].condition),
        (Presence::Connected, Condition::Running)
    );
    master.stop().await;
}

#[tokio::test]
async fn of_many_that_are_silent_some_are_held_back_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), 1_500).await;
    let mut agents = Vec::new();
    for number in 0..5 {
        let mut hello = hello();
        hello.info.hostname = format!("a{number}");
        agents.push(Peer::join_whole(&master, hello).await.0);
    }
    let welcomes: Vec<_> = agents.into_iter().map(|agent| agent.welcome).collect();
    let held_back = async |count| {
        while master.cluster().held_back.load(Relaxed) != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, held_back(2)).await.expect("two of five are held back");
    let state = until(master.cluster(), "three are lost", |state| {
        state.agents.values().filter(|agent| agent.presence == Presence::Lost).count() == 3
    });
    let state = state.await;
    let there = |welcome: &&Welcome| state.agents[&welcome.agent_id].presence == Presence::Connected;
    let back = welcomes.iter().find(there).expect("one that was held back");
    let _agent = Peer::join_whole(&master, hello_again(back, vec![])).await;
    tokio::time::timeout(PATIENCE, held_back(1)).await.expect("one is back");
    master.stop().await;
}

#[tokio::test]
async fn who_is_given_up_in_the_moment_it_comes_back_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    let (mut agent, _) = Peer::join_whole(&master, hello()).await;
    // As if the look at absences had been a moment earlier.
    let id = agent.welcome.agent_id.clone();
    master.cluster().ask(Command::LoseAgent { id: id.clone() }).await.unwrap();
    agent.closed().await;
    let (_agent, _) = Peer::join_whole(&master, hello_again(&agent.welcome, vec![])).await;
    assert_eq!(master.cluster().state().agents[&id].presence, Presence::Connected);
    master.stop().await;
}

#[tokio::test]
async fn a_forgotten_agent_gets_a_new_id() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), 300).await;
    let (agent, _) = Peer::join_whole(&master, hello()).await;
    let welcome = agent.welcome.clone();
    drop(agent);
    let id = welcome.agent_id.clone();
    until(master.cluster(), "it is lost", |state| state.agents[&id].presence == Presence::Lost).await;
    assert_eq!(master.cluster().ask(Command::ForgetAgent { id: id.clone() }).await, Ok(Outcome::Done));
    let (agent, _) = Peer::join_whole(&master, hello_again(&welcome, vec![])).await;
    assert_ne!(agent.welcome.agent_id, id);
    assert_eq!(master.cluster().state().agents.len(), 1);
    master.stop().await;
}

#[tokio::test]
async fn a_master_that_starts_again_knows_everything() {
    let dir = tempfile::tempdir().unwrap();
    let before = master(dir.path(), NEVER).await;
    let (mut agent, _) = Peer::join_whole(&before, hello()).await;
    deploy(before.cluster(), 2).await;
    until(before.cluster(), "both are placed", |state| state.tasks.len() == 2).await;
    let tasks: Vec<TaskId> = before.cluster().state().tasks.keys().cloned().collect();
    let welcome = agent.welcome.clone();
    for (seq, task) in (1..).zip(&tasks) {
        agent.report(report(task, seq, TaskState::Running)).await;
    }
    let began = Instant::now();
    before.stop().await;
    assert!(began.elapsed().as_secs() < 3, "an open session holds nothing up");
    agent.closed().await;
    let after = master(dir.path(), NEVER).await;
    let knows = (1..).zip(&tasks).map(|(seq, task)| report(task, seq, TaskState::Running)).collect();
    let (mut agent, complete) = Peer::join_whole(&after, hello_again(&welcome, knows)).await;
    assert_eq!(agent.welcome.agent_id, welcome.agent_id);
    assert!(agent.welcome.fence > welcome.fence, "a new term");
    let mut run: Vec<TaskId> = complete.run.into_iter().map(|run| run.task).collect();
    run.sort();
    assert_eq!((run, complete.kill), (tasks, vec![]));
    assert_eq!(agent.next().await, MasterMessage::Acknowledged { seq: 2 });
    assert_eq!(after.cluster().state().apps[&app()].app.instances, 2);
    after.stop().await;
}

#[tokio::test]
async fn a_change_that_no_entry_holds_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    let large = Command::ForgetAgent { id: AgentId::new("x".repeat(2_000_000)) };
    let error = master.cluster().ask(large).await.unwrap_err();
    assert!(matches!(error, AskError::TooLarge { bytes: 2_000_000.., .. }), "{error}");
    master.stop().await;
}
