//! What the Engine is asked to create, case by case.

use std::sync::Arc;

use serde_json::{Value, json};
use spec::app::App;
use spec::ids::AgentId;

use super::*;
use crate::runtime::Resolvers;

const TASK: &str = "shop_web.instance-67e55044-10b1-11ea-9a9f-362b9e155667._app.1";

/// A complete app document with the given fields on top.
fn app(fields: Value) -> App {
    let mut document = json!({
        "id": "/shop/web", "backoffFactor": 1.15, "backoffSeconds": 1, "cpus": 0.5, "disk": 0, "executor": "",
        "gpus": 0, "instances": 1, "killSelection": "YOUNGEST_FIRST", "labels": {},
        "maxLaunchDelaySeconds": 300, "mem": 128, "networks": [{"mode": "host"}], "requirePorts": false,
        "role": "*", "unreachableStrategy": "disabled", "version": "2020-01-01T00:00:00.000Z",
        "upgradeStrategy": {"maximumOverCapacity": 1, "minimumHealthCapacity": 1},
        "container": {"type": "DOCKER", "volumes": [], "docker": docker(json!({}))},
    });
    merge(&mut document, fields);
    serde_json::from_value(document).unwrap()
}

fn docker(fields: Value) -> Value {
    let mut docker =
        json!({"image": "nginx", "forcePullImage": false, "privileged": false, "parameters": []});
    merge(&mut docker, fields);
    docker
}

fn merge(into: &mut Value, fields: Value) {
    for (key, value) in fields.as_object().unwrap() {
        into[key] = value.clone();
    }
}

fn launch(fields: Value) -> Launch {
    Launch {
        task: TASK.parse().unwrap(),
        app: Arc::new(app(fields)),
        host_ports: vec![31_000, 31_001, 31_002],
        env: [("PORT0".to_owned(), "31000".to_owned()), ("A".to_owned(), "b=c".to_owned())].into(),
        agent: AgentId::new("x-S0"),
        sandbox: "/data/sandboxes/x".into(),
        resolvers: Resolvers { host: "127.0.0.2".parse().ok(), bridge: "172.17.0.1".parse().ok() },
    }
}

/// The request as JSON, without what is absent.
fn body(fields: Value) -> Value {
    serde_json::to_value(create_body(&launch(fields), "owner1").unwrap()).unwrap()
}

