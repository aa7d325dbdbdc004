//! Random histories: a leader, a runtime and a disk round a core, with crashes of the agent, launches that
//! fail or hang, tasks that end by themselves, tasks that are given up and whose ports are given to others, and
//! messages of old leaders.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const TASKS: u32 = 6;

#[derive(Clone, Debug)]
enum Step {
    Want(u32),
    Kill(u32),
    /// The leader gives a task up while the agent is away, and gives its port to the next.
    GiveUp(u32),
    Complete,
    Old,
    /// Orders that crossed endings arrive.
    Late,
    LaunchEnds(u32, u8),
    TaskExits(u32, i32),
    RemoveEnds(u32, bool),
    Ack,
    Time(u64),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let task = 0..TASKS;
    prop_oneof![
        4 => task.clone().prop_map(Step::Want),
        2 => task.clone().prop_map(Step::Kill),
        2 => task.clone().prop_map(Step::GiveUp),
        1 => Just(Step::Complete),
        1 => Just(Step::Old),
        3 => Just(Step::Late),
        6 => (task.clone(), 0..6u8).prop_map(|(n, how)| Step::LaunchEnds(n, how)),
        3 => (task.clone(), 0..3i32).prop_map(|(n, code)| Step::TaskExits(n, code)),
        4 => (task, any::<bool>()).prop_map(|(n, ok)| Step::RemoveEnds(n, ok)),
        3 => Just(Step::Ack),
        3 => (0..20_000u64).prop_map(Step::Time),
        1 => Just(Step::Crash),
    ]
}

/// Two ports for all tasks.
fn port(id: &TaskId) -> u16 {
    31_000 + u16::from(id.instance.uuid.as_u128() % 2 == 1)
}

fn ordered(task: TaskId) -> RunTask {
    let host_ports = vec![port(&task)];
    RunTask { task, app: 0, host_ports }
}

#[derive(Default)]
struct Disk {
    kept: Kept,
    records: BTreeMap<TaskId, Record>,
}

struct World {
    core: Core,
    now: u64,
    index: u64,
    disk: Disk,
    /// What exists: up, or how it ended.
    containers: BTreeMap<TaskId, Option<Exit>>,
    launching: BTreeSet<TaskId>,
    cancelling: BTreeSet<TaskId>,
    removing: BTreeSet<TaskId>,
    watched: BTreeSet<TaskId>,
    /// Left behind by launches that a crash interrupted: created, never started.
    half: BTreeSet<TaskId>,
    /// Tasks that one SIGKILL went to.
    shot: BTreeSet<TaskId>,
    /// Endings taken in since the agent came up, and the last order before that: one like it can still be on its way.
    fresh: BTreeMap<TaskId, u64>,
    started: BTreeMap<TaskId, u32>,
    wanted: BTreeSet<TaskId>,
    kill: BTreeSet<TaskId>,
    /// And the last order before that.
    given_up: BTreeMap<TaskId, u64>,
    /// Endings by task as first reported, and those the leader has taken in.
    endings: BTreeMap<TaskId, TaskState>,
    taken_in: BTreeSet<TaskId>,
    sent: u64,
}

