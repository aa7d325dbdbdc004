//! The process runtime with real processes, control groups and mount namespaces of this machine. Run as
//! root: without it these tests fail, since what they prove cannot be seen.

#[path = "../common/mod.rs"]
mod common;
mod fixture;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{eventually, silent, text};
use fixture::{Fixture, is_alive, open, pid_in};
use futures_util::StreamExt;
use gantry_agent::runtime::process::files::{self, STARTED, Started};
use gantry_agent::runtime::process::group_name;
use gantry_agent::runtime::{Exit, Launch, Runtime, RuntimeError, Signal, Status, cgroup::Group};
use serde_json::json;
use spec::protocol::LogFile;

#[tokio::test]
async fn runs_to_its_end_and_says_how() {
    let fixture = Fixture::new();
    let process = &fixture.process;
    let task = fixture.shell("exit", "echo one; echo two >&2; echo $GREETING; pwd; exit 3").await;
    let exit = process.wait(&task).await.unwrap();
    assert_eq!((exit.code, exit.out_of_memory), (Some(3), false));
    assert_eq!(exit.message, "Command exited with status 3");
    assert!(exit.at.is_some());
    assert_eq!(process.wait(&task).await.unwrap(), exit);
    let sandbox = fixture.sandbox(&task);
    assert_eq!(fixture.output(&task).await, format!("one\nhello\n{}\n", sandbox.display()));
    let read = async |file, tail| text(process.log(&task, file, tail, false).await.unwrap()).await;
    assert_eq!(read(LogFile::Stderr, None).await, "two\n");
    assert_eq!(read(LogFile::Stdout, Some(2)).await, format!("hello\n{}\n", sandbox.display()));

    process.signal(&task, Signal::Term).await.expect("it has ended: nothing to do");
    process.signal(&task, Signal::Kill).await.expect("it has ended: nothing to do");
    assert!(matches!(&process.list().await.unwrap()[0].status, Status::Exited(found) if *found == exit));
    process.remove(&task).await.unwrap();
    process.remove(&task).await.expect("there is none: nothing to do");
    assert_eq!(process.list().await.unwrap(), []);
    assert!(!Group::new(group_name(&task)).exists(), "its group is gone");
    assert!(sandbox.join("stdout").exists(), "its sandbox is not");
    assert!(matches!(process.wait(&task).await, Err(RuntimeError::NotFound)));
    assert!(matches!(process.signal(&task, Signal::Kill).await, Err(RuntimeError::NotFound)));
}

#[tokio::test]
async fn arguments_without_a_shell() {
    let fixture = Fixture::new();
    let task = fixture.run("args", json!({"args": ["printf", "%s|", "a b", "$HOME"]})).await;
    assert_eq!(fixture.process.wait(&task).await.unwrap().code, Some(0));
    assert_eq!(fixture.output(&task).await, "a b|$HOME|");
}

#[tokio::test]
async fn what_cannot_start_says_why_and_leaves_nothing() {
    let fixture = Fixture::new();
    let process = &fixture.process;
    let mut wrong_mount = json!({"cmd": "true", "container": {"type": "MESOS", "volumes": []}});
    wrong_mount["container"]["volumes"] =
        json!([{"containerPath": "in", "hostPath": "/no/such", "mode": "RO"}]);
    for (fields, reason) in [
        (json!({"args": ["/no/such/program"]}), "No such file"),
        (wrong_mount, "mounting /no/such on"),
        (json!({}), "neither cmd nor args"),
        (json!({"cmd": "true", "networks": [{"mode": "container/bridge"}]}), "networks need a Docker image"),
    ] {
        let launch = fixture.prepare("wrong", fields);
        let error = process.launch(&launch, silent()).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!Group::new(group_name(&launch.task)).exists());
    }
    let mut stranger = fixture.prepare("wrong", json!({"cmd": "true"}));
    Arc::make_mut(&mut stranger.app).user = Some("no-such-user".to_owned());
    let error = process.launch(&stranger, silent()).await.unwrap_err();
    assert!(matches!(&error, RuntimeError::Failed(text) if text.contains("no-such-user")), "{error}");
    assert_eq!(process.list().await.unwrap(), []);
}

