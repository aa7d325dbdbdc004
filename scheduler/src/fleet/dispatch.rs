//! Applied events to sessions: a placed task to the agent it was placed on, a kill to the agent that runs
//! the task. What a session misses (none, or too slow) it learns from the complete set when it connects.

use std::collections::BTreeMap;
use std::sync::Arc;

use spec::app::{App, AppDocument};
use spec::ids::{AgentId, TaskId};
use spec::protocol::{Fence, KILL_GRACE_MILLIS, KillTask, RunTask, Wanted};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::{Switchboard, ToAgent};
use crate::cluster::Cluster;
use crate::state::{Applied, Condition, Event, Goal, State, Task};

/// Runs until `shutdown`.
pub(super) async fn run(cluster: Arc<Cluster>, board: Arc<Switchboard>, shutdown: CancellationToken) {
    let mut news = cluster.subscribe();
    let leadership = cluster.leadership();
    loop {
        let applied = tokio::select! {
            () = shutdown.cancelled() => return,
            applied = news.recv() => applied,
        };
        let now = leadership.borrow().clone();
        match applied {
            Ok(applied) if now.leading => {
                for (agent, wanted) in changes(&applied, now.term) {
                    let _ = board.send(&agent, ToAgent::Wanted(wanted));
                }
            }
            Ok(_) => {}
            // What was missed is unknown: every agent gets the complete set by connecting anew.
            Err(RecvError::Lagged(_)) => board.close_all(),
            Err(RecvError::Closed) => return,
        }
    }
}

/// What one applied entry changes for each agent.
fn changes(applied: &Applied, term: u64) -> BTreeMap<AgentId, Wanted> {
    let fence = Fence { term, index: applied.index };
    let mut by_agent: BTreeMap<AgentId, Wanted> = BTreeMap::new();
    for event in &applied.events {
        match event {
            Event::TaskPlaced { task } => run_task(entry(&mut by_agent, &task.agent, fence), task),
            Event::TaskKill { task, .. } => kill_task(entry(&mut by_agent, &task.agent, fence), task),
            Event::TaskExpunged { task } => kill_task(entry(&mut by_agent, &task.agent, fence), task),
            Event::TaskUnknown { task, agent } => {
                entry(&mut by_agent, agent, fence).kill.push(kill(task, KILL_GRACE_MILLIS));
            }
            _ => {}
        }
    }
    by_agent
}

fn entry<'a>(by_agent: &'a mut BTreeMap<AgentId, Wanted>, agent: &AgentId, fence: Fence) -> &'a mut Wanted {
    by_agent.entry(agent.clone()).or_insert_with(|| empty(fence, false))
}

fn empty(fence: Fence, complete: bool) -> Wanted {
    Wanted { fence, complete, apps: Vec::new(), run: Vec::new(), kill: Vec::new() }
}

/// Everything that the state wants of one agent.
pub(super) fn complete(state: &State, agent: &AgentId, term: u64) -> Wanted {
    let mut wanted = empty(Fence { term, index: state.index }, true);
    for task in state.tasks_on(agent) {
        if task.goal == Goal::Running && task.condition != Condition::Killing {
            run_task(&mut wanted, task);
        } else {
            kill_task(&mut wanted, task);
        }
    }
    wanted
}

fn run_task(wanted: &mut Wanted, task: &Task) {
    let app = app_index(&mut wanted.apps, &task.app);
    wanted.run.push(RunTask { task: task.id.clone(), app, host_ports: task.host_ports.to_vec() });
}

/// Tasks of one app come together, so the definition is nearly always the last one.
fn app_index(apps: &mut Vec<AppDocument>, app: &Arc<App>) -> u32 {
    let known = apps.iter().rposition(|known| Arc::ptr_eq(&known.0, app));
    let index = known.unwrap_or_else(|| {
        apps.push(AppDocument(app.clone()));
        apps.len() - 1
    });
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn kill_task(wanted: &mut Wanted, task: &Task) {
    let grace = task
        .app
        .task_kill_grace_period_seconds
        .map_or(KILL_GRACE_MILLIS, |seconds| u64::from(seconds).saturating_mul(1000));
    wanted.kill.push(kill(&task.id, grace));
}

fn kill(task: &TaskId, grace_millis: u64) -> KillTask {
    KillTask { task: task.clone(), grace_millis }
}
