//! Masters come and go: what the people who run a cluster do with it, and machines of masters that lose their disks
//! or come back with old ones. Done only as far as the group can bear it: one at a time, and not while it is changing.

use scheduler::consensus::Members;
use scheduler::consensus::store::MemoryDisk;
use scheduler::masters::was_removed;

use crate::bus::{Event, Lifetime};
use crate::master::{Knock, Life, Master, founded};
use crate::nemesis::Act;
use crate::net::Place;
use crate::queue::Millis;
use crate::world::World;

/// Voters at most.
const VOTERS_MAX: usize = 5;
/// After a change was asked for nobody asks for another for so long.
const REST_MILLIS: Millis = 12_000;
/// A new master asks again after so long.
const KNOCK_MILLIS: Millis = 3_000;
/// A leader that is to go asks its successor again after so long.
const FAREWELL_MILLIS: Millis = 100;
/// A machine whose disk went back is off for so long at least: what it said before has been heard.
const AWAY_MILLIS: Millis = 3_000;

/// Who the masters are, and what becomes of them.
#[derive(Debug, Default)]
pub struct Seats {
    /// New masters that ask to be let in.
    knocks: Vec<Knock>,
    /// Names that were given.
    last_seat: u64,
    /// When somebody last asked for a change.
    changed_at: Millis,
    /// An image of a master's disk.
    image: Option<(u64, MemoryDisk)>,
    /// The master whose disk went back, until it has caught up.
    old: Option<Old>,
}

#[derive(Clone, Copy, Debug)]
struct Old {
    id: u64,
    returned: bool,
}

impl Seats {
    /// The masters of the beginning have these names.
    pub fn new(founders: u64) -> Self {
        Self { last_seat: founders, ..Self::default() }
    }

    /// Must the masters be left in peace? One of them has forgotten what it promised; more than that no group bears.
    pub fn is_truce(&self) -> bool {
        self.old.is_some()
    }

    /// May this master's process start?
    pub fn may_start(&self, id: u64) -> bool {
        self.old.is_none_or(|old| old.id != id || old.returned)
    }

    /// Does nobody wait to be let in, and has nobody an old disk?
    pub fn is_settled(&self) -> bool {
        self.knocks.is_empty() && self.old.is_none()
    }
}

impl World {
    /// The process that leads, by the latest term.
    pub fn leader(&mut self) -> Option<&mut Life> {
        let lives = self.masters.values_mut().filter_map(|master| master.life.as_mut());
        lives.filter(|life| life.leadership().2).max_by_key(|life| life.leadership().0)
    }

    /// Every master votes and is known, and nothing of that is changing: the voters.
    fn steady(&mut self) -> Option<Vec<u64>> {
        let quiet = self.seats.is_settled() && self.bus.now >= self.seats.changed_at + REST_MILLIS;
        let ids: Vec<u64> = self.masters.keys().copied().collect();
        let leader = self.leader().filter(|_| quiet)?;
        let Members { mut voters, outgoing, learners } = leader.node().status().members;
        voters.sort_unstable();
        let known = leader.state().masters.keys().map(|id| id.0).eq(ids.iter().copied());
        (known && outgoing.is_empty() && learners.is_empty() && voters == ids).then_some(voters)
    }

    fn one_of(&mut self, ids: &[u64]) -> u64 {
        ids[self.bus.rng.usize(0..ids.len())]
    }

    /// Somebody sets up another master.
    pub fn add_master(&mut self) {
        let Some(voters) = self.steady().filter(|voters| voters.len() < VOTERS_MAX) else { return };
        self.seats.last_seat += 1;
        let seat = self.seats.last_seat;
        self.fault("master added", Place::Master(voters.len() as u64 + 1));
        self.let_knock(seat, 10);
    }

    fn let_knock(&mut self, seat: u64, after: Millis) {
        let knock = Knock { ticket: self.bus.uuid(), seat };
        self.seats.changed_at = self.bus.now;
        self.seats.knocks.push(knock);
        self.bus.after(after, Event::Knock(knock));
    }

    /// Somebody takes a master out, perhaps the one that leads. Now and then that one dies in the middle of it, and
    /// who is to go may lead by then.
    pub fn remove_master(&mut self) {
        let Some(voters) = self.steady().filter(|voters| voters.len() >= 3) else { return };
        let Some(leader) = self.leader().map(|life| life.id()) else { return };
        let id = self.one_of(&voters);
        self.fault(if id == leader { "leader removed" } else { "master removed" }, Place::Master(id));
        self.seats.changed_at = self.bus.now;
        if self.bus.rng.bool() {
            let millis = self.bus.between(1, 30);
            self.bus.after(millis, Event::Fault(Act::Kill(leader)));
        }
        let Self { bus, masters, .. } = self;
        if let Some(life) = masters.get_mut(&leader).and_then(|master| master.life.as_mut()) {
            life.leave(id, bus);
        }
    }

    /// A master that led and is to go asks who leads now to take it out, again and again.
    pub fn farewell(&mut self, id: u64, life: Lifetime, until: Millis) {
        let Some(leaver) = self.masters.get_mut(&id).and_then(|master| master.living(life)) else { return };
        let leader = leaver.leadership().1.filter(|leader| *leader != id);
        if self.bus.now < until {
            self.bus.after(FAREWELL_MILLIS, Event::Farewell(id, life, until));
        }
        let reached = |leader: &u64| !self.bus.net.cut.contains(&(Place::Master(id), Place::Master(*leader)));
        let leader = leader.filter(reached).and_then(|leader| self.masters.get_mut(&leader)?.life.as_mut());
        if let Some(leader) = leader {
            leader.leave(id, &mut self.bus);
        }
    }

