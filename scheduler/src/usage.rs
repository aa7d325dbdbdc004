//! What an agent has measured, as the leader keeps it: a line of 32 bytes a task. Pure.

use spec::ids::TaskId;
use spec::protocol::{Measured, Usage};
use spec::time::Timestamp;
use uuid::Uuid;

/// What an agent measured last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// When.
    pub at: Timestamp,
    /// The whole machine.
    pub machine: Measured,
    /// In order of their numbers. An instance has its number to itself, whatever its app.
    tasks: Box<[Line]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    instance: Uuid,
    incarnation: u32,
    cpus_milli: u32,
    mem_bytes: u64,
}

impl Line {
    fn number(&self) -> (Uuid, u32) {
        (self.instance, self.incarnation)
    }
}

impl Used {
    /// What a task used, if it ran then.
    pub fn task(&self, task: &TaskId) -> Option<Measured> {
        let found = self.tasks.binary_search_by_key(&(task.instance.uuid, task.incarnation), Line::number);
        let line = self.tasks[found.ok()?];
        Some(Measured { cpus_milli: line.cpus_milli.into(), mem_bytes: line.mem_bytes })
    }
}

impl From<Usage> for Used {
    fn from(usage: Usage) -> Self {
        let line = |(task, measured): &(TaskId, Measured)| Line {
            instance: task.instance.uuid,
            incarnation: task.incarnation,
            cpus_milli: u32::try_from(measured.cpus_milli).unwrap_or(u32::MAX),
            mem_bytes: measured.mem_bytes,
        };
        let mut tasks: Box<[Line]> = usage.tasks.iter().map(line).collect();
        tasks.sort_unstable_by_key(Line::number);
        Self { at: usage.at, machine: usage.machine, tasks }
    }
}

#[cfg(test)]
mod tests {
    use spec::ids::{AppId, InstanceId};

    use super::*;

    #[test]
    fn every_task_is_found_whatever_the_order() {
        let task = |number: u128, incarnation| {
            let instance = InstanceId { app: AppId::parse("/a").unwrap(), uuid: Uuid::from_u128(number) };
            TaskId { instance, incarnation }
        };
        let measured = |cpus_milli| Measured { cpus_milli, mem_bytes: 9 };
        let tasks =
            vec![(task(3, 1), measured(31)), (task(1, 2), measured(12)), (task(1, 1), measured(u64::MAX))];
        let used = Used::from(Usage { tasks, ..Usage::default() });
        for (number, incarnation, cpus) in [
            (3, 1, Some(31)),
            (1, 2, Some(12)),
            (1, 1, Some(u64::from(u32::MAX))),
            (2, 1, None),
            (3, 2, None),
        ] {
            assert_eq!(used.task(&task(number, incarnation)), cpus.map(measured), "{number}.{incarnation}");
        }
        assert_eq!(size_of::<Line>(), 32);
    }
}
