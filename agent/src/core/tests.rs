//! Tables for the core, one rule a test; [`room`] has those of launches that wait, [`world`] plays random histories.

mod room;
mod world;

use serde_json::{Value, json};
use spec::app::AppDocument;
use spec::protocol::KillTask;

use super::*;
use crate::environment::tests::app as app_of;
use crate::runtime::{Signal, Status};

pub(crate) fn task(n: u32) -> TaskId {
    format!("shop_web.instance-00000000-0000-0000-0000-{n:012x}._app.1").parse().unwrap()
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + millis)
}

fn fence(term: u64, index: u64) -> Fence {
    Fence { term, index }
}

/// What none of these tasks fills.
const CAPACITY: Resources = Resources { cpus_milli: 64_000, mem_mib: 65_536, disk_mib: 65_536, gpus: 0 };

fn core() -> Core {
    Core::new(Kept::default(), Runtimes::default(), CAPACITY)
}

fn wants(fence: Fence, complete: bool, app: App, run: &[u32], kill: &[(u32, u64)]) -> Wanted {
    let run = run.iter().map(|n| RunTask { task: task(*n), app: 0, host_ports: vec![31000] });
    let kill = kill.iter().map(|(n, grace_millis)| KillTask { task: task(*n), grace_millis: *grace_millis });
    let apps = vec![AppDocument(Arc::new(app))];
    Wanted { fence, complete, apps, run: run.collect(), kill: kill.collect() }
}

fn found(n: u32, status: Status) -> Found {
    Found { task: task(n), status, started_at: Some(at(5)), addresses: vec![], handle: format!("h{n}") }
}

fn exit(code: i32) -> Exit {
    Exit { code: Some(code), ..Exit::default() }
}

/// Effects in short, without what is kept on disk.
fn short(effects: Vec<Effect>) -> Vec<String> {
    let short = |effect| {
        Some(match effect {
            Effect::Persist(_) | Effect::Record(_) | Effect::Forget(_) => return None,
            Effect::Launch(order) => format!("launch {}", order.runtime),
            Effect::CancelLaunch(_) => "cancel".to_owned(),
            Effect::Watch { .. } => "watch".to_owned(),
            Effect::Signal { signal, .. } => format!("{signal:?}"),
            Effect::Remove { .. } => "remove".to_owned(),
            Effect::StartChecks(_) => "check".to_owned(),
            Effect::StopChecks(_) => "stop checks".to_owned(),
            Effect::DropSandbox(_) => "drop".to_owned(),
        })
    };
    effects.into_iter().filter_map(short).collect()
}

fn report(core: &Core, n: u32) -> (TaskState, String) {
    let (reports, _) = core.hello();
    let report = reports.into_iter().find(|report| report.task == task(n)).expect("a report");
    (report.state, report.message)
}

fn ack(core: &mut Core, millis: u64) -> Vec<String> {
    let (_, last) = core.hello();
    short(core.acknowledged(last, at(millis)))
}

fn running(core: &mut Core, document: Value) {
    core.wanted(wants(fence(1, 1), false, app_of(document), &[1], &[]), at(0)).unwrap();
    core.launched(found(1, Status::Running), at(10));
    assert_eq!(report(core, 1).0, TaskState::Running);
}

#[test]
fn a_task_runs_and_its_ending_is_reported_before_it_is_removed() {
    let mut core = core();
    let effects = core.wanted(wants(fence(1, 1), true, app_of(json!({})), &[1], &[]), at(0)).unwrap();
    assert!(matches!(effects[0], Effect::Persist(kept) if kept.fence == fence(1, 1) && kept.seq_ceiling > 0));
    assert_eq!(short(effects), ["launch process"]);
    assert_eq!(report(&core, 1).0, TaskState::Staging);
    assert_eq!(short(core.launched(found(1, Status::Running), at(10))), ["watch"]);
    assert_eq!(ack(&mut core, 15), [""; 0], "a running task is not removed");
    assert_eq!(short(core.exited(&task(1), &exit(1), at(20))), ["stop checks"]);
    assert_eq!(report(&core, 1), (TaskState::Failed, "Command exited with status 1".to_owned()));
    assert_eq!(core.reports_after(0, 9).len(), 1);
    assert_eq!(ack(&mut core, 30), ["remove"]);
    assert_eq!(core.hello().0, []);
    let effects = core.removed(&task(1), at(40));
    assert!(effects.contains(&Effect::Forget(task(1))));
    let order = |index, kill: &[_]| wants(fence(1, index), false, app_of(json!({})), &[1], kill);
    let again = core.wanted(order(1, &[(1, 0)]), at(50)).unwrap();
    assert_eq!(short(again), [""; 0], "an order that crossed the ending starts and ends nothing");
    assert_eq!(core.hello().0, []);
    core.wanted(wants(fence(1, 2), false, app_of(json!({})), &[], &[]), at(60)).unwrap();
    assert_eq!(core.wanted(order(1, &[]), at(70)), None, "what is older is refused");
    assert!(!core.ended.contains(&task(1)), "so it is not remembered any longer");
}

