//! Apps with persistent volumes: what an update may not change.

use super::*;

fn with(fields: Value) -> App {
    let volume = json!({"containerPath": "data", "mode": "RW", "persistent": {"size": 10}});
    let mut all = json!({
        "container": {"type": "MESOS", "volumes": [volume]},
        "residency": {"relaunchEscalationTimeoutSeconds": 3600, "taskLostBehavior": "WAIT_FOREVER"},
        "unreachableStrategy": "disabled",
    });
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    app("/db", all)
}

fn bench() -> Bench {
    let mut bench = Bench::new(1);
    bench.settle(vec![with(json!({}))]);
    bench
}

/// Paths and the first words of what is wrong; nothing has changed.
fn refused(bench: &mut Bench, change: Deploy) -> Vec<(String, String)> {
    let before = bench.state.clone();
    let Outcome::Refused(Refusal::Invalid(violations)) = bench.run(Command::Deploy(change)) else {
        panic!("not refused")
    };
    assert_eq!(bench.state.apps, before.apps);
    let words = |message: &str| message.split(' ').take(3).collect::<Vec<_>>().join(" ");
    violations.list.iter().map(|one| (one.path.clone(), words(&one.message))).collect()
}

fn refused_put(fields: Value) -> Vec<(String, String)> {
    let mut bench = bench();
    let change = bench.change(vec![with(fields)]);
    refused(&mut bench, change)
}

#[test]
fn volumes_and_resources_stay() {
    let other = json!({"containerPath": "data", "mode": "RW", "persistent": {"size": 11}});
    let none: [Value; 0] = [];
    for volumes in [json!([other]), json!(none)] {
        let container = json!({"container": {"type": "MESOS", "volumes": volumes}});
        assert_eq!(refused_put(container), [("/app(0)".to_owned(), "Persistent volumes can".to_owned())]);
    }
    let changes = [("cpus", json!(1)), ("mem", json!(64)), ("disk", json!(1)), ("gpus", json!(1))];
    for (field, value) in changes {
        let expected = [(format!("/app(0)/{field}"), "Services with persistent".to_owned())];
        assert_eq!(refused_put(json!({ field: value })), expected);
    }
}

#[test]
fn host_ports_stay_unless_any_will_do() {
    let ports = |port: u16| json!([{"labels": {}, "port": port, "protocol": "tcp"}]);
    let fixed = json!({"portDefinitions": ports(31_000), "requirePorts": true});
    let paths: Vec<String> = refused_put(fixed).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/app(0)/requirePorts", "/app(0)"]);
    let mut bench = bench();
    bench.settle(vec![with(json!({"portDefinitions": ports(15_000)}))]);
}

#[test]
fn the_role_only_changes_by_force() {
    let expected = [("/role".to_owned(), "It is not".to_owned())];
    assert_eq!(refused_put(json!({"role": "db"})), expected);
    let mut bench = bench();
    let change = Deploy { force: true, ..bench.change(vec![with(json!({"role": "db"}))]) };
    assert!(matches!(bench.run(Command::Deploy(change)), Outcome::Deployed { .. }));
}

#[test]
fn volumes_come_with_a_new_app_only() {
    let mut bench = Bench::new(1);
    bench.settle(vec![app("/web", json!({})), with(json!({}))]);
    let change = bench.change(vec![App { id: id("/web"), ..with(json!({})) }]);
    assert_eq!(refused(&mut bench, change), [("/app(0)".to_owned(), "Persistent volumes can".to_owned())]);
}

#[test]
fn everything_else_may_change() {
    let mut bench = bench();
    bench.settle(vec![with(json!({"instances": 2, "cmd": "sleep 2", "labels": {"a": "b"}}))]);
    assert_eq!(bench.entry("/db").app.cmd.as_deref(), Some("sleep 2"));
}
