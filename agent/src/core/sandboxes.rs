//! Which sandboxes of ended tasks are kept: the newest, for a while. Pure.
//!
//! People look into the sandbox of a task that failed; an app that fails all day must not fill the disk.

use std::collections::BTreeSet;

use spec::ids::TaskId;
use spec::time::Timestamp;

/// Sandboxes of ended tasks that are kept.
pub const KEPT_MAX: usize = 200;
/// How long they are kept: a week, as Mesos' `--gc_delay`.
pub const KEPT_MILLIS_MAX: u64 = 7 * 24 * 3600 * 1000;

/// Sandboxes of ended tasks, oldest first.
#[derive(Debug, Default)]
pub(super) struct Sandboxes {
    ended: BTreeSet<(Timestamp, TaskId)>,
}

impl Sandboxes {
    /// A task has ended, and its sandbox stays for now.
    pub(super) fn keep(&mut self, task: TaskId, ended_at: Timestamp) {
        self.ended.insert((ended_at, task));
    }

    /// Takes out what is to be deleted.
    pub(super) fn expire(&mut self, now: Timestamp) -> Vec<TaskId> {
        let mut expired = Vec::new();
        while let Some((ended_at, _)) = self.ended.first() {
            let surplus = self.ended.len() > KEPT_MAX;
            if !surplus && now.millis_since(*ended_at) < KEPT_MILLIS_MAX {
                break;
            }
            expired.extend(self.ended.pop_first().map(|(_, task)| task));
        }
        expired
    }

    /// When the next one expires by age.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.ended.first().map(|(ended_at, _)| ended_at.plus_millis(KEPT_MILLIS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(n: usize) -> TaskId {
        format!("a.instance-00000000-0000-0000-0000-{n:012x}._app.1").parse().unwrap()
    }

    #[test]
    fn by_number_and_by_age() {
        let mut sandboxes = Sandboxes::default();
        for n in 0..KEPT_MAX + 2 {
            sandboxes.keep(task(n), Timestamp::from_millis(n as u64));
        }
        let now = Timestamp::from_millis(1000);
        assert_eq!(sandboxes.expire(now), [task(0), task(1)]);
        assert_eq!(sandboxes.expire(now), []);
        let later = sandboxes.next_expiry().unwrap();
        assert_eq!(later, Timestamp::from_millis(2 + KEPT_MILLIS_MAX));
        assert_eq!(sandboxes.expire(later), [task(2)]);
        assert_eq!(sandboxes.expire(later.plus_millis(KEPT_MILLIS_MAX)).len(), KEPT_MAX - 1);
        assert_eq!(sandboxes.next_expiry(), None);
    }
}
