//! What the tasks of this agent hold of the machine, and which launches wait until others let go of it. Pure.
//!
//! What the leader wants fits together. But a task that it has given up may still run here when the agent comes
//! back: ended by the first complete set, it keeps its ports and its share of the machine for its grace period, and
//! the leader, which knows nothing of it, may place the next task right there. Such a launch waits, as Mesos'
//! agents offer again only what a task has let go of. It never waits for longer than it takes to end what is told to end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use spec::ids::TaskId;
use spec::protocol::TaskState;
use spec::resources::Resources;
use spec::time::Timestamp;

use super::Core;
use super::task::{Phase, Task};

/// What one task holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hold {
    resources: Resources,
    /// Its host ports, once it was told to end: only then does anybody ask for them.
    leaving: Option<Vec<u16>>,
}

impl Task {
    /// What it holds now. One that was adopted and never explained holds nothing that is known.
    pub(super) fn hold(&self) -> Hold {
        if self.has_ended() || matches!(self.phase, Phase::Waiting | Phase::Blocked) {
            return Hold::default();
        }
        let leaving = self.kill_grace_millis.is_some().then(|| self.host_ports.clone());
        Hold { resources: self.needs(), leaving }
    }

    fn needs(&self) -> Resources {
        self.app.as_ref().map(|app| app.resources()).unwrap_or_default()
    }
}

/// The sum of it, and who waits.
#[derive(Debug)]
pub(super) struct Room {
    capacity: Resources,
    held: Resources,
    /// Tasks that were told to end and have not.
    leaving: usize,
    /// How many of them hold a port.
    ports: BTreeMap<u16, u32>,
    /// Tasks in [`Phase::Blocked`].
    blocked: BTreeSet<TaskId>,
}

/// Why a launch waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    Port(u16),
    Machine,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "waits for a task that is being ended and still has port {port}"),
            Self::Machine => write!(f, "waits for tasks that are being ended and still fill the machine"),
        }
    }
}

impl Room {
    pub(super) fn new(capacity: Resources) -> Self {
        Self {
            capacity,
            held: Resources::default(),
            leaving: 0,
            ports: BTreeMap::new(),
            blocked: BTreeSet::new(),
        }
    }

    pub(super) fn take(&mut self, hold: &Hold) {
        self.held = self.held.plus(&hold.resources);
        let Some(ports) = &hold.leaving else { return };
        self.leaving += 1;
        for port in ports {
            *self.ports.entry(*port).or_default() += 1;
        }
    }

    /// Takes back what [`Self::take`] took in.
    pub(super) fn release(&mut self, hold: &Hold) {
        self.held = self.held.minus(&hold.resources);
        let Some(ports) = &hold.leaving else { return };
        self.leaving -= 1;
        for port in ports {
            if let Some(holders) = self.ports.get_mut(port) {
                *holders -= 1;
                if *holders == 0 {
                    self.ports.remove(port);
                }
            }
        }
    }

    fn obstacle(&self, task: &Task) -> Option<Obstacle> {
        if self.leaving == 0 {
            return None;
        }
        let taken = task.host_ports.iter().find(|port| self.ports.contains_key(port));
        let fits = self.held.plus(&task.needs()).fits(&self.capacity);
        taken.map(|port| Obstacle::Port(*port)).or((!fits).then_some(Obstacle::Machine))
    }
}

impl Core {
    /// Keeps the sum in step with one task, and lets those go on that waited for it.
    pub(super) fn rehold(&mut self, id: &TaskId, before: &Hold, after: &Hold, now: Timestamp) {
        if before != after {
            self.room.release(before);
            self.room.take(after);
        }
        match self.tasks.get(id).map(|task| task.phase) {
            Some(Phase::Blocked) => self.admit(id, now),
            _ => drop(self.room.blocked.remove(id)),
        }
        if before.leaving.is_some() && after.leaving.is_none() {
            for id in self.room.blocked.clone() {
                self.admit(&id, now);
            }
        }
    }

    /// Launches a task that may wait, or says what it waits for.
    fn admit(&mut self, id: &TaskId, now: Timestamp) {
        let Some(task) = self.tasks.get(id) else { return };
        match self.room.obstacle(task) {
            None => {
                let waited = self.room.blocked.remove(id);
                self.with(id, now, |task, cx| {
                    if waited {
                        task.say(TaskState::Staging, "", cx);
                    }
                    task.launch(cx);
                });
            }
            Some(obstacle) => {
                self.room.blocked.insert(id.clone());
                self.quietly(id, now, |task, cx| {
                    task.say(TaskState::Staging, &obstacle.to_string(), cx);
                });
            }
        }
    }
}