#[test]
fn endings_by_exit() {
    for (code, kill, state) in
        [(0, false, TaskState::Finished), (3, false, TaskState::Failed), (143, true, TaskState::Killed)]
    {
        let mut core = core();
        running(&mut core, json!({}));
        if kill {
            core.wanted(wants(fence(1, 2), false, app_of(json!({})), &[], &[(1, 3000)]), at(20)).unwrap();
        }
        core.exited(&task(1), &exit(code), at(30));
        assert_eq!(report(&core, 1).0, state);
    }
}

#[test]
fn older_leaders_are_refused_also_after_a_restart() {
    let mut core = core();
    let message = |fence| wants(fence, false, app_of(json!({})), &[1], &[]);
    for (at_fence, obeyed) in
        [((2, 5), true), ((2, 4), false), ((1, 9), false), ((2, 5), true), ((3, 0), true)]
    {
        assert_eq!(
            core.wanted(message(fence(at_fence.0, at_fence.1)), at(0)).is_some(),
            obeyed,
            "{at_fence:?}"
        );
    }
    let kept = Kept { fence: core.fence(), seq_ceiling: 7 };
    let mut core = Core::new(kept, Runtimes::default(), CAPACITY);
    assert!(core.wanted(message(fence(2, 99)), at(0)).is_none());
    assert!(core.wanted(message(fence(3, 0)), at(0)).is_some());
    assert!(core.reports_after(0, 9)[0].seq > 7, "numbers go on after those that were reserved");
}

#[test]
fn a_kill_is_sigterm_then_sigkill_until_it_ends() {
    let mut core = core();
    running(&mut core, json!({}));
    let kill = |grace| wants(fence(1, 2), false, app_of(json!({})), &[], &[(1, grace)]);
    assert_eq!(short(core.wanted(kill(3000), at(100)).unwrap()), ["stop checks", "Term"]);
    assert_eq!(report(&core, 1).0, TaskState::Killing);
    assert_eq!(short(core.wanted(kill(9000), at(200)).unwrap()), [""; 0], "asked again: no second SIGTERM");
    assert_eq!(core.next_due(), Some(at(3100)));
    assert_eq!(short(core.tick(at(3099))), [""; 0]);
    assert_eq!(short(core.tick(at(3100))), ["Kill"]);
    assert_eq!(short(core.tick(at(13_100))), ["Kill"]);
    core.exited(&task(1), &exit(137), at(13_200));
    assert_eq!(report(&core, 1).0, TaskState::Killed);
    assert_eq!(core.next_due(), None);
}

#[test]
fn a_second_kill_can_shorten_the_grace_period() {
    let mut core = core();
    running(&mut core, json!({}));
    core.wanted(wants(fence(1, 2), false, app_of(json!({})), &[], &[(1, 60_000)]), at(0)).unwrap();
    core.wanted(wants(fence(1, 3), false, app_of(json!({})), &[], &[(1, 1000)]), at(10)).unwrap();
    assert_eq!(short(core.tick(at(1010))), ["Kill"]);
}

#[test]
fn a_kill_while_launching_calls_the_launch_off() {
    for late in [false, true] {
        let mut core = core();
        core.wanted(wants(fence(1, 1), false, app_of(json!({})), &[1], &[]), at(0)).unwrap();
        let kill = wants(fence(1, 2), false, app_of(json!({})), &[], &[(1, 3000)]);
        assert_eq!(short(core.wanted(kill, at(10)).unwrap()), ["cancel"]);
        if late {
            let effects = core.launched(found(1, Status::Running), at(20));
            assert_eq!(short(effects), ["watch", "stop checks", "Term"]);
            continue;
        }
        assert_eq!(short(core.launch_cancelled(&task(1), at(20))), ["remove"]);
        assert_eq!(report(&core, 1).0, TaskState::Killing);
        core.removed(&task(1), at(30));
        assert_eq!(report(&core, 1).0, TaskState::Killed);
    }
}

