//! The zone against records of Mesos-DNS itself, and against what it promises beyond them.

use std::collections::BTreeSet;

use hickory_proto::rr::{RData, Record};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use spec::ids::AgentId;

use super::*;

const UUID: &str = "11111111-2222-3333-4444-5555555555";

fn task(app: &str, number: u8) -> ZoneTask {
    let safe = AppId::parse(app).unwrap().safe_path();
    ZoneTask {
        task: format!("{safe}.instance-{UUID}{number:02}._app.1").parse().unwrap(),
        agent: AgentId::new(format!("0a1b2c3d-0000-4000-8000-000000000001-S{number}")),
        agent_ip: IpAddr::from([10, 0, 0, number]),
        addresses: Vec::new(),
        ports: vec![port(31_000 + u16::from(number), Protocol::Tcp, None)],
        host_ports: vec![31_000 + u16::from(number)],
    }
}

fn port(number: u16, protocol: Protocol, name: Option<&str>) -> ZonePort {
    ZonePort { number, protocol, name: name.map(str::to_owned) }
}

fn zone(tasks: impl IntoIterator<Item = ZoneTask>) -> Zone {
    let mut zone = Zone::new(Settings::default());
    tasks.into_iter().for_each(|task| zone.put(task));
    zone
}

fn ask(zone: &Zone, name: &str, kind: RecordType) -> Answer {
    zone.lookup(&fqdn(name.trim_end_matches('.')).unwrap(), kind, 1)
}

fn shown(records: &[Record]) -> BTreeSet<String> {
    let show = |record: &Record| match &record.data {
        RData::A(a) => a.0.to_string(),
        RData::AAAA(a) => a.0.to_string(),
        RData::SRV(srv) => format!("{}:{}", srv.target, srv.port),
        other => format!("{other}"),
    };
    records.iter().map(show).collect()
}

fn answers(zone: &Zone, name: &str, kind: RecordType) -> BTreeSet<String> {
    shown(&ask(zone, name, kind).answers)
}

fn set<const N: usize>(texts: [&str; N]) -> BTreeSet<String> {
    texts.map(str::to_owned).into()
}

fn code(zone: &Zone, name: &str) -> ResponseCode {
    ask(zone, name, RecordType::A).code
}

#[test]
fn records_are_those_of_mesos_dns() {
    let file: Value = serde_json::from_str(include_str!("../../tests/data/mesos-dns.json")).unwrap();
    let kinds = [("A", RecordType::A), ("AAAA", RecordType::AAAA), ("SRV", RecordType::SRV)];
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 7);
    for case in cases {
        let zone = zone(case["tasks"].as_array().unwrap().iter().map(task_of_case));
        for (text, kind) in kinds {
            for (name, values) in case["expect"][text].as_object().unwrap() {
                let expected = values.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned());
                assert_eq!(answers(&zone, name, kind), expected.collect(), "{}: {name} {text}", case["id"]);
            }
        }
    }
}

fn task_of_case(case: &Value) -> ZoneTask {
    let list = |field: &str| case[field].as_array().unwrap().clone();
    let number = |value: &Value| u16::try_from(value.as_u64().unwrap()).unwrap();
    let protocol = |value: &Value| {
        if value == "udp" { Protocol::Udp } else { Protocol::Tcp }
    };
    ZoneTask {
        task: case["task"].as_str().unwrap().parse().unwrap(),
        agent: AgentId::new(case["agent"].as_str().unwrap()),
        agent_ip: case["agentIp"].as_str().unwrap().parse().unwrap(),
        addresses: list("addresses").iter().map(|ip| ip.as_str().unwrap().parse().unwrap()).collect(),
        ports: list("ports")
            .iter()
            .map(|p| port(number(&p["number"]), protocol(&p["protocol"]), p["name"].as_str()))
            .collect(),
        host_ports: list("hostPorts").iter().map(number).collect(),
    }
}

#[test]
fn groups_answer_under_both_names() {
    let zone = zone([task("/shop/prod/api", 1)]);
    for name in ["api-prod-shop", "api.prod.shop"] {
        assert_eq!(
            answers(&zone, &format!("{name}.marathon.mesos"), RecordType::A),
            set(["10.0.0.1"]),
            "{name}"
        );
        let service = ask(&zone, &format!("_{name}._tcp.marathon.mesos"), RecordType::SRV);
        let target = shown(&service.answers).pop_first().unwrap();
        assert!(target.starts_with(&format!("{name}-")), "{target}");
        assert!(target.ends_with("-s1.marathon.mesos.:31001"), "{target}");
        let host = target.split(':').next().unwrap();
        assert_eq!(answers(&zone, host, RecordType::A), set(["10.0.0.1"]), "{host}");
        assert_eq!(shown(&service.additional), set(["10.0.0.1"]));
    }
}

