//! The whole agent with real processes and real containers: its end, in the middle of everything, changes
//! nothing for its tasks, and the next one finds them. Run as root, with a Docker Engine.

mod common;
#[path = "../src/node/tests/master.rs"]
mod master;

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder};
use common::{SHIM, WORKLOAD, eventually, task, this_program};
use futures_util::{FutureExt, TryStreamExt};
use gantry_agent::node;
use gantry_agent::options::{Options, ResolverChoice, RuntimeChoice};
use gantry_agent::runtime::docker::container_name;
use gantry_agent::runtime::process::ShimCommand;
use master::{Master, Peer};
use serde_json::{Value, json};
use spec::app::AppDocument;
use spec::ids::TaskId;
use spec::protocol::{Fence, KillTask, LogFile, MasterMessage, OpenLog, RunTask, TaskState, Wanted};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

fn options(master: &Master, dir: &Path, runtime: RuntimeChoice) -> Options {
    let shim =
        ShimCommand { program: this_program(), args: Vec::new(), env: vec![(SHIM.into(), "1".into())] };
    Options {
        runtime,
        shim,
        resolver: ResolverChoice::Off,
        ..Options::new(vec![master.address()], dir.to_owned(), "127.0.0.1".parse().unwrap())
    }
}

/// Aborting it is as sudden as SIGKILL, as far as the agent's own state goes.
fn agent(options: Options) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let ended = node::run(options, CancellationToken::new()).await;
        panic!("the agent ended: {ended:?}");
    }))
}

async fn crash(agent: AbortOnDropHandle<()>) {
    agent.abort();
    assert!(agent.await.unwrap_err().is_cancelled());
}

async fn welcomed(master: &Master, index: u64) -> Peer {
    let mut peer = master.accept().await;
    peer.welcome(index).await;
    peer
}

fn wanted(index: u64, fields: Value, run: &[&TaskId], kill: &[&TaskId]) -> MasterMessage {
    let launch = common::launch(&task("any"), "/".into(), fields);
    let mut app = Arc::unwrap_or_clone(launch.app);
    app.port_definitions =
        serde_json::from_value(json!([{"port": 10000, "protocol": "tcp", "name": "http"}])).unwrap();
    let run_task = |task: &&TaskId| RunTask { task: (*task).clone(), app: 0, host_ports: vec![31007] };
    let kill_task = |task: &&TaskId| KillTask { task: (*task).clone(), grace_millis: 5_000 };
    MasterMessage::Wanted(Wanted {
        fence: Fence { term: 1, index },
        complete: true,
        apps: vec![AppDocument(Arc::new(app))],
        run: run.iter().map(run_task).collect(),
        kill: kill.iter().map(kill_task).collect(),
    })
}

async fn log(peer: &mut Peer, stream: u64, task: &TaskId) -> String {
    let (task, file) = (task.clone(), LogFile::Stdout);
    peer.send(MasterMessage::OpenLog(OpenLog { stream, task, file, tail_lines: None, follow: false })).await;
    let (text, error) = peer.log(stream).await;
    assert_eq!(error, None);
    text
}

#[tokio::test]
async fn processes_outlive_the_agent_and_their_endings_are_known() {
    let (master, dir) = (Master::bind().await, tempfile::tempdir().unwrap());
    let (one, two) = (task("one"), task("two"));
    let go = dir.path().join("go");
    let cmd = format!(
        "echo $PORT_HTTP $HOST $MESOS_TASK_ID; env | grep -q ^PATH=/ || exit 1; while [ ! -e {} ]; do sleep 0.05; done; exit 7",
        go.display()
    );
    let fields = json!({"cmd": cmd});

    let first = agent(options(&master, dir.path(), RuntimeChoice::Process));
    let mut peer = welcomed(&master, 1).await;
    peer.send(wanted(2, fields.clone(), &[&one, &two], &[])).await;
    peer.until(&one, TaskState::Running).await;
    peer.until(&two, TaskState::Running).await;
    let expected = format!("31007 127.0.0.1 {one}\n");
    let seen = eventually("the task writes", async || {
        Some(log(&mut peer, 1, &one).await).filter(|text| !text.is_empty())
    });
    assert_eq!(seen.await, expected);
    crash(first).await;

    let second = agent(options(&master, dir.path(), RuntimeChoice::Process));
    let mut peer = welcomed(&master, 3).await;
    assert!(peer.hello.tasks.iter().all(|report| report.state == TaskState::Running));
    assert_eq!(peer.hello.tasks.len(), 2);
    peer.send(wanted(4, fields.clone(), &[&one], &[&two])).await;
    peer.until(&two, TaskState::Killed).await;
    crash(second).await;
    std::fs::write(&go, "").unwrap();

    let _third = agent(options(&master, dir.path(), RuntimeChoice::Process));
    let mut peer = welcomed(&master, 5).await;
    // It may have ended before the agent said hello.
    let known =
        peer.hello.tasks.iter().find(|report| report.task == one && report.state == TaskState::Failed);
    let ending = match known.cloned() {
        Some(ending) => ending,
        None => peer.until(&one, TaskState::Failed).await,
    };
    assert_eq!(ending.message, "Command exited with status 7");
    assert!(peer.hello.tasks.iter().any(|report| report.task == two && report.state == TaskState::Killed));
    peer.send(MasterMessage::Acknowledged { seq: peer.seq }).await;
    peer.send(wanted(6, fields, &[], &[])).await;
    eventually("everything but the sandbox is removed", async || {
        let left = |name| std::fs::read_dir(dir.path().join(name)).unwrap().count();
        (left("process") == 0 && left("tasks") == 0).then_some(())
    })
    .await;
    assert_eq!(log(&mut peer, 2, &one).await, expected, "the log stays with the sandbox");
}

