//! What is true of every state, whatever was proposed: said as code, for tests and the simulator. One
//! sentence for each breach. An agent that comes back smaller than what runs on it is the one case
//! that the world can bring about and that is reported all the same.

use std::collections::{BTreeMap, BTreeSet};

use spec::ids::{AgentId, AppId, TaskId};
use spec::resources::Resources;

use super::apply::service_ports;
use super::{
    Agent, AppEntry, Applied, Condition, DEPLOYMENTS_MAX, Deployment, Event, Goal, Presence, State, Task,
    max_capacity,
};

/// Every breach; empty when all is well.
pub fn violations(state: &State) -> Vec<String> {
    let mut found = Vec::new();
    state.tasks.iter().for_each(|(id, task)| check_task(state, id, task, &mut found));
    check_conditions(state, &mut found);
    check_agents(state, &mut found);
    state.apps.iter().for_each(|(id, entry)| check_app(state, id, entry, &mut found));
    check_service_ports(state, &mut found);
    check_deployments(state, &mut found);
    found
}

/// What must be true right after an entry: no app that got tasks has more than it may have. Apps that
/// were changed, or whose tasks came back, in the same entry are left out: they may have more.
pub fn violations_after(state: &State, applied: &Applied) -> Vec<String> {
    let mut placed: BTreeMap<&AppId, _> = BTreeMap::new();
    let mut others: BTreeSet<&AppId> = BTreeSet::new();
    for event in &applied.events {
        match event {
            Event::TaskPlaced { task } => drop(placed.insert(task.id.app(), task.app.version)),
            Event::TaskChanged { task, .. } => drop(others.insert(task.id.app())),
            Event::AppPut { app, .. } => drop(others.insert(&app.id)),
            _ => {}
        }
    }
    let judged = placed.into_iter().filter(|(id, _)| !others.contains(id));
    judged.filter_map(|(id, version)| overfull(state, id, version)).collect()
}

fn overfull(state: &State, id: &AppId, version: spec::Timestamp) -> Option<String> {
    let entry = state.app(id).filter(|entry| entry.app.version == version)?;
    let (tally, app) = (entry.tally, &entry.app);
    let total_max = if tally.outdated == 0 { app.instances } else { max_capacity(app) };
    let over = tally.total > total_max || tally.current > app.instances;
    over.then(|| format!("{id}: {tally:?} with {} instances, at most {total_max}", app.instances))
}

fn claim(found: &mut Vec<String>, holds: bool, otherwise: impl FnOnce() -> String) {
    if !holds {
        found.push(otherwise());
    }
}

fn check_task(state: &State, id: &TaskId, task: &Task, found: &mut Vec<String>) {
    let entry = state.apps.get(id.app());
    let kept = entry.and_then(|entry| entry.version(task.app.version));
    let presence = state.agents.get(&task.agent).map(|agent| agent.presence);
    let ending = task.condition == Condition::Killing;
    claim(found, task.id == *id && task.app.id == *id.app(), || format!("{id} is filed wrongly"));
    claim(found, presence.is_some(), || format!("{id} is on {} which does not exist", task.agent));
    claim(found, entry.is_some(), || format!("{id} has no app"));
    claim(found, kept == Some(&task.app), || format!("{id} runs a version that is not kept"));
    claim(found, presence != Some(Presence::Lost) || task.is_unreachable(), || {
        format!("{id} is {:?} on a lost agent", task.condition)
    });
    claim(found, ending || task.is_unreachable() || task.goal == Goal::Running, || {
        format!("{id} is {:?} with goal {:?}", task.condition, task.goal)
    });
    claim(found, ending || task.goal != Goal::Restarting, || format!("{id} restarts and is not being ended"));
    claim(found, task.staged_at <= state.now && task.since <= state.now, || format!("{id} is of the future"));
}

fn check_conditions(state: &State, found: &mut Vec<String>) {
    let counted = state.tasks.values().map(|task| task.condition).collect();
    claim(found, state.conditions == counted, || {
        format!("conditions are counted as {:?}, there are {counted:?}", state.conditions)
    });
}

/// What an agent's booked amounts must be.
#[derive(Default)]
struct Booked {
    reserved: Resources,
    ports: BTreeMap<u16, TaskId>,
    tasks: BTreeSet<TaskId>,
}

