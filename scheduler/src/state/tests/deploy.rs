//! Changes: what is refused, what is stored, how it is stamped.

use super::*;

fn version(bench: &Bench, path: &str) -> (u64, u64, u64) {
    let app = &bench.entry(path).app;
    let info = app.version_info.unwrap();
    (app.version.millis(), info.last_scaling_at.millis(), info.last_config_change_at.millis())
}

fn ports(bench: &Bench, path: &str) -> Vec<u16> {
    bench.entry(path).app.ports().iter().map(|port| port.service_port).collect()
}

fn with_ports(path: &str, ports: &[u16]) -> App {
    let port = |port: &u16| json!({"labels": {}, "port": port, "protocol": "tcp"});
    app(path, json!({"portDefinitions": ports.iter().map(port).collect::<Vec<_>>()}))
}

fn refusal(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

fn is_invalid(outcome: Outcome, message: &str) {
    match refusal(outcome) {
        Refusal::Invalid(violations) => {
            assert_eq!((&*violations.list[0].path, &*violations.list[0].message), ("/", message));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_app_starts_and_scales() {
    let mut bench = Bench::new(0);
    let outcome = bench.deploy(vec![app("/web", json!({}))]);
    let at = Timestamp::from_millis(bench.at);
    assert_eq!(outcome, Outcome::Deployed { id: deployment(1), version: at });
    assert_eq!(version(&bench, "/web"), (bench.at, bench.at, bench.at));
    let running = &bench.state.deployments[&deployment(1)];
    let kinds: Vec<_> = running.actions().map(|action| action.kind).collect();
    assert_eq!(kinds, [ActionKind::StartApplication, ActionKind::ScaleApplication]);
    assert_eq!(running.current, 1, "the start is done at once");
    assert!(matches!(
        &bench.events[..],
        [
            Event::AppPut { created: true, .. },
            Event::GroupChanged { .. },
            Event::DeploymentStarted { .. },
            Event::StepStarted { .. },
            Event::StepDone { .. },
            Event::StepStarted { .. },
        ]
    ));
}

#[test]
fn each_kind_of_change_has_its_stamps() {
    let mut bench = Bench::new(0);
    bench.settle(vec![app("/web", json!({}))]);
    let first = bench.at;
    bench.pass(10);
    bench.settle(vec![app("/web", json!({"instances": 5}))]);
    assert_eq!(version(&bench, "/web"), (first + 10, first + 10, first));
    bench.pass(10);
    let restart = Deploy { restart: vec![id("/web")], ..bench.change(vec![]) };
    bench.run(Command::Deploy(restart));
    assert_eq!(version(&bench, "/web"), (first + 20, first + 10, first + 20));
    let kind = bench.state.deployments.values().next().unwrap().steps[0].actions[0].kind;
    assert_eq!(kind, ActionKind::RestartApplication);
    bench.complete_all();
    bench.pass(10);
    bench.settle(vec![app("/web", json!({"instances": 6, "cmd": "new"}))]);
    assert_eq!(version(&bench, "/web"), (first + 30, first + 30, first + 30));
}

#[test]
fn no_difference_is_a_deployment_that_is_done_at_once() {
    let mut bench = Bench::new(0);
    bench.settle(vec![app("/web", json!({}))]);
    let before = version(&bench, "/web");
    bench.pass(10);
    assert!(matches!(bench.deploy(vec![app("/web", json!({}))]), Outcome::Deployed { .. }));
    assert_eq!(version(&bench, "/web"), before);
    assert!(bench.state.deployments.is_empty());
    assert!(matches!(
        &bench.events[..],
        [Event::GroupChanged { .. }, Event::DeploymentStarted { .. }, Event::DeploymentDone { .. }]
    ));
}

#[test]
fn versions_grow_while_the_clock_stands_or_goes_back() {
    let mut bench = Bench::new(0);
    bench.settle(vec![app("/a", json!({}))]);
    bench.settle(vec![app("/b", json!({}))]);
    bench.at -= 500;
    bench.settle(vec![app("/c", json!({}))]);
    let versions = ["/a", "/b", "/c"].map(|path| version(&bench, path).0);
    assert_eq!(versions, [1_000_000, 1_000_001, 1_000_002]);
    assert_eq!(bench.state.now.millis(), 1_000_000);
}

#[test]
fn what_was_expected_must_still_be_so() {
    let mut bench = Bench::new(0);
    bench.settle(vec![app("/web", json!({}))]);
    let absent = bench.change(vec![app("/new", json!({})), app("/web", json!({"cmd": "x"}))]);
    let put = |deploy: &Deploy, n: usize, expect| {
        let mut deploy = deploy.clone();
        deploy.put[n].expect = expect;
        Command::Deploy(deploy)
    };
    let old = Expect::Version(Timestamp::from_millis(5));
    assert_eq!(refusal(bench.run(put(&absent, 1, Expect::Absent))), Refusal::AppExists(id("/web")));
    assert_eq!(refusal(bench.run(put(&absent, 1, old))), Refusal::Changed(id("/web")));
    assert_eq!(refusal(bench.run(put(&absent, 0, old))), Refusal::NoApp(id("/new")));
    for list in [true, false] {
        let mut deploy = bench.change(vec![]);
        if list { &mut deploy.remove } else { &mut deploy.restart }.push(id("/none"));
        assert_eq!(refusal(bench.run(Command::Deploy(deploy))), Refusal::NoApp(id("/none")));
    }
    assert!(bench.events.is_empty() && bench.state.app(&id("/new")).is_none(), "all or nothing");
}

#[test]
fn one_change_says_one_thing_of_an_app() {
    let mut bench = Bench::new(0);
    bench.settle(vec![app("/web", json!({}))]);
    let twice = Deploy { remove: vec![id("/web")], ..bench.change(vec![app("/web", json!({"cmd": "x"}))]) };
    is_invalid(bench.run(Command::Deploy(twice)), "App '/web' is changed more than once");
}

#[test]
fn the_same_change_said_twice_is_accepted_once() {
    let mut bench = Bench::new(0);
    let deploy = Command::Deploy(bench.change(vec![app("/web", json!({}))]));
    let first = bench.run(deploy.clone());
    assert_eq!(bench.run(deploy), first);
    assert!(bench.events.is_empty());
}

#[test]
fn too_many_deployments_are_refused_forced_or_not() {
    let mut bench = Bench::new(0);
    for n in 0..DEPLOYMENTS_MAX {
        bench.deploy(vec![app(&format!("/a{n}"), json!({}))]);
    }
    let more = Deploy { force: true, ..bench.change(vec![app("/a0", json!({"instances": 9}))]) };
    assert_eq!(refusal(bench.run(Command::Deploy(more))), Refusal::TooManyDeployments(100));
}

#[test]
fn apps_and_groups_share_no_ids() {
    let mut bench = Bench::new(0);
    bench.settle(vec![app("/shop/web", json!({}))]);
    let message = "Groups and Applications may not have the same identifier.";
    is_invalid(bench.deploy(vec![app("/shop", json!({}))]), message);
    is_invalid(bench.deploy(vec![app("/shop/web/x", json!({}))]), message);
    is_invalid(bench.deploy(vec![app("/a", json!({})), app("/a/b/c", json!({}))]), message);
    bench.settle(vec![app("/shop-x", json!({})), app("/shop/we", json!({}))]);
    let moved = Deploy {
        remove: vec![id("/shop/web"), id("/shop/we")],
        ..bench.change(vec![app("/shop", json!({}))])
    };
    assert!(matches!(bench.run(Command::Deploy(moved)), Outcome::Deployed { .. }));
}

#[test]
fn dependencies_make_levels_through_groups_too() {
    let mut bench = Bench::new(0);
    let on = |path: &str, on: &[&str]| app(path, json!({"dependencies": on}));
    let apps = vec![
        on("/front", &["/back", "/nothing"]),
        on("/back/api", &["/db"]),
        on("/back/jobs", &[]),
        on("/db", &[]),
    ];
    bench.deploy(apps);
    let steps = &bench.state.deployments.values().next().unwrap().steps;
    let levels: Vec<Vec<String>> = steps[1..]
        .iter()
        .map(|step| step.actions.iter().map(|action| action.app.to_string()).collect())
        .collect();
    assert_eq!(levels, [vec!["/back/jobs", "/db"], vec!["/back/api"], vec!["/front"]]);
}

#[test]
fn cycles_are_refused_however_they_come_about() {
    let mut bench = Bench::new(0);
    let on = |path: &str, on: &str| app(path, json!({"dependencies": [on]}));
    let message = "Dependency graph has cyclic dependencies.";
    is_invalid(bench.deploy(vec![on("/a", "/a")]), message);
    is_invalid(bench.deploy(vec![on("/a", "/b"), on("/b", "/a")]), message);
    bench.settle(vec![on("/a", "/g"), on("/b", "/a")]);
    is_invalid(bench.deploy(vec![on("/g/x", "/b")]), message);
    bench.settle(vec![on("/g/x", "/h")]);
}

#[test]
fn long_chains_do_not_need_a_deep_stack() {
    let mut bench = Bench::new(0);
    let chain = |n: usize| app(&format!("/a{n}"), json!({"dependencies": [format!("/a{}", n + 1)]}));
    bench.deploy((0..3000).map(chain).collect());
    assert_eq!(bench.state.deployments[&deployment(1)].steps.len(), 3001);
}

#[test]
fn service_ports_are_the_lowest_that_nobody_has() {
    let mut bench = Bench::new(0);
    bench.settle(vec![with_ports("/a", &[0, 10_001, 0])]);
    assert_eq!(ports(&bench, "/a"), [10_000, 10_001, 10_002]);
    bench.settle(vec![with_ports("/b", &[0]), with_ports("/c", &[10_003, 80])]);
    assert_eq!(ports(&bench, "/b"), [10_004]);
    bench.settle(vec![with_ports("/d", &[10_001])]);
    bench.settle(vec![with_ports("/a", &[0, 0])]);
    assert_eq!(ports(&bench, "/a"), [10_000, 10_001], "its own former ports first");
    let remove = Deploy { remove: vec![id("/a")], ..bench.change(vec![]) };
    bench.run(Command::Deploy(remove));
    bench.complete_all();
    bench.settle(vec![with_ports("/e", &[0, 0])]);
    assert_eq!(ports(&bench, "/e"), [10_000, 10_002], "10001 is still named by /d");
}

#[test]
fn an_update_with_the_ports_left_open_is_no_difference() {
    let mut bench = Bench::new(0);
    bench.settle(vec![with_ports("/a", &[0, 0])]);
    let before = version(&bench, "/a");
    bench.settle(vec![with_ports("/a", &[0, 0])]);
    assert_eq!(version(&bench, "/a"), before);
}

#[test]
fn the_range_of_service_ports_is_finite() {
    let mut bench = Bench::new(0);
    let deploy =
        Deploy { service_ports: (65_534, 65_535), ..bench.change(vec![with_ports("/a", &[0, 0, 0])]) };
    assert_eq!(refusal(bench.run(Command::Deploy(deploy.clone()))), Refusal::NoServicePort(65_534, 65_536));
    let two = vec![with_ports("/a", &[0, 0])];
    let deploy = Deploy { put: bench.change(two).put, ..deploy };
    bench.run(Command::Deploy(deploy));
    assert_eq!(ports(&bench, "/a"), [65_534, 65_535]);
}

#[test]
fn a_removed_app_is_gone_for_readers_and_stays_until_its_last_task_has_ended() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 1})));
    bench.say(&tasks[0], TaskState::Running);
    let remove = Deploy { remove: vec![id("/web")], ..bench.change(vec![]) };
    bench.run(Command::Deploy(remove.clone()));
    assert!(bench.state.app(&id("/web")).is_none() && bench.entry("/web").retired);
    assert!(bench.events.iter().any(|event| matches!(event, Event::AppRemoved { .. })));
    bench.run(Command::Decommission { tasks: tasks.clone(), reason: KillReason::Removed });
    bench.say(&tasks[0], TaskState::Killed);
    assert!(bench.state.apps.is_empty());
    assert!(matches!(bench.events.last(), Some(Event::AppGone { .. })));
    bench.complete_all();
    let again = Deploy { id: deployment(99), ..remove };
    assert_eq!(refusal(bench.run(Command::Deploy(again))), Refusal::NoApp(id("/web")));
}

