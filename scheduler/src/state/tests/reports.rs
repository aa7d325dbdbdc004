//! Reports: what agents say moves tasks forward, ends them, and costs their apps delay.

use spec::protocol::HealthReport;

use super::*;

fn delay(bench: &Bench) -> Option<(u64, u64)> {
    bench.entry("/web").delay.map(|delay| (delay.millis, delay.since.millis()))
}

fn placed() -> (Bench, TaskId) {
    let mut bench = Bench::new(2);
    bench.settle(vec![app("/web", json!({"instances": 1}))]);
    let task = bench.place("/web", 0, &[31_000]).remove(0);
    (bench, task)
}

fn health(check: u32, alive: bool) -> HealthReport {
    HealthReport {
        check,
        alive,
        consecutive_failures: 0,
        first_success: None,
        last_success: None,
        last_failure: None,
        last_failure_cause: (!alive).then(|| "404".to_owned()),
    }
}

#[test]
fn conditions_only_move_forward() {
    let (mut bench, task) = placed();
    let steps = [
        (TaskState::Staging, Condition::Staging),
        (TaskState::Running, Condition::Running),
        (TaskState::Starting, Condition::Running),
        (TaskState::Killing, Condition::Killing),
        (TaskState::Running, Condition::Killing),
    ];
    for (reported, condition) in steps {
        bench.say(&task, reported);
        assert_eq!(bench.task(&task).condition, condition, "{reported:?}");
    }
    assert!(bench.events.is_empty());
}

#[test]
fn older_reports_are_ignored() {
    let (mut bench, task) = placed();
    let news = |bench: &Bench, seq, state| bench.news(&task, seq, state);
    bench.report(news(&bench, 5, TaskState::Staging));
    bench.report(news(&bench, 4, TaskState::Running));
    assert_eq!(bench.task(&task).condition, Condition::Staging);
    bench.report(news(&bench, 4, TaskState::Failed));
    assert!(bench.state.tasks.contains_key(&task));
    bench.report(news(&bench, 5, TaskState::Staging));
    assert!(bench.events.is_empty(), "said again, nothing new");
}

#[test]
fn the_first_running_sets_the_start_within_what_is_possible() {
    let (mut bench, task) = placed();
    bench.pass(1000);
    let early = TaskReport { at: Timestamp::from_millis(3), ..bench.news(&task, 1, TaskState::Running) };
    bench.report(early);
    assert_eq!(bench.task(&task).started_at, Some(bench.task(&task).staged_at));
    assert_eq!(bench.task(&task).since.millis(), bench.at);
    assert!(matches!(&bench.events[..], [Event::TaskChanged { message, .. }] if message == "so it is"));
}

#[test]
fn an_ended_task_is_gone_and_its_instance_waits() {
    let (mut bench, task) = placed();
    bench.say(&task, TaskState::Running);
    bench.say(&task, TaskState::Finished);
    let agent = &bench.state.agents[&bench.agent(0)];
    assert!(bench.state.tasks.is_empty() && agent.ports.is_empty() && agent.tasks.is_empty());
    assert_eq!(agent.reserved, Resources::default());
    let vacant: Vec<_> = bench.entry("/web").vacant.iter().copied().collect();
    assert_eq!(vacant, [Vacant { uuid: task.instance.uuid, incarnation: 2 }]);
    assert_eq!(delay(&bench), Some((10_000, bench.at)), "an exit with code 0 counts too");
    assert_eq!(bench.entry("/web").last_failure, None, "and is no failure");
}

#[test]
fn failures_grow_the_delay_up_to_its_maximum_and_leave_their_reason() {
    let (mut bench, mut task) = placed();
    for millis in [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000] {
        bench.pass(1000);
        bench.say(&task, TaskState::Failed);
        assert_eq!(delay(&bench), Some((millis, bench.at)));
        let failure = bench.entry("/web").last_failure.clone().unwrap();
        assert_eq!((&failure.task, failure.state, &*failure.host), (&task, TaskState::Failed, "10.0.0.1"));
        task = bench.place("/web", 0, &[31_000]).remove(0);
    }
}

#[test]
fn running_advances_the_delay_and_a_long_run_ends_it() {
    let (mut bench, task) = placed();
    bench.say(&task, TaskState::Failed);
    let task = bench.place("/web", 0, &[31_000]).remove(0);
    bench.pass(5000);
    bench.say(&task, TaskState::Running);
    assert_eq!(delay(&bench), Some((10_000, bench.at)));
    assert!(bench.events.iter().any(|event| matches!(event, Event::DelayChanged { .. })));
    bench.pass(300_001);
    bench.say(&task, TaskState::Failed);
    assert_eq!(delay(&bench), Some((10_000, bench.at)), "starts over");
}