#[test]
fn launches_that_fail() {
    let failed = |text: &str| RuntimeError::Failed(text.into());
    for (error, state, message) in [
        (failed("no such image"), TaskState::Failed, "no such image"),
        (RuntimeError::Unsupported("no GPUs".into()), TaskState::Error, "no GPUs"),
        (
            RuntimeError::Unavailable("Docker is down".into()),
            TaskState::Staging,
            "Docker is down; trying again",
        ),
    ] {
        let mut core = core();
        core.wanted(wants(fence(1, 1), false, app_of(json!({})), &[1], &[]), at(0)).unwrap();
        assert_eq!(short(core.launch_failed(&task(1), &error, at(10))), [""; 0]);
        assert_eq!(report(&core, 1), (state, message.to_owned()));
    }
}

#[test]
fn a_runtime_that_is_away_is_asked_again_with_growing_pauses() {
    let mut core = core();
    core.wanted(wants(fence(1, 1), false, app_of(json!({})), &[1], &[]), at(0)).unwrap();
    let mut now = 0;
    for pause in [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
        core.launch_failed(&task(1), &RuntimeError::Unavailable("down".into()), at(now));
        assert_eq!(short(core.tick(at(now + pause - 1))), [""; 0]);
        now += pause;
        assert_eq!(short(core.tick(at(now))), ["launch process"]);
    }
    core.launch_failed(&task(1), &RuntimeError::Unavailable("down".into()), at(now));
    core.wanted(wants(fence(1, 2), false, app_of(json!({})), &[], &[(1, 0)]), at(now)).unwrap();
    assert_eq!((report(&core, 1).0, core.next_due()), (TaskState::Killed, None));
}

#[test]
fn progress_is_reported_now_and_then() {
    let mut core = core();
    core.wanted(wants(fence(1, 1), false, app_of(json!({})), &[1], &[]), at(0)).unwrap();
    for (millis, text, said) in
        [(10, "pulling a", "pulling a"), (20, "10%", "pulling a"), (1010, "90%", "90%")]
    {
        core.progress(&task(1), text, at(millis));
        assert_eq!(report(&core, 1), (TaskState::Staging, said.to_owned()));
    }
    core.launched(found(1, Status::Running), at(1020));
    assert_eq!(report(&core, 1), (TaskState::Running, String::new()));
}

#[test]
fn what_the_complete_set_does_not_name_is_ended() {
    let mut core = core();
    running(&mut core, json!({"taskKillGracePeriodSeconds": 7}));
    let nothing = wants(fence(1, 2), true, app_of(json!({})), &[], &[]);
    assert_eq!(short(core.wanted(nothing.clone(), at(100)).unwrap()), ["stop checks", "Term"]);
    assert_eq!(core.next_due(), Some(at(7100)));
    core.exited(&task(1), &exit(143), at(200));
    assert_eq!(short(core.wanted(nothing, at(300)).unwrap()), ["remove"], "an ending that nobody waits for");
}

#[test]
fn unknown_tasks_to_kill_were_dropped() {
    let mut core = core();
    let kill = wants(fence(1, 1), false, app_of(json!({})), &[], &[(9, 0)]);
    assert_eq!(short(core.wanted(kill.clone(), at(0)).unwrap()), [""; 0]);
    assert_eq!(report(&core, 9).0, TaskState::Dropped);
    assert_eq!(ack(&mut core, 1), [""; 0]);
    core.wanted(kill, at(2)).unwrap();
    assert_eq!(core.hello().0, [], "said once and acknowledged");
}

#[test]
fn what_cannot_be_run_is_said() {
    let mut core = core();
    core.wanted(wants(fence(1, 1), false, app_of(json!({"executor": "x"})), &[1], &[]), at(0)).unwrap();
    assert_eq!(report(&core, 1).0, TaskState::Error);
    let mut message = wants(fence(1, 1), false, app_of(json!({})), &[2], &[]);
    message.apps.clear();
    core.wanted(message, at(0)).unwrap();
    assert_eq!(report(&core, 2).0, TaskState::Error);
}

#[test]
fn removal_is_tried_until_it_succeeds() {
    let mut core = core();
    running(&mut core, json!({}));
    core.vanished(&task(1), at(20));
    assert_eq!(report(&core, 1).0, TaskState::Gone);
    assert_eq!(ack(&mut core, 30), ["remove"]);
    core.remove_failed(&task(1), at(40));
    assert_eq!(short(core.tick(at(1040))), ["remove"]);
}

