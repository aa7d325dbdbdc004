//! Measured use: of the machine, CPU from `/proc/stat` and memory from `/proc/meminfo`; and what a leader was told of
//! the tasks' (pure), so that it is told only what has changed.

use spec::ids::TaskId;
use spec::protocol::{AgentMessage, Measured, Usage};
use spec::time::Timestamp;

use crate::machine;

/// Time that all cores together were busy, and all of their time, in ticks since the machine started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    all: u64,
}

/// Measures the machine between one call and the next.
#[derive(Debug, Default)]
pub struct Meter {
    last: Option<Ticks>,
}

impl Meter {
    /// Use since the last call; CPU is 0 the first time. What cannot be read counts as 0.
    pub fn measure(&mut self) -> Measured {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        self.take(&stat, &meminfo, machine::cores())
    }

    fn take(&mut self, stat: &str, meminfo: &str, cores: u64) -> Measured {
        let now = ticks(stat);
        let cpus_milli = match (self.last, now) {
            (Some(last), Some(now)) => share(last, now, cores),
            _ => 0,
        };
        self.last = now;
        let memory = machine::memory(meminfo);
        let mem_bytes = memory.map_or(0, |memory| memory.total_bytes.saturating_sub(memory.available_bytes));
        Measured { cpus_milli, mem_bytes }
    }
}

fn share(last: Ticks, now: Ticks, cores: u64) -> u64 {
    let all = now.all.saturating_sub(last.all);
    let busy = now.busy.saturating_sub(last.busy).min(all);
    (busy * cores * 1000).checked_div(all).unwrap_or(0)
}

/// The first line: user nice system idle iowait irq softirq steal; guest time is part of user time.
fn ticks(stat: &str) -> Option<Ticks> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let idle = fields.get(3)? + fields.get(4)?;
    let all: u64 = fields.iter().sum();
    Some(Ticks { busy: all.saturating_sub(idle), all })
}

/// What a leader was told in one session.
#[derive(Debug, Default)]
pub struct Told {
    /// Measured after so many starts and ends of tasks; `None`: nothing was told yet.
    stirs: Option<u64>,
    machine: Measured,
    /// By id.
    tasks: Vec<(TaskId, Measured)>,
    /// Measures of tasks that the leader keeps: those of the last complete one, and changes since.
    kept: usize,
}

impl Told {
    /// The message for what was measured after so many `stirs`.
    pub fn news(&mut self, mut usage: Usage, stirs: u64) -> AgentMessage {
        usage.tasks.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        let is_news = |(task, measured): &&(TaskId, Measured)| {
            let before = self.tasks.binary_search_by(|(known, _)| known.cmp(task));
            before.ok().is_none_or(|at| self.tasks[at].1 != *measured)
        };
        let changed: Vec<_> = usage.tasks.iter().filter(is_news).cloned().collect();
        let (all, kept) = (usage.tasks.len(), self.kept + changed.len());
        let is_first = self.stirs.replace(stirs).is_none();
        (self.machine, self.tasks) = (usage.machine, usage.tasks);
        let (at, machine) = (usage.at, usage.machine);
        // The leader keeps what it was told of tasks that are gone, until it is told everything.
        if is_first || kept > 2 * all {
            self.kept = all;
            return AgentMessage::Usage(Usage { at, machine, tasks: self.tasks.clone() });
        }
        self.kept = kept;
        AgentMessage::UsageChanges(Usage { at, machine, tasks: changed })
    }

    /// The message for when nothing is to be measured, as no task has started or ended since: `None` when there is
    /// something.
    pub fn as_before(&self, at: Timestamp, stirs: u64) -> Option<AgentMessage> {
        let machine = self.machine;
        (self.stirs == Some(stirs))
            .then(|| AgentMessage::UsageChanges(Usage { at, machine, tasks: Vec::new() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tests::task;

    fn measured(cpus_milli: u64) -> Measured {
        Measured { cpus_milli, mem_bytes: 1 }
    }

    fn usage(tasks: &[(u32, u64)]) -> Usage {
        let tasks = tasks.iter().map(|(number, cpus_milli)| (task(*number), measured(*cpus_milli)));
        Usage { at: Timestamp::from_millis(5), machine: measured(9), tasks: tasks.collect() }
    }

    #[test]
    fn only_changes_are_said_until_the_leader_keeps_too_much() {
        use AgentMessage::{Usage as All, UsageChanges as Changes};
        let (mut told, mut stirs) = (Told::default(), 0);
        let table = [
            (usage(&[(2, 7), (1, 7)]), All(usage(&[(1, 7), (2, 7)]))),
            (usage(&[(1, 7), (2, 7)]), Changes(usage(&[]))),
            (usage(&[(1, 7), (2, 8)]), Changes(usage(&[(2, 8)]))),
            (usage(&[(1, 7), (2, 8), (3, 1)]), Changes(usage(&[(3, 1)]))),
            // Gone; then there is more of what is gone than of what is there.
            (usage(&[(2, 8), (3, 1)]), Changes(usage(&[]))),
            (usage(&[(2, 8), (3, 2)]), All(usage(&[(2, 8), (3, 2)]))),
            (usage(&[]), All(usage(&[]))),
            (usage(&[]), Changes(usage(&[]))),
        ];
        for (measured, said) in table {
            stirs += 1;
            assert_eq!(told.news(measured, stirs), said);
        }
        let mut another_session = Told::default();
        assert_eq!(another_session.news(usage(&[(1, 7)]), 1), All(usage(&[(1, 7)])));
    }

    #[test]
    fn nothing_is_measured_while_no_task_starts_or_ends() {
        let (mut told, at) = (Told::default(), Timestamp::from_millis(6));
        assert_eq!(told.as_before(at, 0), None, "nothing was told yet");
        told.news(usage(&[(1, 7)]), 3);
        let as_before = AgentMessage::UsageChanges(Usage { at, ..usage(&[]) });
        assert_eq!((told.as_before(at, 3), told.as_before(at, 4)), (Some(as_before), None));
    }

    #[test]
    fn between_two_readings() {
        let meminfo = "MemTotal: 100 kB\nMemAvailable: 40 kB\n";
        let mut meter = Meter::default();
        let first = meter.take("cpu  10 0 10 60 20 0 0 0 5 0\ncpu0 1", meminfo, 2);
        assert_eq!(first, Measured { cpus_milli: 0, mem_bytes: 60 * 1024 });
        let second = meter.take("cpu  30 0 40 100 30 0 0 0 9 0", meminfo, 2);
        assert_eq!(second.cpus_milli, 1000, "half of two cores");
        assert_eq!(meter.take("nonsense", "", 2), Measured::default());
    }
}
