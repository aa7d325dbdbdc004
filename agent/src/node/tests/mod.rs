//! The whole agent against a master and a runtime made for the test: real sockets, real files.

mod master;
mod masters;
mod survivor;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use spec::app::AppDocument;
use spec::protocol::{
    Fence, KillTask, LogFile, MasterMessage, OpenLog, RunTask, TaskReport, TaskState, Wanted,
};
use tokio::task::JoinHandle;

use super::*;
use crate::core::tests::task;
use crate::environment::tests::app;
use crate::options::RuntimeChoice;
use crate::runtime::{Exit, Runtime};
use master::{Master, Peer};
use survivor::Survivor;

/// An agent that runs beside the test.
struct Agent {
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), AgentError>>,
}

impl Agent {
    async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.unwrap().unwrap();
    }

    async fn fails(self) -> String {
        let ended = tokio::time::timeout(Duration::from_secs(20), self.running).await;
        ended.expect("the agent goes on").unwrap().unwrap_err().to_string()
    }
}

fn options(master: &Master, dir: &Path) -> Options {
    Options {
        runtime: RuntimeChoice::Hollow,
        resolver: ResolverChoice::Off,
        usage_interval: Duration::from_millis(100),
        ..Options::new(vec![master.address()], dir.to_owned(), "127.0.0.1".parse().unwrap())
    }
}

fn spawn(options: Options) -> Agent {
    let shutdown = CancellationToken::new();
    Agent { running: tokio::spawn(run(options, shutdown.clone())), shutdown }
}

/// An agent whose tasks outlive it.
fn spawn_over(survivor: &Arc<Survivor>, options: Options) -> Agent {
    let runtime: Arc<dyn Runtime> = survivor.clone();
    let registry = Registry::of([(RuntimeKind::Process, runtime)]);
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    let running = tokio::spawn(async move {
        let (disk, identity) = DataDir::open(&options.data_dir, true)?;
        run_with(options, (Arc::new(disk), identity), registry, Company::new(), token).await
    });
    Agent { running, shutdown }
}

fn wants(index: u64, complete: bool, run: &[u32], kill: &[u32]) -> MasterMessage {
    wants_app(index, complete, json!({}), run, kill)
}

fn wants_app(index: u64, complete: bool, document: Value, run: &[u32], kill: &[u32]) -> MasterMessage {
    MasterMessage::Wanted(Wanted {
        fence: Fence { term: 1, index },
        complete,
        apps: vec![AppDocument(Arc::new(app(document)))],
        run: run.iter().map(|n| RunTask { task: task(*n), app: 0, host_ports: vec![] }).collect(),
        kill: kill.iter().map(|n| KillTask { task: task(*n), grace_millis: 200 }).collect(),
    })
}

async fn joined(master: &Master) -> Peer {
    let mut peer = master.accept().await;
    peer.welcome(1).await;
    peer
}

fn state_of(reports: &[TaskReport], n: u32) -> Option<TaskState> {
    reports.iter().find(|report| report.task == task(n)).map(|report| report.state)
}

#[tokio::test]
async fn joins_runs_kills_and_forgets() {
    let (master, dir) = (Master::bind().await, tempfile::tempdir().unwrap());
    let agent = spawn(options(&master, dir.path()));
    let mut peer = joined(&master).await;
    assert_eq!((peer.hello.agent_id.clone(), peer.hello.tasks.len()), (None, 0));
    assert!(peer.hello.info.runtimes.hollow && peer.hello.info.capacity.cpus_milli > 0);
    peer.send(wants(2, true, &[1, 2], &[])).await;
    peer.until(&task(1), TaskState::Running).await;
    peer.until(&task(2), TaskState::Running).await;
    while peer.used.len() < 2 {
        peer.usage().await;
    }
    assert!(peer.usage().await.machine.mem_bytes > 0);
    peer.send(wants(3, false, &[], &[2])).await;
    let ending = peer.until(&task(2), TaskState::Killed).await;
    peer.send(MasterMessage::Acknowledged { seq: ending.seq }).await;
    drop(peer);
    let again = master.accept().await;
    assert_eq!(again.hello.agent_id, Some(AgentId::new("c-S1")));
    assert_eq!(again.hello.fence, Fence { term: 1, index: 3 });
    assert_eq!(state_of(&again.hello.tasks, 1), Some(TaskState::Running));
    assert_eq!(state_of(&again.hello.tasks, 2), None);
    agent.stop().await;
}

