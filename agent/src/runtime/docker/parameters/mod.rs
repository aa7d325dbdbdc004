//! `container.docker.parameters`: options of `docker run`, one row of a table each, put into the request
//! as Docker's own client would put them. Pure.
//!
//! Not here: options that would take the container out of our hands (its name, detaching) and those that
//! read files of the machine `docker run` is called on. They are unknown, and an unknown one is an error
//! that names it: nothing is dropped silently.

mod set;
mod values;

use bollard::models::ContainerCreateBody;
use spec::app::DockerParameter;

/// Puts one option's value into the request.
type Set = fn(&mut ContainerCreateBody, &str) -> Result<(), String>;

/// Every option that is understood. Repeating one adds to a list or replaces a single value, as on the
/// command line.
const TABLE: &[(&str, Set)] = &[
    ("add-host", |body, value| set::push(&mut set::host(body).extra_hosts, value)),
    ("blkio-weight", |body, value| set::parsed(&mut set::host(body).blkio_weight, value)),
    ("cap-add", |body, value| set::push(&mut set::host(body).cap_add, value)),
    ("cap-drop", |body, value| set::push(&mut set::host(body).cap_drop, value)),
    ("cgroup-parent", |body, value| set::text(&mut set::host(body).cgroup_parent, value)),
    ("cpu-period", |body, value| set::parsed(&mut set::host(body).cpu_period, value)),
    ("cpu-quota", |body, value| set::parsed(&mut set::host(body).cpu_quota, value)),
    ("cpu-shares", |body, value| set::parsed(&mut set::host(body).cpu_shares, value)),
    ("cpus", set::cpus),
    ("cpuset-cpus", |body, value| set::text(&mut set::host(body).cpuset_cpus, value)),
    ("cpuset-mems", |body, value| set::text(&mut set::host(body).cpuset_mems, value)),
    ("device", set::device),
    ("device-cgroup-rule", |body, value| set::push(&mut set::host(body).device_cgroup_rules, value)),
    ("dns", |body, value| set::push(&mut set::host(body).dns, value)),
    ("dns-opt", |body, value| set::push(&mut set::host(body).dns_options, value)),
    ("dns-option", |body, value| set::push(&mut set::host(body).dns_options, value)),
    ("dns-search", |body, value| set::push(&mut set::host(body).dns_search, value)),
    ("domainname", |body, value| set::text(&mut body.domainname, value)),
    ("entrypoint", |body, value| set::list_of_one(&mut body.entrypoint, value)),
    ("env", set::env),
    ("expose", set::expose),
    ("gpus", set::gpus),
    ("group-add", |body, value| set::push(&mut set::host(body).group_add, value)),
    ("hostname", |body, value| set::text(&mut body.hostname, value)),
    ("init", |body, value| set::flag(&mut set::host(body).init, value)),
    ("interactive", |body, value| set::flag(&mut body.open_stdin, value)),
    ("ip", |body, value| set::address(body, value, |ipam| &mut ipam.ipv4_address)),
    ("ip6", |body, value| set::address(body, value, |ipam| &mut ipam.ipv6_address)),
    ("ipc", |body, value| set::text(&mut set::host(body).ipc_mode, value)),
    ("label", set::label),
    ("link", |body, value| set::push(&mut set::host(body).links, value)),
    ("log-driver", set::log_driver),
    ("log-opt", set::log_option),
    ("memory", |body, value| set::size(&mut set::host(body).memory, value)),
    ("memory-reservation", |body, value| set::size(&mut set::host(body).memory_reservation, value)),
    ("memory-swap", |body, value| set::size(&mut set::host(body).memory_swap, value)),
    ("memory-swappiness", |body, value| set::parsed(&mut set::host(body).memory_swappiness, value)),
    ("mount", set::mount),
    ("net", |body, value| set::text(&mut set::host(body).network_mode, value)),
    ("net-alias", set::alias),
    ("network", |body, value| set::text(&mut set::host(body).network_mode, value)),
    ("network-alias", set::alias),
    ("no-healthcheck", set::no_healthcheck),
    ("oom-kill-disable", |body, value| set::flag(&mut set::host(body).oom_kill_disable, value)),
    ("oom-score-adj", |body, value| set::parsed(&mut set::host(body).oom_score_adj, value)),
    ("pid", |body, value| set::text(&mut set::host(body).pid_mode, value)),
    ("pids-limit", |body, value| set::parsed(&mut set::host(body).pids_limit, value)),
    ("privileged", |body, value| set::flag(&mut set::host(body).privileged, value)),
    ("publish", set::publish),
    ("read-only", |body, value| set::flag(&mut set::host(body).readonly_rootfs, value)),
    // What starts and removes containers here is the agent.
    ("restart", |_, _| Ok(())),
    ("rm", |_, _| Ok(())),
    ("runtime", |body, value| set::text(&mut set::host(body).runtime, value)),
    ("security-opt", set::security_option),
    ("shm-size", |body, value| set::size(&mut set::host(body).shm_size, value)),
    ("stop-signal", |body, value| set::text(&mut body.stop_signal, value)),
    ("stop-timeout", |body, value| set::parsed(&mut body.stop_timeout, value)),
    ("storage-opt", |body, value| set::pair(&mut set::host(body).storage_opt, value)),
    ("sysctl", |body, value| set::pair(&mut set::host(body).sysctls, value)),
    ("tmpfs", set::tmpfs),
    ("tty", |body, value| set::flag(&mut body.tty, value)),
    ("ulimit", set::ulimit),
    ("user", |body, value| set::text(&mut body.user, value)),
    ("userns", |body, value| set::text(&mut set::host(body).userns_mode, value)),
    ("uts", |body, value| set::text(&mut set::host(body).uts_mode, value)),
    ("volume", set::volume),
    ("volume-driver", |body, value| set::text(&mut set::host(body).volume_driver, value)),
    ("volumes-from", |body, value| set::push(&mut set::host(body).volumes_from, value)),
    ("workdir", |body, value| set::text(&mut body.working_dir, value)),
];

/// Applies the parameters in their order, the network before the rest: aliases and addresses belong to it.
pub(super) fn apply(parameters: &[DockerParameter], body: &mut ContainerCreateBody) -> Result<(), String> {
    let (network, rest): (Vec<_>, Vec<_>) =
        parameters.iter().partition(|parameter| ["net", "network"].contains(&parameter.key.as_str()));
    for parameter in network.into_iter().chain(rest) {
        let (_, set) = TABLE
            .iter()
            .find(|(key, _)| *key == parameter.key)
            .ok_or_else(|| format!("docker parameter `{}` is not supported", parameter.key))?;
        set(body, &parameter.value)
            .map_err(|error| format!("docker parameter `{}={}`: {error}", parameter.key, parameter.value))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
