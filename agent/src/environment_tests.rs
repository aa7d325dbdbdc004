//! Tables for the environment of a task: every row of reference section 4.1.

use serde_json::{Value, json};

use super::*;

const UUID: &str = "67e55044-10b1-11ea-9a9f-362b9e155667";

pub(crate) fn app(changes: Value) -> App {
    let mut document = json!({
        "id": "/shop/web", "backoffFactor": 1.15, "backoffSeconds": 1, "cpus": 1, "disk": 0, "executor": "",
        "gpus": 0, "instances": 1, "killSelection": "YOUNGEST_FIRST", "labels": {}, "maxLaunchDelaySeconds": 300,
        "mem": 128, "networks": [{"mode": "host"}], "requirePorts": false, "role": "*",
        "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
        "upgradeStrategy": {"maximumOverCapacity": 1, "minimumHealthCapacity": 1},
        "version": "2020-01-01T00:00:00.000Z",
    });
    for (key, value) in changes.as_object().unwrap() {
        document[key] = value.clone();
    }
    serde_json::from_value(document).unwrap()
}

fn task() -> TaskId {
    format!("shop_web.instance-{UUID}._app.2").parse().unwrap()
}

fn env_of(app: &App, host_ports: &[u16], prefix: &str) -> BTreeMap<String, String> {
    environment(&EnvInput {
        task: &task(),
        app,
        host_ports,
        hostname: "node-1",
        sandbox: "/mnt/mesos/sandbox",
        agent: "c-S1",
        cluster: "c",
        prefix,
    })
}

fn ports_of(env: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    env.iter().filter(|(k, _)| k.starts_with("PORT")).map(|(k, v)| (k.as_str(), v.as_str())).collect()
}

fn definition(port: u16, name: Value) -> Value {
    let mut definition = json!({"port": port, "protocol": "tcp"});
    if !name.is_null() {
        definition["name"] = name;
    }
    definition
}

fn mapped(mode: &str, mappings: Value) -> App {
    let container = json!({"type": "DOCKER", "docker":
        {"image": "nginx:1", "forcePullImage": false, "privileged": false}, "volumes": [], "portMappings": mappings});
    app(json!({"networks": [{"mode": mode}], "container": container}))
}

