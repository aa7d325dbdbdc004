//! Reads a name back into what it asks for: the grammar of Mesos-DNS' names (reference, section 2), and
//! nothing of what there is.

use hickory_proto::rr::Name;

use super::Protocol;

/// Under `<framework>.<domain>`, or under `<framework>.slave.<domain>`, where everything is the agent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Task,
    Agent,
}

/// What a name asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// The domain itself.
    Apex,
    /// A name that only has others below it: `_tcp`, `marathon.slave`.
    Branch,
    Leader,
    Masters,
    Master(usize),
    Agents,
    NameServer,
    LeaderService,
    Framework,
    FrameworkService,
    /// `web`, `api.shop`, or the canonical name of a task.
    Host(Place, &'a str),
    /// `_web._tcp`, `_http._web._tcp`; the label keeps its underscore.
    Service {
        place: Place,
        protocol: Protocol,
        port: Option<&'a str>,
        label: &'a str,
    },
    /// `shop` of `shop._tcp`, above `_api.shop._tcp`.
    AboveServices(&'a str),
    /// No name of this zone.
    Nothing,
}

/// The labels below the apex in lower case, joined by dots; `None` outside of the zone. A `*` label other
/// than the first is dropped, since Mesos-DNS reads `web.*.marathon.mesos` as `web.marathon.mesos`. What no
/// record of ours can hold (a dot inside a label, say) becomes `?`, which no record holds either.
pub(super) fn relative(name: &Name, apex: &Name) -> Option<String> {
    if !apex.zone_of(name) {
        return None;
    }
    let below = name.num_labels() - apex.num_labels();
    let mut text = String::new();
    for (i, label) in name.iter().take(below.into()).enumerate() {
        if i > 0 && label == b"*" {
            continue;
        }
        if i > 0 {
            text.push('.');
        }
        text.extend(label.iter().map(|byte| match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => char::from(*byte),
            b'A'..=b'Z' => char::from(byte.to_ascii_lowercase()),
            _ => '?',
        }));
    }
    Some(text)
}

/// What the labels below the apex ask for.
pub(super) fn read<'a>(text: &'a str, framework: &str) -> Asked<'a> {
    match text {
        "" => Asked::Apex,
        "leader" => Asked::Leader,
        "master" => Asked::Masters,
        "slave" => Asked::Agents,
        "ns1" => Asked::NameServer,
        "_tcp" | "_udp" => Asked::Branch,
        "_leader._tcp" | "_leader._udp" => Asked::LeaderService,
        _ => master_number(text).map_or_else(|| below_framework(text, framework), Asked::Master),
    }
}

fn master_number(text: &str) -> Option<usize> {
    let digits = text.strip_prefix("master")?;
    let plain = digits == "0" || !digits.starts_with(['0', '+']);
    digits.parse().ok().filter(|_| plain)
}

fn below_framework<'a>(text: &'a str, framework: &str) -> Asked<'a> {
    if text == framework {
        return Asked::Framework;
    }
    let (place, path) = match text.strip_suffix(".slave") {
        Some(path) => (Place::Agent, path),
        None => (Place::Task, text),
    };
    if path == framework {
        return Asked::Branch;
    }
    match path.strip_suffix(framework).and_then(|rest| rest.strip_suffix('.')) {
        Some(rest) => task_name(place, rest),
        None => Asked::Nothing,
    }
}

fn task_name(place: Place, rest: &str) -> Asked<'_> {
    let services = [("_tcp", Protocol::Tcp), ("_udp", Protocol::Udp)];
    for (label, protocol) in services {
        if rest == label {
            return Asked::Branch;
        }
        if let Some(inner) = rest.strip_suffix(label).and_then(|inner| inner.strip_suffix('.')) {
            return service_name(place, protocol, inner);
        }
    }
    if rest.starts_with('_') { Asked::Nothing } else { Asked::Host(place, rest) }
}

fn service_name(place: Place, protocol: Protocol, inner: &str) -> Asked<'_> {
    if (place, protocol, inner) == (Place::Task, Protocol::Tcp, "_framework") {
        return Asked::FrameworkService;
    }
    let Some(named) = inner.strip_prefix('_') else {
        return Asked::AboveServices(inner);
    };
    match named.find("._") {
        Some(dot) => Asked::Service { place, protocol, port: Some(&named[..dot]), label: &named[dot + 1..] },
        None => Asked::Service { place, protocol, port: None, label: inner },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service<'a>(place: Place, protocol: Protocol, port: Option<&'a str>, label: &'a str) -> Asked<'a> {
        Asked::Service { place, protocol, port, label }
    }

    #[test]
    fn names_ask_for_what_they_say() {
        use Protocol::{Tcp, Udp};
        for (text, asked) in [
            ("", Asked::Apex),
            ("master", Asked::Masters),
            ("master0", Asked::Master(0)),
            ("master12", Asked::Master(12)),
            ("master01", Asked::Nothing),
            ("master+1", Asked::Nothing),
            ("marathon", Asked::Framework),
            ("marathon.slave", Asked::Branch),
            ("_tcp.marathon", Asked::Branch),
            ("_udp.marathon.slave", Asked::Branch),
            ("web.marathon", Asked::Host(Place::Task, "web")),
            ("api.shop.marathon.slave", Asked::Host(Place::Agent, "api.shop")),
            ("slave.marathon", Asked::Host(Place::Task, "slave")),
            ("_web.marathon", Asked::Nothing),
            ("webmarathon", Asked::Nothing),
            ("web.chronos", Asked::Nothing),
            ("_web._tcp.marathon", service(Place::Task, Tcp, None, "_web")),
            ("_api.shop._udp.marathon.slave", service(Place::Agent, Udp, None, "_api.shop")),
            ("_http._api.shop._tcp.marathon", service(Place::Task, Tcp, Some("http"), "_api.shop")),
            ("shop._tcp.marathon", Asked::AboveServices("shop")),
            ("_framework._tcp.marathon", Asked::FrameworkService),
            ("_leader._udp", Asked::LeaderService),
        ] {
            assert_eq!(read(text, "marathon"), asked, "{text}");
        }
    }

    #[test]
    fn names_become_text() {
        let apex = Name::from_ascii("dc.mesos.").unwrap();
        let text = |name: Name| relative(&name, &apex);
        assert_eq!(
            text(Name::from_ascii("Web.MARATHON.Dc.mesos.").unwrap()).as_deref(),
            Some("web.marathon")
        );
        assert_eq!(
            text(Name::from_ascii("web.*.marathon.dc.mesos.").unwrap()).as_deref(),
            Some("web.marathon")
        );
        assert_eq!(text(apex.clone()).as_deref(), Some(""));
        assert_eq!(text(Name::from_ascii("mesos.").unwrap()), None);
        let odd = Name::from_labels([&b"a.b"[..], b"\xff", b"dc", b"mesos"]).unwrap();
        assert_eq!(text(odd).as_deref(), Some("a?b.?"));
    }
}
