//! I13 and I14: once the faults have ended everything wanted runs, nothing else does, and nothing is left of what
//! was removed.

use std::collections::BTreeSet;

use agent::core::RuntimeKind;
use scheduler::state::{Condition, Goal, Presence, State};
use spec::ids::TaskId;

use super::names::is_whole;
use crate::agent::Machine;
use crate::agent::State as Container;
use crate::world::World;

/// What is still missing; `None` when the cluster is as it should be.
pub fn missing(world: &World) -> Option<String> {
    let state = match leader(world).and_then(|_| agreed(world)) {
        Ok(state) => state,
        Err(text) => return Some(text),
    };
    apps(&state)
        .or_else(|| agents(&state))
        .or_else(|| world.machines.iter().find_map(|machine| machine_is(&state, machine)))
        .or_else(|| zones(world, &state))
        .or_else(|| masters(world, &state))
        .or_else(|| queues(world))
}

/// The master that leads, if exactly one does.
fn leader(world: &World) -> Result<u64, String> {
    let lives = world.masters.values().filter_map(|master| Some((master.id, master.life.as_ref()?)));
    let leaders: Vec<u64> = lives.filter(|(_, life)| life.leadership().2).map(|(id, _)| id).collect();
    match leaders[..] {
        [leader] => Ok(leader),
        _ => Err(format!("leaders: {leaders:?}")),
    }
}

/// Every master has applied the same.
fn agreed(world: &World) -> Result<State, String> {
    let mut states = Vec::new();
    for master in world.masters.values() {
        let life = master.life.as_ref().ok_or_else(|| format!("m{} does not run", master.id))?;
        states.push(life.state());
    }
    let first = states.first().cloned().unwrap_or_default();
    match states.iter().find(|state| state.index != first.index) {
        Some(other) => Err(format!("masters have applied {} and {}", first.index, other.index)),
        None => Ok(first),
    }
}

fn apps(state: &State) -> Option<String> {
    if let Some(deployment) = state.deployments.values().next() {
        return Some(format!(
            "deployment {:?} is at step {}: {:?}",
            deployment.id, deployment.current, deployment.steps
        ));
    }
    for (id, entry) in &state.apps {
        let tasks: Vec<_> = state.tasks_of(id).collect();
        if entry.retired || tasks.len() != entry.app.instances as usize {
            let (have, want) = (tasks.len(), entry.app.instances);
            return Some(format!("{} has {have} of {want}, retired {}", id.as_str(), entry.retired));
        }
        let ill = tasks.iter().find(|task| {
            // An outdated one stays when its deployment was cancelled, as in Marathon.
            task.condition != Condition::Running || task.goal != Goal::Running || !task.is_healthy()
        });
        if let Some(task) = ill {
            return Some(format!(
                "{} is {:?} with goal {:?}, {:?}",
                task.id, task.condition, task.goal, task.health
            ));
        }
    }
    None
}

/// Agents that will not come back have nothing.
fn agents(state: &State) -> Option<String> {
    let gone =
        state.agents.values().find(|agent| agent.presence == Presence::Lost && !agent.tasks.is_empty());
    gone.map(|agent| format!("{} is away for good and still has {} tasks", agent.id, agent.tasks.len()))
}

fn machine_is(state: &State, machine: &Machine) -> Option<String> {
    let name = machine.place();
    let Some(agent) = machine.id().and_then(|id| state.agents.get(id)) else {
        return Some(format!("{name} has not joined"));
    };
    if agent.presence != Presence::Connected || !machine.is_heard() {
        return Some(format!("{name} is {:?}, heard {}", agent.presence, machine.is_heard()));
    }
    let up = |task: &&TaskId| {
        machine.containers().get(*task).is_some_and(|found| found.state == Container::Running)
    };
    if let Some(task) = agent.tasks.iter().find(|task| !up(task)) {
        return Some(format!("{task} does not run on {name}"));
    }
    let known: BTreeSet<&TaskId> = agent.tasks.iter().collect();
    let kinds =
        |task: &TaskId| machine.containers().get(task).map_or(RuntimeKind::Docker, |found| found.kind);
    if let Some(task) = machine.containers().keys().find(|task| !known.contains(task)) {
        return Some(format!("{task} ({}) is left on {name}", kinds(task)));
    }
    if let Some(task) = machine.recorded().find(|task| !known.contains(task)) {
        return Some(format!("{name} still has a record of {task}"));
    }
    machine.has_news().then(|| format!("{name} has reports that nobody has acknowledged"))
}

/// The state and the group know the masters that there are, and nobody waits to be one.
fn masters(world: &World, state: &State) -> Option<String> {
    let ids: Vec<u64> = world.masters.keys().copied().collect();
    let known: Vec<u64> = state.masters.keys().map(|id| id.0).collect();
    let members = |life: &crate::master::Life| life.members();
    let lives = world.masters.values().filter_map(|master| master.life.as_ref());
    let other = lives.map(members).find(|members| {
        members.voters.iter().collect::<BTreeSet<_>>() != ids.iter().collect()
            || !members.learners.is_empty()
            || !members.outgoing.is_empty()
    });
    let waits = !world.seats.is_settled();
    (known != ids || other.is_some() || waits)
        .then(|| format!("masters are {ids:?}, known {known:?}, members {other:?}, some wait: {waits}"))
}

/// Names are those of what runs, on every master.
fn zones(world: &World, state: &State) -> Option<String> {
    for (id, life) in world.masters.values().filter_map(|master| Some((master.id, master.life.as_ref()?))) {
        if !is_whole(&life.zone, state) {
            return Some(format!("m{id} answers for {} tasks, and not for those that run", life.zone.len()));
        }
    }
    None
}

fn queues(world: &World) -> Option<String> {
    let lives = world.masters.values().filter_map(|master| Some((master.id, master.life.as_ref()?)));
    let busy = lives.filter(|(_, life)| !life.is_idle()).map(|(id, _)| id).next();
    busy.map(|id| format!("m{id} still has something to do")).or_else(|| {
        world.clients.iter().any(|client| client.is_waiting()).then(|| "a client waits".to_owned())
    })
}
