//! From counters of CPU time to the use of CPU over the last interval.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use spec::ids::TaskId;
use spec::protocol::Measured;

use super::cgroup::Reading;

/// The last reading of each task.
#[derive(Debug, Default)]
pub struct Meter {
    last: Mutex<HashMap<TaskId, (Instant, u64)>>,
}

impl Meter {
    /// Turns readings of all tasks of interest into measures; tasks that are not among them are forgotten.
    /// The first measure of a task knows no interval yet and says no CPU.
    pub fn measure(&self, readings: Vec<(TaskId, Reading)>) -> Vec<(TaskId, Measured)> {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *last);
        readings
            .into_iter()
            .map(|(task, reading)| {
                let cpus_milli = before.get(&task).map_or(0, |(at, cpu_nanos)| {
                    milli(reading.cpu_nanos.saturating_sub(*cpu_nanos), (now - *at).as_nanos())
                });
                last.insert(task.clone(), (now, reading.cpu_nanos));
                (task, Measured { cpus_milli, mem_bytes: reading.mem_bytes })
            })
            .collect()
    }
}

fn milli(cpu_nanos: u64, elapsed_nanos: u128) -> u64 {
    let milli = u128::from(cpu_nanos) * 1000 / elapsed_nanos.max(1);
    u64::try_from(milli).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousandths_of_a_core() {
        assert_eq!(milli(500_000_000, 1_000_000_000), 500);
        assert_eq!(milli(2_000_000_000, 1_000_000_000), 2000);
        assert_eq!(milli(1, 0), 1000);
    }
}
