//! What goes wrong: drawn one fault after the other, each of which ends by itself. At the end of the faulty phase
//! everything is mended.

use scheduler::consensus::store::Fault;
use spec::ids::AgentId;

use crate::agent::Temper;
use crate::bus::Event;
use crate::net::{Place, Weather};
use crate::world::World;

/// A fault that ends.
#[derive(Clone, Debug)]
pub enum Act {
    /// These links work again.
    Join(Vec<(Place, Place)>),
    /// The network is fast and loses nothing.
    Fair,
    /// This master's disk is as fast as before.
    Fast(u64),
    /// Containers of this machine behave.
    Good(usize),
    /// Not an end: this master is killed as well.
    Kill(u64),
}

/// How often, and how long apart, an onlooker reads while there may be two leaders.
const PEEKS: u64 = 40;
const PEEK_MILLIS: u64 = 40;

/// How a fast disk is.
pub const FAST_DISK_MILLIS: u64 = 2;

impl World {
    /// Something goes wrong; soon something else will.
    pub fn strike(&mut self) {
        if self.quiet_since.is_some() {
            return;
        }
        let pause = self.bus.between(100, 3_500);
        self.bus.after(pause, Event::Nemesis);
        let turn = self.bus.rng.u32(0..126);
        if self.seats.is_truce() && !(53..81).contains(&turn) {
            return;
        }
        match turn {
            0..14 => self.kill_master(),
            14..24 => self.tear_disk(),
            24..30 => self.slow_disk(),
            30..42 => self.part_masters(),
            42..50 => self.storm(),
            50..53 => self.set_clock(),
            53..59 => self.kill_agent(),
            59..64 => self.kill_machine(),
            64..67 => self.break_stream(),
            67..69 => self.repeat_order(),
            69..81 => self.spoil_containers(),
            81..91 => self.part_agent(),
            91..94 => self.kill_everything(),
            94..97 => self.add_master(),
            97..101 => self.remove_master(),
            101..105 => self.lose_disk(),
            105..109 => self.hand_over(),
            109..115 => self.set_back(),
            115..118 => self.hang_master(),
            118..122 => self.depose(),
            _ => self.tear_majority(),
        }
    }

    fn some_master(&mut self) -> u64 {
        let ids: Vec<u64> = self.masters.keys().copied().collect();
        ids[self.bus.rng.usize(0..ids.len())]
    }

    fn some_machine(&mut self) -> usize {
        self.bus.rng.usize(0..self.machines.len())
    }

    pub(crate) fn fault(&mut self, name: &'static str, on: Place) {
        self.bus.figures.fault(name);
        self.bus.note("!", format_args!("{name}: {on}"));
    }

    /// The process is killed; sometimes the one that leads.
    fn kill_master(&mut self) {
        let leader =
            self.masters.values().find(|master| master.life.as_ref().is_some_and(|life| life.leadership().2));
        let leader = leader.map(|master| master.id);
        let id = match leader.filter(|_| self.bus.rng.bool()) {
            Some(leader) => leader,
            None => self.some_master(),
        };
        self.fault("master killed", Place::Master(id));
        self.kill(id, 100);
    }

    /// It stays away for so many milliseconds, or longer.
    fn kill(&mut self, id: u64, least_millis: u64) {
        let pause = self.bus.between(least_millis, 9_000);
        if let Some(master) = self.masters.get_mut(&id) {
            master.crash(&mut self.bus, "killed");
        }
        self.bus.after(pause, Event::StartMaster(id));
    }

    /// Power fails for all masters at once.
    fn kill_everything(&mut self) {
        self.fault("all masters killed", Place::Master(0));
        for id in self.masters.keys().copied().collect::<Vec<_>>() {
            let pause = self.bus.between(100, 6_000);
            if let Some(master) = self.masters.get_mut(&id) {
                master.crash(&mut self.bus, "power");
            }
            self.bus.after(pause, Event::StartMaster(id));
        }
    }

    /// The next write fails: nothing of it is there, or all of it though nobody heard so, or, when it is the next one
    /// with a snapshot from the leader, the first of its two parts. Now and then on several masters.
    fn tear_disk(&mut self) {
        let id = self.some_master();
        let (fault, name) = match self.bus.rng.u8(0..3) {
            0 => (Fault::Fail, "write torn"),
            1 => (Fault::FailAfterSync, "write unheard"),
            _ => (Fault::Halfway, "snapshot half written"),
        };
        let several = self.bus.chance(300);
        self.fault(name, Place::Master(id));
        for master in self.masters.values_mut().filter(|master| (master.id == id) != several) {
            master.tear(fault);
        }
    }