#[test]
fn an_app_without_tasks_is_gone_at_once() {
    let mut bench = Bench::new(0);
    bench.settle(vec![app("/web", json!({}))]);
    let remove = Deploy { remove: vec![id("/web")], ..bench.change(vec![]) };
    bench.run(Command::Deploy(remove));
    assert!(bench.state.apps.is_empty() && bench.state.service_ports.is_empty());
    // Nothing is left to wait for, and so no lock that the next change could meet.
    assert!(bench.state.deployments.is_empty());
}

#[test]
fn an_app_that_comes_back_does_not_take_over_what_is_left_of_the_old_one() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 2})));
    let remove = Deploy { remove: vec![id("/web")], ..bench.change(vec![]) };
    bench.run(Command::Deploy(remove));
    let again =
        Deploy { force: true, ..bench.change(vec![app("/web", json!({"instances": 2, "cmd": "new"}))]) };
    bench.run(Command::Deploy(again));
    assert!(!bench.entry("/web").retired);
    assert!(tasks.iter().all(|task| bench.task(task).goal == Goal::Decommissioned));
    let kills = bench.events.iter().filter(|event| matches!(event, Event::TaskKill { .. })).count();
    assert_eq!((kills, bench.entry("/web").versions.len()), (2, 2), "the old version is still run");
    tasks.iter().for_each(|task| bench.say(task, TaskState::Killed));
    assert_eq!(bench.place("/web", 0, &[31_000, 31_001]).len(), 2);
}

