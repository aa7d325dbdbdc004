//! What the conformance suite does not reach: one line of `tests/conformance/app-rules.jsonl` for each other
//! rule, and what documents become (reference sections 2.1 to 2.12 and 3).

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
    Features { enabled: KNOWN.iter().map(|name| (*name).to_owned()).collect(), ..Features::default() }
}

fn refused(document: &Value) -> Violations {
    match create(document, &all_features()) {
        Ok(_) => panic!("accepted: {document}"),
        Err(violations) => violations,
    }
}

/// Each line: the fields that break a rule, the path and the whole text of the answer.
#[test]
fn every_rule_answers_with_its_path_and_text() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/conformance/app-rules.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let rules: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rules.len() >= 76, "{} rules", rules.len());
    for rule in rules {
        let violations = refused(&app(rule["fields"].clone()));
        assert_eq!(violations.malformed, rule["malformed"] == true, "{rule}: {violations}");
        let mut list = violations.list.iter();
        let told = list.any(|told| rule["path"] == told.path && rule["message"] == told.message);
        assert!(told, "{rule}: {violations}");
    }
}

#[test]
fn texts_have_ends() {
    for fields in
        [json!({"fetch": [{"uri": "x".repeat(1025)}]}), json!({"networks": [{"name": "a".repeat(64)}]})]
    {
        assert_eq!(refused(&app(fields)).list[0].message, "error.maxLength");
    }
    assert!(refused(&json!([])).malformed);
}

#[test]
fn features_that_are_off_are_named() {
    let off = create(&app(json!({"gpus": 1})), &Features::default()).unwrap_err();
    let message = "Feature gpu_resources is not enabled. Enable with --enable_features gpu_resources)";
    assert_eq!(off.list[0].message, message);
    let secret = app(json!({"env": {"A": {"secret": "s"}}, "secrets": {"s": {"source": "x"}}}));
    let off = create(&secret, &Features::default()).unwrap_err();
    assert!(off.list.iter().any(|violation| violation.path == "/env"), "{off}");
}

#[test]
fn all_wrong_fields_are_told_at_once() {
    let violations = refused(&json!({"cpus": "1", "mem": [], "ports": [true, "x"], "instances": 0.5}));
    let paths: Vec<&str> = violations.list.iter().map(|violation| violation.path.as_str()).collect();
    assert_eq!(paths, ["/id", "/cpus", "/instances", "/mem", "/ports(0)", "/ports(1)"]);
    let answer = refused(&app(json!({"cmd": "x", "constraints": [["a"], ["", "LIKE"]], "role": "b"})));
    assert_eq!(answer.to_json()["details"].as_array().unwrap().len(), 4, "{answer}");
}

#[test]
fn what_is_wrong_a_thousand_times_is_told_briefly() {
    let ports: Vec<Value> = (0..100_000).map(|_| json!("x")).collect();
    assert_eq!(refused(&app(json!({"ports": ports}))).list.len(), 1000);
    let mappings: Vec<Value> = (0..5_000).map(|_| json!({"networkNames": ["nope"]})).collect();
    let container = json!({"type": "MESOS", "portMappings": mappings});
    let violations = refused(&app(json!({"networks": [{"name": "a"}], "container": container})));
    assert_eq!(violations.list.len(), 1000);
}

#[test]
fn deprecated_fields_become_what_replaced_them() {
    let shown = |fields: Value| serde_json::to_value(create(&app(fields), &all_features()).unwrap()).unwrap();
    let app = shown(json!({"ports": [8080, 0], "uris": ["http://h/a.tgz", "http://h/b"]}));
    assert_eq!(
        app["portDefinitions"],
        json!([
            {"port": 8080, "protocol": "tcp"}, {"port": 0, "protocol": "tcp"}
        ])
    );
    assert_eq!(app["fetch"][0]["extract"], true);
    assert_eq!(app["fetch"][1]["extract"], false);
    let app = shown(json!({"container": {"docker": {"image": "i", "network": "bridge",
        "portMappings": [{"containerPort": 80}]}}}));
    assert_eq!(app["networks"], json!([{"mode": "container/bridge"}]));
    assert_eq!(
        app["container"]["portMappings"],
        json!([
            {"containerPort": 80, "hostPort": 0, "labels": {}, "protocol": "tcp", "servicePort": 0}
        ])
    );
    let app = shown(json!({"ipAddress": {"networkName": "net", "labels": {"a": "b"},
        "discovery": {"ports": [{"number": 80, "name": "http", "protocol": "UDP"}]}}}));
    assert_eq!(app["networks"], json!([{"mode": "container", "name": "net", "labels": {"a": "b"}}]));
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
    let shown = |fields: Value| serde_json::to_value(create(&app(fields), &all_features()).unwrap()).unwrap();
    let host = shown(json!({"healthChecks": [{}, {"protocol": "COMMAND", "command": {"value": "true"}}]}));
    assert_eq!(host["portDefinitions"], json!([{"name": "default", "port": 0, "protocol": "tcp"}]));
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
            {"containerPort": 0, "hostPort": 0, "labels": {}, "name": "default", "protocol": "tcp",
                "servicePort": 0}
        ])
    );
    let padded = shown(json!({"networks": [{"name": "n"}], "ports": [1, 2], "container": {"type": "MESOS"}}));
    assert_eq!(padded["container"]["portMappings"].as_array().unwrap().len(), 2);
    let none = shown(json!({"ports": []}));
    assert_eq!(none["portDefinitions"], json!([]));
    let volume = json!({"containerPath": "p", "mode": "RW", "persistent": {"size": 1}});
    let resident = json!({"role": "dev", "id": "/dev/a",
        "container": {"type": "MESOS", "volumes": [volume]}});
    let resident = shown(resident);
    assert_eq!(resident["unreachableStrategy"], "disabled");
    assert_eq!(resident["upgradeStrategy"], json!({"maximumOverCapacity": 0, "minimumHealthCapacity": 0.5}));
    assert_eq!(resident["residency"]["taskLostBehavior"], "WAIT_FOREVER");
    assert_eq!(resident["container"]["volumes"][0]["persistent"]["type"], "root");
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
    assert!(shown.contains(r#""instances":3,"#) && shown.contains(r#""cpus":0,"#), "{shown}");
    assert!(shown.contains(r#""mem":32.5,"#) && shown.contains(r#""constraints":[["hostname","UNIQUE"]]"#));
    assert_eq!(app.id.as_str(), "/foo/bar");
    assert_eq!(app.dependencies, ["/db", "/x"]);
    assert_eq!(app.version.millis(), 0);
    let inside =
        create_in(&json!({"id": "web", "cmd": "ab", "dependencies": ["db", "/c"]}), "/shop", &all_features())
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
    assert!(violations.list.iter().any(|violation| violation.path == path), "{violations}");
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
    let patterns: Vec<Value> =
        (0..32).map(|n| json!([format!("f{n}"), "LIKE", r"\w{40}(a{30}){30}"])).collect();
    refused(&app(json!({"constraints": patterns})));
}
