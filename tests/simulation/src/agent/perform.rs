//! Does what the core says, as `node::perform` and `node::works` do.

use agent::checks::CheckKey;
use agent::core::{CheckTarget, Effect, LaunchOrder};
use agent::runtime::Signal;
use spec::ids::TaskId;

use super::{Container, Happening, Machine, State};
use crate::bus::{Bus, Event};
use crate::queue::Millis;

impl Machine {
    /// Everything in order. What has to be durable is so before what follows from it.
    pub(super) fn perform(&mut self, effects: Vec<Effect>, bus: &mut Bus) {
        let kept = effects.iter().rev().find_map(|effect| match effect {
            Effect::Persist(kept) => Some(*kept),
            _ => None,
        });
        if let Some(kept) = kept {
            self.disk.kept = kept;
        }
        for effect in effects {
            self.perform_one(effect, bus);
        }
    }

    fn perform_one(&mut self, effect: Effect, bus: &mut Bus) {
        match effect {
            Effect::Persist(_) | Effect::DropSandbox(_) => {}
            Effect::Record(record) => drop(self.disk.records.insert(record.task.clone(), *record)),
            Effect::Forget(task) => {
                self.disk.records.remove(&task);
                if let Some(process) = &mut self.process {
                    process.watched.remove(&task);
                    process.checks.remove(&task);
                }
            }
            Effect::Launch(order) => self.launch(order, bus),
            Effect::CancelLaunch(task) => self.cancel(task, bus),
            Effect::Watch { task, .. } => self.watch(task, bus),
            Effect::Signal { task, signal, .. } => self.signal(&task, signal, bus),
            Effect::Remove { task, .. } => {
                let millis = bus.between(5, 300);
                self.tell(millis, task, Happening::Remove, bus);
            }
            Effect::StartChecks(target) => self.start_checks(target, bus),
            Effect::StopChecks(task) => {
                if let Some(process) = &mut self.process {
                    process.checks.remove(&task);
                }
            }
        }
    }

    /// The process hears of it, if it still runs then.
    fn tell(&self, millis: Millis, task: TaskId, what: Happening, bus: &mut Bus) {
        if let Some(process) = &self.process {
            bus.after(millis, Event::Told(self.number, process.life, task, what));
        }
    }

    fn serial(&mut self) -> u64 {
        self.process.as_mut().map_or(0, |process| {
            process.serial += 1;
            process.serial
        })
    }

    fn launch(&mut self, order: LaunchOrder, bus: &mut Bus) {
        let LaunchOrder { task, runtime, app, host_ports } = order;
        bus.note(self.place(), format_args!("launches {task}"));
        bus.checks.launches(bus.now, self.number, self.boots, &task);
        let serial = self.serial();
        let Some(process) = &mut self.process else { return };
        process.launches.insert(task.clone(), serial);
        if bus.chance(self.temper.hang) {
            bus.figures.fault("launch hangs");
            return;
        }
        let created = bus.between(5, 900);
        if bus.chance(self.temper.fail) {
            bus.figures.fault("launch fails");
            let away = bus.rng.bool();
            return self.tell(created, task, Happening::LaunchFails(serial, away), bus);
        }
        self.pending(&task, Container::created(runtime, app, host_ports));
        self.tell(created, task.clone(), Happening::Create(serial), bus);
        let started = created + bus.between(5, 400);
        self.tell(started, task, Happening::Start(serial), bus);
    }

    /// What a launch will create.
    fn pending(&mut self, task: &TaskId, container: Container) {
        if let Some(process) = &mut self.process {
            process.pending.insert(task.clone(), container);
        }
    }

    pub(super) fn create(&mut self, task: &TaskId, serial: u64) {
        let Some(process) = &mut self.process else { return };
        if process.launches.get(task) == Some(&serial)
            && let Some(container) = process.pending.remove(task)
        {
            self.containers.insert(task.clone(), container);
        }
    }

    fn cancel(&mut self, task: TaskId, bus: &mut Bus) {
        self.justify(&task, bus);
        let Some(process) = &mut self.process else { return };
        if process.launches.remove(&task).is_some() {
            process.pending.remove(&task);
            let millis = bus.between(1, 50);
            self.tell(millis, task, Happening::Cancelled, bus);
        }
    }

    fn watch(&mut self, task: TaskId, bus: &mut Bus) {
        let Some(process) = &mut self.process else { return };
        process.watched.insert(task.clone());
        if !self.containers.get(&task).is_some_and(|container| container.state == State::Running) {
            self.tell_end(&task, bus);
        }
    }

    fn signal(&mut self, task: &TaskId, signal: Signal, bus: &mut Bus) {
        self.justify(task, bus);
        bus.note(self.place(), format_args!("signals {signal:?} to {task}"));
        let Some(container) = self.containers.get(task) else { return };
        let (millis, code) = match signal {
            Signal::Term if container.stubborn => {
                bus.figures.fault("ignored SIGTERM");
                return;
            }
            Signal::Term => (bus.between(5, 800), 143),
            Signal::Kill => (bus.between(2, 200), 137),
        };
        bus.after(millis, Event::Machine(self.number, self.boots, task.clone(), Happening::Ends(code)));
    }

    /// Whatever is ended here must be something that the cluster does not want to run here.
    fn justify(&self, task: &TaskId, bus: &mut Bus) {
        let (Some(process), Some(agent)) = (&self.process, &self.disk.agent_id) else { return };
        bus.checks.ends(bus.now, agent, task, process.core.fence());
    }

    fn start_checks(&mut self, target: CheckTarget, bus: &mut Bus) {
        let (serial, task) = (self.serial(), target.task.clone());
        let health = (0..target.app.health_checks.len() as u32).map(CheckKey::Health);
        let readiness = (0..target.app.readiness_checks.len() as u32).map(CheckKey::Readiness);
        for key in health.chain(readiness) {
            let millis = bus.between(100, 1_500);
            self.tell(millis, task.clone(), Happening::Probe(key, serial), bus);
        }
        if let Some(process) = &mut self.process {
            process.checks.insert(task, serial);
        }
    }
}
