//! Deployments: locks, steps, cancellation, reversal.

use super::*;

fn current(bench: &Bench) -> Vec<usize> {
    bench.state.deployments.values().map(|deployment| deployment.current).collect()
}

#[test]
fn a_locked_app_is_refused_with_every_deployment_that_holds_it() {
    let mut bench = Bench::new(0);
    bench.deploy(vec![app("/a", json!({}))]);
    bench.deploy(vec![app("/b", json!({}))]);
    let both = vec![app("/a", json!({"instances": 9})), app("/b", json!({"instances": 9}))];
    let locked = Outcome::Refused(Refusal::Locked(vec![deployment(1), deployment(2)]));
    assert_eq!(bench.deploy(both), locked);
    assert_eq!(bench.state.locks_of(&id("/a")), [deployment(1)]);
    let unchanged = bench.deploy(vec![app("/a", json!({}))]);
    assert!(matches!(unchanged, Outcome::Deployed { .. }), "nothing to do, nothing to lock");
}

#[test]
fn force_cancels_what_is_in_the_way_and_nothing_else() {
    let mut bench = Bench::new(0);
    bench.deploy(vec![app("/a", json!({}))]);
    bench.deploy(vec![app("/b", json!({}))]);
    let forced = Deploy { force: true, ..bench.change(vec![app("/a", json!({"cmd": "new"}))]) };
    bench.run(Command::Deploy(forced));
    let cancelled: Vec<_> = bench
        .events
        .iter()
        .filter_map(|event| match event {
            Event::DeploymentCancelled { deployment, by } => Some((deployment.id, *by)),
            _ => None,
        })
        .collect();
    assert_eq!(cancelled, [(deployment(1), Some(deployment(3)))]);
    assert!(bench.state.deployments.keys().copied().eq([deployment(2), deployment(3)]));
}

#[test]
fn steps_follow_each_other_and_only_the_current_one_can_be_completed() {
    let mut bench = Bench::new(0);
    bench.deploy(vec![app("/a", json!({})), app("/b", json!({"dependencies": ["/a"]}))]);
    let complete = |step| Command::CompleteStep { id: deployment(1), step };
    bench.run(complete(0));
    bench.run(complete(2));
    assert_eq!((current(&bench), bench.events.len()), (vec![1], 0));
    bench.run(complete(1));
    assert_eq!(current(&bench), [2]);
    assert!(matches!(&bench.events[..], [Event::StepDone { .. }, Event::StepStarted { .. }]));
    bench.run(complete(2));
    assert!(matches!(&bench.events[..], [Event::StepDone { .. }, Event::DeploymentDone { .. }]));
    assert!(bench.state.deployments.is_empty());
    assert_eq!(bench.run(complete(3)), Outcome::Done);
}

#[test]
fn cancelling_leaves_everything_as_it_is() {
    let mut bench = Bench::new(0);
    bench.deploy(vec![app("/a", json!({}))]);
    let cancel = Command::CancelDeployment { id: deployment(1) };
    assert_eq!(bench.run(cancel.clone()), Outcome::Done);
    assert!(matches!(&bench.events[..], [Event::DeploymentCancelled { by: None, .. }]));
    assert!(bench.state.deployments.is_empty() && bench.state.app(&id("/a")).is_some());
    assert_eq!(bench.run(cancel), Outcome::Refused(Refusal::NoDeployment(deployment(1))));
}

#[test]
fn a_revert_puts_the_originals_back_and_leaves_later_changes() {
    let mut bench = Bench::new(0);
    bench.settle(vec![app("/old", json!({})), app("/gone", json!({})), app("/same", json!({}))]);
    let put = vec![app("/old", json!({"cmd": "new"})), app("/new", json!({}))];
    let change = Deploy { remove: vec![id("/gone")], restart: vec![id("/same")], ..bench.change(put) };
    bench.run(Command::Deploy(change.clone()));
    bench.deploy(vec![app("/later", json!({}))]);
    let revert = Command::RevertDeployment { id: change.id, deployment: deployment(50) };
    assert!(matches!(bench.run(revert.clone()), Outcome::Deployed { .. }));
    assert_eq!(bench.entry("/old").app.cmd.as_deref(), Some("sleep 1000"));
    assert_eq!(bench.entry("/old").app.version, bench.state.root_version, "a new version of the old content");
    assert!(bench.state.app(&id("/new")).is_none() && bench.state.app(&id("/gone")).is_some());
    assert!(bench.state.app(&id("/later")).is_some());
    assert!(
        matches!(&bench.events[0], Event::DeploymentCancelled { by: Some(by), .. } if *by == deployment(50))
    );
    assert_eq!(bench.run(revert), Outcome::Refused(Refusal::NoDeployment(change.id)));
}

#[test]
fn a_revert_that_is_not_possible_changes_nothing() {
    let (mut bench, _) = Bench::with_running(app("/a", json!({"instances": 1})));
    let remove = Deploy { remove: vec![id("/a")], ..bench.change(vec![]) };
    bench.run(Command::Deploy(remove.clone()));
    bench.deploy(vec![app("/a/b", json!({}))]);
    let revert = Command::RevertDeployment { id: remove.id, deployment: deployment(50) };
    assert!(matches!(bench.run(revert), Outcome::Refused(Refusal::Invalid(_))));
    assert!(bench.state.deployments.contains_key(&remove.id) && bench.events.is_empty());
}

#[test]
fn a_deployment_names_only_victims_that_exist() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 2})));
    let stranger = TaskId { incarnation: 9, ..tasks[0].clone() };
    let kill = vec![stranger, tasks[1].clone()];
    let scale = Deploy { kill, ..bench.change(vec![app("/web", json!({"instances": 1}))]) };
    let running = scale.id;
    bench.run(Command::Deploy(scale));
    assert_eq!(bench.state.deployments[&running].kill, tasks[1..]);
}
