//! The start-up options of a master that change what a document may say (Marathon's `--enable_features`,
//! `--mesos_role`, `--default_network_name`, `--local_port_min/max`, `--mesos_bridge_name`).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// What a master accepts; the same on every master of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// Names from `--enable-features`: `secrets`, `external_volumes`, `gpu_resources`, `task_killing`, `vips`.
    pub enabled: BTreeSet<String>,
    /// The role of services directly under `/`; `*` by default.
    pub default_role: String,
    /// Name for container networks that give none.
    pub default_network_name: Option<String>,
    /// The `networkName` that means bridge mode in the old `ipAddress` form.
    pub bridge_name: String,
    /// Service ports are assigned from here.
    pub service_ports: RangeInclusive<u16>,
}

/// The names that `--enable-features` knows.
pub const KNOWN: [&str; 5] = ["vips", "task_killing", "external_volumes", "secrets", "gpu_resources"];

impl Features {
    /// Is the named feature on?
    pub fn has(&self, name: &str) -> bool {
        self.enabled.contains(name)
    }
}

impl Default for Features {
    fn default() -> Self {
        Self {
            enabled: BTreeSet::new(),
            default_role: "*".to_owned(),
            default_network_name: None,
            bridge_name: "mesos-bridge".to_owned(),
            service_ports: 10_000..=20_000,
        }
    }
}
