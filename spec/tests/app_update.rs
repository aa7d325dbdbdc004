//! Partial updates: what is not said stays, nested objects are replaced whole (reference section 1.1).

use gantry_spec::app::{App, Update, create, update};
use gantry_spec::features::Features;
use gantry_spec::{Timestamp, Violations};
use serde_json::{Value, json};

fn existing() -> App {
    let document = json!({
        "id": "/shop/web", "cmd": "sleep 1000", "cpus": 0.5, "instances": 2, "role": "shop",
        "env": {"A": "1", "B": "2"}, "labels": {"tier": "web"}, "user": "web",
        "resourceLimits": {"cpus": "unlimited"},
        "executorResources": {"cpus": 1},
        "constraints": [["rack", "CLUSTER", "1"]]
    });
    let app = create(&document, &Features::default()).unwrap();
    App { version: Timestamp::from_millis(5), ..app }
}

fn updated(document: Value) -> Result<App, Violations> {
    match update(&existing(), &document, &Features::default())? {
        Update::Define(app) => Ok(*app),
        Update::Rollback(version) => panic!("a rollback to {version}"),
    }
}

fn told(document: Value) -> Vec<(String, String)> {
    let violations = updated(document).unwrap_err();
    violations.list.into_iter().map(|violation| (violation.path, violation.message)).collect()
}

#[test]
fn what_is_not_said_stays() {
    let app = updated(json!({"instances": 5, "env": {"C": "3"}, "cmd": null, "id": "/other"})).unwrap();
    let before = existing();
    assert_eq!(app.instances, 5);
    assert_eq!(serde_json::to_value(&app.env).unwrap(), json!({"C": "3"}), "replaced whole");
    assert_eq!((app.id, app.cmd, app.user), (before.id, before.cmd, before.user));
    assert_eq!((app.labels, app.role), (before.labels, before.role));
    assert_eq!((app.constraints, app.version), (before.constraints, before.version));
}

#[test]
fn limits_and_executor_resources_are_cleared_by_silence() {
    let app = updated(json!({})).unwrap();
    assert_eq!((app.resource_limits, app.executor_resources), (None, None));
    let app = updated(json!({"resourceLimits": {"mem": 512}})).unwrap();
    assert_eq!(serde_json::to_value(app.resource_limits).unwrap(), json!({"mem": 512}));
}

#[test]
fn cmd_and_args_cannot_be_swapped_by_halves() {
    let told = told(json!({"args": ["sleep", "1"]}));
    assert!(told.iter().any(|(path, message)| path == "/" && message.contains("one of 'cmd' or 'args'")));
}

#[test]
fn the_network_can_be_changed() {
    let app = updated(json!({"networks": [{"mode": "container/bridge"}], "container": {"type": "MESOS"}}));
    let app = app.unwrap();
    assert!(!app.is_host_mode() && app.port_definitions.is_none());
    let bridge = json!({"docker": {
        "image": "i", "network": "BRIDGE", "portMappings": [{"containerPort": 80}]
    }});
    let app = updated(json!({"container": bridge})).unwrap();
    assert!(!app.is_host_mode());
    assert_eq!(app.ports().len(), 1);
    let app = updated(json!({"ports": [8080]})).unwrap();
    assert_eq!(app.ports()[0].service_port, 8080);
}

#[test]
fn a_version_alone_is_a_rollback() {
    let time: Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
    let rollback = |document| update(&existing(), &document, &Features::default());
    let version = "2020-01-01T01:00:00.000+01:00";
    assert_eq!(rollback(json!({"version": version})), Ok(Update::Rollback(time)));
    assert_eq!(rollback(json!({"version": version, "id": "/shop/web"})), Ok(Update::Rollback(time)));
    let told = told(json!({"version": version, "cpus": 1}));
    let message = "The 'version' field may only be combined with the 'id' field.";
    assert_eq!(told, [("/".to_owned(), message.to_owned())]);
}

#[test]
fn an_update_must_fit_together() {
    let both = json!({"networks": [{"mode": "host"}],
        "container": {"docker": {"image": "i"}, "portMappings": [{}]}});
    assert_eq!(told(both)[0].1, "portMappings are not allowed with host-networking");
    let both = json!({"networks": [{"mode": "container/bridge"}], "portDefinitions": [{}]});
    assert_eq!(told(both)[0].1, "portDefinitions are only allowed with host-networking");
    assert_eq!(told(json!({"cpus": "x"}))[0].1, "error.expected.jsnumber");
}

/// A role that the app has stays allowed, whatever the rules for new apps say (reference 2c.4).
#[test]
fn the_role_of_the_app_stays_allowed() {
    let odd = App { role: "legacy".to_owned(), ..existing() };
    let outcome = update(&odd, &json!({"instances": 3}), &Features::default());
    assert!(matches!(outcome, Ok(Update::Define(app)) if app.role == "legacy"));
    assert_eq!(told(json!({"role": "legacy"}))[0].1, "got legacy, expected one of: [*, shop]");
}
