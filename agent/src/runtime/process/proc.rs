//! Processes as `/proc` shows them: telling one from a later one of the same number, and the use of a
//! whole session.

use std::collections::HashMap;
use std::fs;
use std::io;

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::runtime::cgroup::Reading;

/// A process that cannot be mistaken for another while the machine is up: numbers are used again, but
/// not with the same start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRef {
    /// Its number.
    pub pid: i32,
    /// When it was started, in clock ticks since boot.
    pub start: u64,
}

impl ProcessRef {
    /// The process that has this number now.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, start: stat(pid)?.start })
    }

    /// Does it still run? One that ended and was not yet waited for does not.
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start == self.start && !matches!(stat.state, 'Z' | 'X'))
    }

    /// Its number, for system calls.
    pub fn raw(self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }
}

/// The parts of `/proc/PID/stat` that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `Z`, ...
    pub state: char,
    /// Its parent.
    pub parent: i32,
    /// Its session.
    pub session: i32,
    /// User and system time, in clock ticks.
    pub cpu_ticks: u64,
    /// When it was started, in clock ticks since boot.
    pub start: u64,
    /// Resident pages.
    pub rss_pages: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The second field is the program's name in brackets, which may hold anything.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        cpu_ticks: number(11)? + number(12)?,
        start: number(19)?,
        rss_pages: number(21)?,
    })
}

/// Every process, by number.
pub fn all() -> HashMap<i32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

/// The use of a session: what is known of a task without a control group.
pub fn reading_of_session(all: &HashMap<i32, Stat>, session: i32) -> Option<Reading> {
    let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let mut members = all.values().filter(|stat| stat.session == session).peekable();
    members.peek()?;
    let (ticks, pages) = members.fold((0_u64, 0_u64), |(ticks, pages), stat| {
        (ticks.saturating_add(stat.cpu_ticks), pages.saturating_add(stat.rss_pages))
    });
    Some(Reading {
        cpu_nanos: ticks.saturating_mul(1_000_000_000 / ticks_per_second),
        mem_bytes: pages.saturating_mul(page),
    })
}

/// All below `ancestor`, children before grandchildren.
pub fn descendants(all: &HashMap<i32, Stat>, ancestor: i32) -> Vec<i32> {
    let mut found = vec![ancestor];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(all.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// Changes with every start of the machine.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_brackets_and_spaces() {
        let text = "42 (a) b) (c) S 1 42 7 0 -1 4194560 1 2 3 4 50 60 0 0 20 0 1 0 12345 1000 99 0";
        let expected =
            Stat { state: 'S', parent: 1, session: 7, cpu_ticks: 110, start: 12_345, rss_pages: 99 };
        assert_eq!(parse_stat(text), Some(expected));
        assert_eq!(parse_stat("42 (x) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn families() {
        let one = |parent| Stat { state: 'S', parent, session: 1, cpu_ticks: 0, start: 0, rss_pages: 0 };
        let all = HashMap::from([(1, one(0)), (2, one(1)), (3, one(2)), (4, one(1)), (5, one(9))]);
        let mut found = descendants(&all, 1);
        found.sort_unstable();
        assert_eq!(found, [2, 3, 4]);
        assert!(descendants(&all, 5).is_empty());
    }

    #[test]
    fn this_process() {
        let me = ProcessRef::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(me.is_alive());
        assert!(!ProcessRef { start: me.start + 1, ..me }.is_alive());
        assert!(!boot_id().unwrap().is_empty());
    }
}
