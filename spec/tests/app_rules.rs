//! One line a rule that the conformance suite does not reach: the document that breaks it, the path and
//! the text of the answer (reference sections 2.1 to 2.12 and 3).

use gantry_spec::Violations;
use gantry_spec::app::{create, create_in};
use gantry_spec::features::{Features, KNOWN};
use serde_json::{Value, json};

/// A small valid app with `fields` laid over it.
fn app(fields: Value) -> Value {
    let mut document = json!({"id": "/foo", "cmd": "sleep 1000"});
    for (name, field) in fields.as_object().expect("tables give objects") {
        document[name] = field.clone();
    }
    document
}

fn all_features() -> Features {
    Features {
        enabled: KNOWN.iter().map(|name| (*name).to_owned()).collect(),
        ..Features::default()
    }
}

fn refused(document: &Value) -> Violations {
    match create(document, &all_features()) {
        Ok(_) => panic!("accepted: {document}"),
        Err(violations) => violations,
    }
}

fn assert_refused(malformed: bool, fields: Value, path: &str, message: &str) {
    let violations = refused(&app(fields.clone()));
    assert_eq!(violations.malformed, malformed, "{fields}: {violations}");
    let fits =
        |violation: &gantry_spec::Violation| violation.path == path && violation.message == message;
    assert!(
        violations.list.iter().any(fits),
        "{fields}: wanted {message} at {path}: {violations}"
    );
}

#[test]
fn shapes() {
    let table = [
        (json!({"id": 1}), "/id", "error.expected.jsstring"),
        (json!({"id": ""}), "/id", "error.minLength"),
        (json!({"cmd": ""}), "/cmd", "error.minLength"),
        (json!({"cpus": "1"}), "/cpus", "error.expected.jsnumber"),
        (json!({"cpus": -0.5}), "/cpus", "error.min"),
        (
            json!({"instances": 3_000_000_000u64}),
            "/instances",
            "error.expected.int",
        ),
        (json!({"instances": -1}), "/instances", "error.min"),
        (json!({"ports": [1, 70000]}), "/ports(1)", "error.max"),
        (json!({"ports": 80}), "/ports", "error.expected.jsarray"),
        (
            json!({"labels": {"a": 1}}),
            "/labels/a",
            "error.expected.jsstring",
        ),
        (json!({"labels": []}), "/labels", "error.expected.jsobject"),
        (
            json!({"env": {"A": 1}}),
            "/env/A",
            "error.expected.jsobject",
        ),
        (
            json!({"requirePorts": "true"}),
            "/requirePorts",
            "error.expected.jsboolean",
        ),
        (json!({"backoffFactor": 0.5}), "/backoffFactor", "error.min"),
        (
            json!({"version": "yesterday"}),
            "/version",
            "error.expected.date.isoformat",
        ),
        (
            json!({"container": {"type": 1}}),
            "/container/type",
            "error.unknown.enum.literal",
        ),
        (
            json!({"container": {"volumes": [{}]}}),
            "/container/volumes(0)/mode",
            "'mode' is undefined on object: {}",
        ),
        (
            json!({"fetch": [{"uri": "x".repeat(1025)}]}),
            "/fetch(0)/uri",
            "error.maxLength",
        ),
        (
            json!({"portDefinitions": [{"protocol": "tcp,udp"}]}),
            "/portDefinitions(0)/protocol",
            "error.unknown.enum.literal",
        ),
        (
            json!({"unreachableStrategy": {"inactiveAfterSeconds": 0.5}}),
            "/unreachableStrategy/inactiveAfterSeconds",
            "error.expected.long",
        ),
        (
            json!({"networks": [{"name": "a".repeat(64)}]}),
            "/networks(0)/name",
            "error.maxLength",
        ),
    ];
    for (fields, path, message) in table {
        assert_refused(true, fields, path, message);
    }
    assert!(create(&json!([]), &all_features()).is_err_and(|violations| violations.malformed));
}

#[test]
fn all_wrong_fields_are_told_at_once() {
    let violations =
        refused(&json!({"cpus": "1", "mem": [], "ports": [true, "x"], "instances": 0.5}));
    let paths: Vec<&str> = violations
        .list
        .iter()
        .map(|violation| violation.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "/id",
            "/cpus",
            "/instances",
            "/mem",
            "/ports(0)",
            "/ports(1)"
        ]
    );
    let answer = refused(&app(
        json!({"cmd": "x", "constraints": [["a"], ["", "LIKE"]], "role": "b"}),
    ));
    assert_eq!(
        answer.to_json()["details"].as_array().unwrap().len(),
        4,
        "{answer}"
    );
}