#[tokio::test]
async fn a_task_that_ignores_term_is_killed() {
    let fixture = Fixture::new();
    let task = fixture.shell("stubborn", "trap '' TERM; echo ready; while :; do sleep 1; done").await;
    let mut log = fixture.process.log(&task, LogFile::Stdout, None, true).await.unwrap();
    assert_eq!(log.next().await.unwrap().unwrap(), "ready\n");
    fixture.process.signal(&task, Signal::Term).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), fixture.process.wait(&task)).await;
    assert!(early.is_err(), "it ignores SIGTERM");
    fixture.process.signal(&task, Signal::Kill).await.unwrap();
    let exit = fixture.process.wait(&task).await.unwrap();
    assert_eq!((exit.code, exit.message.as_str()), (Some(137), "Command terminated with signal 9"));
    assert!(log.next().await.is_none(), "a followed log ends with the task");
}

#[tokio::test]
async fn term_reaches_the_whole_process_group() {
    let fixture = Fixture::new();
    let task = fixture.shell("group", "sleep 600 & echo $! > child; wait").await;
    let child = pid_in(fixture.sandbox(&task).join("child")).await;
    fixture.process.signal(&task, Signal::Term).await.unwrap();
    assert_eq!(fixture.process.wait(&task).await.unwrap().code, Some(143));
    assert!(!is_alive(child));
}

#[tokio::test]
async fn no_grandchild_outlives_its_task() {
    let fixture = Fixture::new();
    // In a session of its own, ignoring SIGTERM, its parent gone.
    let escape = concat!(
        "setsid sh -c 'trap \"\" TERM; echo $$ > child; sleep 600' & ",
        "while ! [ -s child ]; do sleep 0.01; done"
    );
    let ended = fixture.shell("ended", &format!("{escape}; exit 0")).await;
    assert_eq!(fixture.process.wait(&ended).await.unwrap().code, Some(0));
    assert!(!is_alive(pid_in(fixture.sandbox(&ended).join("child")).await));

    let killed = fixture.shell("killed", &format!("{escape}; sleep 600")).await;
    let child = pid_in(fixture.sandbox(&killed).join("child")).await;
    fixture.process.signal(&killed, Signal::Kill).await.unwrap();
    fixture.process.wait(&killed).await.unwrap();
    assert!(!is_alive(child));

    let removed = fixture.shell("removed", &format!("{escape}; sleep 600")).await;
    let child = pid_in(fixture.sandbox(&removed).join("child")).await;
    let started = fixture.started(&removed);
    fixture.process.remove(&removed).await.unwrap();
    assert!(!is_alive(child) && !started.process.is_alive() && !started.shim.is_alive());
}

#[tokio::test]
async fn memory_beyond_the_limit_is_told_apart() {
    let fixture = Fixture::new();
    let program = common::this_program();
    let task = fixture.run("oom", json!({"args": [program, "allocate-mib", "400"], "mem": 32})).await;
    let exit = fixture.process.wait(&task).await.unwrap();
    assert!(exit.out_of_memory, "{exit:?}");
    assert_eq!(exit.code, Some(137));
    let limit = json!({"args": [program, "allocate-mib", "100"], "mem": 32, "resourceLimits": {"mem": 256}});
    let task = fixture.run("fits", limit).await;
    assert_eq!(fixture.process.wait(&task).await.unwrap().code, Some(0));
}

#[tokio::test]
async fn use_of_cpu_and_memory_is_measured() {
    let fixture = Fixture::new();
    let args = [common::this_program().display().to_string(), "burn".to_owned()];
    let task = fixture.run("burn", json!({"args": args, "resourceLimits": {"cpus": 0.5}})).await;
    let tasks = [task.clone()];
    fixture.process.usage(&tasks).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let usage = fixture.process.usage(&tasks).await;
    let measured = usage[0].1;
    assert!((50..=700).contains(&measured.cpus_milli), "about half a core at most: {measured:?}");
    assert!((10_000..64 << 20).contains(&measured.mem_bytes), "{measured:?}");
    fixture.process.remove(&task).await.unwrap();
    assert_eq!(fixture.process.usage(&tasks).await, []);
}

