//! Questions to the state.

use super::*;

#[test]
fn a_group_has_the_apps_below_it_and_no_others() {
    let mut bench = Bench::new(0);
    let paths = ["/shop", "/shop-x/a", "/shopping/a", "/x/0", "/x/a.b", "/x/a/b", "/x-y/a", "/xx"];
    bench.settle(paths.map(|path| app(path, json!({}))).to_vec());
    let below = |path: &str| -> Vec<String> {
        bench.state.apps_below(path).map(|entry| entry.app.id.to_string()).collect()
    };
    assert_eq!(below("/x"), ["/x/0", "/x/a.b", "/x/a/b"]);
    assert_eq!(below("/shop"), [""; 0]);
    assert_eq!(below("/").len(), paths.len());
    assert_eq!(below("/x/a"), ["/x/a/b"]);
}

#[test]
fn tasks_are_found_by_app_and_by_agent() {
    let mut bench = Bench::new(2);
    bench.settle(vec![app("/a", json!({})), app("/a-b", json!({})), app("/aa", json!({}))]);
    for (path, agent, port) in [("/a", 0, 31_000), ("/a", 1, 31_000), ("/a-b", 0, 31_001), ("/aa", 1, 31_002)]
    {
        bench.place(path, agent, &[port]);
    }
    assert_eq!(["/a", "/a-b", "/aa", "/none"].map(|path| bench.tasks(path).len()), [2, 1, 1, 0]);
    assert_eq!(bench.state.tasks_on(&bench.agent(0)).count(), 2);
    assert_eq!(bench.state.tasks_on(&AgentId::new("nobody")).count(), 0);
    let task = bench.tasks("/aa").remove(0);
    assert_eq!(bench.state.agent_of(&task).map(|agent| &agent.id), Some(&bench.agent(1)));
}

#[test]
fn the_queue_counts_what_waits_for_a_place_or_a_word() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 3})));
    let count =
        |bench: &Bench| (bench.state.queue_count(&id("/web")), bench.state.running_count(&id("/web")));
    assert_eq!(count(&bench), (0, 3));
    bench.say(&tasks[0], TaskState::Failed);
    assert_eq!(count(&bench), (1, 2));
    bench.place("/web", 0, &[31_100]);
    assert_eq!(count(&bench), (1, 2), "placed and not confirmed");
    bench.deploy(vec![app("/web", json!({"instances": 3, "cmd": "new"}))]);
    assert!(bench.state.is_restarting(&id("/web")));
    assert_eq!(count(&bench), (2, 2), "one more than before, for the upgrade");
    bench.complete_all();
    assert_eq!(count(&bench), (1, 2), "outdated ones count when nothing replaces them");
    assert_eq!(bench.state.queue_count(&id("/none")), 0);
}

#[test]
fn bounds_of_an_upgrade_are_marathons() {
    let bounds = |instances, minimum, over| {
        let strategy = json!({"minimumHealthCapacity": minimum, "maximumOverCapacity": over});
        let app = app("/web", json!({"instances": instances, "upgradeStrategy": strategy}));
        (min_healthy(&app), max_capacity(&app))
    };
    assert_eq!(bounds(4, 1.0, 1.0), (4, 8));
    assert_eq!(bounds(4, 0.5, 0.0), (2, 4));
    assert_eq!(bounds(4, 0.0, 0.0), (0, 4));
    assert_eq!(bounds(4, 1.0, 0.0), (4, 5));
    assert_eq!(bounds(3, 0.5, 0.5), (2, 4));
}