#[test]
fn addresses_fit_the_ports() {
    let own = |ports, host_ports| ZoneTask {
        addresses: vec![IpAddr::from([172, 17, 0, 2])],
        ports,
        host_ports,
        ..task("/web", 1)
    };
    let (inside, outside) = (port(8080, Protocol::Tcp, None), port(31_001, Protocol::Tcp, None));
    for (what, task, expected) in [
        ("bridge: the agent's port at the agent", own(vec![outside.clone()], vec![31_001]), "10.0.0.1"),
        ("container network: the task's port at the task", own(vec![inside.clone()], vec![]), "172.17.0.2"),
        ("nothing published", own(vec![], vec![]), "172.17.0.2"),
        ("mixed", own(vec![inside.clone(), outside.clone()], vec![31_001]), "172.17.0.2"),
    ] {
        assert_eq!(answers(&zone([task]), "web.marathon.mesos", RecordType::A), set([expected]), "{what}");
    }
    let mixed = zone([own(vec![inside, outside], vec![31_001])]);
    let targets = answers(&mixed, "_web._tcp.marathon.mesos", RecordType::SRV);
    assert!(targets.iter().any(|t| t.ends_with("-s1.marathon.mesos.:8080")), "{targets:?}");
    assert!(targets.iter().any(|t| t.ends_with("-s1.marathon.slave.mesos.:31001")), "{targets:?}");
    let additional = ask(&mixed, "_web._tcp.marathon.mesos", RecordType::SRV).additional;
    assert_eq!(shown(&additional), set(["172.17.0.2", "10.0.0.1"]));
}

#[test]
fn named_ports_and_both_families() {
    let ports = vec![
        port(8080, Protocol::Tcp, Some("http")),
        port(8053, Protocol::Udp, Some("dns")),
        port(9, Protocol::Tcp, None),
    ];
    let addresses = vec!["fd01::7".parse().unwrap(), IpAddr::from([9, 0, 1, 7])];
    let zone = zone([ZoneTask { ports, addresses, host_ports: vec![], ..task("/web", 1) }]);
    let count = |name: &str| ask(&zone, name, RecordType::SRV).answers.len();
    assert_eq!(count("_web._tcp.marathon.mesos"), 2);
    assert_eq!(count("_web._udp.marathon.mesos"), 1);
    assert_eq!(count("_http._web._tcp.marathon.mesos"), 1);
    assert_eq!(count("_dns._web._udp.marathon.mesos"), 1);
    assert_eq!(count("_http._web._udp.marathon.mesos"), 0);
    assert_eq!(ask(&zone, "_http._web._udp.marathon.mesos", RecordType::SRV).code, ResponseCode::NXDomain);
    assert_eq!(answers(&zone, "web.marathon.mesos", RecordType::AAAA), set(["fd01::7"]));
    assert_eq!(answers(&zone, "web.marathon.mesos", RecordType::A), set(["9.0.1.7"]));
    assert_eq!(ask(&zone, "_http._web._tcp.marathon.mesos", RecordType::SRV).additional.len(), 2);
}