    /// The leader reaches just a majority, the next write of each of these followers is torn, and soon the leader is
    /// gone, too: whatever a follower promised before it was on its disk is nowhere then.
    fn tear_majority(&mut self) {
        let Some(leader) = self.leader().map(|life| life.id()) else { return };
        self.fault("majority torn", Place::Master(leader));
        let mut others: Vec<u64> = self.masters.keys().copied().filter(|id| *id != leader).collect();
        self.bus.rng.shuffle(&mut others);
        let cut = others.split_off(self.masters.len() / 2);
        self.part(cut.into_iter().flat_map(|id| both(Place::Master(leader), Place::Master(id))).collect());
        for id in others {
            if let Some(master) = self.masters.get_mut(&id) {
                master.tear(Fault::Fail);
            }
        }
        let millis = self.bus.between(20, 400);
        self.bus.after(millis, Event::Fault(Act::Kill(leader)));
    }

    fn slow_disk(&mut self) {
        let id = self.some_master();
        self.fault("slow disk", Place::Master(id));
        let slow = self.bus.between(30, 700);
        if let Some(master) = self.masters.get_mut(&id) {
            master.slow = slow;
        }
        let millis = self.bus.between(500, 8_000);
        self.bus.after(millis, Event::Fault(Act::Fast(id)));
    }

    /// One master is cut off from some of the others, both ways or one way.
    fn part_masters(&mut self) {
        let id = self.some_master();
        let one_way = self.bus.chance(400);
        let everybody = self.bus.rng.bool();
        let mut links = Vec::new();
        for other in self.masters.keys().copied().filter(|other| *other != id).collect::<Vec<_>>() {
            if everybody || self.bus.rng.bool() {
                links.extend(self.links(Place::Master(id), Place::Master(other), one_way));
            }
        }
        if self.bus.chance(300) {
            for agent in 0..self.machines.len() {
                links.extend(self.links(Place::Master(id), Place::Agent(agent), false));
            }
        }
        self.fault(if one_way { "master cut off one way" } else { "master cut off" }, Place::Master(id));
        self.part(links);
    }

    /// The leader is cut off from the other masters and goes on talking to everybody else: for a while there may be
    /// two that lead, and somebody reads from all.
    fn depose(&mut self) {
        let Some(id) = self.leader().map(|life| life.id()) else { return };
        self.fault("leader cut off", Place::Master(id));
        let others = self.masters.keys().filter(|other| **other != id);
        let links = others.flat_map(|other| both(Place::Master(id), Place::Master(*other))).collect();
        self.part(links);
        self.let_peek(PEEK_MILLIS);
    }

    fn let_peek(&mut self, millis: u64) {
        for id in self.masters.keys() {
            (0..PEEKS).for_each(|step| self.bus.after(millis * step, Event::Peek(*id)));
        }
    }

    /// A master's log stands still, and what arrives meanwhile is handled together.
    fn hang_master(&mut self) {
        let id = self.some_master();
        self.fault("master hangs", Place::Master(id));
        let millis = self.bus.between(50, 2_500);
        if let Some(life) = self.masters.get_mut(&id).and_then(|master| master.life.as_mut()) {
            life.hang(millis, &mut self.bus);
        }
    }

    /// An agent is restarted with other ports, or less, just when something was placed on it.
    pub fn aim_at_agent(&mut self, agent: &AgentId) {
        let machine = self.machines.iter_mut().find(|machine| machine.id() == Some(agent));
        let Some(machine) = machine.filter(|_| self.quiet_since.is_none()) else { return };
        self.bus.figures.fault("agent comes back smaller");
        machine.crash(1, &mut self.bus);
        machine.offer_other(&mut self.bus);
    }

    fn links(&mut self, one: Place, other: Place, one_way: bool) -> Vec<(Place, Place)> {
        match (one_way, self.bus.rng.bool()) {
            (false, _) => both(one, other).to_vec(),
            (true, true) => vec![(one, other)],
            (true, false) => vec![(other, one)],
        }
    }

    fn part(&mut self, links: Vec<(Place, Place)>) {
        self.bus.net.cut.extend(links.iter().copied());
        let millis = self.bus.between(200, 9_000);
        self.bus.after(millis, Event::Fault(Act::Join(links)));
    }

    /// An agent is cut off from all masters or some of them, perhaps for so long that it is given up.
    fn part_agent(&mut self) {
        let agent = self.some_machine();
        let one_way = self.bus.chance(300);
        let everybody = self.bus.chance(700);
        let mut links = Vec::new();
        for master in self.masters.keys().copied().collect::<Vec<_>>() {
            if everybody || self.bus.rng.bool() {
                links.extend(self.links(Place::Agent(agent), Place::Master(master), one_way));
            }
        }
        self.fault(if one_way { "agent cut off one way" } else { "agent cut off" }, Place::Agent(agent));
        self.bus.net.cut.extend(links.iter().copied());
        let millis = self.bus.between(500, 20_000);
        self.bus.after(millis, Event::Fault(Act::Join(links)));
    }

