//! CPU and memory of a container, from what the app reserves and its limits. Pure.

use bollard::models::HostConfig;
use spec::app::{App, Limit};

/// Shares of one whole core, in Docker as in the kernel.
const SHARES_PER_CPU: f64 = 1024.0;
/// Fewer shares the kernel refuses; also Mesos' `MIN_CPU_SHARES`.
const MIN_SHARES: i64 = 2;
/// Less memory Mesos never gave a container (`MIN_MEMORY`); Docker refuses less than 6 MiB.
const MIN_MEMORY_MIB: f64 = 32.0;

/// Reserved CPU is a weight and reserved memory a limit; `resourceLimits` replaces both limits, and what
/// is reserved then stays as the weight and the soft limit.
pub(super) fn apply(app: &App, host: &mut HostConfig) {
    let limits = app.resource_limits.as_ref();
    host.cpu_shares = Some(((app.cpus * SHARES_PER_CPU) as i64).max(MIN_SHARES));
    if let Some(Limit::Amount(cpus)) = limits.and_then(|limits| limits.cpus) {
        host.nano_cpus = Some((cpus * 1e9) as i64);
    }
    match limits.and_then(|limits| limits.mem) {
        None => host.memory = Some(bytes(app.mem)),
        Some(Limit::Amount(mem)) => {
            host.memory = Some(bytes(mem));
            host.memory_reservation = Some(bytes(app.mem));
        }
        Some(Limit::Unlimited) => host.memory_reservation = Some(bytes(app.mem)),
    }
}

fn bytes(mib: f64) -> i64 {
    (mib.max(MIN_MEMORY_MIB) * 1024.0 * 1024.0) as i64
}
