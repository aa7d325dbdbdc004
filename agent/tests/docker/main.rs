//! The Docker runtime against the Engine of this machine. Without one these tests fail: a runtime that
//! was never tried is not tested.

#[path = "../common/mod.rs"]
mod common;
mod fixture;
mod proxy;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{launch, silent, task, text};
use fixture::{Fixture, api, container};
use futures_util::{StreamExt, TryStreamExt};
use gantry_agent::runtime::docker::{Docker, TASK_LABEL, container_name};
use gantry_agent::runtime::{Resolvers, Runtime, RuntimeError, Signal, Status};
use proxy::Proxy;
use serde_json::json;
use spec::ids::TaskId;
use spec::protocol::LogFile;

#[tokio::test]
async fn runs_to_its_end_and_says_how() {
    let fixture = Fixture::new().await;
    let docker = &fixture.docker;
    let task = fixture.run("exit", "out one err two env GREETING exit 3", json!({})).await;
    let exit = docker.wait(&task).await.unwrap();
    assert_eq!((exit.code, exit.out_of_memory), (Some(3), false));
    assert_eq!(exit.message, "Container exited with status 3");
    assert!(exit.at.is_some());
    assert_eq!(docker.wait(&task).await.unwrap(), exit, "again, at once");

    let read = async |file, tail, follow| text(docker.log(&task, file, tail, follow).await.unwrap()).await;
    assert_eq!(read(LogFile::Stdout, None, true).await, "one\nhello\n");
    assert_eq!(read(LogFile::Stderr, None, false).await, "two\n");
    assert_eq!(read(LogFile::Stdout, Some(1), false).await, "hello\n");

    docker.signal(&task, Signal::Kill).await.expect("it has ended: nothing to do");
    docker.signal(&task, Signal::Term).await.expect("it has ended: nothing to do");
    docker.remove(&task).await.unwrap();
    docker.remove(&task).await.expect("there is none: nothing to do");
    assert_eq!(docker.list().await.unwrap(), []);
    assert!(matches!(docker.wait(&task).await, Err(RuntimeError::NotFound)));
    assert!(matches!(docker.signal(&task, Signal::Term).await, Err(RuntimeError::NotFound)));
    assert!(matches!(docker.log(&task, LogFile::Stdout, None, false).await, Err(RuntimeError::NotFound)));
}

#[tokio::test]
async fn shell_commands_sandbox_and_volumes() {
    let fixture = Fixture::new().await;
    let shared = fixture.directory.path().join("shared");
    let mut container = container(&fixture.image.name, json!({}));
    container["volumes"] = json!([
        {"containerPath": "/in", "hostPath": shared, "mode": "RO"},
        {"containerPath": "out", "hostPath": shared, "mode": "RW"},
    ]);
    let task = task("shell");
    let steps = "write /mnt/mesos/sandbox/out/note from-inside cat /in/note write /in/note x";
    let fields = json!({"cmd": steps, "container": container});
    let launch = launch(&task, fixture.sandbox(&task), fields);
    fixture.docker.launch(&launch, silent()).await.unwrap();
    assert_eq!(fixture.docker.wait(&task).await.unwrap().code, Some(0));
    assert_eq!(std::fs::read_to_string(shared.join("note")).unwrap(), "from-inside");
    let read = async |file| text(fixture.docker.log(&task, file, None, false).await.unwrap()).await;
    assert_eq!(read(LogFile::Stdout).await, "from-inside");
    assert!(read(LogFile::Stderr).await.contains("Read-only"));
}

#[tokio::test]
async fn a_task_that_ignores_term_is_killed() {
    let fixture = Fixture::new().await;
    let task = fixture.run("stubborn", "ignore-term out ready sleep 600", json!({})).await;
    let mut log = fixture.docker.log(&task, LogFile::Stdout, None, true).await.unwrap();
    assert_eq!(log.next().await.unwrap().unwrap(), "ready\n");
    fixture.docker.signal(&task, Signal::Term).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), fixture.docker.wait(&task)).await;
    assert!(early.is_err(), "it ignores SIGTERM");
    fixture.docker.signal(&task, Signal::Kill).await.unwrap();
    assert_eq!(fixture.docker.wait(&task).await.unwrap().code, Some(137));
    assert!(log.next().await.is_none(), "a followed log ends with the task");
}

