//! What should run on an agent, as it is told: everything when it connects, changes from then on. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use spec::app::{App, AppDocument};
use spec::ids::{AgentId, TaskId};
use spec::protocol::{Fence, Hello, KILL_GRACE_MILLIS, KillTask, RunTask, Wanted};

use crate::mutants::{self, Mutant};
use crate::state::{Applied, Condition, Event, Goal, State, Task};

/// Tasks explained at once: more than an agent has.
const EXPLAINED_MAX: usize = 65_536;

/// What one applied entry changes for each agent, said by the leader of `term`.
pub fn changes(applied: &Applied, term: u64) -> BTreeMap<AgentId, Wanted> {
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

/// Everything that the state wants of one agent, said by the leader of `term`. Definitions of what it has `named`
/// are left out: after a change of the leader that would be all of them, for every agent.
pub fn complete(state: &State, agent: &AgentId, term: u64, named: &BTreeSet<TaskId>) -> Wanted {
    let mut wanted = empty(Fence { term, index: state.index }, true);
    let left_out = usize::from(mutants::is(Mutant::LeaveOut));
    for task in state.tasks_on(agent).skip(left_out) {
        if task.goal == Goal::Running && task.condition != Condition::Killing {
            match named.contains(&task.id) {
                true => wanted.run.push(known_task(task)),
                false => run_task(&mut wanted, task),
            }
        } else {
            kill_task(&mut wanted, task);
        }
    }
    wanted
}

/// Which version of an agent asks for definitions that it lacks.
const EXPLAINED_SINCE: u16 = 3;

/// The tasks of an opening whose definitions may be left out.
pub fn named(hello: &Hello) -> BTreeSet<TaskId> {
    let known = hello.tasks.iter().filter(|_| hello.protocol >= EXPLAINED_SINCE);
    known.map(|report| report.task.clone()).collect()
}

/// The definitions of tasks that an agent has and knows nothing of. `last` is the fence of what was said to it last, and
/// not that of the state: changes up to there may still be on their way, and would be refused after a higher one.
pub fn explanation(state: &State, agent: &AgentId, last: Fence, tasks: &[TaskId]) -> Wanted {
    let mut wanted = empty(last, false);
    let known = tasks.iter().take(EXPLAINED_MAX).filter_map(|task| state.tasks.get(task));
    let own = known.filter(|task| task.agent == *agent && task.goal == Goal::Running);
    own.for_each(|task| run_task(&mut wanted, task));
    wanted
}

fn known_task(task: &Task) -> RunTask {
    RunTask { task: task.id.clone(), app: u32::MAX, host_ports: task.host_ports.to_vec() }
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

/// One message as several, for when it is too large. The complete set becomes changes that carry the
/// definitions, and then itself with only the names: an agent knows all of its tasks by then, and needs no
/// definition of a task that it knows. One task alone is not split.
pub fn split(wanted: Wanted) -> Vec<Wanted> {
    let Wanted { fence, complete, apps, mut run, mut kill } = wanted;
    let names = complete.then(|| {
        let run = run.iter().map(|task| RunTask { app: u32::MAX, ..task.clone() }).collect();
        Wanted { run, kill: kill.clone(), ..empty(fence, true) }
    });
    let (run_rest, kill_rest) = (run.split_off(run.len() / 2), kill.split_off(kill.len() / 2));
    let halves = [(run, kill), (run_rest, kill_rest)];
    let halves = halves.into_iter().filter(|(run, kill)| !run.is_empty() || !kill.is_empty());
    let halves = halves.map(|(run, kill)| Wanted { kill, ..with_apps(fence, &apps, run) });
    halves.chain(names).collect()
}

/// With those of `apps` that these tasks refer to.
fn with_apps(fence: Fence, apps: &[AppDocument], run: Vec<RunTask>) -> Wanted {
    let mut part = empty(fence, false);
    for task in run {
        let app = usize::try_from(task.app).ok().and_then(|index| apps.get(index));
        let app = app.map_or(u32::MAX, |app| app_index(&mut part.apps, &app.0));
        part.run.push(RunTask { app, ..task });
    }
    part
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use spec::protocol::TaskState;
    use spec::time::Timestamp;

    use super::*;
    use crate::placement::fixture;
    use crate::state::KillReason;

    /// Two agents; three tasks of /web and one of /db on `a`, one of /web on `b`.
    fn bench() -> (State, Vec<TaskId>) {
        let mut state = fixture::cluster(&[("a", ""), ("b", "")]);
        let web = fixture::put(&mut state, fixture::app("/web", json!({"taskKillGracePeriodSeconds": 7})));
        let db = fixture::put(&mut state, fixture::app("/db", json!({})));
        let mut tasks = Vec::new();
        for (app, agent, port) in [
            (&web, "a", 31_000),
            (&web, "a", 31_001),
            (&db, "a", 31_002),
            (&web, "b", 31_000),
            (&web, "a", 31_003),
        ] {
            tasks.push(fixture::run(&mut state, app, &AgentId::new(agent), &[port]));
        }
        state.index = 40;
        (state, tasks)
    }

    fn names<'a>(tasks: impl IntoIterator<Item = &'a TaskId>) -> std::collections::BTreeSet<TaskId> {
        tasks.into_iter().cloned().collect()
    }

    #[test]
    fn each_agent_is_told_what_concerns_it() {
        let (state, tasks) = bench();
        let task = |n: usize| state.tasks[&tasks[n]].clone();
        let stranger = tasks[2].clone();
        let events = vec![
            Event::TaskPlaced { task: task(0) },
            Event::TaskPlaced { task: task(1) },
            Event::TaskPlaced { task: task(3) },
            Event::TaskKill { task: task(4), reason: KillReason::Surplus },
            Event::TaskUnknown { task: stranger.clone(), agent: AgentId::new("b") },
            Event::TaskChanged { task: task(2), message: String::new() },
            Event::TaskEnded {
                task: task(2),
                state: TaskState::Failed,
                message: String::new(),
                at: Timestamp::default(),
            },
        ];
        let applied = Applied { index: 41, after: 40, at: Timestamp::default(), events };
        let told = changes(&applied, 3);
        let (a, b) = (&told[&AgentId::new("a")], &told[&AgentId::new("b")]);
        assert_eq!((told.len(), a.fence, a.complete), (2, Fence { term: 3, index: 41 }, false));
        assert_eq!(a.apps.len(), 1, "one definition serves both");
        assert_eq!(
            a.run.iter().map(|run| (run.app, run.host_ports[0])).collect::<Vec<_>>(),
            [(0, 31_000), (0, 31_001)]
        );
        assert_eq!(a.kill, [KillTask { task: tasks[4].clone(), grace_millis: 7_000 }]);
        assert_eq!(b.run.len(), 1);
        assert_eq!(b.kill, [KillTask { task: stranger, grace_millis: KILL_GRACE_MILLIS }]);
        assert!(
            changes(&Applied { index: 42, after: 41, at: Timestamp::default(), events: Vec::new() }, 3)
                .is_empty()
        );
    }

    #[test]
    fn the_complete_set_names_every_task_of_the_agent() {
        let (mut state, tasks) = bench();
        fixture::change(&mut state, &tasks[0], |task| task.condition = Condition::Killing);
        fixture::change(&mut state, &tasks[1], |task| task.goal = Goal::Decommissioned);
        fixture::change(&mut state, &tasks[2], |task| task.condition = Condition::Provisioned);
        let all = complete(&state, &AgentId::new("a"), 3, &BTreeSet::new());
        assert_eq!((all.fence, all.complete), (Fence { term: 3, index: 40 }, true));
        assert_eq!(names(all.run.iter().map(|run| &run.task)), names([&tasks[2], &tasks[4]]));
        assert_eq!(names(all.kill.iter().map(|kill| &kill.task)), names([&tasks[0], &tasks[1]]));
        let none = complete(&state, &AgentId::new("c"), 3, &BTreeSet::new());
        assert!(none.complete && none.run.is_empty() && none.kill.is_empty());
    }

    #[test]
    fn what_an_agent_has_named_is_explained_when_it_asks() {
        let (state, tasks) = bench();
        let a = AgentId::new("a");
        let all = complete(&state, &a, 3, &names(&tasks[..2]));
        let with = all.run.iter().filter(|run| run.app != u32::MAX).map(|run| &run.task);
        assert_eq!(names(with), names([&tasks[2], &tasks[4]]));
        assert_eq!(all.run.len(), 4);
        let last = Fence { term: 3, index: 17 };
        let explained = explanation(&state, &a, last, &[tasks[0].clone(), tasks[3].clone()]);
        assert!(!explained.complete && explained.apps.len() == 1 && explained.fence == last);
        assert_eq!(
            names(explained.run.iter().map(|run| &run.task)),
            names([&tasks[0]]),
            "none of another agent"
        );
    }

    #[test]
    fn what_is_split_says_the_same() {
        let (mut state, tasks) = bench();
        fixture::change(&mut state, &tasks[0], |task| task.condition = Condition::Killing);
        let all = complete(&state, &AgentId::new("a"), 3, &BTreeSet::new());
        let mut pieces = split(all.clone());
        let last = pieces.pop().unwrap();
        assert!(last.complete && last.apps.is_empty() && last.kill == all.kill);
        assert_eq!(names(last.run.iter().map(|run| &run.task)), names(all.run.iter().map(|run| &run.task)));
        let mut pieces: Vec<Wanted> = pieces.into_iter().flat_map(split).collect();
        pieces = pieces.into_iter().flat_map(split).collect();
        assert!(
            pieces.iter().all(|piece| !piece.complete && piece.fence == all.fence && piece.run.len() <= 1)
        );
        let run = pieces.iter().flat_map(|piece| piece.run.iter().map(move |run| (piece, run)));
        let mut said: Vec<_> =
            run.map(|(piece, run)| (&run.task, &piece.apps[run.app as usize].0, &run.host_ports)).collect();
        said.sort_by_key(|(task, ..)| (*task).clone());
        let mut meant: Vec<_> =
            all.run.iter().map(|run| (&run.task, &all.apps[run.app as usize].0, &run.host_ports)).collect();
        meant.sort_by_key(|(task, ..)| (*task).clone());
        assert_eq!(said, meant);
        assert_eq!(pieces.iter().flat_map(|piece| piece.kill.clone()).collect::<Vec<_>>(), all.kill);
    }

    #[test]
    fn one_task_is_not_split() {
        let (state, _) = bench();
        let one = Wanted { complete: false, ..complete(&state, &AgentId::new("b"), 3, &BTreeSet::new()) };
        assert_eq!(split(one.clone()), [one]);
        assert!(split(empty(Fence::default(), false)).is_empty());
    }
}
