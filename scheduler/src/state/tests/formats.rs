//! What earlier versions wrote must stay readable. The fixtures were written by format 1 and are never
//! written again; a new format gets files of its own beside them. `WRITE_FIXTURES=1` writes files that
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
    let put = |expect| PutApp { app: AppDocument(Arc::new(app("/shop/web", json!({"cpus": 0.3})))), expect };
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
    let bytes = fixture("batch-v1.bin", || every_command().encode());
    assert_eq!(bytes[0], 1);
    assert_eq!(Batch::decode(&bytes), Ok(every_command()));
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
