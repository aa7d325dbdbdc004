//! Every app document of the conformance suite through `create`, with the start-up options it requires:
//! accepted or refused as Marathon does, with the message and the path that Marathon gives.

use std::path::{Path, PathBuf};

use gantry_spec::app::{AppDocument, StoredApp, create};
use gantry_spec::features::Features;
use gantry_spec::{App, Violations};
use serde_json::{Value, json};

/// The suite is complete with this many app cases; fewer would mean that the index lost some.
const CASES: usize = 178;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(name)
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn cases() -> Vec<(Value, Value)> {
    let folder = folder("conformance/marathon");
    let index = std::fs::read_to_string(folder.join("index.jsonl")).unwrap();
    let cases = index.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let with_document = |case: Value| {
        let document = read(&folder.join(case["file"].as_str().unwrap()));
        (case, document)
    };
    cases.map(with_document).collect()
}

fn features(case: &Value) -> Features {
    let requires = &case["requires"];
    let text = |name: &str| requires[name].as_str().map(str::to_owned);
    let enabled = requires["enable_features"].as_array().into_iter().flatten();
    let defaults = Features::default();
    Features {
        enabled: enabled.map(|name| name.as_str().unwrap().to_owned()).collect(),
        default_role: text("mesos_role").unwrap_or(defaults.default_role.clone()),
        default_network_name: text("default_network_name"),
        ..defaults
    }
}

/// What is wrong with the outcome of a case.
fn judge(case: &Value, outcome: &Result<App, Violations>) -> Option<String> {
    match (case["expect"].as_str(), outcome) {
        (Some("valid"), Ok(app)) => {
            let wanted = case["result_id"].as_str().filter(|id| *id != app.id.as_str())?;
            Some(format!("the id is {}, wanted {wanted}", app.id))
        }
        (Some("valid"), Err(violations)) => Some(format!("refused: {violations}")),
        (_, Ok(_)) => Some("accepted".to_owned()),
        (_, Err(violations)) => refusal(case, violations),
    }
}

fn refusal(case: &Value, violations: &Violations) -> Option<String> {
    let class = case["error_class"].as_str()?;
    if class != violations.headline() {
        return Some(format!("wanted {class}: {violations}"));
    }
    let (path, message) = (case["expect_path"].as_str(), case["expect_message"].as_str());
    let fits = violations.list.iter().any(|violation| {
        path.is_none_or(|path| violation.path == path)
            && message.is_none_or(|message| violation.message.contains(message))
    });
    (!fits).then(|| format!("wanted {message:?} at {path:?}: {violations}"))
}

#[test]
fn every_case_ends_as_in_marathon() {
    let cases = cases();
    assert_eq!(cases.len(), CASES);
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(case, document)| {
            let outcome = create(document, &features(case));
            judge(case, &outcome).map(|wrong| format!("{}: {wrong}", case["file"]))
        })
        .collect();
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_is_shown_can_be_posted_again_and_stays_the_same() {
    for (case, document) in cases() {
        let features = features(&case);
        // An operator may give a default network a name that no document may give.
        let named = features.default_network_name.is_some();
        let Some(app) = create(&document, &features).ok().filter(|_| !named) else {
            continue;
        };
        let shown = serde_json::to_value(&app).unwrap();
        let again = create(&shown, &features).unwrap_or_else(|error| panic!("{}: {error}", case["file"]));
        assert_eq!(app, again, "{}", case["file"]);
        let read: App = serde_json::from_value(shown).unwrap();
        assert_eq!(app, read, "{}", case["file"]);
        let (document, stored) = (AppDocument(app.clone().into()), StoredApp(app.into()));
        let bytes = postcard::to_stdvec(&stored).unwrap();
        assert_eq!(stored, postcard::from_bytes(&bytes).unwrap(), "{}", case["file"]);
        let bytes = postcard::to_stdvec(&document).unwrap();
        assert_eq!(stored, postcard::from_bytes(&bytes).unwrap(), "{}", case["file"]);
        assert_eq!(document, postcard::from_bytes(&bytes).unwrap(), "{}", case["file"]);
    }
}

#[test]
fn nothing_shown_is_null_or_deprecated() {
    for (case, document) in cases() {
        let Ok(app) = create(&document, &features(&case)) else {
            continue;
        };
        let shown = serde_json::to_value(&app).unwrap();
        assert_no_null(&shown, &case["file"]);
        for field in ["ports", "uris", "ipAddress", "storeUrls"] {
            assert!(shown.get(field).is_none(), "{}: {field}", case["file"]);
        }
        let docker = &shown["container"]["docker"];
        for field in ["network", "portMappings", "credential"] {
            assert!(docker.get(field).is_none(), "{}: docker.{field}", case["file"]);
        }
    }
}

fn assert_no_null(value: &Value, file: &Value) {
    match value {
        Value::Null => panic!("{file}: null"),
        Value::Array(items) => items.iter().for_each(|item| assert_no_null(item, file)),
        Value::Object(fields) => fields.values().for_each(|field| assert_no_null(field, file)),
        _ => {}
    }
}

/// The three documents of the first real application, in full as Marathon shows them.
#[test]
fn the_seeds_become_what_marathon_shows() {
    let seeds = [
        ("sw2vscheduler", 128, 1, 18001, json!([])),
        ("sw2vserver", 1200, 1, 10004, json!([])),
        (
            "sw2vworker",
            128,
            4,
            10003,
            json!([{"containerPath": "/mnt/dcos", "hostPath": "/mnt/dcos", "mode": "RO"}]),
        ),
    ];
    for (name, mem, instances, port, volumes) in seeds {
        let document = read(&folder("seeds").join(format!("{name}.json")));
        let app = create(&document, &Features::default()).unwrap();
        let wanted = json!({
            "id": format!("/{name}"),
            "backoffFactor": 1.15,
            "backoffSeconds": 1,
            "container": {
                "type": "DOCKER",
                "docker": {
                    "forcePullImage": true,
                    "image": "registry.aliyuncs.com/xlvector/sw2v",
                    "parameters": [],
                    "privileged": false
                },
                "volumes": volumes
            },
            "cpus": 1,
            "disk": 0,
            "env": document["env"],
            "executor": "",
            "gpus": 0,
            "instances": instances,
            "killSelection": "YOUNGEST_FIRST",
            "labels": {},
            "maxLaunchDelaySeconds": 300,
            "mem": mem,
            "networks": [{"mode": "host"}],
            "portDefinitions": [{"port": port, "protocol": "tcp"}],
            "requirePorts": false,
            "role": "*",
            "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
            "upgradeStrategy": {"maximumOverCapacity": 1, "minimumHealthCapacity": 1},
            "version": "1970-01-01T00:00:00.000Z"
        });
        assert_eq!(serde_json::to_value(&app).unwrap(), wanted, "{name}");
    }
}
