//! Containers and processes of a simulated machine, and what happens to them with or without an agent.

use std::sync::Arc;

use agent::checks::{CheckKey, Probed};
use agent::core::RuntimeKind;
use agent::runtime::{Exit, Found, RuntimeError, Status};
use spec::app::App;
use spec::ids::TaskId;
use spec::time::Timestamp;

use super::{HARDWARE, Happening, Machine};
use crate::bus::{Bus, Event};
use crate::queue::Millis;

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was never started.
    Created,
    /// It is up.
    Running,
    /// It has ended, with this code.
    Exited(i32),
}

/// A container, or a process without one.
#[derive(Clone, Debug)]
pub struct Container {
    /// Which runtime has it.
    pub kind: RuntimeKind,
    /// What it is doing.
    pub state: State,
    /// What it was started from.
    pub app: Arc<App>,
    /// Ports that it listens on.
    pub host_ports: Vec<u16>,
    pub(super) stubborn: bool,
    /// It came up after the agent that launched it had died: the next one may begin anew.
    abandoned: bool,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

impl Container {
    pub(super) fn created(kind: RuntimeKind, app: Arc<App>, host_ports: Vec<u16>) -> Self {
        Self {
            kind,
            state: State::Created,
            app,
            host_ports,
            stubborn: false,
            abandoned: false,
            started_at: None,
            ended_at: None,
        }
    }

    pub(super) fn power_off(&mut self, _now: Millis) {
        if self.state == State::Running {
            self.state = State::Exited(137);
        }
    }

    fn exit(&self) -> Exit {
        let State::Exited(code) = self.state else { return Exit::default() };
        Exit { code: Some(code), at: self.ended_at, ..Exit::default() }
    }

    fn found(&self, task: &TaskId) -> Found {
        let status = match self.state {
            State::Created => Status::Created,
            State::Running => Status::Running,
            State::Exited(_) => Status::Exited(self.exit()),
        };
        let (addresses, handle) = (Vec::new(), task.to_string());
        Found { task: task.clone(), status, started_at: self.started_at, addresses, handle }
    }
}

impl Machine {
    /// Everything that one runtime has.
    pub(super) fn found(&self, kind: RuntimeKind) -> Vec<Found> {
        let of_kind = self.containers.iter().filter(|(_, container)| container.kind == kind);
        of_kind.map(|(task, container)| container.found(task)).collect()
    }

    /// Something happens to a container, whether an agent runs or not.
    pub fn happen(&mut self, task: &TaskId, what: Happening, bus: &mut Bus) {
        match what {
            Happening::Ends(code) => self.end(task, code, bus),
            Happening::ComesUp => {
                if let Some(container) = self.containers.get_mut(task) {
                    container.abandoned = true;
                }
                self.come_up(task, bus);
            }
            _ => {}
        }
    }

    fn end(&mut self, task: &TaskId, code: i32, bus: &mut Bus) {
        let now = self.now(bus);
        let Some(container) = self.containers.get_mut(task).filter(|found| found.state == State::Running)
        else {
            return;
        };
        (container.state, container.ended_at) = (State::Exited(code), Some(now));
        bus.note(self.place(), format_args!("{task} ends with {code}"));
        self.tell_end(task, bus);
    }

    /// The process that watches it hears of it.
    pub(super) fn tell_end(&mut self, task: &TaskId, bus: &mut Bus) {
        let Some(process) = self.process.as_ref().filter(|process| process.watched.contains(task)) else {
            return;
        };
        let life = process.life;
        let millis = bus.between(1, 60);
        bus.after(millis, Event::Told(self.number, life, task.clone(), Happening::Ended));
    }

    /// It is up from now on.
    pub(super) fn come_up(&mut self, task: &TaskId, bus: &mut Bus) {
        let now = self.now(bus);
        let (stubborn, crash) = (bus.chance(self.temper.stubborn), bus.chance(self.temper.crash));
        let Some(container) = self.containers.get_mut(task).filter(|found| found.state == State::Created)
        else {
            return;
        };
        (container.state, container.stubborn, container.started_at) = (State::Running, stubborn, Some(now));
        bus.note(self.place(), format_args!("{task} is up"));
        bus.figures.tasks_started += 1;
        bus.checks.came_up(bus.now, self.number, self.boots, task);
        bus.checks.run_together(bus.now, self.number, &self.containers, &HARDWARE);
        if crash {
            let (millis, code) = (bus.between(200, 15_000), i32::from(bus.rng.bool()));
            bus.after(millis, Event::Machine(self.number, self.boots, task.clone(), Happening::Ends(code)));
        }
    }

    /// The agent's process hears something, or does the next part of something.
    pub fn told(&mut self, task: &TaskId, what: Happening, bus: &mut Bus) {
        let now = self.now(bus);
        match what {
            Happening::Create(serial) => self.create(task, serial),
            Happening::Start(serial) => {
                if self.take_launch(task, serial) {
                    self.come_up(task, bus);
                    let found = self.containers.get(task).map(|container| container.found(task));
                    if let Some(found) = found {
                        self.with_core(bus, |core| core.launched(found, now));
                    }
                }
            }
            Happening::LaunchFails(serial, away) => {
                if self.take_launch(task, serial) {
                    self.containers.remove(task);
                    let error = match away {
                        true => RuntimeError::Unavailable("the Engine does not answer".to_owned()),
                        false => RuntimeError::Failed("no such image".to_owned()),
                    };
                    self.with_core(bus, |core| core.launch_failed(task, &error, now));
                }
            }
            Happening::Cancelled => self.with_core(bus, |core| core.launch_cancelled(task, now)),
            Happening::Ended => match self.containers.get(task).map(Container::exit) {
                Some(exit) => self.with_core(bus, |core| core.exited(task, &exit, now)),
                None => self.with_core(bus, |core| core.vanished(task, now)),
            },
            Happening::Remove => self.remove(task, bus),
            Happening::Probe(key, serial) => self.probe(task, &key, serial, bus),
            Happening::Ends(_) | Happening::ComesUp => {}
        }
    }

    fn take_launch(&mut self, task: &TaskId, serial: u64) -> bool {
        let Some(process) = &mut self.process else { return false };
        let current = process.launches.get(task) == Some(&serial);
        if current {
            process.launches.remove(task);
        }
        current
    }

    fn remove(&mut self, task: &TaskId, bus: &mut Bus) {
        let now = self.now(bus);
        if bus.chance(self.temper.stuck) {
            return self.with_core(bus, |core| core.remove_failed(task, now));
        }
        if let Some(container) = self.containers.remove(task) {
            bus.note(self.place(), format_args!("{task} is removed, was {:?}", container.state));
            if container.abandoned {
                bus.checks.withdrawn(task);
            }
        }
        self.with_core(bus, |core| core.removed(task, now));
    }

    fn probe(&mut self, task: &TaskId, key: &CheckKey, serial: u64, bus: &mut Bus) {
        let now = self.now(bus);
        let Some(process) = &self.process else { return };
        if process.checks.get(task).is_none_or(|current| *current != serial) {
            return;
        }
        let life = process.life;
        bus.after(2_000, Event::Told(self.number, life, task.clone(), Happening::Probe(key.clone(), serial)));
        let probed = match bus.chance(self.temper.unhealthy) {
            true => Probed::Failed("it says no".to_owned(), None),
            false => Probed::Passed(None),
        };
        self.with_core(bus, |core| core.probed(task, key, &probed, now));
    }
}
