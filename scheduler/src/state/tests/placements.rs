//! Placements: ids, booking, and the bounds that hold whatever is proposed.

use super::*;

#[test]
fn a_placed_task_is_booked_on_its_agent() {
    let mut bench = Bench::new(2);
    bench.settle(vec![app("/web", json!({}))]);
    let tasks = bench.place("/web", 1, &[31_000]);
    let task = bench.task(&tasks[0]).clone();
    assert_eq!((task.condition, task.goal), (Condition::Provisioned, Goal::Running));
    assert_eq!((task.id.incarnation, task.id.instance.uuid.get_version_num()), (1, 1));
    let agent = &bench.state.agents[&bench.agent(1)];
    assert_eq!((agent.reserved.cpus_milli, agent.reserved.mem_mib), (100, 32));
    assert_eq!(agent.ports.get(&31_000), Some(&tasks[0]));
    assert!(agent.tasks.contains(&tasks[0]));
    assert!(matches!(&bench.events[..], [Event::TaskPlaced { task }] if task.id == tasks[0]));
}

#[test]
fn what_no_longer_holds_is_dropped() {
    let mut bench = Bench::new(1);
    bench.settle(vec![app("/web", json!({"instances": 1}))]);
    let good = bench.placement("/web", 0, 31_000);
    let wrong = [
        Placement { version: Timestamp::from_millis(1), ..good.clone() },
        Placement { app: id("/other"), ..good.clone() },
        Placement { agent: AgentId::new("nobody"), ..good.clone() },
    ];
    assert_eq!(bench.run(Command::Place(wrong.to_vec())), Outcome::Done);
    assert!(bench.state.tasks.is_empty() && bench.events.is_empty());
    let second = Placement { host_ports: vec![31_001], ..good.clone() };
    bench.run(Command::Place(vec![good, second]));
    assert_eq!(bench.tasks("/web").len(), 1, "no more than instances");
}

#[test]
fn nothing_is_placed_for_a_removed_app() {
    let (mut bench, _) = Bench::with_running(app("/web", json!({"instances": 2})));
    let placement = bench.placement("/web", 0, 31_500);
    let remove = Deploy { remove: vec![id("/web")], ..bench.change(vec![]) };
    bench.run(Command::Deploy(remove));
    bench.run(Command::Place(vec![placement]));
    assert_eq!(bench.tasks("/web").len(), 2);
}

#[test]
fn an_upgrade_may_go_over_by_what_the_strategy_allows() {
    // 1.0 and 0: nothing could move, so one more is allowed (reference section 5.2).
    let (mut bench, _) = Bench::with_running(app("/web", json!({"instances": 4})));
    bench.settle(vec![app("/web", json!({"instances": 4, "cmd": "new"}))]);
    bench.place("/web", 0, &[31_100, 31_101, 31_102]);
    assert_eq!(bench.tasks("/web").len(), 5);

    let half = json!({"maximumOverCapacity": 0.5, "minimumHealthCapacity": 1});
    bench.settle(vec![app("/web", json!({"instances": 4, "cmd": "newer", "upgradeStrategy": half}))]);
    bench.place("/web", 0, &[31_103, 31_104, 31_105]);
    assert_eq!(bench.tasks("/web").len(), 6);
}

#[test]
fn a_replacement_keeps_the_instance_and_counts_its_starts() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 2})));
    bench.say(&tasks[0], TaskState::Failed);
    let next = TaskId { incarnation: 2, ..tasks[0].clone() };
    assert!(bench.place("/web", 0, &[31_200]).contains(&next));
    assert!(bench.entry("/web").vacant.is_empty());
}

#[test]
fn a_task_that_is_being_ended_keeps_its_place_until_it_has_ended() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 2})));
    let kill = Command::KillTasks { tasks: tasks[..1].to_vec(), wipe: false, reason: KillReason::Asked };
    bench.run(kill);
    assert_eq!(bench.place("/web", 0, &[31_200]).len(), 2);
    bench.say(&tasks[0], TaskState::Killed);
    assert_eq!(bench.place("/web", 0, &[31_200]).len(), 2);
}

#[test]
fn an_inactive_task_makes_room_and_an_unreachable_one_does_not() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 1})));
    bench.run(Command::LoseAgent { id: bench.agent(0) });
    assert_eq!(bench.place("/web", 1, &[31_000]).len(), 1);
    bench.run(Command::MarkInactive { tasks: tasks.clone() });
    let all = bench.place("/web", 1, &[31_000]);
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|task| task.incarnation == 1), "a new instance, the old one may come back");
}

#[test]
fn instance_ids_never_repeat() {
    let mut bench = Bench::new(1);
    bench.settle(vec![app("/web", json!({"instances": 50}))]);
    for port in 31_000..31_025 {
        bench.place("/web", 0, &[port, port + 100]);
    }
    assert_eq!(bench.tasks("/web").len(), 50);
}