fn check_agents(state: &State, found: &mut Vec<String>) {
    let mut booked: BTreeMap<&AgentId, Booked> = BTreeMap::new();
    for task in state.tasks.values() {
        let book = booked.entry(&task.agent).or_default();
        book.reserved = book.reserved.plus(&task.app.resources());
        book.tasks.insert(task.id.clone());
        for port in &task.host_ports {
            let other = book.ports.insert(*port, task.id.clone());
            claim(found, other.is_none(), || format!("port {port} of {} is given twice", task.agent));
        }
    }
    for (id, agent) in &state.agents {
        check_agent(id, agent, &booked.remove(id).unwrap_or_default(), found);
    }
}

fn check_agent(id: &AgentId, agent: &Agent, booked: &Booked, found: &mut Vec<String>) {
    let fits = booked.reserved.fits(&agent.info.capacity);
    claim(found, agent.id == *id, || format!("agent {id} is filed wrongly"));
    claim(found, agent.reserved == booked.reserved, || format!("{id}: reserved is not what its tasks take"));
    claim(found, agent.ports.iter().eq(&booked.ports), || format!("{id}: ports are not those of its tasks"));
    claim(found, agent.tasks.iter().eq(&booked.tasks), || format!("{id}: tasks are not those on it"));
    claim(found, fits, || format!("{id}: more is reserved than it has"));
}

fn check_app(state: &State, id: &AppId, entry: &AppEntry, found: &mut Vec<String>) {
    let current = entry.version(entry.app.version);
    let instances: BTreeSet<_> = entry.vacant.iter().map(|vacant| vacant.uuid).collect();
    let filed = entry.versions.iter().all(|app| app.id == *id)
        && entry.versions.iter().is_sorted_by(|a, b| a.version < b.version);
    claim(found, entry.app.id == *id && filed, || format!("{id} is filed wrongly"));
    claim(found, current == Some(&entry.app), || format!("{id}: versions lack the current one"));
    claim(found, entry.app.version <= state.root_version, || format!("{id} is newer than the root"));
    claim(found, instances.len() == entry.vacant.len(), || format!("{id}: an instance is vacant twice"));
    claim(found, entry.vacant.len() <= entry.app.instances as usize, || {
        format!("{id}: {} vacant of {} instances", entry.vacant.len(), entry.app.instances)
    });
    let kept = (entry.tally, entry.restless.clone(), entry.crowds.clone());
    claim(found, kept == state.counts_of(&entry.app), || {
        format!("{id}: what is counted is not what there is: {kept:?}")
    });
    for task in state.tasks_of(id) {
        claim(found, !instances.contains(&task.id.instance.uuid), || format!("{} is vacant too", task.id));
    }
    if entry.retired {
        let empty = entry.vacant.is_empty() && entry.delay.is_none();
        claim(found, empty, || format!("{id} is removed and still waits for tasks"));
        claim(found, state.tasks_of(id).next().is_some(), || format!("{id} is removed and over"));
    }
}

fn check_service_ports(state: &State, found: &mut Vec<String>) {
    let mut users: BTreeMap<u16, u32> = BTreeMap::new();
    for entry in state.apps.values().filter(|entry| !entry.retired) {
        service_ports(&entry.app).for_each(|port| *users.entry(port).or_default() += 1);
    }
    claim(found, state.service_ports.iter().eq(&users), || {
        "service ports are not those of the apps".to_owned()
    });
}

fn check_deployments(state: &State, found: &mut Vec<String>) {
    let mut locked: BTreeMap<&AppId, &Deployment> = BTreeMap::new();
    claim(found, state.deployments.len() <= DEPLOYMENTS_MAX, || "too many deployments".to_owned());
    for (id, deployment) in &state.deployments {
        let whole = deployment.steps.iter().all(|step| !step.actions.is_empty());
        claim(found, deployment.id == *id && whole, || format!("deployment {id} is malformed"));
        claim(found, deployment.current < deployment.steps.len(), || format!("deployment {id} is over"));
        for action in deployment.actions() {
            let other = locked.insert(&action.app, deployment).filter(|other| other.id != *id);
            claim(found, other.is_none(), || format!("{} is locked twice", action.app));
        }
    }
}
