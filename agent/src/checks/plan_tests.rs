//! Tables for where and when checks probe.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::environment::tests::app;

const AGENT: &str = "10.0.0.1";

fn target(document: Value, host_ports: &[u16], addresses: &[&str]) -> CheckTarget {
    CheckTarget {
        task: "a.instance-67e55044-10b1-11ea-9a9f-362b9e155667._app.1".parse().unwrap(),
        runtime: RuntimeKind::Docker,
        app: Arc::new(app(document)),
        host_ports: host_ports.to_vec(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    }
}

fn plans_of(target: &CheckTarget) -> Vec<Plan> {
    plans(target, AGENT.parse().unwrap())
}

fn health(changes: Value) -> Value {
    let mut check = json!({"protocol": "HTTP", "delaySeconds": 15, "gracePeriodSeconds": 300,
        "intervalSeconds": 60, "ipProtocol": "IPv4", "maxConsecutiveFailures": 3, "timeoutSeconds": 20});
    check.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    check
}

fn network(mode: &str, host_port: Option<u16>, container_port: u16) -> Value {
    let mut mapping =
        json!({"containerPort": container_port, "protocol": "tcp", "servicePort": 9, "name": "web"});
    if let Some(port) = host_port {
        mapping["hostPort"] = json!(port);
    }
    match mode {
        "host" => json!({"portDefinitions": [{"port": 10_000, "protocol": "tcp", "name": "web"}]}),
        _ => json!({"networks": [{"mode": mode}], "container": {"type": "DOCKER", "volumes": [],
            "docker": {"image": "i", "forcePullImage": false, "privileged": false}, "portMappings": [mapping]}}),
    }
}

fn probe(mode: &str, host_port: Option<u16>, check: Value, addresses: &[&str]) -> Probe {
    let mut document = network(mode, host_port, 80);
    document["healthChecks"] = json!([health(check)]);
    let allocated: Vec<u16> =
        if mode == "host" { vec![31000] } else { host_port.map(|_| 31000).into_iter().collect() };
    plans_of(&target(document, &allocated, addresses)).remove(0).probe
}

fn reached(probe: &Probe) -> String {
    match probe {
        Probe::Http(http) => format!("http {}{}", http.target, http.path),
        Probe::Connect(target) => format!("tcp {target}"),
        Probe::Command(command) => format!("sh {command}"),
        Probe::Impossible(why) => format!("no: {why}"),
        Probe::Simulated => "simulated".to_owned(),
    }
}

#[test]
fn where_checks_go() {
    let own = &["172.17.0.2", "fd00::2"][..];
    for (mode, host_port, check, addresses, expected) in [
        ("host", None, json!({}), &[][..], "http 10.0.0.1:31000/"),
        ("host", None, json!({"path": "health", "portIndex": 0}), &[], "http 10.0.0.1:31000/health"),
        ("host", None, json!({"port": 8080, "path": "/h"}), &[], "http 10.0.0.1:8080/h"),
        ("host", None, json!({"portIndex": 3}), &[], "no: the app has no port of index 3"),
        ("host", None, json!({"protocol": "TCP"}), &[], "tcp 10.0.0.1:31000"),
        ("host", None, json!({"protocol": "HTTPS"}), &[], "tcp 10.0.0.1:31000"),
        ("host", None, json!({"protocol": "COMMAND", "command": {"value": "true"}}), &[], "sh true"),
        ("host", None, json!({"protocol": "COMMAND"}), &[], "no: the check has no command"),
        ("host", None, json!({"protocol": "MESOS_TCP"}), &[], "tcp 127.0.0.1:31000"),
        ("host", None, json!({"protocol": "MESOS_TCP", "ipProtocol": "IPv6"}), &[], "tcp [::1]:31000"),
        ("container/bridge", Some(0), json!({}), own, "http 10.0.0.1:31000/"),
        ("container/bridge", Some(0), json!({"protocol": "MESOS_HTTP"}), own, "http 172.17.0.2:80/"),
        (
            "container/bridge",
            Some(0),
            json!({"protocol": "MESOS_TCP", "ipProtocol": "IPv6"}),
            own,
            "tcp [fd00::2]:80",
        ),
        ("container/bridge", Some(0), json!({"protocol": "MESOS_HTTP"}), &[], "http 10.0.0.1:31000/"),
        ("container", None, json!({}), own, "http 172.17.0.2:80/"),
        ("container", None, json!({"port": 81}), own, "http 172.17.0.2:81/"),
        ("container", None, json!({}), &[], "no: the container has no address of its own"),
    ] {
        assert_eq!(reached(&probe(mode, host_port, check.clone(), addresses)), expected, "{mode} {check}");
    }
}

#[test]
fn when_checks_run() {
    for (check, first, interval, timeout) in [
        (json!({}), 5, 60, 20),
        (json!({"intervalSeconds": 2, "timeoutSeconds": 1}), 2, 2, 1),
        (json!({"intervalSeconds": 0, "timeoutSeconds": 0}), 0, 1, 20),
        (json!({"protocol": "MESOS_TCP"}), 15, 60, 20),
        (json!({"protocol": "COMMAND", "command": {"value": "x"}, "delaySeconds": 1}), 1, 60, 20),
    ] {
        let plan = plans_of(&target(json!({"healthChecks": [health(check)]}), &[], &[])).remove(0);
        let seconds = [plan.first, plan.interval, plan.timeout].map(|duration| duration.as_secs());
        assert_eq!(seconds, [first, interval, timeout]);
    }
}

#[test]
fn readiness_checks_go_by_port_name_and_begin_at_once() {
    let mut document = network("container/bridge", Some(0), 80);
    let check = |protocol: &str, port: &str| {
        json!({"name": "r", "protocol": protocol, "path": "/ready", "portName": port, "intervalSeconds": 30,
            "timeoutSeconds": 10, "httpStatusCodesForReady": [200, 204], "preserveLastResponse": true})
    };
    document["readinessChecks"] = json!([check("HTTP", "web"), check("HTTP", "x"), check("HTTPS", "web")]);
    let plans = plans_of(&target(document, &[31000], &[]));
    assert_eq!(
        (plans[0].first.as_secs(), plans[0].interval.as_secs(), plans[0].timeout.as_secs()),
        (0, 30, 10)
    );
    let Probe::Http(http) = &plans[0].probe else { panic!("{:?}", plans[0]) };
    assert_eq!((http.target.to_string(), http.path.as_str()), ("10.0.0.1:31000".to_owned(), "/ready"));
    assert_eq!((http.codes.as_slice(), http.keep_body), (&[200, 204][..], true));
    assert_eq!(reached(&plans[1].probe), "no: the app has no port named 'x'");
    assert_eq!(reached(&plans[2].probe), "tcp 10.0.0.1:31000");
}

#[test]
fn simulated_tasks_are_well() {
    let mut target = target(json!({"healthChecks": [health(json!({}))]}), &[], &[]);
    target.runtime = RuntimeKind::Hollow;
    assert_eq!(plans_of(&target)[0].probe, Probe::Simulated);
}