    /// A master's machine burns down; its successor has its name and nothing else.
    pub fn lose_disk(&mut self) {
        let Some(voters) = self.steady().filter(|voters| voters.len() >= 3) else { return };
        let id = self.one_of(&voters);
        let Some(mut master) = self.masters.remove(&id) else { return };
        self.fault("master lost its disk", Place::Master(id));
        master.crash(&mut self.bus, "its disk is lost");
        let after = self.bus.between(500, 6_000);
        self.let_knock(master.seat, after);
    }

    /// The leader is asked to let another lead.
    pub fn hand_over(&mut self) {
        if let Some(id) = self.leader().map(|life| life.id()) {
            self.fault("leadership handed over", Place::Master(id));
            let Self { bus, masters, .. } = self;
            if let Some(life) = masters.get_mut(&id).and_then(|master| master.life.as_mut()) {
                life.hand_over(bus);
            }
        }
    }

    /// A new master asks whoever it knows; that one names the leader, who decides.
    pub fn knock(&mut self, knock: Knock) {
        if !self.seats.knocks.contains(&knock) {
            return;
        }
        self.bus.after(KNOCK_MILLIS, Event::Knock(knock));
        let ids: Vec<u64> = self.masters.keys().copied().collect();
        let asked = self.one_of(&ids);
        let leader = self.masters.get(&asked).and_then(|master| master.life.as_ref()?.leadership().1);
        let leader = leader.and_then(|leader| self.masters.get_mut(&leader)?.life.as_mut());
        if let Some(leader) = leader {
            leader.join(knock, &mut self.bus);
        }
    }

    /// It has a number, and a log from now on.
    pub fn joined(&mut self, knock: Knock, id: u64) {
        let before = self.seats.knocks.len();
        self.seats.knocks.retain(|other| *other != knock);
        if self.seats.knocks.len() == before || self.masters.contains_key(&id) {
            return;
        }
        self.bus.note("!", format_args!("m{id} is let in as m{}", knock.seat));
        let mut master = Master::new(id, knock.seat, founded(&[]), self.seed);
        master.start(&mut self.bus);
        self.masters.insert(id, master);
        self.tell_clients();
    }

    fn tell_clients(&mut self) {
        let ids: Vec<u64> = self.masters.keys().copied().collect();
        self.clients.iter_mut().for_each(|client| client.learn(ids.clone()));
    }

    /// Masters that were removed hear of it from the others, and stop. Some are emptied, and join again.
    pub fn retire(&mut self) {
        let Some((state, members)) = self.leader().map(|life| (life.state(), life.members())) else { return };
        let ids: Vec<u64> = self.masters.keys().copied().collect();
        for id in ids.into_iter().filter(|id| was_removed(*id, &state, &members)) {
            let Some(mut master) = self.masters.remove(&id) else { continue };
            master.crash(&mut self.bus, "it was removed");
            self.tell_clients();
            if self.quiet_since.is_none() && self.bus.rng.bool() {
                let after = self.bus.between(500, 10_000);
                self.let_knock(master.seat, after);
            }
        }
    }

    /// A master's machine is set back to an image of its disk. Its votes and what it acknowledged since then are
    /// forgotten, so it starts only when all others have what it helped to commit, and until it has caught up
    /// nothing else befalls the masters.
    pub fn set_back(&mut self) {
        let image = self.seats.image.take().filter(|(id, _)| self.masters.contains_key(id));
        let Some((id, image)) = image else { return self.take_image() };
        let enough = self.steady().is_some_and(|voters| voters.len() >= 3);
        if !enough || !self.is_calm() {
            self.seats.image = Some((id, image));
            return;
        }
        self.fault("old disk", Place::Master(id));
        self.masters.values_mut().for_each(|master| master.disk.mend());
        if let Some(master) = self.masters.get_mut(&id) {
            master.crash(&mut self.bus, "it is set back");
            master.disk = image;
        }
        self.seats.old = Some(Old { id, returned: false });
        self.bus.after(AWAY_MILLIS, Event::Return(id));
    }

    fn take_image(&mut self) {
        let ids: Vec<u64> = self.masters.keys().copied().collect();
        let id = self.one_of(&ids);
        self.seats.image = self.masters.get(&id).map(|master| (id, master.disk.image()));
    }

    /// All masters run and hear each other well.
    fn is_calm(&self) -> bool {
        let net = &self.bus.net;
        let masters = |place: &Place| matches!(place, Place::Master(_));
        self.masters.values().all(|master| master.life.is_some())
            && !net.cut.iter().any(|(from, to)| masters(from) && masters(to))
            && net.weather.delay_max <= crate::net::Weather::FAIR.delay_max
    }

    /// It may start when nothing is missing elsewhere.
    pub fn return_old(&mut self, id: u64) {
        let Some(commit) = self.leader().map(|life| life.node().status().commit) else {
            return self.bus.after(500, Event::Return(id));
        };
        let others = self.masters.values_mut().filter(|master| master.id != id);
        let mut lives = others.map(|master| master.life.as_mut().map(|life| life.node().status().last_index));
        if !lives.all(|last| last.is_some_and(|last| last >= commit)) {
            return self.bus.after(500, Event::Return(id));
        }
        self.seats.old = Some(Old { id, returned: true });
        if let Some(master) = self.masters.get_mut(&id) {
            master.start(&mut self.bus);
        }
    }

    /// The truce ends when it has caught up.
    pub fn look_at_old(&mut self) {
        let Some(Old { id, returned: true }) = self.seats.old else { return };
        let commit = self.leader().map(|life| life.node().status().commit);
        let applied =
            self.masters.get_mut(&id).and_then(|master| Some(master.life.as_mut()?.node().status().applied));
        if commit.is_some() && applied >= commit {
            self.seats.old = None;
        }
    }
}
