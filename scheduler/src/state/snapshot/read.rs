//! From the records of a snapshot to a state. Everything a record refers to must be there before it.

use std::sync::Arc;

use spec::app::App;
use spec::ids::{AppId, InstanceId, TaskId};
use spec::time::Timestamp;

use super::SnapshotError;
use super::chunks::Frames;
use super::records::{
    AgentRecord, AppRecord, Definition, DeploymentRecord, FailureRecord, Header, MastersRecord, Original,
    Record, TaskRecord,
};
use crate::state::{
    Agent, AppEntry, Deployment, LaunchDelay, MasterEntry, State, Task, TaskFailure, Vacant, Versions,
};

pub(super) fn state(mut frames: Frames<'_>) -> Result<State, SnapshotError> {
    let Some(Record::Header(header)) = next(&mut frames)? else {
        return Err(SnapshotError::Truncated);
    };
    let mut state = State {
        index: header.index,
        now: header.now,
        cluster_id: header.cluster_id,
        root_version: header.root_version,
        next_agent: header.next_agent,
        ..State::default()
    };
    while let Some(record) = next(&mut frames)? {
        take_in(&mut state, record)?;
    }
    check_counts(&state, &header)?;
    Ok(state)
}

fn next(frames: &mut Frames<'_>) -> Result<Option<Record>, SnapshotError> {
    let Some(frame) = frames.next()? else {
        return Ok(None);
    };
    match postcard::take_from_bytes(&frame) {
        Ok((record, [])) => Ok(Some(record)),
        Ok(_) => Err(inconsistent("a record is longer than what it says")),
        Err(error) => Err(inconsistent(format!("a record cannot be read: {error}"))),
    }
}

fn inconsistent(why: impl Into<String>) -> SnapshotError {
    SnapshotError::Inconsistent(why.into())
}

fn check_counts(state: &State, header: &Header) -> Result<(), SnapshotError> {
    let found = [state.agents.len(), state.apps.len(), state.tasks.len(), state.deployments.len()];
    let promised = [header.agents, header.apps, header.tasks, header.deployments];
    if found.map(|count| count as u64) == promised { Ok(()) } else { Err(SnapshotError::Truncated) }
}

fn take_in(state: &mut State, record: Record) -> Result<(), SnapshotError> {
    match record {
        Record::Header(_) => return Err(inconsistent("it has two headers")),
        Record::Masters(MastersRecord { last_master, masters }) => {
            state.last_master = last_master;
            let entry = |(id, ticket, info)| (id, Arc::new(MasterEntry { id, ticket, info }));
            state.masters = masters.into_iter().map(entry).collect();
        }
        Record::Agent(record) => {
            let agent = agent(record);
            state.agents.insert(agent.id.clone(), Arc::new(agent));
        }
        Record::App(record) => {
            let entry = entry(record)?;
            if !entry.retired {
                state.claim_service_ports(&entry.app);
            }
            state.apps.insert(entry.app.id.clone(), Arc::new(entry));
        }
        Record::Task(record) => {
            let task = task(state, record)?;
            state.enter(Arc::new(task));
        }
        Record::Deployment(record) => {
            let deployment = deployment(state, record)?;
            state.deployments.insert(deployment.id, Arc::new(deployment));
        }
    }
    Ok(())
}

fn agent(record: AgentRecord) -> Agent {
    Agent { presence: record.presence, ..Agent::new(record.id, record.info, record.since) }
}

fn entry(record: AppRecord) -> Result<AppEntry, SnapshotError> {
    let versions = record.versions.into_iter().map(Definition::into_app).collect();
    let versions =
        Versions::new(versions).ok_or_else(|| inconsistent("versions of an app are out of order"))?;
    let app = versions.get(record.current).ok_or_else(|| inconsistent("an app has no definition"))?;
    if versions.iter().any(|version| version.id != app.id) {
        return Err(inconsistent(format!("{} has versions of another app", app.id)));
    }
    let current = app.clone();
    Ok(AppEntry {
        versions,
        retired: record.retired,
        delay: record.delay.map(|(millis, since)| LaunchDelay { millis, since }),
        vacant: record.vacant.into_iter().map(|(uuid, incarnation)| Vacant { uuid, incarnation }).collect(),
        last_failure: record.last_failure.map(|failure| Arc::new(self::failure(failure))),
        ..AppEntry::new(current)
    })
}

fn failure(record: FailureRecord) -> TaskFailure {
    let FailureRecord { task, host, agent, message, state, at, version } = record;
    TaskFailure { task, host, agent, message, state, at, version }
}

/// With the ids of app and agent that the state has already: a million tasks share them.
fn task(state: &State, record: TaskRecord) -> Result<Task, SnapshotError> {
    let app = definition(state, record.id.app(), record.version)?;
    let TaskId { instance, incarnation } = record.id;
    let id = TaskId { instance: InstanceId { app: app.id.clone(), ..instance }, incarnation };
    let agent = state.agents.get(&record.agent);
    Ok(Task {
        agent: agent.ok_or_else(|| inconsistent(format!("{id} has no agent")))?.id.clone(),
        app,
        id,
        host_ports: record.host_ports.into(),
        condition: record.condition,
        goal: record.goal,
        staged_at: record.staged_at,
        started_at: record.started_at,
        since: record.since,
        addresses: record.addresses.into(),
        health: record.health.into(),
        readiness: record.readiness.into(),
        seq: record.seq,
    })
}

fn definition(state: &State, app: &AppId, version: Timestamp) -> Result<Arc<App>, SnapshotError> {
    let found = state.apps.get(app).and_then(|entry| entry.version(version));
    found.cloned().ok_or_else(|| inconsistent(format!("{app} has no version {version}")))
}

fn deployment(state: &State, record: DeploymentRecord) -> Result<Deployment, SnapshotError> {
    let original = |(id, original): (AppId, Original)| {
        let original = match original {
            Original::Absent => None,
            Original::Kept(version) => Some(definition(state, &id, version)?),
            Original::Whole(definition) => Some(definition.into_app()),
        };
        Ok((id, original))
    };
    let current = usize::try_from(record.current).ok().filter(|current| *current < record.steps.len());
    Ok(Deployment {
        current: current.ok_or_else(|| inconsistent(format!("deployment {} has no step", record.id)))?,
        id: record.id,
        version: record.version,
        steps: record.steps.into(),
        originals: record.originals.into_iter().map(original).collect::<Result<_, SnapshotError>>()?,
        kill: record.kill,
    })
}