#[tokio::test]
async fn the_images_own_stop_signal_is_sent() {
    let fixture = Fixture::new().await;
    let parameters = json!([{"key": "stop-signal", "value": "SIGKILL"}]);
    let container = container(&fixture.image.name, json!({"parameters": parameters}));
    let task = fixture.run("stop", "ignore-term sleep 600", json!({"container": container})).await;
    fixture.docker.signal(&task, Signal::Term).await.unwrap();
    assert_eq!(fixture.docker.wait(&task).await.unwrap().code, Some(137));
}

#[tokio::test]
async fn memory_beyond_the_limit_is_told_apart() {
    let fixture = Fixture::new().await;
    let task = fixture.run("oom", "allocate-mib 400", json!({"mem": 32, "cpus": 1})).await;
    let exit = fixture.docker.wait(&task).await.unwrap();
    assert!(exit.out_of_memory, "{exit:?}");
    assert_eq!(exit.code, Some(137));
}

#[tokio::test]
async fn another_instance_of_the_agent_adopts_and_other_agents_do_not_see() {
    let fixture = Fixture::new().await;
    let running = fixture.run("up", "sleep 600", json!({})).await;
    let ended = fixture.run("down", "exit 7", json!({})).await;
    fixture.docker.wait(&ended).await.unwrap();
    let before = fixture.docker.list().await.unwrap();

    let again = Docker::connect(None, &fixture.owner).await.unwrap();
    let mut found = again.list().await.unwrap();
    found.sort_by_key(|found| found.task == ended);
    assert_eq!(found.len(), 2);
    assert_eq!((&found[0].task, &found[0].status), (&running, &Status::Running));
    assert!(found[0].started_at.is_some() && !found[0].handle.is_empty());
    assert!(before.iter().any(|one| one.handle == found[0].handle), "the same container");
    assert!(matches!(&found[1].status, Status::Exited(exit) if exit.code == Some(7)));
    assert_eq!(again.list().await.unwrap().len(), 2, "from what it remembers");

    let other = Docker::connect(None, "runtimes-test-other").await.unwrap();
    assert_eq!(other.list().await.unwrap(), []);
}