#[test]
fn context_of_an_app_without_ports() {
    let env = env_of(&app(json!({})), &[], "");
    let expected = [
        ("HOST", "node-1"),
        ("MARATHON_APP_ENFORCE_GROUP_ROLE", "FALSE"),
        ("MARATHON_APP_ID", "/shop/web"),
        ("MARATHON_APP_LABELS", ""),
        ("MARATHON_APP_RESOURCE_CPUS", "1.0"),
        ("MARATHON_APP_RESOURCE_DISK", "0.0"),
        ("MARATHON_APP_RESOURCE_GPUS", "0"),
        ("MARATHON_APP_RESOURCE_MEM", "128.0"),
        ("MARATHON_APP_VERSION", "2020-01-01T00:00:00.000Z"),
        ("MESOS_EXECUTOR_ID", "shop_web.instance-67e55044-10b1-11ea-9a9f-362b9e155667._app.2"),
        ("MESOS_FRAMEWORK_ID", "c"),
        ("MESOS_SANDBOX", "/mnt/mesos/sandbox"),
        ("MESOS_SLAVE_ID", "c-S1"),
        ("MESOS_TASK_ID", "shop_web.instance-67e55044-10b1-11ea-9a9f-362b9e155667._app.2"),
    ];
    assert_eq!(env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
}

#[test]
fn the_image_of_docker_containers_only() {
    let docker = mapped("container/bridge", json!([]));
    assert_eq!(env_of(&docker, &[], "")["MARATHON_APP_DOCKER_IMAGE"], "nginx:1");
    let mut mesos = docker;
    mesos.container.as_mut().unwrap().kind = ContainerType::Mesos;
    assert!(!env_of(&mesos, &[], "").contains_key("MARATHON_APP_DOCKER_IMAGE"));
}

#[test]
fn host_mode_ports() {
    let named =
        app(json!({"portDefinitions": [definition(10000, json!("http-api")), definition(0, Value::Null)]}));
    assert_eq!(
        ports_of(&env_of(&named, &[31005, 31006], "")),
        [
            ("PORT", "31005"),
            ("PORT0", "31005"),
            ("PORT1", "31006"),
            ("PORTS", "31005,31006"),
            ("PORT_10000", "31005"),
            ("PORT_31006", "31006"),
            ("PORT_HTTP-API", "31005"),
        ]
    );
    assert_eq!(ports_of(&env_of(&app(json!({"portDefinitions": []})), &[], "")), []);
}

#[test]
fn mapped_ports() {
    let bridge = mapped(
        "container/bridge",
        json!([{"containerPort": 80, "hostPort": 0, "protocol": "tcp", "servicePort": 10001, "name": "http"},
               {"containerPort": 0, "hostPort": 31999, "protocol": "tcp", "servicePort": 10002}]),
    );
    assert_eq!(
        ports_of(&env_of(&bridge, &[31005, 31999], "")),
        [
            ("PORT", "31005"),
            ("PORT0", "31005"),
            ("PORT1", "31999"),
            ("PORTS", "31005,31999"),
            ("PORT_31999", "31999"),
            ("PORT_80", "31005"),
            ("PORT_HTTP", "31005"),
        ]
    );
}

#[test]
fn a_fixed_container_port_without_a_host_port_is_no_port() {
    let container = mapped(
        "container",
        json!([{"containerPort": 80, "protocol": "tcp", "servicePort": 1, "name": "web"}]),
    );
    assert_eq!(
        ports_of(&env_of(&container, &[], "")),
        [("PORT0", "80"), ("PORTS", ""), ("PORT_80", "80"), ("PORT_WEB", "80")]
    );
}

#[test]
fn a_port_that_nobody_gave_is_made_up_and_stays() {
    let container = mapped(
        "container",
        json!([{"containerPort": 0, "protocol": "tcp", "servicePort": 1},
               {"containerPort": 0, "protocol": "tcp", "servicePort": 2},
               {"containerPort": 9000, "hostPort": 0, "protocol": "tcp", "servicePort": 3}]),
    );
    let env = env_of(&container, &[31000], "");
    let (first, second) = (env["PORT0"].as_str(), env["PORT1"].as_str());
    assert_ne!(first, second);
    assert!(first.parse::<u16>().unwrap() >= 1025 && second.parse::<u16>().unwrap() >= 1025);
    assert_eq!(env["PORT"], "31000");
    assert_eq!(env["PORTS"], format!("31000,{first},{second}"));
    assert_eq!((env[&format!("PORT_{first}")].as_str(), env["PORT_9000"].as_str()), (first, "31000"));
    assert_eq!(env, env_of(&container, &[31000], ""));
}

#[test]
fn fewer_host_ports_than_declared_do_no_harm() {
    let bridge = mapped(
        "container/bridge",
        json!([{"containerPort": 80, "hostPort": 0, "protocol": "tcp", "servicePort": 1}]),
    );
    assert_eq!(env_of(&bridge, &[], "")["PORT0"], "80");
}

#[test]
fn labels_become_variables() {
    let long_key = "k".repeat(493);
    let long_value = "v".repeat(512);
    let labelled =
        app(json!({"labels": {"a.b--c": "1", "HAPROXY_0_VHOST": "x y", "Ünï": "u", "z": long_value,
        "a b": "first", "a-b": "last", long_key: "gone", "k".repeat(492): "kept", "empty": ""}}));
    let env = env_of(&labelled, &[], "");
    for (key, value) in
        [("A_B_C", "1"), ("HAPROXY_0_VHOST", "x y"), ("_N_", "u"), ("A_B", "last"), ("EMPTY", "")]
    {
        assert_eq!(env[&format!("MARATHON_APP_LABEL_{key}")], value, "{key}");
    }
    let kept = "K".repeat(492);
    assert_eq!(env["MARATHON_APP_LABELS"], format!("A_B A_B_C EMPTY HAPROXY_0_VHOST {kept} _N_"));
    assert!(!env.contains_key("MARATHON_APP_LABEL_Z"));
}

#[test]
fn the_users_variables_win_and_secrets_are_left_out() {
    let own = app(json!({"portDefinitions": [definition(1, Value::Null)],
        "env": {"PORT": "80", "MARATHON_APP_ID": "mine", "PASSWORD": {"secret": "s"}, "A": ""}}));
    let env = env_of(&own, &[31000], "");
    assert_eq!(
        (env["PORT"].as_str(), env["MARATHON_APP_ID"].as_str(), env["A"].as_str()),
        ("80", "mine", "")
    );
    assert_eq!(env["PORT0"], "31000");
    assert!(!env.contains_key("PASSWORD"));
}

#[test]
fn the_prefix_is_for_ports_and_host() {
    let env = env_of(&app(json!({"portDefinitions": [definition(1, Value::Null)]})), &[31000], "X_");
    assert_eq!((env["X_PORT"].as_str(), env["X_HOST"].as_str()), ("31000", "node-1"));
    assert!(!env.contains_key("PORT") && !env.contains_key("HOST") && env.contains_key("MARATHON_APP_ID"));
}

#[test]
fn numbers_as_the_jvm_writes_them() {
    for (value, text) in [
        (0.0, "0.0"),
        (0.1, "0.1"),
        (1.0, "1.0"),
        (0.001, "0.001"),
        (0.0001, "1.0E-4"),
        (0.00025, "2.5E-4"),
        (9_999_999.0, "9999999.0"),
        (10_000_000.0, "1.0E7"),
        (12_345_678.5, "1.23456785E7"),
    ] {
        assert_eq!(java_double(value), text);
    }
}
