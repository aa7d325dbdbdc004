//! What memory a process has, as the kernel counts it.

use std::fmt;

use anyhow::Context;

/// Of one process, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// In memory now, pages of the program included.
    pub(super) resident: u64,
    /// Of these, pages that are no file's: heap and stacks.
    pub(super) own: u64,
    /// The most that was resident.
    pub(super) peak: u64,
}

impl Memory {
    /// Of a process that runs.
    pub(super) fn of(process: u32) -> anyhow::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{process}/status"));
        Ok(Self::read(&status.with_context(|| format!("process {process} does not run any more"))?))
    }

    fn read(status: &str) -> Self {
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
        };
        Self { resident: kib("VmRSS:"), own: kib("RssAnon:"), peak: kib("VmHWM:") }
    }
}

/// For people, in MB of a million bytes as limits are given.
impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |kib: u64| kib as f64 * 1024.0 / 1e6;
        let [resident, peak, own] = [self.resident, self.peak, self.own].map(mb);
        write!(f, "{resident:.1} MB resident (at most {peak:.1}), {own:.1} of its own")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_read() {
        let status = "Name:\tx\nVmHWM:\t    3000 kB\nVmRSS:\t    2000 kB\nRssAnon:\t    1000 kB\n";
        let memory = Memory::read(status);
        assert_eq!(memory, Memory { resident: 2000, own: 1000, peak: 3000 });
        assert_eq!(memory.to_string(), "2.0 MB resident (at most 3.1), 1.0 of its own");
        assert_eq!(Memory::read(""), Memory::default());
    }
}
