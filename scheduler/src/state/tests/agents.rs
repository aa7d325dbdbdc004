//! Agents: registration, loss, return.

use super::*;

#[test]
fn agents_are_numbered_and_known_again() {
    let mut bench = Bench::new(2);
    assert_eq!(bench.agent(1).as_str(), "00000000-0000-0000-0000-000000000007-S1");
    let again = Command::RegisterAgent { id: Some(bench.agent(1)), info: info(20_000) };
    assert_eq!(bench.run(again), Outcome::Registered { id: bench.agent(1) });
    assert_eq!(bench.state.agents.len(), 2);
    assert_eq!(bench.state.agents[&bench.agent(1)].info.capacity.cpus_milli, 20_000);
    let stranger = Command::RegisterAgent { id: Some(AgentId::new("x-S1")), info: info(1) };
    assert_eq!(bench.run(stranger), Outcome::Registered { id: bench.agent(2) });
    assert_eq!(bench.state.next_agent, 3);
}

#[test]
fn a_lost_agent_takes_its_tasks_out_of_reach_and_brings_them_back() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 2})));
    let agent = bench.agent(0);
    bench.pass(500);
    bench.run(Command::LoseAgent { id: agent.clone() });
    assert_eq!(bench.state.agents[&agent].presence, Presence::Lost);
    let task = bench.task(&tasks[0]);
    assert_eq!((task.condition, task.since.millis()), (Condition::Unreachable, bench.at));
    assert_eq!(bench.events.len(), 3);
    bench.run(Command::LoseAgent { id: agent.clone() });
    assert!(bench.events.is_empty());

    bench.say(&tasks[0], TaskState::Running);
    assert_eq!(bench.task(&tasks[0]).condition, Condition::Unreachable, "it must register first");
    bench.run(Command::RegisterAgent { id: Some(agent.clone()), info: info(10_000) });
    let seen = bench.task(&tasks[0]).seq;
    let reports = vec![bench.news(&tasks[0], seen, TaskState::Running)];
    bench.run(Command::Report { agent, complete: true, reports });
    assert_eq!(bench.task(&tasks[0]).condition, Condition::Running, "the last report, said again");
    assert!(!bench.state.tasks.contains_key(&tasks[1]));
}

#[test]
fn endings_are_believed_from_a_lost_agent_too() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 1})));
    bench.run(Command::LoseAgent { id: bench.agent(0) });
    bench.say(&tasks[0], TaskState::Failed);
    assert!(bench.state.tasks.is_empty());
    assert_eq!(bench.entry("/web").vacant.len(), 1);
}

#[test]
fn an_agent_is_forgotten_only_when_it_is_away_and_empty() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 1})));
    let agent = bench.agent(0);
    let forget = Command::ForgetAgent { id: agent.clone() };
    assert_eq!(bench.run(forget.clone()), Outcome::Refused(Refusal::AgentBusy(agent.clone())));
    bench.run(Command::LoseAgent { id: agent.clone() });
    assert_eq!(bench.run(forget.clone()), Outcome::Refused(Refusal::AgentBusy(agent.clone())));
    bench.run(Command::Expunge { tasks });
    assert_eq!(bench.run(forget.clone()), Outcome::Done);
    assert_eq!(bench.run(forget), Outcome::Refused(Refusal::NoAgent(agent)));
}

#[test]
fn only_unreachable_tasks_are_marked_inactive_or_expunged() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 2})));
    bench.run(Command::MarkInactive { tasks: tasks.clone() });
    bench.run(Command::Expunge { tasks: tasks.clone() });
    assert_eq!(bench.tasks("/web"), tasks);
    bench.run(Command::LoseAgent { id: bench.agent(0) });
    bench.run(Command::MarkInactive { tasks: tasks[..1].to_vec() });
    assert_eq!(bench.task(&tasks[0]).condition, Condition::UnreachableInactive);
    bench.run(Command::Expunge { tasks: tasks.clone() });
    assert!(bench.state.tasks.is_empty());
    assert!(bench.events.iter().all(|event| matches!(event, Event::TaskExpunged { .. })));
    let vacant: Vec<_> = bench.entry("/web").vacant.iter().map(|vacant| vacant.uuid).collect();
    assert_eq!(vacant, [tasks[1].instance.uuid], "the inactive one was replaced by another instance");
    assert_eq!(bench.entry("/web").delay, None, "to be out of reach is no failure");
}

#[test]
fn a_returning_task_that_is_no_longer_wanted_is_told_to_end() {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 2})));
    let agent = bench.agent(0);
    let kill = Command::KillTasks { tasks: tasks[1..].to_vec(), wipe: false, reason: KillReason::Asked };
    bench.run(kill);
    bench.run(Command::LoseAgent { id: agent.clone() });
    bench.run(Command::Decommission { tasks: tasks[..1].to_vec(), reason: KillReason::Surplus });
    assert_eq!(bench.task(&tasks[0]).condition, Condition::Unreachable);
    assert_eq!(bench.task(&tasks[1]).goal, Goal::Decommissioned, "nobody waits for its end");
    bench.run(Command::RegisterAgent { id: Some(agent), info: info(10_000) });
    for task in &tasks {
        bench.say(task, TaskState::Running);
        assert_eq!(bench.task(task).condition, Condition::Killing);
        let returned = |event: &Event| matches!(event, Event::TaskKill { reason: KillReason::Returned, .. });
        assert!(bench.events.iter().any(returned));
        bench.say(task, TaskState::Killed);
    }
    assert!(bench.state.tasks.is_empty() && bench.entry("/web").vacant.is_empty());
}