#[test]
fn checks_begin_with_the_task_and_their_news_are_reported() {
    let check = json!({"protocol": "TCP", "delaySeconds": 0, "gracePeriodSeconds": 0, "intervalSeconds": 1,
        "ipProtocol": "IPv4", "maxConsecutiveFailures": 3, "timeoutSeconds": 1});
    let mut core = core();
    running(&mut core, json!({"healthChecks": [check.clone(), check]}));
    let seq = core.hello().1;
    core.probed(&task(1), &CheckKey::Health(1), &Probed::Passed(None), at(20));
    core.probed(&task(1), &CheckKey::Health(1), &Probed::Passed(None), at(30));
    core.probed(&task(1), &CheckKey::Health(0), &Probed::Failed("refused".into(), None), at(40));
    core.probed(&task(1), &CheckKey::Health(7), &Probed::Passed(None), at(50));
    let news = core.reports_after(seq, 9);
    assert_eq!((news.len(), news[0].seq), (1, seq + 2), "each success is not news");
    let health: Vec<(u32, bool)> = news[0].health.iter().map(|health| (health.check, health.alive)).collect();
    assert_eq!(health, [(0, false), (1, true)]);
}

fn kept_records(effects: Vec<Effect>) -> Vec<Record> {
    let record = |effect| {
        if let Effect::Record(record) = effect { Some(*record) } else { None }
    };
    effects.into_iter().filter_map(record).collect()
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let accepted = |effects: Vec<Effect>| kept_records(effects).pop().unwrap();
    let mut before = core();
    let message = wants(fence(1, 1), false, app_of(json!({})), &[1], &[]);
    let waiting = accepted(before.wanted(message, at(0)).unwrap());
    let up = accepted(before.launched(found(1, Status::Running), at(10)));
    let killed = Record { kill_grace_millis: Some(500), ..up.clone() };
    let ended = accepted(before.exited(&task(1), &exit(3), at(20)));
    let running = Some(Status::Running);
    for (record, found_status, effects, state) in [
        (Some(&waiting), None, vec!["remove"], TaskState::Staging),
        (Some(&waiting), Some(Status::Created), vec!["remove"], TaskState::Staging),
        (Some(&waiting), running.clone(), vec!["watch"], TaskState::Running),
        (Some(&up), running.clone(), vec!["watch"], TaskState::Running),
        (Some(&up), None, vec![], TaskState::Gone),
        (Some(&up), Some(Status::Exited(exit(0))), vec![], TaskState::Finished),
        (Some(&killed), running.clone(), vec!["watch", "stop checks", "Term"], TaskState::Killing),
        (Some(&killed), Some(Status::Exited(exit(143))), vec![], TaskState::Killed),
        (Some(&ended), Some(Status::Exited(exit(3))), vec![], TaskState::Failed),
        (Some(&ended), None, vec![], TaskState::Failed),
        (None, running, vec!["watch"], TaskState::Running),
        (None, Some(Status::Exited(exit(1))), vec![], TaskState::Failed),
    ] {
        let mut after = core();
        assert_eq!(short(after.restore(record.cloned().into_iter().collect(), at(50))), [""; 0]);
        let list = found_status.clone().map(|status| found(1, status)).into_iter().collect();
        let did = short(after.found(RuntimeKind::Process, list, at(60)));
        let seen = did.iter().map(String::as_str).filter(|effect| *effect != "check").collect::<Vec<_>>();
        assert_eq!((seen, report(&after, 1).0), (effects, state), "{record:?} {found_status:?}");
    }
}

#[test]
fn an_interrupted_launch_is_begun_anew_after_cleaning_up() {
    let mut before = core();
    let effects = before.wanted(wants(fence(1, 1), false, app_of(json!({})), &[1], &[]), at(0)).unwrap();
    let mut after = core();
    after.restore(kept_records(effects), at(50));
    assert_eq!(short(after.tick(at(55))), [""; 0], "nothing before the runtime has been asked");
    after.found(RuntimeKind::Docker, vec![], at(60));
    assert_eq!(short(after.found(RuntimeKind::Process, vec![], at(60))), ["remove"]);
    assert_eq!(short(after.removed(&task(1), at(70))), ["launch process"]);
}

#[test]
fn an_adopted_task_is_explained_by_the_leader() {
    let check = json!({"protocol": "TCP", "delaySeconds": 0, "gracePeriodSeconds": 0, "intervalSeconds": 1,
        "ipProtocol": "IPv4", "maxConsecutiveFailures": 3, "timeoutSeconds": 1});
    let mut core = core();
    assert_eq!(short(core.found(RuntimeKind::Process, vec![found(1, Status::Running)], at(0))), ["watch"]);
    let message = wants(fence(1, 1), true, app_of(json!({"healthChecks": [check]})), &[1], &[]);
    assert_eq!(short(core.wanted(message, at(10)).unwrap()), ["check"]);
}