#[test]
fn a_kill_is_no_failure_and_shown_only_when_health_was_the_reason() {
    let (mut bench, task) = placed();
    bench.say(&task, TaskState::Killed);
    assert_eq!((delay(&bench), &bench.entry("/web").last_failure), (None, &None));
    let task = bench.place("/web", 0, &[31_000]).remove(0);
    let killed = TaskReport { unhealthy_kill: true, ..bench.news(&task, 1, TaskState::Killed) };
    bench.report(killed);
    assert_eq!(delay(&bench), None, "killed is no reason for a delay");
    let message = &bench.entry("/web").last_failure.as_ref().unwrap().message;
    assert_eq!(message, "Task was killed since health check failed. Reason: so it is");
}

#[test]
fn tasks_of_an_old_definition_do_not_slow_the_new_one_down() {
    let (mut bench, task) = placed();
    bench.deploy(vec![app("/web", json!({"instances": 1, "cmd": "new"}))]);
    bench.say(&task, TaskState::Failed);
    assert_eq!(delay(&bench), None);
    assert_eq!(bench.entry("/web").vacant.len(), 1);
}

#[test]
fn health_results_are_one_for_each_check_of_the_app() {
    let check = json!([{"protocol": "HTTP", "delaySeconds": 0, "gracePeriodSeconds": 300, "timeoutSeconds": 5,
        "intervalSeconds": 60, "ipProtocol": "IPv4", "maxConsecutiveFailures": 3}]);
    let mut bench = Bench::new(1);
    bench.settle(vec![app("/web", json!({"instances": 1, "healthChecks": check}))]);
    let task = bench.place("/web", 0, &[31_000]).remove(0);
    let running = bench.news(&task, 1, TaskState::Running);
    bench.report(running.clone());
    assert!(!bench.task(&task).is_healthy(), "no result yet");
    let results = vec![health(7, false), health(0, true), health(0, false)];
    bench.report(TaskReport { seq: 2, health: results, ..running.clone() });
    assert!(
        matches!(&bench.events[..], [Event::TaskHealth { before, .. }] if before.health_verdict().is_none())
    );
    assert_eq!(bench.task(&task).health.len(), 1);
    assert!(bench.task(&task).is_healthy());
    bench.report(TaskReport { seq: 3, health: vec![health(0, false)], ..running });
    assert!(
        matches!(&bench.events[..], [Event::TaskHealth { before, .. }] if before.health_verdict() == Some(true))
    );
}

#[test]
fn unknown_tasks_and_wrong_agents_are_told_apart_from_news() {
    let (mut bench, task) = placed();
    let stranger = TaskId { incarnation: 9, ..task.clone() };
    bench.report(bench.news(&stranger, 1, TaskState::Running));
    assert!(matches!(&bench.events[..], [Event::TaskUnknown { task, .. }] if *task == stranger));
    bench.report(bench.news(&stranger, 2, TaskState::Failed));
    assert!(
        matches!(&bench.events[..], [Event::TaskUnknownEnded { task, .. }] if *task == stranger),
        "it has ended, nothing to kill"
    );
    let reports = vec![bench.news(&task, 1, TaskState::Failed), bench.news(&task, 2, TaskState::Running)];
    let other = bench.agent(1);
    bench.run(Command::Report { agent: other.clone(), complete: false, reports });
    assert!(matches!(&bench.events[..], [Event::TaskUnknown { agent, .. }] if *agent == other));
    assert_eq!(bench.task(&task).condition, Condition::Provisioned);
    let nobody = AgentId::new("nobody");
    let outcome = bench.run(Command::Report { agent: nobody.clone(), complete: true, reports: vec![] });
    assert_eq!(outcome, Outcome::Refused(Refusal::NoAgent(nobody)));
}

#[test]
fn a_complete_report_ends_what_it_does_not_name() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 3})));
    bench.say(&tasks[2], TaskState::Failed);
    let unconfirmed = TaskId { incarnation: 2, ..tasks[2].clone() };
    bench.place("/web", 0, &[31_100]);
    let reports = vec![bench.news(&tasks[0], 1, TaskState::Running)];
    bench.run(Command::Report { agent: bench.agent(0), complete: true, reports });
    assert_eq!(bench.task(&tasks[0]).condition, Condition::Running);
    assert_eq!(bench.task(&unconfirmed).condition, Condition::Provisioned, "the leader sends it again");
    assert!(!bench.state.tasks.contains_key(&tasks[1]));
    let ended = |event: &Event| matches!(event, Event::TaskEnded { state: TaskState::Gone, .. });
    assert_eq!(bench.events.iter().filter(|event| ended(event)).count(), 1);
}

#[test]
fn long_messages_are_cut_between_characters() {
    let (mut bench, task) = placed();
    let report = bench.news(&task, 1, TaskState::Failed);
    bench.report(TaskReport { message: format!("x{}", "é".repeat(5000)), ..report });
    assert_eq!(bench.entry("/web").last_failure.as_ref().unwrap().message.len(), 4095);
}