#[test]
fn what_is_wrong_a_thousand_times_is_told_briefly() {
    let ports: Vec<Value> = (0..100_000).map(|_| json!("x")).collect();
    assert_eq!(refused(&app(json!({"ports": ports}))).list.len(), 1000);
    let mappings: Vec<Value> = (0..5_000)
        .map(|_| json!({"networkNames": ["nope"]}))
        .collect();
    let container = json!({"type": "MESOS", "portMappings": mappings});
    let violations = refused(&app(
        json!({"networks": [{"name": "a"}], "container": container}),
    ));
    assert_eq!(violations.list.len(), 1000);
}

#[test]
fn ports_and_networks() {
    let mesos = |mappings: Value| json!({"type": "MESOS", "portMappings": mappings});
    let docker = |docker: Value| json!({"type": "DOCKER", "docker": docker});
    let table = [
        (
            json!({"ports": [80, 81], "portDefinitions": [{"port": 80}]}),
            "/",
            "cannot specify both ports and port definitions",
        ),
        (
            json!({"portDefinitions": [{"port": 80}, {"port": 80}]}),
            "/portDefinitions",
            "Ports must be unique.",
        ),
        (
            json!({"portDefinitions": [{"name": "a"}, {"name": "a"}]}),
            "/portDefinitions",
            "Port names must be unique.",
        ),
        (
            json!({"networks": [{"name": "n"}], "container": mesos(json!([{"name": "a"}, {"name": "a"}]))}),
            "/container/portMappings",
            "Port names must be unique.",
        ),
        (
            json!({"container": docker(json!({"image": "i", "portMappings": [{"name": "a"}, {"name": "a"}]}))}),
            "/container/docker/portMappings",
            "Port names must be unique.",
        ),
        (
            json!({"networks": [{"name": "n"}], "container": mesos(json!([{"networkNames": ["x"]}]))}),
            "/container/portMappings(0)/networkNames(0)",
            "is not one of (n)",
        ),
        (
            json!({"networks": [{"mode": "host", "labels": {"a": "b"}}]}),
            "/networks",
            "Host networks may not have names or labels",
        ),
        (
            json!({"networks": [{"name": "a"}, {"name": "a"}]}),
            "/networks",
            "Duplicate networks are not allowed",
        ),
        (
            json!({"networks": [{"mode": "host"}, {"name": "a"}]}),
            "/networks",
            "May specify a single host network, single bridge network, or else 1-to-n container networks",
        ),
        (
            json!({"networks": [{"mode": "host"}], "container": docker(json!({"image": "i", "network": "HOST"}))}),
            "/",
            "must not specify both container.docker.network and networks",
        ),
        (
            json!({"container": docker(json!({"image": "i", "network": "NONE"}))}),
            "/container/docker/network",
            "unsupported docker network type NONE",
        ),
        (
            json!({"container": {"docker": {"image": "i", "portMappings": [{}]}, "portMappings": [{}]}}),
            "/container/portMappings",
            "cannot specify both portMappings and docker.portMappings",
        ),
        (
            json!({"ipAddress": {"discovery": {"ports": []}}, "container": docker(json!({"image": "i"}))}),
            "/ipAddress",
            "ipAddress/discovery is not allowed for Docker containers",
        ),
        (
            json!({"ipAddress": {"networkName": "No Name"}}),
            "/networks(0)/name",
            "must fully match regular expression '^[a-z0-9]([-a-z0-9_]*[a-z0-9])?$'",
        ),
        (
            json!({"uris": ["http://a b"]}),
            "/uris(0)",
            "URI has invalid syntax.",
        ),
        (
            json!({"uris": ["http://a"], "fetch": [{"uri": "http://b"}]}),
            "/uris",
            "may not be set in conjunction with fetch",
        ),
    ];
    for (fields, path, message) in table {
        assert_refused(false, fields, path, message);
    }
}