#[tokio::test]
async fn another_instance_of_the_agent_adopts() {
    let fixture = Fixture::new();
    let running = fixture.shell("up", "sleep 600; exit 4").await;
    let ended = fixture.shell("down", "exit 7").await;
    fixture.process.wait(&ended).await.unwrap();
    let handle = |found: &[gantry_agent::runtime::Found]| {
        found.iter().find(|found| found.task == running).map(|found| found.handle.clone())
    };
    let before = handle(&fixture.process.list().await.unwrap());

    let again = open(fixture.data.path());
    let found = again.list().await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(handle(&found), before, "the same process");
    for one in &found {
        match &one.status {
            Status::Running => assert_eq!(one.task, running),
            Status::Exited(exit) => assert_eq!((&one.task, exit.code), (&ended, Some(7))),
            Status::Created => panic!("{one:?}"),
        }
    }
    assert_eq!(again.exec(&running, "exit 5").await.unwrap(), 5);
    let (exit, signalled) = tokio::join!(again.wait(&running), again.signal(&running, Signal::Term));
    signalled.unwrap();
    assert_eq!(exit.unwrap().code, Some(143));
}

#[tokio::test]
async fn a_killed_shim_leaves_an_end_that_is_not_known() {
    let fixture = Fixture::new();
    let task = fixture.shell("orphan", "setsid sleep 600 & echo $! > child; sleep 600").await;
    let child = pid_in(fixture.sandbox(&task).join("child")).await;
    let started = fixture.started(&task);
    rustix::process::kill_process(started.shim.raw().unwrap(), rustix::process::Signal::KILL).unwrap();
    let exit = fixture.process.wait(&task).await.unwrap();
    assert_eq!((exit.code, exit.out_of_memory), (None, false));
    assert!(exit.message.contains("not known"), "{exit:?}");
    assert!(!started.process.is_alive() && !is_alive(child), "nothing runs on unwatched");
    assert_eq!(fixture.process.wait(&task).await.unwrap(), exit, "the same answer again");
    fixture.process.remove(&task).await.unwrap();
}

#[tokio::test]
async fn a_restart_of_the_machine_ends_all() {
    let fixture = Fixture::new();
    let task = fixture.shell("reboot", "exit 0").await;
    fixture.process.wait(&task).await.unwrap();
    let directory = fixture.data.path().join("process").join(task.to_string());
    std::fs::remove_file(directory.join(files::EXIT)).unwrap();
    let before = Started { boot_id: "another".to_owned(), ..fixture.started(&task) };
    files::write(&directory, STARTED, &before).unwrap();
    let found = fixture.process.list().await.unwrap();
    let Status::Exited(Exit { code: None, message, .. }) = &found[0].status else { panic!("{found:?}") };
    assert!(message.contains("restarted"), "{message}");
}

#[tokio::test]
async fn the_resolver_is_the_tasks_alone() {
    let fixture = Fixture::new();
    let machine = std::fs::read_to_string("/etc/resolv.conf").unwrap();
    let mut launch = fixture.prepare("resolver", json!({"cmd": "cat /etc/resolv.conf; pwd; sleep 600"}));
    launch.resolvers.host = "127.0.0.77".parse().ok();
    fixture.process.launch(&launch, silent()).await.unwrap();
    let mut log = fixture.process.log(&launch.task, LogFile::Stdout, None, true).await.unwrap();
    let mut seen = String::new();
    while seen.lines().count() < 2 {
        seen += std::str::from_utf8(&log.next().await.unwrap().unwrap()).unwrap();
    }
    assert!(seen.starts_with("nameserver 127.0.0.77\n"), "{seen}");
    assert_eq!(std::fs::read_to_string("/etc/resolv.conf").unwrap(), machine, "the machine's own stays");
    let check = format!("grep -q 127.0.0.77 /etc/resolv.conf && [ $(pwd) = {} ]", launch.sandbox.display());
    assert_eq!(fixture.process.exec(&launch.task, &check).await.unwrap(), 0, "checks see what the task sees");
}

