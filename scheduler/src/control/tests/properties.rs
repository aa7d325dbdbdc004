//! Whatever is asked in whatever order, with agents and tasks failing meanwhile: once that stops,
//! everything wanted runs and nothing else.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::placement::fixture::{app, app_id};

/// Something that happens to the cluster.
#[derive(Clone, Debug)]
enum Happening {
    Put { app: u8, instances: u32, cmd: u8, healthy: u8, over: u8, force: bool },
    Remove { app: u8 },
    Restart { app: u8 },
    Kill { nth: usize, wipe: bool },
    Lose { agent: usize },
    Return { agent: usize },
    Fail { app: u8 },
    Hang { app: u8 },
    Deafen { app: u8 },
    Mend,
    Elect,
    Cancel,
    Pass { millis: u64 },
}

fn any_happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        6 => (0u8..3, 0u32..5, 0u8..3, 0u8..3, 0u8..3, any::<bool>()).prop_map(
            |(app, instances, cmd, healthy, over, force)| Put { app, instances, cmd, healthy, over, force }),
        1 => (0u8..3).prop_map(|app| Remove { app }),
        1 => (0u8..3).prop_map(|app| Restart { app }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(nth, wipe)| Kill { nth, wipe }),
        1 => (0usize..3).prop_map(|agent| Lose { agent }),
        1 => (0usize..3).prop_map(|agent| Return { agent }),
        1 => (0u8..3).prop_map(|app| Fail { app }),
        1 => (0u8..3).prop_map(|app| Hang { app }),
        1 => (0u8..3).prop_map(|app| Deafen { app }),
        1 => Just(Mend),
        1 => Just(Elect),
        1 => Just(Cancel),
        8 => (1u64..100_000).prop_map(|millis| Pass { millis }),
    ]
}

fn name(app: u8) -> AppId {
    app_id(["/a", "/b", "/c"][usize::from(app)])
}

fn happen(it: &mut Loop, happening: &Happening) {
    let agent = |it: &Loop, n: usize| it.state.agents.keys().nth(n).cloned().expect("three agents");
    match *happening {
        Happening::Put { app: n, instances, cmd, healthy, over, force } => {
            let [healthy, over] = [healthy, over].map(|part| f64::from(part) / 2.0);
            let document = json!({"instances": instances, "cmd": format!("sleep {cmd}"),
                "upgradeStrategy": {"minimumHealthCapacity": healthy, "maximumOverCapacity": over},
                "unreachableStrategy": {"inactiveAfterSeconds": 20, "expungeAfterSeconds": 50},
                "dependencies": if n > 0 { json!([name(n - 1).as_str()]) } else { json!([]) }});
            it.change(vec![app(name(n).as_str(), document)], |deploy| deploy.force = force);
        }
        Happening::Remove { app } => drop(it.change(vec![], |deploy| deploy.remove = vec![name(app)])),
        Happening::Restart { app } => drop(it.change(vec![], |deploy| deploy.restart = vec![name(app)])),
        Happening::Kill { nth, wipe } if !it.state.tasks.is_empty() => {
            let task = it.state.tasks.keys().nth(nth % it.state.tasks.len()).cloned();
            let tasks = task.into_iter().collect();
            it.apply(vec![Command::KillTasks { tasks, wipe, reason: KillReason::Asked }]);
        }
        Happening::Kill { .. } => {}
        Happening::Lose { agent: n } => it.lose(&agent(it, n)),
        Happening::Return { agent: n } => it.bring_back(&agent(it, n)),
        Happening::Fail { app } => drop(it.failing.insert(name(app))),
        Happening::Hang { app } => drop(it.hanging.insert(name(app))),
        Happening::Deafen { app } => drop(it.deaf.insert(name(app))),
        Happening::Mend => mend(it),
        Happening::Elect => {
            it.memory = Memory::default();
            it.memory.note_everything(&it.state);
        }
        Happening::Cancel => {
            let id = it.state.deployments.keys().next().copied();
            id.map(|id| it.apply(vec![Command::CancelDeployment { id }]));
        }
        Happening::Pass { millis } => it.run(millis),
    }
}

fn mend(it: &mut Loop) {
    it.failing.clear();
    it.hanging.clear();
    it.deaf.clear();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn it_converges(happenings in prop::collection::vec(any_happening(), 1..40), seed: u64) {
        let mut it = Loop::new(3, seed);
        for happening in &happenings {
            happen(&mut it, happening);
        }
        mend(&mut it);
        let away: Vec<_> = it.away.iter().cloned().collect();
        away.iter().for_each(|agent| it.bring_back(agent));
        // Longer than any delay, any timeout and any strategy.
        it.run(20 * 60_000);
        prop_assert!(it.state.deployments.is_empty(), "{:#?}", it.state.deployments);
        for (id, entry) in &it.state.apps {
            prop_assert!(!entry.retired, "{id} was removed and stays");
            let tasks: Vec<_> = it.state.tasks_of(id).collect();
            prop_assert_eq!(tasks.len(), entry.app.instances as usize, "{:#?}", tasks);
            prop_assert!(tasks.iter().all(|task| task.is_healthy() && task.goal == Goal::Running));
        }
        prop_assert!(it.state.tasks.keys().all(|task| it.state.apps.contains_key(task.app())));
        prop_assert!(it.memory.waiting().is_empty());
    }
}