#[test]
fn containers_and_volumes() {
    let mesos = |field: &str, value: Value| json!({"container": {"type": "MESOS", field: value}});
    let disk = |info: Value| {
        let volume = json!({"containerPath": "p", "mode": "RW", "persistent": info});
        json!({"role": "*", "container": {"type": "MESOS", "volumes": [volume]}})
    };
    let dvdi = |engine: &str, external: Value| {
        let volume = json!({"containerPath": "p", "mode": "RO", "external": external});
        json!({"container": {"type": engine, "docker": {"image": "i"}, "volumes": [volume]}})
    };
    let info = "/container/volumes(0)/persistent";
    let external = "/container/volumes(0)/external";
    let table = [
        (
            json!({"container": {"docker": {"image": "i", "pullConfig": {"secret": "s"}}}}),
            "/container/docker/pullConfig",
            "pullConfig is not supported with Docker containerizer",
        ),
        (
            mesos(
                "docker",
                json!({"image": "i", "pullConfig": {"secret": "s"}}),
            ),
            "/container/docker/pullConfig",
            "pullConfig.secret must refer to an existing secret",
        ),
        (
            mesos(
                "docker",
                json!({"image": "i", "parameters": [{"key": "a", "value": "b"}]}),
            ),
            "/container/docker/parameters",
            "must be empty",
        ),
        (
            mesos("linuxInfo", json!({"seccomp": {"unconfined": 1}})),
            "/container/linuxInfo/seccomp",
            "Seccomp unconfined must be true when Profile is NOT defined",
        ),
        (
            mesos(
                "linuxInfo",
                json!({"ipcInfo": {"mode": "share_parent", "shmSize": 1}}),
            ),
            "/container/linuxInfo/ipcInfo",
            "ipcInfo shmSize can NOT be set when mode is SHARE_PARENT",
        ),
        (
            mesos("volumes", json!([{"containerPath": "p", "secret": "s"}])),
            "/container/volumes(0)",
            "volume.secret must refer to an existing secret",
        ),
        (
            disk(json!({"size": 0})),
            "/container/volumes(0)/persistent/size",
            "got 0, expected more than 0",
        ),
        (
            disk(json!({"size": 1, "maxSize": 2})),
            info,
            "Only mount volumes can have maxSize",
        ),
        (
            disk(json!({"size": 2, "maxSize": 1, "type": "mount"})),
            info,
            "Max size must be larger than size",
        ),
        (
            disk(json!({"size": 1, "type": "path", "constraints": [["path", "LIKE", "("]]})),
            "/container/volumes(0)/persistent/constraints(0)",
            "Invalid regular expression",
        ),
        (
            disk(json!({"size": 1, "type": "path", "constraints": [["path", "IS", "a"]]})),
            "/container/volumes(0)/persistent/constraints(0)",
            "Operator must be one of LIKE, UNLIKE",
        ),
        (
            disk(json!({"size": 1, "type": "path", "constraints": [["rack", "LIKE", "a"]]})),
            "/container/volumes(0)/persistent/constraints(0)",
            "Unsupported constraint rack,LIKE,a",
        ),
        (
            dvdi(
                "MESOS",
                json!({"name": "n", "provider": "dvdi", "options": {"dvdi/driver": "d"}}),
            ),
            "/container/volumes(0)/mode",
            "got RO, expected RW",
        ),
        (
            dvdi(
                "DOCKER",
                json!({"name": "n", "provider": "dvdi", "size": 1, "options": {"dvdi/driver": "d"}}),
            ),
            "/container/volumes(0)/external/size",
            "must be undefined for Docker containers",
        ),
        (
            dvdi(
                "DOCKER",
                json!({"name": "n", "provider": "dvdi", "options": {"dvdi/driver": "d", "dvdi/x": "y"}}),
            ),
            "/container/volumes(0)/external/options",
            "must only contain dvdi/driver",
        ),
        (
            dvdi("DOCKER", json!({"provider": "other"})),
            &format!("{external}/name"),
            "not defined",
        ),
        (
            dvdi("DOCKER", json!({"name": "n", "provider": "other"})),
            &format!("{external}/provider"),
            "is not one of (dvdi,csi)",
        ),
    ];
    for (fields, path, message) in table {
        assert_refused(false, fields, path, message);
    }
}