#[tokio::test]
async fn volumes_are_mounted_for_the_task_alone() {
    let fixture = Fixture::new();
    let shared = tempfile::tempdir().unwrap();
    std::fs::write(shared.path().join("note"), "from outside").unwrap();
    let volumes = json!([
        {"containerPath": "in", "hostPath": shared.path(), "mode": "RO"},
        {"containerPath": "out", "hostPath": shared.path(), "mode": "RW"},
    ]);
    let cmd = "cat in/note; echo x > in/no 2>/dev/null || echo refused; echo y > out/yes";
    let fields = json!({"cmd": cmd, "container": {"type": "MESOS", "volumes": volumes}});
    let task = fixture.run("volumes", fields).await;
    assert_eq!(fixture.process.wait(&task).await.unwrap().code, Some(0));
    assert_eq!(fixture.output(&task).await, "from outsiderefused\n");
    assert!(shared.path().join("yes").exists() && !shared.path().join("no").exists());
    assert_eq!(std::fs::read_dir(fixture.sandbox(&task).join("in")).unwrap().count(), 0);
}

#[tokio::test]
async fn another_user() {
    let fixture = Fixture::new();
    let cmd = "id -u; id -G; echo own > mine; cat /etc/shadow 2>/dev/null || echo refused";
    let task = fixture.run("user", json!({"cmd": cmd, "user": "nobody"})).await;
    fixture.process.wait(&task).await.unwrap();
    assert_eq!(fixture.output(&task).await, "65534\n65534\nrefused\n");
    let owner = |name: &str| {
        let metadata = std::fs::metadata(fixture.sandbox(&task).join(name)).unwrap();
        std::os::unix::fs::MetadataExt::uid(&metadata)
    };
    assert_eq!((owner("mine"), owner("stdout"), owner(".")), (65_534, 65_534, 65_534));

    let task = fixture.run("check", json!({"cmd": "sleep 600", "user": "nobody"})).await;
    assert_eq!(fixture.process.exec(&task, "[ $(id -u) = 65534 ]").await.unwrap(), 0);
}

#[tokio::test]
async fn commands_inside_and_their_end_when_nobody_waits() {
    let fixture = Fixture::new();
    let task = fixture.shell("exec", "sleep 600").await;
    let process = &fixture.process;
    assert_eq!(process.exec(&task, "exit 6").await.unwrap(), 6);
    assert_eq!(process.exec(&task, "kill -9 $$").await.unwrap(), 137);
    assert_eq!(process.exec(&task, "[ $GREETING = hello ]").await.unwrap(), 0);
    let long = process.exec(&task, "echo $$ > check; sleep 300; true");
    assert!(tokio::time::timeout(Duration::from_millis(500), long).await.is_err());
    let check = pid_in(fixture.sandbox(&task).join("check")).await;
    eventually("the abandoned command dies", async || (!is_alive(check)).then_some(())).await;
    process.signal(&task, Signal::Kill).await.unwrap();
    process.wait(&task).await.unwrap();
    assert!(matches!(process.exec(&task, "true").await, Err(RuntimeError::Failed(_))));
}

#[tokio::test]
async fn a_dropped_launch_is_cleaned_up_by_remove() {
    let fixture = Fixture::new();
    for micros in [100, 1_000, 5_000, 20_000, 50_000] {
        let launch = fixture.prepare("dropped", json!({"cmd": "sleep 600"}));
        let future = fixture.process.launch(&launch, silent());
        let _dropped_half_way = tokio::time::timeout(Duration::from_micros(micros), future).await;
        fixture.process.remove(&launch.task).await.unwrap();
        assert_eq!(fixture.process.list().await.unwrap(), [], "after {micros} us");
        assert!(!Group::new(group_name(&launch.task)).exists());
    }
}