#[tokio::test]
async fn bridge_networks_publish_ports_and_have_addresses() {
    let fixture = Fixture::new().await;
    let gateway = fixture.docker.bridge_gateway().await.expect("Docker's default bridge");
    let mut container = container(&fixture.image.name, json!({}));
    container["portMappings"] = json!([
        {"containerPort": 8080, "hostPort": 0, "protocol": "udp,tcp", "servicePort": 0},
    ]);
    let task = task("bridge");
    let more = json!({"container": container, "networks": [{"mode": "container/bridge"}]});
    let mut launch = fixture.workload(&task, "cat /etc/resolv.conf sleep 600", more);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    launch.host_ports = vec![port];
    launch.resolvers = Resolvers { host: "127.0.0.9".parse().ok(), bridge: Some(gateway) };
    let found = fixture.docker.launch(&launch, silent()).await.unwrap();
    assert_eq!(found.addresses.len(), 1, "{found:?}");
    assert_ne!(found.addresses[0], gateway);

    let inspected = api().inspect_container(&container_name(&task), None).await.unwrap();
    let bindings = inspected.host_config.unwrap().port_bindings.unwrap();
    for protocol in ["tcp", "udp"] {
        let bound = bindings[&format!("8080/{protocol}")].as_ref().unwrap();
        assert_eq!(bound[0].host_port.as_deref(), Some(port.to_string().as_str()));
    }
    let mut log = fixture.docker.log(&task, LogFile::Stdout, None, true).await.unwrap();
    let first = String::from_utf8(log.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert_eq!(first.trim(), format!("nameserver {gateway}"));
}

#[tokio::test]
async fn host_networks_get_the_hosts_resolver() {
    let fixture = Fixture::new().await;
    let task = task("host");
    let mut launch = fixture.workload(&task, "cat /etc/resolv.conf", json!({}));
    launch.resolvers.host = "127.0.0.9".parse().ok();
    let found = fixture.docker.launch(&launch, silent()).await.unwrap();
    assert_eq!(found.addresses, Vec::<std::net::IpAddr>::new());
    fixture.docker.wait(&task).await.unwrap();
    let resolv = text(fixture.docker.log(&task, LogFile::Stdout, None, false).await.unwrap()).await;
    assert!(resolv.contains("nameserver 127.0.0.9"), "{resolv}");
}

#[tokio::test]
async fn commands_inside_and_their_end_when_nobody_waits() {
    let fixture = Fixture::new().await;
    let docker = &fixture.docker;
    let task = fixture.run("exec", "sleep 600", json!({})).await;
    assert_eq!(docker.exec(&task, "exit 0").await.unwrap(), 0);
    assert_eq!(docker.exec(&task, "out noise exit 5").await.unwrap(), 5);

    let abandoned = tokio::time::timeout(Duration::from_millis(500), docker.exec(&task, "sleep 300")).await;
    assert!(abandoned.is_err());
    let count = async || {
        let top = api().top_processes(&container_name(&task), None).await.unwrap();
        top.processes.unwrap().len()
    };
    common::eventually("the abandoned command dies", async || (count().await == 1).then_some(())).await;

    docker.signal(&task, Signal::Kill).await.unwrap();
    docker.wait(&task).await.unwrap();
    assert!(matches!(docker.exec(&task, "exit 0").await, Err(RuntimeError::Failed(_))));
}

#[tokio::test]
async fn use_of_cpu_and_memory_is_measured() {
    let fixture = Fixture::new().await;
    let task = fixture.run("burn", "burn", json!({"resourceLimits": {"cpus": 0.5}})).await;
    let tasks = [task.clone()];
    fixture.docker.usage(&tasks).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let usage = fixture.docker.usage(&tasks).await;
    assert_eq!(usage.len(), 1);
    let measured = usage[0].1;
    assert!((50..=700).contains(&measured.cpus_milli), "about half a core at most: {measured:?}");
    assert!((10_000..64 << 20).contains(&measured.mem_bytes), "{measured:?}");
    assert_eq!(fixture.docker.usage(&[common::task("none")]).await, []);
}

#[tokio::test]
async fn images_that_cannot_be_had() {
    let fixture = Fixture::new().await;
    let task = task("pull");
    let said = Arc::new(Mutex::new(Vec::<String>::new()));
    let progress: gantry_agent::runtime::Progress = {
        let said = Arc::clone(&said);
        Arc::new(move |text: &str| said.lock().unwrap().push(text.to_owned()))
    };
    let absent = json!({"container": container("localhost:1/runtimes-test/absent:1", json!({}))});
    let error =
        fixture.docker.launch(&fixture.workload(&task, "exit 0", absent), progress).await.unwrap_err();
    assert!(matches!(&error, RuntimeError::Failed(text) if text.contains("localhost:1")), "{error:?}");
    assert_eq!(said.lock().unwrap()[0], "pulling image localhost:1/runtimes-test/absent:1");
    assert_eq!(fixture.docker.list().await.unwrap(), [], "nothing is left");
}

#[tokio::test]
async fn a_forced_pull_falls_back_to_an_image_built_here_and_only_then() {
    let fixture = Fixture::new().await;
    let forced = json!({"forcePullImage": true});
    let said = Arc::new(Mutex::new(String::new()));
    let progress: gantry_agent::runtime::Progress = {
        let said = Arc::clone(&said);
        Arc::new(move |text: &str| text.clone_into(&mut said.lock().unwrap()))
    };
    let local = task("forced");
    let more = json!({"container": container(&fixture.image.name, forced.clone())});
    fixture
        .docker
        .launch(&fixture.workload(&local, "exit 0", more), progress)
        .await
        .expect("the local image");
    assert!(said.lock().unwrap().starts_with("using the local image"), "{said:?}");

    let other = task("registry");
    let tagged = "localhost:1/runtimes-test/local";
    let tag = bollard::query_parameters::TagImageOptionsBuilder::default().repo(tagged).tag("1").build();
    api().tag_image(&fixture.image.name, Some(tag)).await.unwrap();
    let more = json!({"container": container(&format!("{tagged}:1"), forced)});
    let result = fixture.docker.launch(&fixture.workload(&other, "exit 0", more), silent()).await;
    let untag = None::<bollard::query_parameters::RemoveImageOptions>;
    api().remove_image(&format!("{tagged}:1"), untag, None).await.unwrap();
    assert!(matches!(result, Err(RuntimeError::Failed(_))), "{result:?}");
}

#[tokio::test]
async fn what_cannot_start_leaves_nothing() {
    let fixture = Fixture::new().await;
    let docker = &fixture.docker;
    let missing = task("missing");
    let container_of_image = container(&fixture.image.name, json!({}));
    let fields = json!({"args": ["/no/such/program"], "container": container_of_image});
    let error =
        docker.launch(&launch(&missing, fixture.sandbox(&missing), fields), silent()).await.unwrap_err();
    assert!(matches!(&error, RuntimeError::Failed(text) if text.contains("no such file")), "{error:?}");

    let odd = task("odd");
    let parameters = json!([{"key": "detach", "value": "true"}]);
    let more = json!({"container": container(&fixture.image.name, json!({"parameters": parameters}))});
    let error = docker.launch(&fixture.workload(&odd, "exit 0", more), silent()).await.unwrap_err();
    assert!(matches!(&error, RuntimeError::Unsupported(text) if text.contains("`detach`")), "{error:?}");
    assert_eq!(docker.list().await.unwrap(), []);
}

#[tokio::test]
async fn a_dropped_launch_is_cleaned_up_by_remove() {
    let fixture = Fixture::new().await;
    for micros in [200, 2_000, 20_000, 60_000] {
        let task = task("dropped");
        let launch = fixture.workload(&task, "sleep 600", json!({}));
        let future = fixture.docker.launch(&launch, silent());
        let _dropped_half_way = tokio::time::timeout(Duration::from_micros(micros), future).await;
        fixture.docker.remove(&task).await.unwrap();
        assert_eq!(fixture.docker.list().await.unwrap(), [], "after {micros} us");
    }
}

#[tokio::test]
async fn what_an_earlier_launch_left_is_replaced() {
    let fixture = Fixture::new().await;
    let task = fixture.run("twice", "sleep 600", json!({})).await;
    let launch = fixture.workload(&task, "exit 4", json!({}));
    fixture.docker.launch(&launch, silent()).await.unwrap();
    assert_eq!(fixture.docker.wait(&task).await.unwrap().code, Some(4));
}

#[tokio::test]
async fn fifty_at_once() {
    let fixture = Fixture::new().await;
    let began = Instant::now();
    let launches: Vec<_> = (0..50).map(|_| task("many")).collect();
    let started = futures_util::stream::iter(launches.iter())
        .map(|task| {
            let launch = fixture.workload(task, "sleep 600", json!({}));
            let docker = Arc::clone(&fixture.docker);
            async move { docker.launch(&launch, silent()).await.map(drop) }
        })
        .buffer_unordered(50)
        .try_collect::<Vec<()>>()
        .await;
    assert_eq!(started.unwrap().len(), 50);
    println!("50 containers in {} ms", began.elapsed().as_millis());
    let found = fixture.docker.list().await.unwrap();
    assert_eq!(found.iter().filter(|found| found.status == Status::Running).count(), 50);
}

#[tokio::test]
async fn labels_carry_the_whole_task_id() {
    let fixture = Fixture::new().await;
    let long = "a".repeat(200);
    let id = format!("runtimes-test_{long}.instance-{}._app.1", uuid::Uuid::new_v4());
    let task: TaskId = id.parse().unwrap();
    let mut launch = fixture.workload(&common::task("long"), "sleep 600", json!({}));
    launch.task = task.clone();
    fixture.docker.launch(&launch, silent()).await.unwrap();
    let inspected = api().inspect_container(&container_name(&task), None).await.unwrap();
    assert_eq!(inspected.config.unwrap().labels.unwrap()[TASK_LABEL], id);
    assert_eq!(fixture.docker.list().await.unwrap()[0].task, task);
}

#[tokio::test]
async fn no_engine() {
    let error = Docker::connect(Some("/nonexistent/docker.sock".into()), "x").await.unwrap_err();
    assert!(
        matches!(&error, RuntimeError::Unavailable(text) if text.contains("/nonexistent/docker.sock")),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_engine_that_goes_away_and_comes_back() {
    let fixture = Fixture::new().await;
    let socket = fixture.directory.path().join("proxy.sock");
    let proxy = Proxy::start(&socket);
    let docker = Docker::connect(Some(socket.clone()), &fixture.owner).await.unwrap();
    let task = task("away");
    docker.launch(&fixture.workload(&task, "sleep 600", json!({})), silent()).await.unwrap();

    let waiting = tokio::time::timeout(Duration::from_secs(30), docker.wait(&task));
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.stop();
        tokio::time::sleep(Duration::from_millis(400)).await;
        let error = docker.list().await.unwrap_err();
        assert!(matches!(error, RuntimeError::Unavailable(_)), "{error:?}");
        let launch = fixture.workload(&common::task("never"), "exit 0", json!({}));
        let error = docker.launch(&launch, silent()).await.unwrap_err();
        assert!(matches!(error, RuntimeError::Unavailable(_)), "{error:?}");
        // It ends while nobody can see it.
        fixture.docker.signal(&task, Signal::Kill).await.unwrap();
        Proxy::start(&socket)
    };
    let (exit, _proxy) = tokio::join!(waiting, meanwhile);
    assert_eq!(exit.expect("in time").unwrap().code, Some(137));
    assert_eq!(docker.list().await.unwrap().len(), 1);
}