#[test]
fn absent_data_and_absent_names_differ() {
    let mut zone = zone([task("/shop/prod/api", 1)]);
    zone.set_masters(Some("10.0.0.9:8080".parse().unwrap()), vec![]);
    let canonical =
        answers(&zone, "_api.prod.shop._tcp.marathon.mesos", RecordType::SRV).pop_first().unwrap();
    let canonical = canonical.split(':').next().unwrap();
    let above_canonical = canonical.trim_start_matches("api.");
    for name in [
        "mesos",
        "_tcp.mesos",
        "marathon.slave.mesos",
        "_tcp.marathon.mesos",
        "prod.shop.marathon.mesos",
        "shop.marathon.mesos",
        "shop.marathon.slave.mesos",
        "shop._tcp.marathon.mesos",
        "prod.shop._udp.marathon.slave.mesos",
        "_api-prod-shop._tcp.marathon.mesos",
        "_api-prod-shop._udp.marathon.mesos",
        above_canonical,
    ] {
        let answer = ask(&zone, name, RecordType::A);
        assert_eq!((answer.code, answer.answers.len()), (ResponseCode::NoError, 0), "{name}");
    }
    for name in [
        "api.marathon.mesos",
        "x.api.prod.shop.marathon.mesos",
        "hop.marathon.mesos",
        "op._tcp.marathon.mesos",
        "_api-prod-shop.marathon.mesos",
        "_x._tcp.marathon.mesos",
        "api-prod-shop-yyyyy-s1.marathon.mesos",
        "master1.mesos",
        "web.mesos",
        "chronos.mesos",
        &canonical.replace("-s1.", "-s2."),
    ] {
        assert_eq!(code(&zone, name), ResponseCode::NXDomain, "{name}");
    }
    for (name, kind) in
        [("nothing.mesos", RecordType::SRV), ("api-prod-shop.marathon.mesos", RecordType::AAAA)]
    {
        let soa = &ask(&zone, name, kind).authority[0];
        assert_eq!(
            (soa.name.to_string().as_str(), soa.record_type(), soa.ttl),
            ("mesos.", RecordType::SOA, 1)
        );
    }
}

#[test]
fn the_cluster_itself_has_names() {
    let mut zone = zone([]);
    assert_eq!(
        code(&zone, "leader.mesos"),
        ResponseCode::NoError,
        "no leader is no reason to forget the name"
    );
    let at = |n: u8| SocketAddr::from(([10, 0, 0, n], 8080));
    zone.set_masters(Some(at(2)), vec![at(1), at(2), at(3)]);
    zone.set_agents([IpAddr::from([10, 0, 1, 1]), IpAddr::from([10, 0, 1, 2]), IpAddr::from([10, 0, 1, 1])]);
    zone.set_serial(77);
    let a = |name: &str| answers(&zone, name, RecordType::A);
    assert_eq!(a("leader.mesos"), set(["10.0.0.2"]));
    assert_eq!(a("master.mesos"), set(["10.0.0.1", "10.0.0.2", "10.0.0.3"]));
    assert_eq!(a("ns1.mesos"), a("master.mesos"));
    assert_eq!(a("master1.mesos"), set(["10.0.0.2"]));
    assert_eq!(a("slave.mesos"), set(["10.0.1.1", "10.0.1.2"]));
    assert_eq!(a("marathon.mesos"), set(["10.0.0.2"]));
    assert_eq!(answers(&zone, "_leader._tcp.mesos", RecordType::SRV), set(["leader.mesos.:8080"]));
    assert_eq!(
        answers(&zone, "_framework._tcp.marathon.mesos", RecordType::SRV),
        set(["marathon.mesos.:8080"])
    );
    let soa = ask(&zone, "mesos", RecordType::SOA);
    let ns1 = fqdn("ns1.mesos").unwrap();
    assert!(matches!(&soa.answers[0].data, RData::SOA(soa) if (soa.serial, &soa.mname) == (77, &ns1)));
    let ns = ask(&zone, "MESOS", RecordType::NS);
    assert_eq!((ns.answers.len(), ns.additional.len()), (1, 3));
    zone.set_masters(Some(at(9)), vec![at(1)]);
    assert_eq!(
        answers(&zone, "master1.mesos", RecordType::A),
        set(["10.0.0.9"]),
        "a stranger that leads comes last"
    );
}

#[test]
fn any_gets_the_least() {
    let zone = zone([task("/web", 1)]);
    let any = |name: &str| ask(&zone, name, RecordType::ANY);
    assert_eq!(any("web.marathon.mesos").answers[0].record_type(), RecordType::HINFO);
    assert_eq!(any("web.marathon.mesos").answers.len(), 1);
    assert_eq!(any("nothing.marathon.mesos").code, ResponseCode::NXDomain);
}

#[test]
fn seeds_turn_the_order() {
    let zone = zone((1..=8).map(|n| task("/web", n)));
    let name = fqdn("web.marathon.mesos").unwrap();
    let first = |seed| format!("{}", zone.lookup(&name, RecordType::A, seed).answers[0].data);
    let firsts: BTreeSet<String> = (0..200).map(first).collect();
    assert_eq!(firsts.len(), 8);
}