#[test]
fn health_and_readiness() {
    let health = |check: Value| json!({"healthChecks": [check]});
    let ready =
        |check: Value| json!({"readinessChecks": check, "portDefinitions": [{"name": "a"}]});
    let table = [
        (
            health(json!({"port": 80, "portIndex": 0})),
            "/healthChecks(0)",
            "HealthCheck must specify either a port or a portIndex",
        ),
        (
            health(json!({"protocol": "COMMAND"})),
            "/healthChecks(0)/command",
            "not defined",
        ),
        (
            json!({"healthChecks": [{"protocol": "MESOS_TCP"}, {"protocol": "MESOS_HTTP"}]}),
            "/",
            "AppDefinition can contain at most one Mesos health check",
        ),
        (
            ready(json!([{}])),
            "/readinessChecks(0)/portName",
            "No port definition reference for portName http-api",
        ),
        (
            ready(json!([{"portName": "a"}, {"portName": "a"}])),
            "/readinessChecks",
            "got 2, expected 1 or less",
        ),
        (
            ready(json!([{"portName": "a", "timeoutSeconds": 30}])),
            "/readinessChecks(0)/timeoutSeconds",
            "got 30, expected less than 30",
        ),
        (
            json!({"check": {"tcp": {"portIndex": 1}}}),
            "/check",
            "check port index must address an element of the ports array or container port mappings.",
        ),
        (
            json!({"check": {"tcp": {}}, "container": {"docker": {"image": "i"}}}),
            "/",
            "AppDefinition must not use 'checks' if using docker",
        ),
    ];
    for (fields, path, message) in table {
        assert_refused(false, fields, path, message);
    }
}

#[test]
fn placement_resources_and_labels() {
    let constraint = |parts: Value| json!({"constraints": [parts]});
    let at = "/constraints(0)";
    let table = [
        (
            constraint(json!(["a"])),
            at,
            "Each constraint must have either 2 or 3 fields",
        ),
        (
            constraint(json!(["", "UNIQUE"])),
            at,
            "illegal constraint specification",
        ),
        (
            constraint(json!(["a", "LIKE", "("])),
            at,
            "is not a valid regular expression",
        ),
        (
            constraint(json!(["a", "MAX_PER"])),
            at,
            "MAX_PER requires an integer value",
        ),
        (
            json!({"role": "dev"}),
            "/role",
            "got dev, expected one of: [*]",
        ),
        (
            json!({"id": "/dev/sub/foo", "role": "sub"}),
            "/role",
            "got sub, expected one of: [*, dev]",
        ),
        (
            json!({"acceptedResourceRoles": []}),
            "/acceptedResourceRoles",
            "must not be empty",
        ),
        (
            json!({"acceptedResourceRoles": ["a b"]}),
            "/acceptedResourceRoles(0)",
            "A role name must not include a space (\\x20) character.",
        ),
        (
            json!({"gpus": 1, "container": {"docker": {"image": "i"}}}),
            "/",
            "GPU resources only work with the Mesos containerizer",
        ),
        (
            json!({"cpus": 2, "resourceLimits": {"cpus": 1}}),
            "/resourceLimits/cpus",
            "resource limit must be greater than or equal to requested resource (2.0)",
        ),
        (
            json!({"resourceLimits": {"mem": "Infinity"}}),
            "/resourceLimits/mem",
            "'Infinity' is an invalid resource limit. It must be 'unlimited' or a number",
        ),
        (
            json!({"unreachableStrategy": {"inactiveAfterSeconds": 2, "expungeAfterSeconds": 1}}),
            "/unreachableStrategy/inactiveAfterSeconds",
            "inactiveAfterSeconds (2) must be less or equal to expungeAfterSeconds, which is 1",
        ),
        (
            json!({"labels": {"DCOS_MIGRATION_API_VERSION": "v1"}}),
            "/",
            "DCOS_PACKAGE_FRAMEWORK_NAME and DCOS_MIGRATION_API_PATH must be defined when using \
             DCOS_MIGRATION_API_VERSION",
        ),
        (
            json!({"residency": {}}),
            "/",
            "App must contain persistent volumes and define residency",
        ),
        (json!({"cmd": "x"}), "/", "must not be an empty string"),
    ];
    for (fields, path, message) in table {
        assert_refused(false, fields, path, message);
    }
    let off = create(&app(json!({"gpus": 1})), &Features::default()).unwrap_err();
    let message =
        "Feature gpu_resources is not enabled. Enable with --enable_features gpu_resources)";
    assert_eq!(off.list[0].message, message);
    let secret = app(json!({"env": {"A": {"secret": "s"}}, "secrets": {"s": {"source": "x"}}}));
    let off = create(&secret, &Features::default()).unwrap_err();
    assert!(
        off.list.iter().any(|violation| violation.path == "/env"),
        "{off}"
    );
}