fn refusal(fields: Value) -> String {
    match create_body(&launch(fields), "owner1") {
        Err(RuntimeError::Unsupported(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn container(fields: Value) -> Value {
    let mut container = json!({"type": "DOCKER", "volumes": [], "docker": docker(json!({}))});
    merge(&mut container, fields);
    json!({ "container": container })
}

#[test]
fn the_plain_case() {
    let body = body(json!({}));
    assert_eq!(body["Image"], "nginx");
    assert_eq!(body["Env"], json!(["A=b=c", format!("MESOS_CONTAINER_NAME=gantry-{TASK}"), "PORT0=31000"]));
    assert_eq!(body["Labels"], json!({"gantry.owner": "owner1", "gantry.task": TASK, "MESOS_TASK_ID": TASK}));
    for absent in ["Cmd", "Entrypoint", "User", "Tty", "ExposedPorts", "Hostname"] {
        assert!(body.get(absent).is_none(), "{absent}");
    }
    let host = &body["HostConfig"];
    assert_eq!(host["NetworkMode"], "host");
    assert_eq!(host["Binds"], json!(["/data/sandboxes/x:/mnt/mesos/sandbox:rw"]));
    assert_eq!(host["Dns"], json!(["127.0.0.2"]));
    assert_eq!(host["RestartPolicy"]["Name"], "no");
    assert_eq!(
        host["LogConfig"],
        json!({"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}})
    );
    assert_eq!(host["Privileged"], false);
    assert_eq!(container_name(&TASK.parse().unwrap()), format!("gantry-{TASK}"));
}

#[test]
fn commands() {
    let shell = body(json!({"cmd": "echo $A"}));
    assert_eq!((&shell["Entrypoint"], &shell["Cmd"]), (&json!(["/bin/sh"]), &json!(["-c", "echo $A"])));
    let exec = body(json!({"args": ["-v", "x y"]}));
    assert_eq!((exec.get("Entrypoint"), &exec["Cmd"]), (None, &json!(["-v", "x y"])));
    let options = body(json!({"user": "nobody", "tty": true}));
    assert_eq!((&options["User"], &options["Tty"]), (&json!("nobody"), &json!(true)));
}

#[test]
fn resources() {
    let mib = 1024 * 1024;
    for (fields, expected) in [
        (json!({}), json!({"CpuShares": 512, "Memory": 128 * mib})),
        (json!({"cpus": 0, "mem": 4}), json!({"CpuShares": 2, "Memory": 32 * mib})),
        (
            json!({"resourceLimits": {"cpus": 1.5, "mem": 256}}),
            json!({
                "CpuShares": 512, "NanoCpus": 1_500_000_000,
                "Memory": 256 * mib, "MemoryReservation": 128 * mib
            }),
        ),
        (
            json!({"resourceLimits": {"cpus": "unlimited", "mem": "unlimited"}}),
            json!({"CpuShares": 512, "MemoryReservation": 128 * mib}),
        ),
    ] {
        let body = body(fields);
        for key in ["CpuShares", "NanoCpus", "Memory", "MemoryReservation"] {
            assert_eq!(body["HostConfig"].get(key), expected.get(key), "{key}");
        }
    }
}

#[test]
fn bridge_ports_follow_the_declared_order() {
    let mut fields = container(json!({"portMappings": [
        {"containerPort": 80, "hostPort": 0, "protocol": "tcp", "servicePort": 0},
        {"containerPort": 0, "hostPort": 0, "protocol": "udp,tcp", "servicePort": 0},
        {"containerPort": 9000, "protocol": "tcp", "servicePort": 0},
        {"containerPort": 53, "hostPort": 31002, "protocol": "udp", "servicePort": 0},
    ]}));
    fields["networks"] = json!([{"mode": "container/bridge"}]);
    let body = body(fields);
    let host = &body["HostConfig"];
    assert_eq!((&host["NetworkMode"], &host["Dns"]), (&json!("bridge"), &json!(["172.17.0.1"])));
    let bound = |port: &str| host["PortBindings"][port].clone();
    assert_eq!(bound("80/tcp"), json!([{"HostPort": "31000"}]));
    assert_eq!(bound("31001/tcp"), json!([{"HostPort": "31001"}]));
    assert_eq!(bound("31001/udp"), json!([{"HostPort": "31001"}]));
    assert_eq!(bound("53/udp"), json!([{"HostPort": "31002"}]));
    assert_eq!(bound("9000/tcp"), Value::Null);
    let exposed = serde_json::to_string(&body["ExposedPorts"]).unwrap();
    assert!(exposed.contains("9000/tcp"), "{exposed}");
}

#[test]
fn user_networks() {
    let mut fields = container(json!({"portMappings": []}));
    fields["networks"] = json!([{"mode": "container", "name": "blue"}]);
    let blue = body(fields.clone());
    assert_eq!(
        (&blue["HostConfig"]["NetworkMode"], &blue["HostConfig"]["Dns"]),
        (&json!("blue"), &json!(["172.17.0.1"]))
    );
    fields["networks"] = json!([{"mode": "container", "name": "a"}, {"mode": "container", "name": "b"}]);
    assert!(refusal(fields.clone()).contains("single container network"));
    fields["networks"] = json!([{"mode": "container"}]);
    assert!(refusal(fields).contains("Network name"));
}

#[test]
fn volumes() {
    let with = |volumes: Value| container(json!({ "volumes": volumes }));
    let body = body(with(json!([
        {"containerPath": "/etc/a", "hostPath": "/srv/a", "mode": "RO"},
        {"containerPath": "data", "hostPath": "d", "mode": "RW"},
        {"containerPath": "/v", "mode": "RW",
            "external": {"name": "n", "provider": "dvdi", "options": {"dvdi/driver": "rexray"}}},
    ])));
    assert_eq!(
        body["HostConfig"]["Binds"],
        json!([
            "/data/sandboxes/x:/mnt/mesos/sandbox:rw",
            "/srv/a:/etc/a:ro",
            "/data/sandboxes/x/d:/mnt/mesos/sandbox/data:rw"
        ])
    );
    let mount = &body["HostConfig"]["Mounts"][0];
    assert_eq!((&mount["Source"], &mount["Target"]), (&json!("n"), &json!("/v")));
    assert_eq!(mount["VolumeOptions"]["DriverConfig"]["Name"], "rexray");
    for (volume, reason) in [
        (json!({"containerPath": "/a:b", "hostPath": "/x", "mode": "RO"}), "colon"),
        (json!({"containerPath": "p", "mode": "RW", "persistent": {"size": 1}}), "persistent"),
        (json!({"containerPath": "p", "secret": "s"}), "secret"),
        (
            json!({"containerPath": "/p", "mode": "RW",
                "external": {"name": "n", "provider": "csi", "options": {}}}),
            "dvdi",
        ),
    ] {
        assert!(refusal(with(json!([volume]))).contains(reason), "{reason}");
    }
}

#[test]
fn no_image_no_container() {
    assert!(refusal(json!({"container": {"type": "MESOS", "volumes": []}})).contains("image"));
    assert!(refusal(json!({"container": null})).contains("image"));
}

#[test]
fn parameters_come_before_the_resolver_and_the_shell() {
    let with = |parameters: Value, cmd: Value| {
        let mut fields =
            container(json!({"docker": docker(json!({"privileged": true, "parameters": parameters}))}));
        fields["cmd"] = cmd;
        fields
    };
    let body = body(with(
        json!([
            {"key": "dns", "value": "9.9.9.9"},
            {"key": "entrypoint", "value": "/init"},
            {"key": "log-driver", "value": "journald"},
            {"key": "env", "value": "A=z"},
            {"key": "hostname", "value": "box"}
        ]),
        json!("true"),
    ));
    assert_eq!(body["HostConfig"]["Dns"], json!(["9.9.9.9"]));
    assert_eq!(body["HostConfig"]["LogConfig"], json!({"Type": "journald"}));
    assert_eq!(body["HostConfig"]["Privileged"], true);
    assert_eq!((&body["Entrypoint"], &body["Hostname"]), (&json!(["/bin/sh"]), &json!("box")));
    assert_eq!(body["Env"], json!([format!("MESOS_CONTAINER_NAME=gantry-{TASK}"), "PORT0=31000", "A=z"]));
    let unknown = refusal(with(json!([{"key": "detach", "value": "true"}]), Value::Null));
    assert_eq!(unknown, "docker parameter `detach` is not supported");
}

#[test]
fn a_network_by_parameter_gets_the_bridges_resolver() {
    let fields = container(json!({"docker": docker(json!({"parameters": [
        {"key": "network-alias", "value": "db"},
        {"key": "network", "value": "weave"}
    ]}))}));
    let body = body(fields);
    assert_eq!(body["HostConfig"]["NetworkMode"], "weave");
    assert_eq!(body["HostConfig"]["Dns"], json!(["172.17.0.1"]));
    assert_eq!(body["NetworkingConfig"]["EndpointsConfig"]["weave"]["Aliases"], json!(["db"]));
}
