//! Kills: who is replaced, who is not, and what is said.

use super::*;

#[test]
fn a_killed_task_is_ended_and_its_instance_started_anew() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 2})));
    let kill = Command::KillTasks { tasks: tasks[..1].to_vec(), wipe: false, reason: KillReason::Asked };
    assert_eq!(bench.run(kill.clone()), Outcome::Done);
    let task = bench.task(&tasks[0]);
    assert_eq!((task.condition, task.goal), (Condition::Killing, Goal::Restarting));
    assert!(matches!(&bench.events[..], [Event::TaskKill { reason: KillReason::Asked, .. }]));
    bench.run(kill);
    assert!(bench.events.is_empty(), "told once");
    bench.say(&tasks[0], TaskState::Failed);
    assert_eq!((bench.entry("/web").vacant.len(), bench.entry("/web").delay), (1, None));
}

#[test]
fn wiped_and_decommissioned_instances_do_not_come_back() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 3})));
    let wipe = |wipe| Command::KillTasks { tasks: tasks[..1].to_vec(), wipe, reason: KillReason::Asked };
    bench.run(wipe(true));
    bench.run(wipe(false));
    assert_eq!(bench.task(&tasks[0]).goal, Goal::Decommissioned, "never back from that");
    bench.run(Command::Decommission { tasks: tasks[1..2].to_vec(), reason: KillReason::Surplus });
    tasks[..2].iter().for_each(|task| bench.say(task, TaskState::Killed));
    assert!(bench.entry("/web").vacant.is_empty());
    assert_eq!(bench.tasks("/web"), tasks[2..]);
}

#[test]
fn a_kill_of_nothing_that_exists_says_so() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 1})));
    let stranger = TaskId { incarnation: 9, ..tasks[0].clone() };
    let kill = |tasks| Command::KillTasks { tasks, wipe: false, reason: KillReason::Asked };
    let refused = Outcome::Refused(Refusal::NoTask(stranger.clone()));
    assert_eq!(bench.run(kill(vec![stranger.clone()])), refused);
    assert_eq!(bench.run(kill(vec![stranger, tasks[0].clone()])), Outcome::Done);
    assert_eq!(bench.task(&tasks[0]).goal, Goal::Restarting);
}

#[test]
fn a_kill_for_health_is_shown_when_it_is_told() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 1})));
    let kill = Command::KillTasks { tasks: tasks.clone(), wipe: false, reason: KillReason::Unhealthy };
    bench.run(kill.clone());
    bench.run(kill);
    bench.say(&tasks[0], TaskState::Killed);
    let entry = bench.entry("/web");
    assert_eq!(entry.delay, None, "the replacement starts right away");
    let failure = entry.last_failure.as_ref().unwrap();
    assert_eq!(failure.state, TaskState::Killed);
    assert!(failure.message.starts_with("Task was killed since health check failed. Reason: "));
}

#[test]
fn vacant_instances_are_never_more_than_wanted() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 3})));
    bench.deploy(vec![app("/web", json!({"instances": 1}))]);
    tasks.iter().for_each(|task| bench.say(task, TaskState::Failed));
    assert_eq!(bench.entry("/web").vacant.len(), 1);
    bench.complete_all();
    bench.deploy(vec![app("/web", json!({"instances": 0}))]);
    assert!(bench.entry("/web").vacant.is_empty());
}
