//! What earlier versions of agents and masters said to each other must stay readable, and be said in the same
//! bytes: the two sides of a connection are upgraded one after the other. The fixtures hold every message of their
//! version, as they go over the wire, and are never written again; a new version gets a file of its own beside
//! them. `WRITE_FIXTURES=1` writes files that do not exist yet.

use std::fmt::Debug;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use gantry_spec as spec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use spec::Timestamp;
use spec::app::AppDocument;
use spec::features::Features;
use spec::ids::{AgentId, TaskId};
use spec::protocol::*;
use spec::resources::Resources;
use uuid::Uuid;

fn fixture(name: &str, content: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    if std::env::var_os("WRITE_FIXTURES").is_some() && !path.exists() {
        fs::write(&path, content).expect("the fixture can be written");
    }
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Length-delimited, as on the wire.
fn frames(messages: &[impl Serialize]) -> Vec<u8> {
    let frame = |message| {
        let bytes = postcard::to_allocvec(message).unwrap();
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat()
    };
    messages.iter().flat_map(frame).collect()
}

/// Reads one message after the other and expects these.
fn read<M: DeserializeOwned + PartialEq + Debug>(mut bytes: &[u8], messages: &[M]) {
    for message in messages {
        let (length, rest) = bytes.split_at(4);
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        assert_eq!(postcard::from_bytes::<M>(&rest[..length]).as_ref(), Ok(message));
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty(), "{} bytes too many", bytes.len());
}

fn at() -> Timestamp {
    Timestamp::from_millis(1_577_836_800_123)
}

fn task() -> TaskId {
    "shop_web.instance-00000001-0000-0000-0000-000000000000._app.3".parse().unwrap()
}

fn report(state: TaskState) -> TaskReport {
    let health = HealthReport {
        check: 1,
        alive: false,
        consecutive_failures: 2,
        first_success: Some(at()),
        last_success: None,
        last_failure: Some(at()),
        last_failure_cause: Some("404".to_owned()),
    };
    let last_response = Some((503, "text/plain".to_owned(), "not yet".to_owned()));
    TaskReport {
        task: task(),
        seq: 300,
        state,
        at: at(),
        message: "exit 1".to_owned(),
        addresses: vec![IpAddr::from([10, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])],
        health: vec![health],
        readiness: vec![ReadinessReport { name: "up".to_owned(), ready: false, last_response }],
        unhealthy_kill: true,
    }
}

fn hello(protocol: u16) -> Hello {
    let info = AgentInfo {
        hostname: "a.example".to_owned(),
        ip: [192, 0, 2, 7].into(),
        capacity: Resources { cpus_milli: 4_000, mem_mib: 8_192, disk_mib: 100_000, gpus: 1 },
        ports: vec![(31_000, 32_000), (33_000, 33_000)],
        attributes: [("rack".to_owned(), "r1".to_owned())].into(),
        runtimes: Runtimes { docker: None, process: Some("not on this system".to_owned()), hollow: false },
        version: "0.1.0".to_owned(),
    };
    Hello {
        protocol,
        agent_id: Some(AgentId::new("00000000-0000-0000-0000-000000000007-S4")),
        cluster_id: Some(Uuid::from_u128(7)),
        fence: Fence { term: 3, index: 500 },
        info,
        tasks: vec![report(TaskState::Running)],
    }
}

fn welcome(protocol: u16) -> Welcome {
    Welcome {
        protocol,
        agent_id: AgentId::new("00000000-0000-0000-0000-000000000007-S4"),
        cluster_id: Uuid::from_u128(7),
        fence: Fence { term: u64::MAX, index: 501 },
        dns: vec!["192.0.2.1:53".parse().unwrap(), "[2001:db8::1]:53".parse().unwrap()],
        dns_domain: "mesos".to_owned(),
    }
}

/// Everything that an agent of version 1 says.
fn agent_v1() -> Vec<AgentMessage> {
    use TaskState::*;
    let states = [Staging, Starting, Running, Killing, Finished, Failed, Killed, Error, Gone, Dropped];
    let measured = Measured { cpus_milli: 1_500, mem_bytes: 1 << 33 };
    vec![
        AgentMessage::Hello(Box::new(hello(1))),
        AgentMessage::Status(states.map(report).to_vec()),
        AgentMessage::Usage(Usage { at: at(), machine: measured, tasks: vec![(task(), measured)] }),
        AgentMessage::Beat,
        AgentMessage::LogData { stream: 5, data: b"line\n\xff".to_vec() },
        AgentMessage::LogEnd { stream: 5, error: None },
        AgentMessage::LogEnd { stream: 6, error: Some("no such task".to_owned()) },
    ]
}

/// Everything that an agent of version 1 is told.
fn master_v1() -> Vec<MasterMessage> {
    let document = json!({"id": "/shop/web", "cmd": "sleep 100", "cpus": 0.3, "labels": {"tier": "front"}});
    let app = spec::app::create(&document, &Features::default()).unwrap();
    let wanted = Wanted {
        fence: Fence { term: 3, index: 502 },
        complete: true,
        apps: vec![AppDocument(Arc::new(app))],
        run: vec![RunTask { task: task(), app: 0, host_ports: vec![31_000, 31_001] }],
        kill: vec![KillTask { task: task(), grace_millis: KILL_GRACE_MILLIS }],
    };
    let open = |file, tail_lines, follow| OpenLog { stream: 5, task: task(), file, tail_lines, follow };
    vec![
        MasterMessage::Welcome(welcome(1)),
        MasterMessage::Refused { reason: "because".to_owned() },
        MasterMessage::Wanted(wanted),
        MasterMessage::Acknowledged { seq: 300 },
        MasterMessage::Beat,
        MasterMessage::OpenLog(open(LogFile::Stdout, None, false)),
        MasterMessage::OpenLog(open(LogFile::Stderr, Some(10), true)),
        MasterMessage::CloseLog { stream: 5 },
        MasterMessage::MoreLog { stream: 5, parts: LOG_WINDOW },
    ]
}

/// What version 2 added, and its opening and answer.
fn agent_v2() -> Vec<AgentMessage> {
    vec![AgentMessage::Hello(Box::new(hello(2))), AgentMessage::WhoLeads]
}

fn master_v2() -> Vec<MasterMessage> {
    let at = |text: &str| text.parse().unwrap();
    vec![
        MasterMessage::Welcome(welcome(2)),
        MasterMessage::Masters {
            rpc: vec![at("192.0.2.1:5070"), at("[2001:db8::1]:5070")],
            dns: vec![at("192.0.2.1:53")],
        },
        MasterMessage::Elsewhere { leader: Some(at("192.0.2.2:5070")), term: (1 << 32) + 5 },
        MasterMessage::Elsewhere { leader: None, term: 5 },
    ]
}

/// What version 3 added, and its opening and answer.
fn agent_v3() -> Vec<AgentMessage> {
    vec![AgentMessage::Hello(Box::new(hello(3))), AgentMessage::Explain(vec![task(), task()])]
}

fn master_v3() -> Vec<MasterMessage> {
    vec![MasterMessage::Welcome(welcome(3))]
}

/// What version 4 added, and its opening and answer.
fn agent_v4() -> Vec<AgentMessage> {
    let measured = Measured { cpus_milli: 250, mem_bytes: 1 << 20 };
    let usage = |tasks| AgentMessage::UsageChanges(Usage { at: at(), machine: measured, tasks });
    vec![AgentMessage::Hello(Box::new(hello(4))), usage(vec![]), usage(vec![(task(), measured)])]
}

fn master_v4() -> Vec<MasterMessage> {
    vec![MasterMessage::Welcome(welcome(4))]
}

fn agree<M: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, messages: &[M]) {
    let said = frames(messages);
    let before = fixture(name, &said);
    read(&before, messages);
    assert_eq!(said, before, "{name}: the same is said in other bytes");
}

