//! Which host ports a task gets: fixed ones exactly, dynamic ones from a pseudo-random start in the
//! agent's ranges, consecutive from there with wrap-around (reference section 2.4).

use spec::app::HostPort;

use super::site::Site;

/// The declared ports of `app` that get a host port, in order. A fixed 0 stands for any port.
pub(super) fn asked(app: &spec::App) -> Vec<HostPort> {
    let ports = app.ports().into_iter().map(|port| port.host).filter(|host| *host != HostPort::None);
    ports.map(|host| if host == HostPort::Fixed(0) { HostPort::Dynamic } else { host }).collect()
}

/// Do `given` answer what is asked: one each, fixed ones as asked, none twice, all free?
pub(super) fn are_right(asked: &[HostPort], given: &[u16], site: &Site<'_>) -> bool {
    let as_asked = |(host, port): (&HostPort, &u16)| match host {
        HostPort::Fixed(fixed) => fixed == port,
        _ => true,
    };
    asked.len() == given.len()
        && asked.iter().zip(given).all(as_asked)
        && !has_duplicates(given)
        && given.iter().all(|port| site.is_port_free(*port))
}

/// Could [`choose`] answer what is asked?
pub(super) fn are_there(asked: &[HostPort], site: &Site<'_>) -> bool {
    let fixed = fixed(asked);
    !has_duplicates(&fixed)
        && fixed.iter().all(|port| site.is_port_free(*port))
        && asked.len() <= site.ports_free()
}

/// Ports for what is asked, or `None` when there are not enough.
pub(super) fn choose(asked: &[HostPort], site: &Site<'_>, seed: u64) -> Option<Vec<u16>> {
    let fixed = fixed(asked);
    if has_duplicates(&fixed) || !fixed.iter().all(|port| site.is_port_free(*port)) {
        return None;
    }
    let mut dynamic = walk(site, seed).filter(|port| !fixed.contains(port));
    asked
        .iter()
        .map(|host| match host {
            HostPort::Fixed(port) => Some(*port),
            _ => dynamic.next(),
        })
        .collect()
}

/// The fixed ones.
pub(super) fn fixed(asked: &[HostPort]) -> Vec<u16> {
    let port_of = |host: &HostPort| match host {
        HostPort::Fixed(port) => Some(*port),
        _ => None,
    };
    asked.iter().filter_map(port_of).collect()
}

/// The free ports of the agent, once round its ranges.
fn walk<'a>(site: &'a Site<'_>, seed: u64) -> impl Iterator<Item = u16> + 'a {
    let count = site.ports_count();
    let start = usize::try_from(seed % (count.max(1) as u64)).unwrap_or_default();
    let round = (0..count).map(move |n| (start + n) % count);
    round.filter_map(|n| site.port_at(n)).filter(|port| site.is_port_free(*port))
}

/// Is one of them there twice?
pub(super) fn has_duplicates(ports: &[u16]) -> bool {
    let mut sorted = ports.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

/// What is missing, in words.
pub(super) fn missing(asked: &[HostPort], site: &Site<'_>) -> String {
    let fixed = fixed(asked);
    let taken: Vec<_> = fixed.iter().filter(|port| !site.is_port_free(**port)).map(u16::to_string).collect();
    if !taken.is_empty() {
        return format!("port {} is taken or not among the agent's", taken.join(", "));
    }
    if has_duplicates(&fixed) {
        return "asks for the same port twice".to_owned();
    }
    format!("needs {} ports, {} free", asked.len(), site.ports_free())
}