#[test]
fn deprecated_fields_become_what_replaced_them() {
    let shown = |fields: Value| {
        serde_json::to_value(create(&app(fields), &all_features()).unwrap()).unwrap()
    };
    let app = shown(json!({"ports": [8080, 0], "uris": ["http://h/a.tgz", "http://h/b"]}));
    assert_eq!(
        app["portDefinitions"],
        json!([
            {"port": 8080, "protocol": "tcp"}, {"port": 0, "protocol": "tcp"}
        ])
    );
    assert_eq!(app["fetch"][0]["extract"], true);
    assert_eq!(app["fetch"][1]["extract"], false);
    let app = shown(
        json!({"container": {"docker": {"image": "i", "network": "bridge",
        "portMappings": [{"containerPort": 80}]}}}),
    );
    assert_eq!(app["networks"], json!([{"mode": "container/bridge"}]));
    assert_eq!(
        app["container"]["portMappings"],
        json!([
            {"containerPort": 80, "hostPort": 0, "labels": {}, "protocol": "tcp", "servicePort": 0}
        ])
    );
    let app = shown(
        json!({"ipAddress": {"networkName": "net", "labels": {"a": "b"},
        "discovery": {"ports": [{"number": 80, "name": "http", "protocol": "UDP"}]}}}),
    );
    assert_eq!(
        app["networks"],
        json!([{"mode": "container", "name": "net", "labels": {"a": "b"}}])
    );
    assert_eq!(
        app["container"],
        json!({"type": "MESOS", "volumes": [], "portMappings": [
            {"containerPort": 80, "labels": {}, "name": "http", "protocol": "udp", "servicePort": 0}
        ]})
    );
    let app = shown(json!({"ipAddress": {"networkName": "mesos-bridge"}}));
    assert_eq!(app["networks"], json!([{"mode": "container/bridge"}]));
}

