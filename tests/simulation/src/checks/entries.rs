//! Each applied entry by the states before and after it. I1: definitions are what accepted changes made them.
//! I3: reservations and ports. I4: tasks at most as many as may be. I7: UNIQUE. I8: a task only moves forward, and
//! only by its owner. I6: an instance has one run at a time. I14: what is gone does not come back.

use std::collections::BTreeSet;

use scheduler::state::{Command, Condition, Event, Goal, Outcome, State, Task, violations, violations_after};
use spec::app::Operator;
use spec::ids::{AgentId, TaskId};

use super::Checks;
use crate::master::Entry;
use crate::queue::Millis;

impl Checks {
    /// Keeps the book of definitions.
    pub(super) fn note_changes(&mut self, now: Millis, entry: &Entry) {
        for (command, outcome) in entry.batch.commands.iter().zip(&entry.outcomes) {
            let Outcome::Deployed { id, version } = outcome else { continue };
            self.accept(now, *id, entry.applied.index, *version);
            match command {
                Command::Deploy(deploy) => {
                    for put in &deploy.put {
                        let app = &put.app.0;
                        self.expected
                            .insert(app.id.clone(), (app.cmd.clone().unwrap_or_default(), app.instances));
                    }
                    deploy.remove.iter().for_each(|app| drop(self.expected.remove(app)));
                }
                Command::RevertDeployment { .. } => self.note_revert(entry),
                _ => {}
            }
        }
    }

    /// A revert brings back what was before; the events say what.
    fn note_revert(&mut self, entry: &Entry) {
        for event in &entry.applied.events {
            match event {
                Event::AppPut { app, .. } => {
                    self.expected
                        .insert(app.id.clone(), (app.cmd.clone().unwrap_or_default(), app.instances));
                }
                Event::AppRemoved { app } => drop(self.expected.remove(&app.id)),
                _ => {}
            }
        }
    }

    pub(super) fn check_entry(&mut self, now: Millis, before: &State, entry: &Entry) {
        let after = &entry.after;
        // The world can bring that about: an agent comes back smaller. Placing more on it is another thing.
        for text in violations(after).iter().filter(|text| !text.contains("more is reserved")) {
            let invariant = if text.contains("port") || text.contains("reserved") { "I3" } else { "I8" };
            self.fail(now, invariant, format!("at index {}: {text}", entry.applied.index));
        }
        for text in violations_after(after, &entry.applied) {
            self.fail(now, "I4", format!("at index {}: {text}", entry.applied.index));
        }
        self.check_fit(now, entry);
        self.check_definitions(now, after);
        self.check_tasks(now, before, entry);
        self.check_unique(now, entry);
        self.check_slots(now, entry);
    }

    /// I3: what is placed on an agent fits what it said last.
    fn check_fit(&mut self, now: Millis, entry: &Entry) {
        let joins = |agent: &AgentId| {
            let is_join =
                |event: &Event| matches!(event, Event::AgentJoined { agent: joined } if joined.id == *agent);
            entry.applied.events.iter().rposition(is_join)
        };
        for (at, event) in entry.applied.events.iter().enumerate() {
            let Event::TaskPlaced { task } = event else { continue };
            let Some(agent) = entry.after.agents.get(&task.agent).filter(|_| joins(&task.agent) < Some(at))
            else {
                continue;
            };
            let offered =
                |port: &u16| agent.info.ports.iter().any(|(first, last)| (first..=last).contains(&port));
            let fits = agent.reserved.fits(&agent.info.capacity) && task.host_ports.iter().all(offered);
            self.claim(fits, now, "I3", || {
                format!("{} is placed on {} and does not fit: {:?}", task.id, task.agent, agent.info)
            });
        }
    }

    fn check_definitions(&mut self, now: Millis, after: &State) {
        let there = after.apps.values().filter(|entry| !entry.retired).map(|entry| &entry.app);
        let there: Vec<_> =
            there.map(|app| (&app.id, app.cmd.as_deref().unwrap_or_default(), app.instances)).collect();
        let expected = self.expected.iter().map(|(id, (cmd, instances))| (id, cmd.as_str(), *instances));
        if !there.iter().copied().eq(expected) {
            let expected = &self.expected;
            let text = format!("at index {} apps are {there:?}, accepted were {expected:?}", after.index);
            self.fail(now, "I1", text);
        }
    }

    fn check_tasks(&mut self, now: Millis, before: &State, entry: &Entry) {
        for id in named(entry) {
            match (before.tasks.get(&id), entry.after.tasks.get(&id)) {
                (Some(was), Some(is)) => {
                    if let Err(text) = moved(was, is, entry) {
                        self.fail(now, "I8", format!("at index {}: {id} {text}", entry.applied.index));
                    }
                }
                (Some(was), None) => {
                    self.gone.insert(id.clone());
                    let fair = may_end(was, entry);
                    self.claim(fair, now, "I8", || {
                        format!("{id} ({:?}) ends, and nobody said so", was.condition)
                    });
                }
                (None, Some(_)) => {
                    let fresh = !self.gone.contains(&id);
                    self.claim(fresh, now, "I14", || format!("{id} is back after it was gone"));
                }
                (None, None) => drop(self.gone.insert(id)),
            }
        }
        let (was, is) = (before.tasks.len(), entry.after.tasks.len());
        let (placed, ended) = counts(entry);
        self.claim(was + placed == is + ended, now, "I8", || {
            format!(
                "at index {}: {was} tasks, {placed} placed, {ended} ended, {is} left",
                entry.applied.index
            )
        });
    }

