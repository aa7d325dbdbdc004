//! What the state counts of its tasks: how many of all are in which condition, how many of each app are of which
//! kind, which of them are not at rest (`restless.rs`), and where those are that constrain placement. Derived, and kept
//! up task by task as they come, change and go; made anew only when the definition that they are judged by changes. So
//! no question about an app needs a look at all of its tasks.

use std::sync::Arc;

use spec::app::App;
use spec::ids::{AgentId, AppId, TaskId};
use spec::protocol::AgentInfo;

use super::{AppEntry, Condition, Restless, State, Tally, Task};
use crate::placement::Crowds;

/// How many tasks there are in each condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions([u64; Condition::ALL.len()]);

impl Conditions {
    /// Tasks in that condition.
    pub fn count(&self, condition: Condition) -> u64 {
        self.0[condition as usize]
    }

    fn come(&mut self, condition: Condition) {
        self.0[condition as usize] += 1;
    }

    fn go(&mut self, condition: Condition) {
        self.0[condition as usize] -= 1;
    }
}

/// Counts them one by one.
impl FromIterator<Condition> for Conditions {
    fn from_iter<I: IntoIterator<Item = Condition>>(conditions: I) -> Self {
        let mut counts = Self::default();
        conditions.into_iter().for_each(|condition| counts.come(condition));
        counts
    }
}

impl State {
    /// Puts a new task into the table, books what it takes on its agent, and counts it.
    pub(crate) fn enter(&mut self, task: Arc<Task>) {
        if let Some(agent) = self.agents.get_mut(&task.agent) {
            Arc::make_mut(agent).book(&task);
        }
        self.count(&task, true);
        self.conditions.come(task.condition);
        self.tasks.insert(task.id.clone(), task);
    }

    /// Takes a task out of the table, frees what it had on its agent, and counts it no more.
    pub(crate) fn leave(&mut self, id: &TaskId) -> Option<Arc<Task>> {
        let task = self.tasks.remove(id)?;
        if let Some(agent) = self.agents.get_mut(&task.agent) {
            Arc::make_mut(agent).release(&task);
        }
        self.count(&task, false);
        self.conditions.go(task.condition);
        Some(task)
    }

    /// Changes a task (never its app, agent or ports), and counts it as what it is then. What it was and what it
    /// is, the latter shared with the state: whoever tells of it keeps no copy.
    pub(crate) fn change(
        &mut self,
        id: &TaskId,
        how: impl FnOnce(&mut Task),
    ) -> Option<(Arc<Task>, Arc<Task>)> {
        let task = self.tasks.get_mut(id)?;
        let before = task.clone();
        how(Arc::make_mut(task));
        let after = task.clone();
        self.conditions.go(before.condition);
        self.conditions.come(after.condition);
        if let Some(entry) = self.apps.get(id.app()) {
            let [was, is] = [&before, &after].map(|task| Tally::of(task, &entry.app));
            // Whether it rests is counted too: where nothing is counted differently, no list changes.
            if was != is
                && let Some(entry) = self.apps.get_mut(id.app()).map(Arc::make_mut)
            {
                entry.tally.subtract(&was);
                entry.tally.add(&is);
                if was.resting != is.resting {
                    entry.restless.note(&after);
                }
            }
        }
        Some((before, after))
    }

    /// Counts all tasks of an app: its definition has changed.
    pub(crate) fn recount(&mut self, app: &AppId) {
        let Some(entry) = self.apps.get(app) else {
            return;
        };
        let counts = self.counts_of(&entry.app);
        if let Some(entry) = self.apps.get_mut(app).map(Arc::make_mut) {
            (entry.tally, entry.restless, entry.crowds) = counts;
        }
    }

    /// What is kept of the tasks of an app, from its tasks one by one.
    pub(super) fn counts_of(&self, app: &App) -> (Tally, Restless, Crowds) {
        let (mut tally, mut restless) = (Tally::default(), Restless::default());
        for task in self.tasks_of(&app.id) {
            tally.count(task, app);
            restless.note(task);
        }
        (tally, restless, Crowds::count(self, app))
    }

    /// An agent says something else of itself: its tasks constrain as it is now.
    pub(super) fn move_crowds(&mut self, agent: &AgentId, from: &AgentInfo, to: &AgentInfo) {
        if from.hostname == to.hostname && from.attributes == to.attributes {
            return;
        }
        let tasks: Vec<_> = self.tasks_on(agent).cloned().collect();
        for task in tasks {
            let Some(entry) = constrained_by(&task, self.apps.get_mut(task.id.app())) else {
                continue;
            };
            entry.crowds.remove(&entry.app, from);
            entry.crowds.add(&entry.app, to);
        }
    }

    fn count(&mut self, task: &Task, is_there: bool) {
        let Some(entry) = self.apps.get_mut(task.id.app()).map(Arc::make_mut) else {
            return;
        };
        let part = Tally::of(task, &entry.app);
        if is_there {
            entry.tally.add(&part);
            entry.restless.note(task);
        } else {
            entry.tally.subtract(&part);
            entry.restless.forget(task);
        }
        if !entry.crowds.is_counting() || task.is_outdated(&entry.app) {
            return;
        }
        let Some(agent) = self.agents.get(&task.agent) else {
            return;
        };
        if is_there {
            entry.crowds.add(&entry.app, &agent.info);
        } else {
            entry.crowds.remove(&entry.app, &agent.info);
        }
    }
}

/// The entry of an app, if it has rules that count this task.
fn constrained_by<'a>(task: &Task, entry: Option<&'a mut Arc<AppEntry>>) -> Option<&'a mut AppEntry> {
    let entry = entry.filter(|entry| entry.crowds.is_counting() && !task.is_outdated(&entry.app))?;
    Some(Arc::make_mut(entry))
}