    /// Messages are lost, doubled, late and out of order.
    fn storm(&mut self) {
        self.fault("storm", Place::Master(0));
        let (loss, doubled) = (self.bus.rng.u32(0..300), self.bus.rng.u32(0..200));
        self.bus.net.weather = Weather { loss, doubled, delay_max: self.bus.between(10, 600) };
        let millis = self.bus.between(500, 7_000);
        self.bus.after(millis, Event::Fault(Act::Fair));
        if self.bus.rng.bool() {
            self.let_peek(PEEK_MILLIS / 4);
        }
    }

    fn set_clock(&mut self) {
        let id = self.some_master();
        self.fault("clock set", Place::Master(id));
        let far = i64::try_from(self.bus.between(500, 120_000)).unwrap_or(0);
        let offset = if self.bus.rng.bool() { far } else { -far };
        if let Some(master) = self.masters.get_mut(&id) {
            master.set_clock(offset);
        }
    }

    fn kill_agent(&mut self) {
        let agent = self.some_machine();
        self.fault("agent killed", Place::Agent(agent));
        let millis = self.bus.between(50, 5_000);
        self.machines[agent].crash(millis, &mut self.bus);
        if self.bus.chance(500) {
            self.bus.figures.fault("agent comes back smaller");
            self.machines[agent].offer_other(&mut self.bus);
        }
    }

    /// A machine loses its power, with all tasks; now and then its disk is lost, too.
    fn kill_machine(&mut self) {
        let agent = self.some_machine();
        let replaced = self.bus.chance(200);
        self.fault(if replaced { "machine replaced" } else { "machine died" }, Place::Agent(agent));
        self.machines[agent].die(replaced, &mut self.bus);
        let millis = self.bus.between(500, 20_000);
        self.bus.after(millis, Event::BootAgent(agent));
    }

    /// A stream breaks, with what is under way on it.
    fn break_stream(&mut self) {
        let conns: Vec<u64> = self.bus.net.conns.keys().copied().collect();
        if conns.is_empty() {
            return;
        }
        let conn = conns[self.bus.rng.usize(0..conns.len())];
        let agent = self.bus.net.conns.get(&conn).map_or(0, |line| line.agent.0);
        self.fault("stream broken", Place::Agent(agent));
        self.reset(conn);
    }

    /// An order that some leader once gave comes again, out of nowhere.
    fn repeat_order(&mut self) {
        let agent = self.some_machine();
        self.fault("old order repeated", Place::Agent(agent));
        self.machines[agent].hear_again(&mut self.bus);
    }

    fn spoil_containers(&mut self) {
        let agent = self.some_machine();
        self.fault("containers misbehave", Place::Agent(agent));
        let mut some = |most| if self.bus.rng.bool() { self.bus.rng.u32(0..most) } else { 0 };
        self.machines[agent].temper = Temper {
            fail: some(500),
            hang: some(400),
            stubborn: some(1000),
            crash: some(600),
            unhealthy: some(900),
            stuck: some(500),
        };
        let millis = self.bus.between(2_000, 15_000);
        self.bus.after(millis, Event::Fault(Act::Good(agent)));
    }

    /// A fault ends.
    pub fn mend(&mut self, act: Act) {
        match act {
            Act::Join(links) => self.bus.net.cut.retain(|link| !links.contains(link)),
            Act::Fair => self.bus.net.weather = Weather::FAIR,
            Act::Fast(master) => {
                if let Some(master) = self.masters.get_mut(&master) {
                    master.slow = FAST_DISK_MILLIS;
                }
            }
            Act::Good(agent) => self.machines[agent].temper = Temper::default(),
            Act::Kill(master) if self.quiet_since.is_none() && !self.seats.is_truce() => {
                self.kill(master, 4_000);
            }
            Act::Kill(_) => {}
        }
    }

    /// Everything is mended; clients ask for nothing more.
    pub fn mend_all(&mut self) {
        self.bus.note("!", format_args!("the faults end"));
        self.quiet_since = Some(self.bus.now);
        self.bus.net.cut.clear();
        self.bus.net.weather = Weather::FAIR;
        for master in self.masters.values_mut() {
            master.slow = FAST_DISK_MILLIS;
            if self.seats.may_start(master.id) {
                master.start(&mut self.bus);
            }
        }
        for machine in &mut self.machines {
            machine.temper = Temper::default();
            machine.settle(&mut self.bus);
            machine.boot(&mut self.bus);
        }
        self.clients.iter_mut().for_each(|client| client.done = true);
    }
}

fn both(one: Place, other: Place) -> [(Place, Place); 2] {
    [(one, other), (other, one)]
}