#[test]
fn old_versions_are_dropped_unless_a_task_runs_them() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 1})));
    let first = bench.task(&tasks[0]).app.version;
    for n in 0..60 {
        bench.settle(vec![app("/web", json!({"instances": 1, "cmd": format!("v{n}")}))]);
    }
    let versions = &bench.entry("/web").versions;
    assert_eq!(versions.len(), VERSIONS_MAX + 1);
    assert!(versions.get(first).is_some() && versions.get(bench.entry("/web").app.version).is_some());
}

#[test]
fn a_new_definition_resets_the_delay_and_a_scaling_keeps_it() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 1})));
    bench.say(&tasks[0], TaskState::Failed);
    bench.settle(vec![app("/web", json!({"instances": 2}))]);
    assert!(bench.entry("/web").delay.is_some());
    bench.settle(vec![app("/web", json!({"instances": 2, "cmd": "new"}))]);
    assert!(bench.entry("/web").delay.is_none());
}

#[test]
fn a_delay_can_be_reset_by_hand() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 1})));
    bench.say(&tasks[0], TaskState::Failed);
    assert_eq!(bench.run(Command::ResetDelay { app: id("/web") }), Outcome::Done);
    assert!(bench.entry("/web").delay.is_none() && bench.events.len() == 1);
    assert_eq!(refusal(bench.run(Command::ResetDelay { app: id("/x") })), Refusal::NoApp(id("/x")));
}

#[test]
fn a_cluster_is_founded_once() {
    let mut bench = Bench::new(0);
    bench.run(Command::Found { cluster_id: Uuid::from_u128(8) });
    assert_eq!(bench.state.cluster_id, Uuid::from_u128(7));
}