#[test]
fn a_huge_app_has_bounded_answers_that_reach_every_task() {
    let many = (0..3000_u32).map(|n| {
        let mut task = task("/web", 1);
        task.task.instance.uuid = Uuid::from_u64_pair(u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15), 0);
        task.agent_ip = IpAddr::from((0x0A00_0000 + n).to_be_bytes());
        task
    });
    let zone = zone(many);
    let name = fqdn("web.marathon.mesos").unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..64_u64 {
        let answer = zone.lookup(&name, RecordType::A, seed.wrapping_mul(0xD1B5_4A32_D192_ED03));
        assert_eq!(answer.answers.len(), TASKS_MAX);
        seen.extend(shown(&answer.answers));
    }
    assert_eq!(seen.len(), 3000);
}

#[test]
fn names_of_any_length_are_answered() {
    let long = "x".repeat(63);
    let zone = zone([task(&format!("/{long}"), 1)]);
    assert_eq!(answers(&zone, &format!("{long}.marathon.mesos"), RecordType::A), set(["10.0.0.1"]));
    let service = format!("_{}._tcp.marathon.mesos", "x".repeat(62));
    let target = answers(&zone, &service, RecordType::SRV).pop_first().expect("an answer");
    let host = target.split(':').next().unwrap();
    assert_eq!(answers(&zone, host, RecordType::A), set(["10.0.0.1"]), "{host}");
}

#[test]
fn a_domain_is_plain_or_the_zone_is_out_of_the_way() {
    for good in ["mesos", "dc1.mesos", "1-awesome.domain.e"] {
        assert!(is_domain(good), "{good}");
    }
    for wrong in ["", ".mesos", "mesos.", "a..b", "-a", "a b", "ä", &"x".repeat(64), &"x.".repeat(60)] {
        assert!(!is_domain(wrong), "{wrong}");
        let zone = Zone::new(Settings { domain: wrong.to_owned(), ..Settings::default() });
        assert!(!zone.contains(&fqdn("example.org").unwrap()), "{wrong}");
    }
}

#[test]
fn a_clone_keeps_what_it_had() {
    let mut zone = zone([task("/web", 1)]);
    let before = zone.clone();
    zone.remove(&task("/web", 1).task);
    assert_eq!(code(&zone, "web.marathon.mesos"), ResponseCode::NXDomain);
    assert_eq!(answers(&before, "web.marathon.mesos", RecordType::A), set(["10.0.0.1"]));
}

fn some_task() -> impl Strategy<Value = ZoneTask> {
    // The last two have one digest.
    let apps = ["/web", "/a/b", "/b-a", "/x/a/b", "/a.b", "/b/a", "/a941088", "/a1003172"];
    let apps = proptest::sample::select(apps.to_vec());
    (apps, 1..5_u8).prop_map(|(app, number)| task(app, number))
}

proptest! {
    #[test]
    fn removing_everything_leaves_nothing(tasks in vec(some_task(), 0..30)) {
        let mut zone = zone(tasks.clone());
        for task in &tasks {
            zone.remove(&task.task);
        }
        prop_assert_eq!(zone, Zone::new(Settings::default()));
    }

    #[test]
    fn the_order_of_changes_does_not_matter(tasks in vec(some_task(), 1..20), cut in 0..20_usize) {
        let gone = &tasks[..cut.min(tasks.len())];
        let mut changed = zone(tasks.clone());
        gone.iter().for_each(|task| changed.remove(&task.task));
        let left = tasks.iter().filter(|task| !gone.iter().any(|other| other.task == task.task));
        prop_assert_eq!(changed, zone(left.rev().cloned()));
    }

    #[test]
    fn every_task_is_found_by_all_its_names(tasks in vec(some_task(), 1..12)) {
        let zone = zone(tasks.clone());
        for task in &tasks {
            let ip = task.agent_ip.to_string();
            for host in names::hosts(task.task.app()) {
                let short = format!("{host}.marathon.mesos");
                prop_assert!(answers(&zone, &short, RecordType::A).contains(&ip));
                let hash = names::task_hash(&task.task);
                let canonical = names::canonical(&host, &hash, &names::agent_tail(&task.agent));
                let canonical = format!("{canonical}.marathon.slave.mesos");
                prop_assert_eq!(answers(&zone, &canonical, RecordType::A), set([&ip]));
                let service = format!("{}._tcp.marathon.mesos", names::service(&host));
                let ending = format!(":{}", task.host_ports[0]);
                prop_assert!(answers(&zone, &service, RecordType::SRV).iter().any(|t| t.ends_with(&ending)));
            }
        }
    }
}