impl World {
    fn new() -> Self {
        Self {
            core: core(),
            now: 0,
            index: 1,
            disk: Disk::default(),
            containers: BTreeMap::new(),
            launching: BTreeSet::new(),
            cancelling: BTreeSet::new(),
            removing: BTreeSet::new(),
            watched: BTreeSet::new(),
            half: BTreeSet::new(),
            shot: BTreeSet::new(),
            fresh: BTreeMap::new(),
            started: BTreeMap::new(),
            wanted: BTreeSet::new(),
            kill: BTreeSet::new(),
            given_up: BTreeMap::new(),
            endings: BTreeMap::new(),
            taken_in: BTreeSet::new(),
            sent: 0,
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist(kept) => self.disk.kept = kept,
                Effect::Record(record) => drop(self.disk.records.insert(record.task.clone(), *record)),
                Effect::Forget(id) => drop(self.disk.records.remove(&id)),
                Effect::Launch(order) => {
                    assert!(!self.containers.contains_key(&order.task), "launched beside itself");
                    assert!(self.launching.insert(order.task.clone()), "launched twice at once");
                    assert!(!self.removing.contains(&order.task));
                    assert!(!self.half.contains(&order.task), "launched over what is left of a launch");
                }
                Effect::CancelLaunch(id) => {
                    assert!(self.launching.contains(&id));
                    self.cancelling.insert(id);
                }
                Effect::Watch { task, .. } => {
                    self.watched.insert(task);
                }
                Effect::Signal { task, signal, .. } => self.signal(&task, signal),
                Effect::Remove { task, .. } => {
                    assert!(!self.launching.contains(&task));
                    let unreported = self.endings.contains_key(&task) && !self.taken_in.contains(&task);
                    assert!(
                        !unreported || !self.wanted.contains(&task),
                        "removed before it was acknowledged"
                    );
                    self.removing.insert(task);
                }
                Effect::StartChecks(_) | Effect::StopChecks(_) | Effect::DropSandbox(_) => {}
            }
        }
        self.listen();
    }

    /// SIGTERM is ignored by odd tasks, and the first SIGKILL to each is lost (Docker did not answer).
    fn signal(&mut self, id: &TaskId, signal: Signal) {
        let odd = id.instance.uuid.as_u128() % 2 == 1;
        let effective = if signal == Signal::Term { !odd } else { !self.shot.insert(id.clone()) };
        if effective && let Some(container) = self.containers.get_mut(id) {
            container.get_or_insert(exit(137));
        }
    }

    /// The session takes new reports.
    fn listen(&mut self) {
        for report in self.core.reports_after(self.sent, usize::MAX) {
            assert!(
                report.seq > self.sent && report.seq <= self.disk.kept.seq_ceiling,
                "number not reserved"
            );
            self.sent = report.seq;
            if let Some(ending) = self.endings.get(&report.task) {
                assert_eq!(*ending, report.state, "an ending changed");
            } else if report.state.is_terminal() {
                self.endings.insert(report.task.clone(), report.state);
            }
        }
    }

    fn say(&mut self, complete: bool, run: Vec<TaskId>, kill: Vec<TaskId>) {
        self.index += 1;
        let mut message = wants(fence(1, self.index), complete, app_of(json!({})), &[], &[]);
        message.run = run.into_iter().map(ordered).collect();
        message.kill = kill.into_iter().map(|task| KillTask { task, grace_millis: 2000 }).collect();
        let effects = self.core.wanted(message, at(self.now)).expect("the newest fence");
        self.perform(effects);
    }

    /// Orders that were made before endings were taken in arrive after that: nothing is launched for them.
    fn late(&mut self) {
        for (id, index) in self.fresh.clone() {
            let mut message = wants(fence(1, index), false, app_of(json!({})), &[], &[]);
            message.run = vec![ordered(id)];
            let effects = self.core.wanted(message, at(self.now)).unwrap_or_default();
            assert_eq!(effects, [], "an order that crossed an ending");
        }
    }

    fn complete(&mut self) {
        let live =
            |ids: &BTreeSet<TaskId>, ended: &BTreeSet<TaskId>| ids.difference(ended).cloned().collect();
        let run: Vec<TaskId> = live(&self.wanted, &self.taken_in);
        let kill: Vec<TaskId> = live(&self.kill, &self.taken_in);
        self.say(true, run.into_iter().filter(|id| !self.kill.contains(id)).collect(), kill);
    }

    fn launch_ends(&mut self, id: &TaskId, how: u8) {
        if !self.launching.remove(id) {
            return;
        }
        let now = at(self.now);
        let effects = if self.cancelling.remove(id) && how < 3 {
            self.core.launch_cancelled(id, now)
        } else if how < 3 {
            self.containers.insert(id.clone(), None);
            *self.started.entry(id.clone()).or_default() += 1;
            let found = Found { task: id.clone(), ..found(0, Status::Running) };
            self.core.launched(found, now)
        } else {
            let error = match how {
                3 => RuntimeError::Failed("no".into()),
                4 => RuntimeError::Unsupported("never".into()),
                _ => RuntimeError::Unavailable("away".into()),
            };
            self.core.launch_failed(id, &error, now)
        };
        self.perform(effects);
    }

    fn notice_exits(&mut self) {
        let watched: Vec<TaskId> = self.watched.iter().cloned().collect();
        for id in watched {
            let Some(Some(exit)) = self.containers.get(&id).cloned() else {
                continue;
            };
            self.watched.remove(&id);
            let effects = self.core.exited(&id, &exit, at(self.now));
            self.perform(effects);
        }
    }

    fn remove_ends(&mut self, id: &TaskId, ok: bool) {
        if !self.removing.remove(id) {
            return;
        }
        let effects = if ok {
            self.containers.remove(id);
            self.half.remove(id);
            self.core.removed(id, at(self.now))
        } else {
            self.core.remove_failed(id, at(self.now))
        };
        self.perform(effects);
    }

    fn ack(&mut self) {
        let fresh = self.endings.keys().filter(|id| !self.taken_in.contains(id));
        let last = |id: &TaskId| self.given_up.get(id).copied().unwrap_or(self.index);
        self.fresh.extend(fresh.map(|id| (id.clone(), last(id))));
        self.taken_in.extend(self.endings.keys().cloned());
        let effects = self.core.acknowledged(self.sent, at(self.now));
        self.perform(effects);
    }

    /// A kill -9 of the agent: what is under way is lost, what the runtime and the disk have stays.
    fn crash(&mut self) {
        self.half.append(&mut self.launching);
        self.fresh.clear();
        self.cancelling.clear();
        self.removing.clear();
        self.watched.clear();
        self.core = Core::new(self.disk.kept, Runtimes::default(), CAPACITY);
        let effects = self.core.restore(self.disk.records.values().cloned().collect(), at(self.now));
        self.perform(effects);
        let status = |exit: &Option<Exit>| exit.clone().map_or(Status::Running, Status::Exited);
        let list = self.containers.iter();
        let list = list.map(|(id, exit)| Found { task: id.clone(), ..found(0, status(exit)) });
        let half = self.half.iter().map(|id| Found { task: id.clone(), ..found(0, Status::Created) });
        let list = list.chain(half).collect();
        let effects = self.core.found(RuntimeKind::Process, list, at(self.now));
        self.perform(effects);
        self.complete();
    }

    /// As the leader sees it: nothing that it knows of has the port.
    fn may_place(&self, id: &TaskId) -> bool {
        let mut known = self.wanted.difference(&self.taken_in);
        !self.given_up.contains_key(id) && known.all(|other| other == id || port(other) != port(id))
    }

    fn assert_no_port_is_had_twice(&self) {
        let up = self.containers.iter().filter(|(_, exit)| exit.is_none());
        let ports: Vec<u16> = up.map(|(id, _)| port(id)).collect();
        let distinct: BTreeSet<&u16> = ports.iter().collect();
        assert_eq!(distinct.len(), ports.len(), "{:?}", self.containers);
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Want(n) if !self.may_place(&task(n)) => {}
            Step::Want(n) => {
                self.wanted.insert(task(n));
                if !self.taken_in.contains(&task(n)) && !self.kill.contains(&task(n)) {
                    self.say(false, vec![task(n)], vec![]);
                }
            }
            Step::Kill(n) if self.wanted.contains(&task(n)) && !self.taken_in.contains(&task(n)) => {
                self.kill.insert(task(n));
                self.say(false, vec![], vec![task(n)]);
            }
            Step::Kill(_) => {}
            Step::GiveUp(n) => {
                self.wanted.remove(&task(n));
                self.kill.remove(&task(n));
                self.given_up.entry(task(n)).or_insert(self.index);
                self.complete();
                let next = (n + 2) % TASKS;
                self.play(Step::Want(next));
                self.launch_ends(&task(next), 0);
            }
            Step::Complete => self.complete(),
            Step::Old => {
                let before = self.core.hello();
                let old = wants(fence(0, u64::MAX), true, app_of(json!({})), &[99], &[(0, 0), (1, 0)]);
                assert_eq!(self.core.wanted(old, at(self.now)), None);
                assert_eq!(self.core.hello(), before);
            }
            Step::Late => self.late(),
            Step::LaunchEnds(n, how) => self.launch_ends(&task(n), how),
            Step::TaskExits(n, code) => {
                if let Some(container) = self.containers.get_mut(&task(n)) {
                    container.get_or_insert(exit(code));
                }
            }
            Step::RemoveEnds(n, ok) => self.remove_ends(&task(n), ok),
            Step::Ack => self.ack(),
            Step::Time(millis) => {
                self.now += millis;
                let effects = self.core.tick(at(self.now));
                self.perform(effects);
            }
            Step::Crash => self.crash(),
        }
        self.notice_exits();
        assert!(self.started.values().all(|starts| *starts == 1), "started twice: {:?}", self.started);
        assert!(self.core.hello().0.len() <= TASKS as usize);
        self.assert_no_port_is_had_twice();
    }

    /// Nothing is wanted any more, and everything answers: nothing must be left.
    fn settle(&mut self) {
        self.wanted.clear();
        self.kill.clear();
        for _ in 0..50 {
            self.complete();
            for n in 0..TASKS {
                self.launch_ends(&task(n), 0);
                self.remove_ends(&task(n), true);
            }
            self.play(Step::Time(30_000));
            self.ack();
        }
        assert_eq!(self.core.hello().0, []);
        assert!(self.half.is_empty(), "{:?}", self.half);
        assert!(self.containers.is_empty() && self.disk.records.is_empty(), "{:?}", self.containers);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_history_doubles_loses_or_leaks_a_task(steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World::new();
        world.complete();
        for step in steps {
            world.play(step);
        }
        world.settle();
    }
}