#[tokio::test]
async fn an_ending_is_said_again_until_it_is_acknowledged() {
    let (master, dir) = (Master::bind().await, tempfile::tempdir().unwrap());
    let survivor = Survivor::new();
    let agent = spawn_over(&survivor, options(&master, dir.path()));
    let mut peer = joined(&master).await;
    peer.send(wants(2, true, &[1], &[])).await;
    peer.until(&task(1), TaskState::Running).await;
    drop(peer);
    survivor.end(&task(1), Exit { code: Some(3), ..Exit::default() });
    let mut peer = master.accept_until(|hello| state_of(&hello.tasks, 1) == Some(TaskState::Failed)).await;
    assert!(survivor.has(&task(1)), "not removed before the ending is acknowledged");
    peer.welcome(2).await;
    peer.send(MasterMessage::Acknowledged { seq: peer.hello.tasks[0].seq }).await;
    survivor.until_empty().await;
    agent.stop().await;
}

#[tokio::test]
async fn old_leaders_are_not_obeyed() {
    let (master, dir) = (Master::bind().await, tempfile::tempdir().unwrap());
    let survivor = Survivor::new();
    let agent = spawn_over(&survivor, options(&master, dir.path()));
    let mut peer = joined(&master).await;
    peer.send(wants(9, true, &[1], &[])).await;
    peer.until(&task(1), TaskState::Running).await;
    peer.send(wants(8, true, &[], &[1])).await;
    peer.send(wants(9, false, &[2], &[])).await;
    peer.until(&task(2), TaskState::Running).await;
    drop(peer);
    let mut old = master.accept().await;
    assert_eq!(old.hello.fence, Fence { term: 1, index: 9 });
    old.welcome_of(0, 50).await;
    let again = master.accept().await;
    assert_eq!(state_of(&again.hello.tasks, 1), Some(TaskState::Running), "an old welcome is hung up on");
    agent.stop().await;
}

#[tokio::test]
async fn a_restart_adopts_what_runs_and_removes_orphans() {
    let (master, dir) = (Master::bind().await, tempfile::tempdir().unwrap());
    let survivor = Survivor::new();
    let agent = spawn_over(&survivor, options(&master, dir.path()));
    let mut peer = joined(&master).await;
    peer.send(wants(2, true, &[1, 2, 3], &[])).await;
    for n in [1, 2, 3] {
        peer.until(&task(n), TaskState::Running).await;
    }
    let seq = peer.seq;
    agent.stop().await;
    survivor.end(&task(3), Exit { code: Some(0), ..Exit::default() });

    let agent = spawn_over(&survivor, options(&master, dir.path()));
    let mut peer = master.accept_until(|hello| hello.tasks.len() == 3).await;
    assert_eq!(state_of(&peer.hello.tasks, 1), Some(TaskState::Running));
    assert_eq!(state_of(&peer.hello.tasks, 3), Some(TaskState::Finished));
    assert!(peer.hello.tasks.iter().all(|report| report.seq > seq), "numbers never repeat");
    peer.welcome(2).await;
    peer.send(wants(3, true, &[1], &[])).await;
    peer.until(&task(2), TaskState::Killed).await;
    peer.send(MasterMessage::Acknowledged { seq: peer.seq }).await;
    survivor.until_only(&task(1)).await;
    assert_eq!(survivor.launches(), 3, "nothing was started twice");
    agent.stop().await;
}

#[tokio::test]
async fn a_kill_calls_off_a_launch_that_hangs() {
    let (master, dir) = (Master::bind().await, tempfile::tempdir().unwrap());
    let survivor = Survivor::hanging();
    let agent = spawn_over(&survivor, options(&master, dir.path()));
    let mut peer = joined(&master).await;
    peer.send(wants(2, true, &[1], &[])).await;
    peer.until(&task(1), TaskState::Staging).await;
    survivor.until(|survivor| survivor.launches() == 1).await;
    peer.send(wants(3, false, &[], &[1])).await;
    peer.until(&task(1), TaskState::Killed).await;
    assert!(!survivor.has(&task(1)));
    agent.stop().await;
}

