//! Limits of a group as what is written to which file. Pure.

use spec::app::{App, Limit};

use super::Version;

/// Shares of one whole core on v1.
const SHARES_PER_CPU: f64 = 1024.0;
/// Fewest shares, and least memory, that Mesos gives a task (`MIN_CPU_SHARES`, `MIN_MEMORY`).
const MIN_SHARES: u64 = 2;
const MIN_MEMORY_MIB: f64 = 32.0;
/// The kernel's default period of CPU quotas, in microseconds, and the least quota that it takes.
const PERIOD_MICROS: u64 = 100_000;
const MIN_QUOTA_MICROS: u64 = 1_000;

/// What a task may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Weight against others, 1024 a core.
    pub cpu_shares: u64,
    /// Microseconds of CPU in a period of 100 ms.
    pub cpu_quota_micros: Option<u64>,
    /// Bytes; `None` is unlimited.
    pub memory: Option<u64>,
}

impl Limits {
    /// No limits, and the weight of a whole core.
    pub const NONE: Self = Self { cpu_shares: 1024, cpu_quota_micros: None, memory: None };

    /// As Mesos' containerizer: reserved CPU is a weight, reserved memory a limit; `resourceLimits`
    /// replaces both limits.
    pub fn of(app: &App) -> Self {
        let limits = app.resource_limits.as_ref();
        let memory = match limits.and_then(|limits| limits.mem) {
            None => Some(app.mem),
            Some(Limit::Amount(mem)) => Some(mem),
            Some(Limit::Unlimited) => None,
        };
        let quota = match limits.and_then(|limits| limits.cpus) {
            Some(Limit::Amount(cpus)) => Some(((cpus * PERIOD_MICROS as f64) as u64).max(MIN_QUOTA_MICROS)),
            _ => None,
        };
        Self {
            cpu_shares: ((app.cpus * SHARES_PER_CPU) as u64).max(MIN_SHARES),
            cpu_quota_micros: quota,
            memory: memory.map(|mib| (mib.max(MIN_MEMORY_MIB) * 1024.0 * 1024.0) as u64),
        }
    }

    /// (hierarchy of v1, file, value), in the order in which they are written.
    pub(super) fn writes(&self, version: Version) -> Vec<(&'static str, &'static str, String)> {
        match version {
            Version::V1 => self.writes_v1(),
            Version::V2 => self.writes_v2(),
        }
    }

    fn writes_v1(&self) -> Vec<(&'static str, &'static str, String)> {
        let mut writes = vec![("cpu", "cpu.shares", self.cpu_shares.to_string())];
        if let Some(quota) = self.cpu_quota_micros {
            writes.push(("cpu", "cpu.cfs_period_us", PERIOD_MICROS.to_string()));
            writes.push(("cpu", "cpu.cfs_quota_us", quota.to_string()));
        }
        if let Some(bytes) = self.memory {
            writes.push(("memory", "memory.limit_in_bytes", bytes.to_string()));
        }
        writes
    }

    fn writes_v2(&self) -> Vec<(&'static str, &'static str, String)> {
        let mut writes = vec![("", "cpu.weight", weight(self.cpu_shares).to_string())];
        if let Some(quota) = self.cpu_quota_micros {
            writes.push(("", "cpu.max", format!("{quota} {PERIOD_MICROS}")));
        }
        if let Some(bytes) = self.memory {
            writes.push(("", "memory.max", bytes.to_string()));
        }
        writes
    }
}

/// Shares 2..262144 of v1 mapped to weights 1..10000 of v2, by the formula of runc and systemd.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_span_the_range() {
        assert_eq!([weight(2), weight(1024), weight(262_144), weight(u64::MAX)], [1, 39, 10_000, 10_000]);
    }

    #[test]
    fn files_of_both_versions() {
        let limits = Limits { cpu_shares: 512, cpu_quota_micros: Some(25_000), memory: Some(1 << 26) };
        let text = |version| {
            let writes = limits.writes(version);
            writes.into_iter().map(|(_, file, value)| format!("{file}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(
            text(Version::V1),
            [
                "cpu.shares=512",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=25000",
                "memory.limit_in_bytes=67108864"
            ]
        );
        assert_eq!(text(Version::V2), ["cpu.weight=20", "cpu.max=25000 100000", "memory.max=67108864"]);
        let none = Limits { cpu_shares: 2, cpu_quota_micros: None, memory: None };
        assert_eq!(none.writes(Version::V1).len(), 1);
    }
}
