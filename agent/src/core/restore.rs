//! After a restart: what was kept on disk meets what the runtimes find. Pure.

use std::collections::BTreeMap;

use spec::ids::TaskId;
use spec::protocol::TaskState;
use spec::time::Timestamp;

use super::Core;
use super::choice::RuntimeKind;
use super::effect::Effect;
use super::record::{Record, Stage};
use super::task::{Context, Phase, Task};
use crate::runtime::{Found, Status};

impl Core {
    /// Takes in what was kept on disk. What became of each task is known once [`Self::found`] has told of
    /// its runtime.
    pub fn restore(&mut self, records: Vec<Record>, now: Timestamp) -> Vec<Effect> {
        for record in records {
            let mut task = Task::new(record.task, record.runtime, now);
            task.app = record.app;
            task.host_ports = record.host_ports;
            task.kill_grace_millis = record.kill_grace_millis;
            self.adopt(task, now, |task, cx| restore(task, record.stage, cx));
        }
        self.take_effects()
    }

    /// Takes in everything that one runtime has, once it has been asked.
    pub fn found(&mut self, kind: RuntimeKind, found: Vec<Found>, now: Timestamp) -> Vec<Effect> {
        let mut found: BTreeMap<TaskId, Found> =
            found.into_iter().map(|found| (found.task.clone(), found)).collect();
        let unsure = |task: &&Task| task.phase == Phase::Unsure && task.runtime == Some(kind);
        let ids: Vec<TaskId> = self.tasks.values().filter(unsure).map(|task| task.id().clone()).collect();
        for id in ids {
            let found = found.remove(&id);
            self.with(&id, now, |task, cx| resolve(task, found, cx));
        }
        for (id, found) in found {
            if !self.tasks.contains_key(&id) {
                self.adopt(Task::new(id, Some(kind), now), now, |task, cx| resolve(task, Some(found), cx));
            }
        }
        self.take_effects()
    }

    /// Takes in the sandboxes on disk and when their tasks ended, as far as that is known.
    pub fn found_sandboxes(&mut self, sandboxes: Vec<(TaskId, Timestamp)>, now: Timestamp) -> Vec<Effect> {
        for (task, ended_at) in sandboxes {
            if !self.tasks.contains_key(&task) {
                self.sandboxes.keep(task, ended_at);
            }
        }
        self.expire_sandboxes(now);
        self.take_effects()
    }
}

fn restore(task: &mut Task, stage: Stage, cx: &mut Context<'_>) {
    let state = match stage {
        Stage::Ended(state, message, at) => return task.end(state, &message, at, cx),
        _ if task.kill_grace_millis.is_some() => TaskState::Killing,
        Stage::Started(_) => TaskState::Running,
        Stage::Accepted => TaskState::Staging,
    };
    if let Stage::Started(at) = stage {
        task.started_at = Some(at);
        task.report.at = at;
        task.report.state = state;
    }
    task.say(state, "", cx);
    if task.runtime.is_none() {
        task.end(TaskState::Gone, "The agent restarted before it was started", cx.now, cx);
    }
}

/// What there is of a task decides how it goes on. A launch that was interrupted is begun anew, after
/// removing what there is of it.
fn resolve(task: &mut Task, found: Option<Found>, cx: &mut Context<'_>) {
    match found {
        Some(found) => match &found.status {
            Status::Running => task.run(found, cx),
            Status::Exited(exit) => {
                let exit = exit.clone();
                task.report.addresses = found.addresses;
                task.exited(&exit, cx);
            }
            Status::Created => task.clear(cx),
        },
        None if task.started_at.is_some() => task.vanished(cx),
        None => task.clear(cx),
    }
}
