//! What is to be done: for one app, and for a whole step as commands of bounded size.

use spec::ids::{DeploymentId, TaskId};
use spec::time::Timestamp;

use crate::placement::Demand;
use crate::state::{Command, KillReason, Placement};

/// Kills in one step. An entry of the log stays well under a megabyte, and the next step follows at once.
pub(super) const KILLS_MAX: usize = 1_000;
/// Placements in one step: several apps at once, so that an agent hears of several tasks in one message. Commands
/// are kept small enough for an entry by `portions`.
pub(super) const PLACEMENTS_MAX: u32 = 4_000;
/// Apps in one call of placement: an app that fits nowhere costs a look at every agent.
pub(super) const DEMANDS_MAX: usize = 128;

/// What is to be done for one app.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Todo {
    /// End and start anew.
    pub(super) replace: Vec<(TaskId, KillReason)>,
    /// End for good.
    pub(super) end: Vec<(TaskId, KillReason)>,
    /// Unreachable for long enough to be replaced.
    pub(super) inactive: Vec<TaskId>,
    /// Unreachable for long enough to be forgotten.
    pub(super) expunge: Vec<TaskId>,
    /// Tasks to be placed.
    pub(super) missing: u32,
    /// The running action of its deployment is complete.
    pub(super) is_done: bool,
    /// When something becomes due although nothing has changed.
    pub(super) due: Option<Timestamp>,
}

impl Todo {
    /// Something becomes due then.
    pub(super) fn due_at(&mut self, at: Timestamp) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

/// What was taken of an app's [`Todo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Something was.
    pub(super) is_busy: bool,
    /// Something was not, for lack of room.
    pub(super) is_cut: bool,
}

/// Tasks by why they are ended; there are few reasons.
type ByReason = Vec<(KillReason, Vec<TaskId>)>;

fn add(tasks: &mut ByReason, reason: KillReason, task: TaskId) {
    match tasks.iter_mut().find(|(other, _)| *other == reason) {
        Some((_, same)) => same.push(task),
        None => tasks.push((reason, vec![task])),
    }
}

/// What a step has decided so far.
#[derive(Debug, Default)]
pub(super) struct Work {
    replace: ByReason,
    end: ByReason,
    inactive: Vec<TaskId>,
    expunge: Vec<TaskId>,
    kills_count: usize,
    steps: Vec<(DeploymentId, usize)>,
    demands: Vec<Demand>,
    places_count: u32,
}

impl Work {
    /// No room for anything more?
    pub(super) fn is_full(&self) -> bool {
        self.kills_count >= KILLS_MAX
            || self.places_count >= PLACEMENTS_MAX
            || self.demands.len() >= DEMANDS_MAX
    }

    /// Takes in what is to be done for one app, as far as there is room.
    pub(super) fn take(&mut self, todo: Todo, demand: Option<Demand>) -> Taken {
        let before = (self.kills_count, self.places_count);
        let mut is_cut = false;
        for (task, reason) in todo.replace {
            is_cut |= !self.has_room(|work| add(&mut work.replace, reason, task));
        }
        for (task, reason) in todo.end {
            is_cut |= !self.has_room(|work| add(&mut work.end, reason, task));
        }
        for task in todo.inactive {
            is_cut |= !self.has_room(|work| work.inactive.push(task));
        }
        for task in todo.expunge {
            is_cut |= !self.has_room(|work| work.expunge.push(task));
        }
        if let Some(demand) = demand {
            is_cut |= self.demand(demand);
        }
        Taken { is_busy: before != (self.kills_count, self.places_count), is_cut }
    }

    fn has_room(&mut self, push: impl FnOnce(&mut Self)) -> bool {
        let has_room = self.kills_count < KILLS_MAX;
        if has_room {
            self.kills_count += 1;
            push(self);
        }
        has_room
    }

    /// Yields whether some of the demand has to wait for the next step.
    fn demand(&mut self, demand: Demand) -> bool {
        let count = demand.count.min(PLACEMENTS_MAX - self.places_count);
        self.places_count += count;
        let is_cut = count < demand.count;
        if count > 0 {
            self.demands.push(Demand { count, ..demand });
        }
        is_cut
    }

    /// Steps of deployments that are complete.
    pub(super) fn complete_steps(&mut self, steps: Vec<(DeploymentId, usize)>) {
        self.steps = steps;
    }

    /// Tasks to be placed.
    pub(super) fn demands(&self) -> &[Demand] {
        &self.demands
    }

    /// Everything as commands: what frees room first.
    pub(super) fn into_commands(self, placements: Vec<Placement>) -> Vec<Command> {
        let mut commands = Vec::new();
        if !self.expunge.is_empty() {
            commands.push(Command::Expunge { tasks: self.expunge });
        }
        if !self.inactive.is_empty() {
            commands.push(Command::MarkInactive { tasks: self.inactive });
        }
        let replace = self.replace.into_iter();
        commands.extend(replace.map(|(reason, tasks)| Command::KillTasks { tasks, wipe: false, reason }));
        let end = self.end.into_iter();
        commands.extend(end.map(|(reason, tasks)| Command::Decommission { tasks, reason }));
        commands.extend(self.steps.into_iter().map(|(id, step)| Command::CompleteStep { id, step }));
        if !placements.is_empty() {
            commands.push(Command::Place(placements));
        }
        commands
    }
}
