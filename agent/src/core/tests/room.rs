//! Launches that wait for what is being ended.

use super::*;

/// An agent with four cores.
fn machine() -> Core {
    let capacity = Resources { cpus_milli: 4000, mem_mib: 4096, disk_mib: 0, gpus: 0 };
    Core::new(Kept::default(), Runtimes::default(), capacity)
}

fn app(cpus: u32) -> App {
    app_of(json!({"cpus": cpus, "mem": 1}))
}

/// The leader wants a task with so many cores on these ports and, when `complete`, nothing else. Says what is
/// launched.
fn want(core: &mut Core, complete: bool, n: u32, cpus: u32, ports: &[u16]) -> Vec<TaskId> {
    let mut wanted = wants(fence(1, 1), complete, app(cpus), &[n], &[]);
    wanted.run[0].host_ports = ports.to_vec();
    launches(core.wanted(wanted, at(0)).unwrap())
}

fn launches(effects: Vec<Effect>) -> Vec<TaskId> {
    let launch = |effect| if let Effect::Launch(order) = effect { Some(order.task) } else { None };
    effects.into_iter().filter_map(launch).collect()
}

fn up(core: &mut Core, n: u32) {
    core.launched(found(n, Status::Running), at(1));
}

fn exits(core: &mut Core, n: u32) -> Vec<TaskId> {
    launches(core.exited(&task(n), &exit(0), at(9)))
}

#[test]
fn a_launch_waits_for_what_is_being_ended_and_for_nothing_else() {
    const PORT: &str = "waits for a task that is being ended and still has port 31001";
    const MACHINE: &str = "waits for tasks that are being ended and still fill the machine";
    // Cores and ports of what is given up, and of what is wanted in its place; what that waits for.
    let cases = [
        ((1, vec![31_001]), (1, vec![31_001]), PORT),
        ((1, vec![31_000, 31_001]), (1, vec![31_002, 31_001]), PORT),
        ((3, vec![31_000]), (2, vec![31_001]), MACHINE),
        ((3, vec![31_000]), (1, vec![31_001]), ""),
        ((1, vec![]), (1, vec![]), ""),
    ];
    for (old, new, waits) in cases {
        let mut core = machine();
        assert_eq!(want(&mut core, true, 1, old.0, &old.1), [task(1)]);
        up(&mut core, 1);
        let at_once = want(&mut core, true, 2, new.0, &new.1);
        assert_eq!(report(&core, 1).0, TaskState::Killing);
        assert_eq!(report(&core, 2), (TaskState::Staging, waits.to_owned()));
        let later = exits(&mut core, 1);
        let (launched, nothing) = if waits.is_empty() { (at_once, later) } else { (later, at_once) };
        assert_eq!((launched, nothing), (vec![task(2)], vec![]), "{waits}");
        assert_eq!(report(&core, 2), (TaskState::Staging, String::new()));
    }
}

#[test]
fn what_the_leader_wants_together_never_waits() {
    let mut core = machine();
    assert_eq!(want(&mut core, false, 1, 3, &[31_000]), [task(1)]);
    assert_eq!(want(&mut core, false, 2, 3, &[31_000]), [task(2)]);
}

#[test]
fn the_last_of_several_lets_it_go_on() {
    let mut core = machine();
    for n in [1, 2] {
        want(&mut core, false, n, 2, &[31_000]);
        up(&mut core, n);
    }
    assert_eq!(want(&mut core, true, 3, 4, &[31_000]), []);
    assert_eq!(exits(&mut core, 2), []);
    assert_eq!(exits(&mut core, 1), [task(3)]);
}

#[test]
fn one_that_waits_can_be_killed_and_is_never_started() {
    let mut core = machine();
    want(&mut core, false, 1, 1, &[31_000]);
    up(&mut core, 1);
    assert_eq!(want(&mut core, true, 2, 1, &[31_000]), []);
    core.wanted(wants(fence(1, 2), false, app(1), &[], &[(2, 10)]), at(2)).unwrap();
    assert_eq!(report(&core, 2), (TaskState::Killed, "Killed before it was started".to_owned()));
    assert_eq!(exits(&mut core, 1), []);
}

#[test]
fn it_still_waits_after_a_restart() {
    let record = |n, stage, kill_grace_millis| Record {
        task: task(n),
        app: Some(Arc::new(app(1))),
        host_ports: vec![31_000],
        runtime: Some(RuntimeKind::Process),
        kill_grace_millis,
        stage,
    };
    let mut core = machine();
    core.restore(vec![record(1, Stage::Started(at(1)), Some(3000)), record(2, Stage::Accepted, None)], at(5));
    core.found(RuntimeKind::Process, vec![found(1, Status::Running)], at(6));
    let cleared = launches(core.removed(&task(2), at(7)));
    assert_eq!(cleared, [], "what its first launch left is gone, the port is not free");
    assert_eq!(exits(&mut core, 1), [task(2)]);
}
