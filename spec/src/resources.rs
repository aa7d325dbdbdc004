//! Amounts of CPU, memory, disk and GPUs, in the units that placement counts in: milli-cores and MiB.

use serde::{Deserialize, Serialize};

/// What a task asks for or an agent has. Fractions are rounded up, so that a reservation never
/// promises more than there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resources {
    /// CPU in thousandths of a core.
    pub cpus_milli: u64,
    /// Memory in MiB.
    pub mem_mib: u64,
    /// Disk in MiB.
    pub disk_mib: u64,
    /// Whole GPUs.
    pub gpus: u64,
}

impl Resources {
    /// From the decimal numbers of a document: cores, MiB, MiB, GPUs.
    pub fn from_document(cpus: f64, mem: f64, disk: f64, gpus: u32) -> Self {
        Self {
            cpus_milli: ceil(cpus * 1000.0),
            mem_mib: ceil(mem),
            disk_mib: ceil(disk),
            gpus: u64::from(gpus),
        }
    }

    /// Does `self` fit into `free` in every dimension?
    pub fn fits(&self, free: &Self) -> bool {
        self.cpus_milli <= free.cpus_milli
            && self.mem_mib <= free.mem_mib
            && self.disk_mib <= free.disk_mib
            && self.gpus <= free.gpus
    }

    /// Sum, saturating.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    /// Difference, never below zero.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }

    fn zip(&self, other: &Self, op: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            cpus_milli: op(self.cpus_milli, other.cpus_milli),
            mem_mib: op(self.mem_mib, other.mem_mib),
            disk_mib: op(self.disk_mib, other.disk_mib),
            gpus: op(self.gpus, other.gpus),
        }
    }
}

/// Rounds up to a whole unit; what is not a number or negative counts as nothing, what is too large
/// as the largest amount. The small slack forgives decimal fractions such as 0.1 * 1000.
fn ceil(value: f64) -> u64 {
    let up = (value - 1e-6).ceil();
    if up.is_nan() || up <= 0.0 { 0 } else { up as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_round_up() {
        let asked = Resources::from_document(0.1, 32.5, 0.0, 1);
        assert_eq!(asked, Resources { cpus_milli: 100, mem_mib: 33, disk_mib: 0, gpus: 1 });
        assert_eq!(Resources::from_document(f64::NAN, -1.0, f64::INFINITY, 0).disk_mib, u64::MAX);
    }

    #[test]
    fn fits_in_every_dimension() {
        let free = Resources { cpus_milli: 1000, mem_mib: 100, disk_mib: 0, gpus: 0 };
        assert!(Resources::from_document(1.0, 100.0, 0.0, 0).fits(&free));
        assert!(!Resources::from_document(1.0, 100.0, 0.0, 1).fits(&free));
        assert_eq!(free.minus(&free.plus(&free)), Resources::default());
    }
}