    /// I6: an instance has one run at a time.
    fn check_slots(&mut self, now: Millis, entry: &Entry) {
        for event in &entry.applied.events {
            let Event::TaskPlaced { task } = event else { continue };
            let runs =
                entry.after.tasks_of(task.id.app()).filter(|other| other.id.instance == task.id.instance);
            let count = runs.count();
            self.claim(count <= 1, now, "I6", || {
                format!("{} is one of {count} runs of an instance", task.id)
            });
        }
    }

    fn check_unique(&mut self, now: Millis, entry: &Entry) {
        for event in &entry.applied.events {
            let Event::TaskPlaced { task } = event else { continue };
            let unique = task.app.constraints.iter().any(|rule| rule.operator == Operator::Unique);
            if !unique || !entry.after.tasks.contains_key(&task.id) {
                continue;
            }
            let beside = entry
                .after
                .tasks_of(task.id.app())
                .filter(|other| other.agent == task.agent && !other.is_outdated(&task.app));
            let count = beside.count();
            self.claim(count <= 1, now, "I7", || {
                format!("{} is UNIQUE and {count} are on {}", task.id, task.agent)
            });
        }
    }
}

/// Tasks that the entry did something to.
fn named(entry: &Entry) -> BTreeSet<TaskId> {
    let mut named = BTreeSet::new();
    for event in &entry.applied.events {
        match event {
            Event::TaskPlaced { task }
            | Event::TaskKill { task, .. }
            | Event::TaskChanged { task, .. }
            | Event::TaskHealth { task, .. }
            | Event::TaskEnded { task, .. }
            | Event::TaskExpunged { task } => drop(named.insert(task.id.clone())),
            _ => {}
        }
    }
    named
}

fn counts(entry: &Entry) -> (usize, usize) {
    let placed = entry.applied.events.iter().filter(|event| matches!(event, Event::TaskPlaced { .. }));
    let is_end = |event: &&Event| matches!(event, Event::TaskEnded { .. } | Event::TaskExpunged { .. });
    (placed.count(), entry.applied.events.iter().filter(is_end).count())
}

fn reported_by(entry: &Entry, agent: &AgentId) -> bool {
    entry.batch.commands.iter().any(|command| match command {
        Command::Report { agent: reporter, .. } => reporter == agent,
        _ => false,
    })
}

fn lost(entry: &Entry, agent: &AgentId) -> bool {
    entry.batch.commands.iter().any(|command| matches!(command, Command::LoseAgent { id } if id == agent))
}

/// Only its agent says that a task has ended; only one whose agent is away is forgotten.
fn may_end(was: &Task, entry: &Entry) -> bool {
    let expunged = entry.applied.events.iter().any(
        |event| matches!(event, Event::TaskExpunged { task } if task.id == was.id && task.is_unreachable()),
    );
    expunged || reported_by(entry, &was.agent)
}

fn goal_rank(goal: Goal) -> u8 {
    match goal {
        Goal::Running => 0,
        Goal::Restarting => 1,
        Goal::Decommissioned => 2,
    }
}

fn moved(was: &Task, is: &Task, entry: &Entry) -> Result<(), String> {
    let step = format!("goes from {:?} to {:?}", was.condition, is.condition);
    let same = was.agent == is.agent && was.host_ports == is.host_ports && was.app.version == is.app.version;
    if !same {
        return Err("is moved or redefined".to_owned());
    }
    if goal_rank(is.goal) < goal_rank(was.goal) || is.seq < was.seq {
        return Err(format!("goes back: {:?} {} to {:?} {}", was.goal, was.seq, is.goal, is.seq));
    }
    let told = was.seq != is.seq || was.health != is.health || was.started_at != is.started_at;
    if told && !reported_by(entry, &was.agent) {
        return Err("has news that its agent did not say".to_owned());
    }
    let fair = match (was.condition, is.condition) {
        (from, to) if from == to => true,
        (_, Condition::Unreachable) => lost(entry, &was.agent),
        (Condition::Unreachable, Condition::UnreachableInactive) => true,
        (_, Condition::UnreachableInactive) => lost(entry, &was.agent),
        (Condition::Unreachable | Condition::UnreachableInactive, _) => reported_by(entry, &was.agent),
        (from, Condition::Killing) => from < Condition::Killing,
        (from, to) => from < to && reported_by(entry, &was.agent),
    };
    if fair { Ok(()) } else { Err(step) }
}
