//! What earlier versions wrote must stay readable. The fixtures are never written again; a new format gets files
//! of its own beside them. `WRITE_FIXTURES=1` writes files that
//! do not exist yet.

use std::fs;
use std::path::{Path, PathBuf};

use super::snapshots::full;
use super::*;

fn fixture(name: &str, content: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    if std::env::var_os("WRITE_FIXTURES").is_some() && !path.exists() {
        fs::write(&path, content()).expect("the fixture can be written");
    }
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One of every command, with one of everything in it.
fn every_command() -> Batch {
    let task = |n| TaskId {
        instance: spec::ids::InstanceId { app: id("/shop/web"), uuid: Uuid::from_u128(n) },
        incarnation: 3,
    };
    let (agent, tasks) = (AgentId::new("cluster-S4"), vec![task(1), task(2)]);
    let at = Timestamp::from_millis(1_577_836_800_123);
    let put = |expect| PutApp { app: StoredApp(Arc::new(app("/shop/web", json!({"cpus": 0.3})))), expect };
    let deploy = Deploy {
        force: true,
        put: vec![put(Expect::Absent), put(Expect::Version(at))],
        remove: vec![id("/old")],
        restart: vec![id("/again")],
        kill: tasks.clone(),
        ..Deploy::new(deployment(9))
    };
    let placement = Placement {
        app: id("/shop/web"),
        version: at,
        agent: agent.clone(),
        host_ports: vec![31_000, 31_001],
    };
    let mut commands = vec![
        Command::Found { cluster_id: Uuid::from_u128(7) },
        Command::Deploy(deploy),
        Command::CancelDeployment { id: deployment(1) },
        Command::RevertDeployment { id: deployment(1), deployment: deployment(2) },
        Command::KillTasks { tasks: tasks.clone(), wipe: true, reason: KillReason::Asked },
        Command::ResetDelay { app: id("/shop/web") },
        Command::Place(vec![placement]),
        Command::CompleteStep { id: deployment(1), step: 2 },
        Command::MarkInactive { tasks: tasks.clone() },
        Command::Expunge { tasks: tasks.clone() },
        Command::RegisterAgent { id: None, info: info(4000) },
        Command::RegisterAgent { id: Some(agent.clone()), info: info(4000) },
        Command::LoseAgent { id: agent.clone() },
        Command::ForgetAgent { id: agent.clone() },
        Command::Report { agent, complete: true, reports: every_report(&task(1), at) },
    ];
    let reasons = [
        KillReason::Asked,
        KillReason::Surplus,
        KillReason::Outdated,
        KillReason::Removed,
        KillReason::Unhealthy,
        KillReason::Overdue,
        KillReason::Returned,
    ];
    commands.extend(reasons.map(|reason| Command::Decommission { tasks: tasks.clone(), reason }));
    Batch { at, seed: u64::MAX, commands }
}

fn every_report(task: &TaskId, at: Timestamp) -> Vec<TaskReport> {
    use TaskState::*;
    let health = spec::protocol::HealthReport {
        check: 1,
        alive: false,
        consecutive_failures: 2,
        first_success: Some(at),
        last_success: None,
        last_failure: Some(at),
        last_failure_cause: Some("404".to_owned()),
    };
    let last_response = Some((503, "text/plain".to_owned(), "not yet".to_owned()));
    let readiness = spec::protocol::ReadinessReport { name: "up".to_owned(), ready: false, last_response };
    let report = |state| TaskReport {
        task: task.clone(),
        seq: 300,
        state,
        at,
        message: "exit 1".to_owned(),
        addresses: vec![[10, 0, 0, 1].into(), [0, 0, 0, 0, 0, 0, 0, 1].into()],
        health: vec![health.clone()],
        readiness: vec![readiness.clone()],
        unhealthy_kill: true,
    };
    [Staging, Starting, Running, Killing, Finished, Failed, Killed, Error, Gone, Dropped].map(report).to_vec()
}

#[test]
fn a_log_entry_of_format_1_is_read() {
    let bytes = fixture("batch-v1.bin", || every_command().encode(Form::Json));
    assert_eq!(bytes[0], 1);
    assert_eq!(Batch::decode(&bytes), Ok(every_command()));
    assert_eq!(every_command().encode(Form::Json), bytes, "masters that read nothing else get the same");
}

/// Every field of a definition with a value of its own: two, since some fields exclude each other.
fn every_field() -> [App; 2] {
    let check = json!({"intervalSeconds": 3, "timeoutSeconds": 2, "delaySeconds": 1, "tcp": {"port": 80}});
    let on_host = json!({
        "acceptedResourceRoles": ["*"], "args": ["a", "b"], "backoffFactor": 1.5, "backoffSeconds": 7,
        "check": check, "constraints": [["hostname", "MAX_PER", "2"]], "cpus": 0.3, "dependencies": ["/db"],
        "disk": 11, "env": {"A": "b", "S": {"secret": "s"}}, "executor": "", "gpus": 2,
        "executorResources": {"cpus": 0.2, "mem": 33, "disk": 12}, "fetch": [{"uri": "http://h/a.tgz"}],
        "healthChecks": [{"protocol": "HTTP", "path": "/up", "portIndex": 0}], "instances": 300,
        "killSelection": "OLDEST_FIRST", "labels": {"k": "v"}, "maxLaunchDelaySeconds": 9, "mem": 33.5,
        "portDefinitions": [{"port": 10_001, "name": "http", "labels": {"VIP": "x"}, "protocol": "udp,tcp"}],
        "readinessChecks": [{"portName": "http", "path": "/r"}], "requirePorts": true, "role": "ops",
        "resourceLimits": {"cpus": "unlimited", "mem": 64}, "secrets": {"s": {"source": "/s"}}, "tty": true,
        "taskKillGracePeriodSeconds": 5, "user": "web",
        "unreachableStrategy": {"inactiveAfterSeconds": 60, "expungeAfterSeconds": 120},
        "upgradeStrategy": {"maximumOverCapacity": 0.25, "minimumHealthCapacity": 0.5},
    });
    let volume = json!({"containerPath": "data", "mode": "RW", "persistent": {"size": 10}});
    let contained = json!({
        "cmd": "serve", "networks": [{"mode": "container", "name": "net", "labels": {"n": "1"}}],
        "container": {"type": "DOCKER", "docker": {"image": "web:1"}, "volumes": [volume],
            "portMappings": [{"containerPort": 80, "hostPort": 0, "name": "http"}]},
        "unreachableStrategy": "disabled",
    });
    let features = spec::features::Features {
        enabled: spec::features::KNOWN.map(str::to_owned).into(),
        default_role: "ops".to_owned(),
        ..Default::default()
    };
    let mut number = 0;
    [on_host, contained].map(|mut document| {
        number += 1;
        document["id"] = json!(format!("/every/field-{number}"));
        let app = spec::app::create(&document, &features).unwrap();
        let at = Timestamp::from_millis(1_577_836_800_000 + number);
        let info = spec::app::VersionInfo { last_scaling_at: at, last_config_change_at: at.plus_millis(1) };
        App { version: at, version_info: Some(info), ..app }
    })
}

#[test]
fn a_log_entry_of_format_3_is_read() {
    let put = every_field().map(|app| PutApp { app: StoredApp(Arc::new(app)), expect: Expect::Absent });
    let mut batch = every_command();
    batch.commands.push(Command::Deploy(Deploy { put: put.into(), ..Deploy::new(deployment(10)) }));
    let bytes = fixture("batch-v3.bin", || batch.encode(Form::Packed));
    assert_eq!(bytes[0], 3);
    assert_eq!(Batch::decode(&bytes).as_ref(), Ok(&batch));
    assert_eq!(batch.encode(Form::Packed), bytes, "tags and usual values stay what they are");
    assert!(bytes.len() < batch.encode(Form::Json).len() * 2 / 3);
}

#[test]
fn an_entry_is_of_the_lowest_format_that_says_it() {
    let info = crate::masters::fixture::info("m2");
    let of_masters = Command::AddMaster { info, ticket: Uuid::nil() };
    let Command::Deploy(deploy) = every_command().commands.swap_remove(1) else {
        panic!("the second of them deploys")
    };
    let removal = Command::Deploy(Deploy { put: Vec::new(), ..deploy.clone() });
    let definition = Command::Deploy(deploy);
    for (commands, json, packed) in [
        (vec![], 1, 1),
        (vec![removal.clone()], 1, 1),
        (vec![definition.clone(), removal.clone()], 1, 3),
        (vec![definition.clone(), of_masters.clone()], 2, 3),
        (vec![of_masters, removal], 2, 2),
    ] {
        let batch = Batch { at: Timestamp::default(), seed: 0, commands };
        assert_eq!((batch.encode(Form::Json)[0], batch.encode(Form::Packed)[0]), (json, packed), "{batch:?}");
    }
    // What is taken back does not count.
    let mut encoded = Encoded::new(Form::Packed);
    let before = encoded.mark();
    encoded.push(&definition);
    encoded.back_to(before);
    assert_eq!(encoded.entry(Timestamp::default(), 0)[0], 1);
}

/// [`full`] with a master of that version.
fn of_version(version: &str) -> State {
    let mut state = full();
    let info = MasterInfo { version: version.to_owned(), ..crate::masters::fixture::info("m2") };
    let entry = MasterEntry { id: spec::ids::MasterId(2), ticket: Uuid::nil(), info };
    state.masters.insert(entry.id, Arc::new(entry));
    state.last_master = 2;
    state
}

#[test]
fn snapshots_of_formats_2_and_3_are_read() {
    for (version, name, format) in [("0.1.0", "state-v2.snapshot", 2), ("0.2.0", "state-v3.snapshot", 3)] {
        let state = of_version(version);
        let chunk = fixture(name, || state.snapshot().next().expect("it is not empty"));
        assert_eq!(chunk[4..6], [format, 0], "what all masters read");
        assert_eq!(State::restore(&[&chunk]).as_ref(), Ok(&state));
        assert_eq!(state.snapshot().next().unwrap(), chunk);
        let in_json = chunk.windows(5).any(|bytes| bytes == br#"{"id""#);
        assert_eq!(in_json, format == 2);
    }
}

#[test]
fn a_snapshot_of_format_1_is_read() {
    let chunk = fixture("state-v1.snapshot", || full().snapshot().next().expect("it is not empty"));
    assert_eq!(&chunk[..6], b"GSNP\x01\x00");
    let state = State::restore(&[chunk]).unwrap();
    assert_eq!(violations(&state), [""; 0]);
    assert_eq!((state.cluster_id, state.next_agent), (Uuid::from_u128(7), 2));
    let apps: Vec<_> = state.apps.values().map(|entry| (entry.app.id.as_str(), entry.retired)).collect();
    assert_eq!(apps, [("/gone", true), ("/web", false), ("/x/y", false)]);
    let web = &state.apps[&id("/web")];
    assert_eq!((web.versions.len(), web.app.cmd.as_deref(), web.app.instances), (2, Some("new"), 5));
    assert_eq!(web.last_failure.as_ref().unwrap().message, "so it is");
    let conditions: Vec<_> = state.tasks.values().map(|task| (task.condition, task.goal)).collect();
    assert_eq!(conditions.iter().filter(|(_, goal)| *goal == Goal::Restarting).count(), 1);
    assert!(conditions.contains(&(Condition::Running, Goal::Running)));
    assert!(conditions.contains(&(Condition::Unreachable, Goal::Running)));
    let agents: Vec<_> =
        state.agents.values().map(|agent| (agent.presence, agent.reserved.cpus_milli)).collect();
    assert_eq!(agents, [(Presence::Connected, 300), (Presence::Lost, 200)]);
    let change = state.deployments.values().next().unwrap();
    assert_eq!((change.steps.len(), change.current, change.originals.len(), change.kill.len()), (3, 0, 3, 1));
}
