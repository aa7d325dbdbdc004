//! Measured use of the machine: CPU from `/proc/stat`, memory from `/proc/meminfo`.

use spec::protocol::Measured;

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

#[cfg(test)]
mod tests {
    use super::*;

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
