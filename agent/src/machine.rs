//! What the machine has: cores, memory, disk.

use std::io;
use std::path::Path;

use spec::resources::Resources;

use crate::options::CapacityOptions;

const MIB: u64 = 1024 * 1024;

/// What placement may hand out: everything the machine has, unless told otherwise.
pub fn capacity(given: &CapacityOptions, data_dir: &Path) -> io::Result<Resources> {
    let cpus_milli = match given.cpus {
        Some(cpus) => Resources::from_document(cpus, 0.0, 0.0, 0).cpus_milli,
        None => cores() * 1000,
    };
    let mem_mib = match given.mem_mib {
        Some(mem_mib) => mem_mib,
        None => {
            memory(&std::fs::read_to_string("/proc/meminfo")?).map_or(0, |memory| memory.total_bytes / MIB)
        }
    };
    let disk_mib = match given.disk_mib {
        Some(disk_mib) => disk_mib,
        None => disk_mib(data_dir)?,
    };
    Ok(Resources { cpus_milli, mem_mib, disk_mib, gpus: u64::from(given.gpus.unwrap_or(0)) })
}

/// Cores that this program may use.
pub fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

fn disk_mib(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_blocks.saturating_mul(disk.f_frsize) / MIB)
}

/// What `/proc/meminfo` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All there is.
    pub total_bytes: u64,
    /// What programs could still get.
    pub available_bytes: u64,
}

/// Reads the text of `/proc/meminfo`.
pub fn memory(meminfo: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(Memory { total_bytes: bytes("MemTotal")?, available_bytes: bytes("MemAvailable")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo() {
        let text = "MemTotal:       2048 kB\nMemFree:  1 kB\nMemAvailable:    1024 kB\n";
        assert_eq!(memory(text), Some(Memory { total_bytes: 2048 * 1024, available_bytes: MIB }));
        assert_eq!(memory("MemTotal: x kB"), None);
    }

    #[test]
    fn this_machine_has_something_to_offer() {
        let found = capacity(&CapacityOptions::default(), Path::new("/")).unwrap();
        assert!(found.cpus_milli >= 1000 && found.mem_mib > 0 && found.disk_mib > 0 && found.gpus == 0);
    }

    #[test]
    fn what_is_given_is_taken() {
        let given = CapacityOptions { cpus: Some(1.5), mem_mib: Some(7), disk_mib: Some(8), gpus: Some(2) };
        let found = capacity(&given, Path::new("/")).unwrap();
        assert_eq!(found, Resources { cpus_milli: 1500, mem_mib: 7, disk_mib: 8, gpus: 2 });
    }
}