#[test]
fn version_1_is_said_and_read_as_ever() {
    agree("agent-v1.bin", &agent_v1());
    agree("master-v1.bin", &master_v1());
}

#[test]
fn version_2_is_said_and_read_as_ever() {
    agree("agent-v2.bin", &agent_v2());
    agree("master-v2.bin", &master_v2());
}

#[test]
fn version_3_is_said_and_read_as_ever() {
    agree("agent-v3.bin", &agent_v3());
    agree("master-v3.bin", &master_v3());
}

#[test]
fn definitions_are_read_where_they_lie() {
    for message in [master_v1(), master_v2(), master_v3(), master_v4()].concat() {
        let bytes = postcard::to_allocvec(&message).unwrap();
        let raw: MasterMessage<&[u8]> = postcard::from_bytes(&bytes).unwrap();
        let same = raw.clone().with_apps(|json| serde_json::from_slice(json).map(Arc::new).map(AppDocument));
        assert_eq!(same.unwrap(), message);
        let none = raw.with_apps(|json| Err::<AppDocument, _>(json.len()));
        assert_eq!(none.is_err(), matches!(message, MasterMessage::Wanted(_)));
    }
}

#[test]
fn version_4_is_said_and_read_as_ever() {
    agree("agent-v4.bin", &agent_v4());
    agree("master-v4.bin", &master_v4());
}