#[tokio::test]
async fn the_shim_is_small_and_holds_nothing() {
    let fixture = Fixture::new();
    let task = fixture.shell("small", "sleep 600").await;
    let shim = fixture.started(&task).shim.pid;
    let files: Vec<PathBuf> = std::fs::read_dir(format!("/proc/{shim}/fd"))
        .unwrap()
        // What it closes meanwhile it does not hold.
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .collect();
    assert!(files.iter().all(|path| path == Path::new("/dev/null")), "{files:?}");
    assert_eq!(std::fs::read_link(format!("/proc/{shim}/cwd")).unwrap(), Path::new("/"));
    let status = std::fs::read_to_string(format!("/proc/{shim}/status")).unwrap();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("Threads:"), "1");
    let anonymous: u64 = field("RssAnon:").trim_end_matches(" kB").parse().unwrap();
    assert!(anonymous < 1024, "{anonymous} kB");
}

#[tokio::test]
async fn fifty_at_once() {
    let fixture = Fixture::new();
    let launches: Vec<Launch> =
        (0..50).map(|_| fixture.prepare("many", json!({"cmd": "sleep 600"}))).collect();
    let began = std::time::Instant::now();
    let started = futures_util::future::join_all(
        launches.iter().map(|launch| fixture.process.launch(launch, silent())),
    );
    for found in started.await {
        assert_eq!(found.unwrap().status, Status::Running);
    }
    println!("50 processes in {} ms", began.elapsed().as_millis());
    assert_eq!(fixture.process.list().await.unwrap().len(), 50);
    for launch in &launches {
        fixture.process.remove(&launch.task).await.unwrap();
    }
    assert_eq!(fixture.process.list().await.unwrap(), []);
}

/// Runs itself again as a user without rights: no control groups, no mounts, no other users.
#[test]
fn without_rights() {
    const INNER: &str = "GANTRY_TEST_WITHOUT_RIGHTS";
    if std::env::var_os(INNER).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(agent_without_rights());
    }
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let program = place.path().join("test");
    std::fs::copy(common::this_program(), &program).unwrap();
    let output = std::process::Command::new(program)
        .args(["without_rights", "--exact", "--nocapture"])
        .env(INNER, "1")
        .env("TMPDIR", place.path())
        .current_dir(place.path())
        .uid(65_534)
        .gid(65_534)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

async fn agent_without_rights() {
    let fixture = Fixture::unprivileged();
    let process = &fixture.process;
    let said = Arc::new(Mutex::new(Vec::<String>::new()));
    let progress: gantry_agent::runtime::Progress = {
        let said = Arc::clone(&said);
        Arc::new(move |text: &str| said.lock().unwrap().push(text.to_owned()))
    };
    let escape = "setsid sh -c 'echo $$ > child; exec sleep 600' & while :; do :; done";
    let mut launch = fixture.prepare("plain", json!({ "cmd": escape }));
    launch.resolvers.host = "127.0.0.77".parse().ok();
    process.launch(&launch, Arc::clone(&progress)).await.unwrap();
    assert!(said.lock().unwrap()[0].contains("without CPU and memory limits"));
    let child = pid_in(fixture.sandbox(&launch.task).join("child")).await;

    let tasks = [launch.task.clone()];
    process.usage(&tasks).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let measured = process.usage(&tasks).await[0].1;
    assert!(measured.cpus_milli > 20 && measured.mem_bytes > 10_000, "{measured:?}");
    assert_eq!(process.exec(&launch.task, "exit 3").await.unwrap(), 3);

    process.signal(&launch.task, Signal::Kill).await.unwrap();
    assert_eq!(process.wait(&launch.task).await.unwrap().code, Some(137));
    assert!(!is_alive(child), "what left the group is killed by the shim");
    process.remove(&launch.task).await.unwrap();

    let mut root = fixture.prepare("root", json!({"cmd": "true"}));
    Arc::make_mut(&mut root.app).user = Some("root".to_owned());
    let error = process.launch(&root, progress).await.unwrap_err();
    assert!(error.to_string().contains("root"), "{error}");
    assert_eq!(said.lock().unwrap().len(), 1, "said once");
}