#[test]
fn defaults_follow_the_network_mode_and_the_volumes() {
    let shown = |fields: Value| {
        serde_json::to_value(create(&app(fields), &all_features()).unwrap()).unwrap()
    };
    let host =
        shown(json!({"healthChecks": [{}, {"protocol": "COMMAND", "command": {"value": "true"}}]}));
    assert_eq!(
        host["portDefinitions"],
        json!([{"name": "default", "port": 0, "protocol": "tcp"}])
    );
    assert_eq!(host["healthChecks"][0]["portIndex"], 0);
    assert_eq!(host["healthChecks"][0]["ignoreHttp1xx"], false);
    assert!(host["healthChecks"][1].get("portIndex").is_none());
    assert!(host.get("container").is_none());
    let bridge = shown(json!({"networks": [{"mode": "container/bridge"}], "requirePorts": true}));
    assert_eq!(bridge["requirePorts"], false);
    assert!(bridge.get("portDefinitions").is_none());
    assert_eq!(
        bridge["container"]["portMappings"],
        json!([
            {"containerPort": 0, "hostPort": 0, "labels": {}, "name": "default", "protocol": "tcp", "servicePort": 0}
        ])
    );
    let padded = shown(
        json!({"networks": [{"name": "n"}], "ports": [1, 2], "container": {"type": "MESOS"}}),
    );
    assert_eq!(
        padded["container"]["portMappings"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let none = shown(json!({"ports": []}));
    assert_eq!(none["portDefinitions"], json!([]));
    let volume = json!({"containerPath": "p", "mode": "RW", "persistent": {"size": 1}});
    let resident =
        json!({"role": "dev", "id": "/dev/a", "container": {"type": "MESOS", "volumes": [volume]}});
    let resident = shown(resident);
    assert_eq!(resident["unreachableStrategy"], "disabled");
    assert_eq!(
        resident["upgradeStrategy"],
        json!({"maximumOverCapacity": 0, "minimumHealthCapacity": 0.5})
    );
    assert_eq!(resident["residency"]["taskLostBehavior"], "WAIT_FOREVER");
    assert_eq!(
        resident["container"]["volumes"][0]["persistent"]["type"],
        "root"
    );
}

#[test]
fn numbers_nulls_and_names_are_taken_as_clients_send_them() {
    let document = r#"{"id": "foo/bar/", "cmd": "sleep 1", "instances": 3.000000, "cpus": 0, "mem": 32.5,
        "ports": null, "dependencies": ["../db", "/x", "x"], "container": null, "unknown": [1],
        "killSelection": "oldest_first", "constraints": [["hostname", "unique"], ["hostname", "UNIQUE"]],
        "version": "2020-01-01T00:00:00Z", "versionInfo": 7, "tasksRunning": 1}"#;
    let document: Value = serde_json::from_str(document).unwrap();
    let app = create(&document, &all_features()).unwrap();
    let shown = serde_json::to_string(&app).unwrap();
    assert!(
        shown.contains(r#""instances":3,"#) && shown.contains(r#""cpus":0,"#),
        "{shown}"
    );
    assert!(
        shown.contains(r#""mem":32.5,"#)
            && shown.contains(r#""constraints":[["hostname","UNIQUE"]]"#)
    );
    assert_eq!(app.id.as_str(), "/foo/bar");
    assert_eq!(app.dependencies, ["/db", "/x"]);
    assert_eq!(app.version.millis(), 0);
    let inside = create_in(
        &json!({"id": "web", "cmd": "ab", "dependencies": ["db", "/c"]}),
        "/shop",
        &all_features(),
    )
    .unwrap();
    assert_eq!(inside.id.as_str(), "/shop/web");
    assert_eq!(inside.dependencies, ["/shop/db", "/c"]);
}

/// The options of a CSI volume are nested; nothing of them is null when shown.
#[test]
fn csi_volumes_keep_their_options() {
    let csi = |options: Value| {
        let external = json!({"name": "n", "provider": "csi", "options": options});
        let volume = json!({"containerPath": "/p", "mode": "RW", "external": external});
        app(json!({"container": {"type": "MESOS", "volumes": [volume]}}))
    };
    let options = json!({"pluginName": "nfs", "volumeContext": null,
        "capability": {"accessMode": "SINGLE_NODE_WRITER", "accessType": "mount", "fsType": null}});
    let shown = serde_json::to_value(create(&csi(options), &all_features()).unwrap()).unwrap();
    assert_eq!(
        shown["container"]["volumes"][0]["external"]["options"],
        json!({"pluginName": "nfs",
        "capability": {"accessMode": "SINGLE_NODE_WRITER", "accessType": "mount"}})
    );
    let violations = refused(&csi(json!({"pluginName": "nfs"})));
    let path = "/container/volumes(0)/external/options/capability";
    assert!(
        violations
            .list
            .iter()
            .any(|violation| violation.path == path),
        "{violations}"
    );
}

/// Documents of a megabyte whose parts must not be compared each with each: quadratic work would take
/// minutes here.
#[test]
fn large_documents_are_answered() {
    let many = |item: fn(usize) -> Value| (0..50_000).map(item).collect::<Vec<Value>>();
    let documents = [
        json!({"acceptedResourceRoles": many(|n| json!(format!("r{n}")))}),
        json!({"dependencies": many(|n| json!(format!("a{n}")))}),
        json!({"constraints": many(|n| json!([format!("f{n}"), "LIKE", "((a{50}){50}){50}"]))}),
        json!({"healthChecks": many(|n| json!({"path": format!("/{n}")}))}),
        json!({"readinessChecks": many(|_| json!({"portName": "zz"})),
            "portDefinitions": many(|n| json!({"name": format!("p{n}")}))}),
        json!({"networks": many(|n| json!({"name": format!("n{n}")})),
            "container": {"type": "MESOS", "portMappings": many(|_| json!({"networkNames": ["zz"]}))}}),
        json!({"container": {"type": "MESOS", "volumes": many(|_| json!({}))}}),
    ];
    for document in documents {
        if let Err(violations) = create(&app(document), &all_features()) {
            assert!(violations.list.len() <= 1000);
        }
    }
    let patterns: Vec<Value> = (0..32)
        .map(|n| json!([format!("f{n}"), "LIKE", r"\w{40}(a{30}){30}"]))
        .collect();
    refused(&app(json!({"constraints": patterns})));
}