struct Image(String);

impl Image {
    /// This program as an image, also as its `/bin/sh`.
    async fn build() -> Self {
        let mut tar = tar::Builder::new(Vec::new());
        tar.sparse(false);
        tar.append_path_with_name(this_program(), "bin/sh").unwrap();
        let tar = tar.into_inner().unwrap();
        let name = format!("agentcore-test:{}", std::process::id());
        let (repo, tag) = name.split_once(':').unwrap();
        let options = CreateImageOptionsBuilder::default().from_src("-").repo(repo).tag(tag).build();
        docker()
            .create_image(Some(options), Some(bollard::body_full(tar.into())), None)
            .try_for_each(|_| async { Ok(()) })
            .await
            .expect("these tests need a Docker Engine");
        Self(name)
    }

    async fn remove(self) {
        let force = RemoveImageOptionsBuilder::default().force(true).build();
        docker().remove_image(&self.0, Some(force), None).await.unwrap();
    }
}

fn docker() -> bollard::Docker {
    bollard::Docker::connect_with_socket_defaults().expect("a Docker Engine at /var/run/docker.sock")
}

async fn container_id(task: &TaskId) -> Option<String> {
    docker().inspect_container(&container_name(task), None).await.ok()?.id
}

/// Whatever fails, nothing is left behind.
#[tokio::test]
async fn containers_outlive_the_agent_and_stay_the_same() {
    let (image, dir) = (Image::build().await, tempfile::tempdir().unwrap());
    let left = options(&Master::bind().await, dir.path(), RuntimeChoice::Docker);
    let test = containers_stay_the_same(image.0.clone(), dir.path().to_owned());
    let done = AssertUnwindSafe(test).catch_unwind().await;
    eventually("the agent has let go of its directory", async || {
        node::remove_everything(left.clone()).await.ok()
    })
    .await;
    image.remove().await;
    done.unwrap_or_else(|panic| resume_unwind(panic));
}

async fn containers_stay_the_same(image: String, dir: PathBuf) {
    let master = Master::bind().await;
    let app = |cmd: &str| {
        json!({"cmd": cmd, "env": {WORKLOAD: "1"}, "container": {"type": "DOCKER", "volumes": [],
            "docker": {"image": image, "forcePullImage": false, "privileged": false}}})
    };
    let (stays, ends) = (task("stays"), task("ends"));
    let first = agent(options(&master, &dir, RuntimeChoice::Docker));
    let mut peer = welcomed(&master, 1).await;
    assert_eq!(peer.hello.info.runtimes.docker, None);
    peer.send(wanted(2, app("env PORT0 sleep 600"), &[&stays], &[])).await;
    peer.until(&stays, TaskState::Running).await;
    let id = container_id(&stays).await.unwrap();
    crash(first).await;

    let second = agent(options(&master, &dir, RuntimeChoice::Docker));
    let mut peer = welcomed(&master, 3).await;
    assert_eq!(peer.hello.tasks[0].state, TaskState::Running);
    let mut both = wanted(4, app("out bye exit 3"), &[&ends], &[]);
    if let MasterMessage::Wanted(wanted) = &mut both {
        wanted.complete = false;
    }
    peer.send(both).await;
    let ending = peer.until(&ends, TaskState::Failed).await;
    assert_eq!(ending.message, "Container exited with status 3");
    assert!(container_id(&ends).await.is_some(), "not removed before it is acknowledged");
    peer.send(MasterMessage::Acknowledged { seq: peer.seq }).await;
    eventually("the ended one goes", async || container_id(&ends).await.is_none().then_some(())).await;
    assert_eq!(log(&mut peer, 1, &ends).await, "bye\n", "its last lines are kept");
    assert_eq!(log(&mut peer, 2, &stays).await, "31007\n");
    assert_eq!(container_id(&stays).await, Some(id));
    crash(second).await;
    node::remove_everything(options(&master, &dir, RuntimeChoice::Docker)).await.unwrap();
    assert_eq!(container_id(&stays).await, None);
}