#[tokio::test]
async fn refusals_end_the_agent_and_say_what_to_do() {
    let (master, dir) = (Master::bind().await, tempfile::tempdir().unwrap());
    let agent = spawn(options(&master, dir.path()));
    let mut peer = master.accept().await;
    peer.send(MasterMessage::Refused { reason: "because".to_owned() }).await;
    assert_eq!(agent.fails().await, "the leader refuses this agent: because");

    let agent = spawn(options(&master, dir.path()));
    let mut peer = joined(&master).await;
    peer.usage().await;
    agent.stop().await;
    let agent = spawn(options(&master, dir.path()));
    let mut peer = master.accept_until(|hello| hello.cluster_id.is_some()).await;
    peer.welcome_to(uuid::Uuid::from_u128(7), Fence { term: 1, index: 1 }).await;
    let error = agent.fails().await;
    assert!(error.contains("belongs to cluster") && error.contains("--masters"), "{error}");
}

#[tokio::test]
async fn one_agent_a_directory() {
    let (master, dir) = (Master::bind().await, tempfile::tempdir().unwrap());
    let agent = spawn(options(&master, dir.path()));
    joined(&master).await;
    let error = spawn(options(&master, dir.path())).fails().await;
    assert!(error.contains("another agent uses"), "{error}");
    agent.stop().await;
}

#[tokio::test]
async fn logs_are_sent_in_parts_and_ended() {
    let (master, dir) = (Master::bind().await, tempfile::tempdir().unwrap());
    let agent = spawn(options(&master, dir.path()));
    let mut peer = joined(&master).await;
    peer.send(wants(2, true, &[1], &[])).await;
    peer.until(&task(1), TaskState::Running).await;
    let open = |n, stream| {
        let (task, file) = (task(n), LogFile::Stdout);
        MasterMessage::OpenLog(OpenLog { stream, task, file, tail_lines: None, follow: false })
    };
    peer.send(open(1, 5)).await;
    assert_eq!(peer.log(5).await, (format!("{} is simulated\n", task(1)), None));
    peer.send(open(9, 6)).await;
    let (text, error) = peer.log(6).await;
    assert!(text.is_empty() && error.unwrap().contains("has no log on this agent"));
    agent.stop().await;
}

#[tokio::test]
async fn checks_of_a_task_are_reported() {
    let (master, dir) = (Master::bind().await, tempfile::tempdir().unwrap());
    let agent = spawn(options(&master, dir.path()));
    let mut peer = joined(&master).await;
    let check = json!({"protocol": "COMMAND", "command": {"value": "true"}, "delaySeconds": 0,
        "gracePeriodSeconds": 0, "intervalSeconds": 1, "ipProtocol": "IPv4", "maxConsecutiveFailures": 3,
        "timeoutSeconds": 1});
    peer.send(wants_app(2, true, json!({"healthChecks": [check]}), &[1], &[])).await;
    let report = peer.report(|report| !report.health.is_empty()).await;
    assert!(report.health[0].alive && report.state == TaskState::Running);
    agent.stop().await;
}

#[tokio::test]
async fn tasks_are_ended_on_exit_when_that_was_asked_for() {
    let (master, dir) = (Master::bind().await, tempfile::tempdir().unwrap());
    let survivor = Survivor::new();
    let agent = spawn_over(&survivor, Options { kill_tasks_on_exit: true, ..options(&master, dir.path()) });
    let mut peer = joined(&master).await;
    peer.send(wants(2, true, &[1], &[])).await;
    peer.until(&task(1), TaskState::Running).await;
    agent.stop().await;
    assert!(!survivor.has(&task(1)));
}

#[tokio::test]
async fn many_simulated_agents_share_a_process() {
    let (master, dir) = (Master::bind().await, tempfile::tempdir().unwrap());
    let shutdown = CancellationToken::new();
    let agents = tokio::spawn(run_many(options(&master, dir.path()), 3, shutdown.clone()));
    let mut names = Vec::new();
    let mut peers = Vec::new();
    while names.len() < 3 {
        let mut peer = joined(&master).await;
        names.push(peer.hello.info.hostname.clone());
        // It has taken note of its welcome.
        peer.usage().await;
        peers.push(peer);
    }
    names.sort();
    assert_eq!(names, ["hollow-0001", "hollow-0002", "hollow-0003"]);
    shutdown.cancel();
    agents.await.unwrap().unwrap();
    // Who they are is kept, in one file.
    let shutdown = CancellationToken::new();
    let again = tokio::spawn(run_many(options(&master, dir.path()), 1, shutdown.clone()));
    assert!(joined(&master).await.hello.agent_id.is_some());
    shutdown.cancel();
    again.await.unwrap().unwrap();
}
