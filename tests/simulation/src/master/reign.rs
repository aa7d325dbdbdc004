//! While a master leads: the control loop, and the look for agents that are away.

use std::collections::BTreeMap;
use std::time::Duration;

use scheduler::cluster::AskError;
use scheduler::control::{self, Memory, Settings};
use scheduler::fleet::absence::Away;
use scheduler::fleet::{masters, wanted};
use scheduler::state::{Command, Event as News, Outcome};
use spec::ids::{AgentId, AppId};

use super::members::Tidy;
use super::{Asker, Entry, Life};
use crate::bus::{Bus, Event};
use crate::queue::Millis;

/// As the leader's shell has it: looks again after this long even when nothing happens.
const IDLE_MILLIS: Millis = 5_000;
/// As the leader's shell has it: pause after commands that were not taken.
const RETRY_MILLIS: Millis = 100;
/// How long a task may take to come up. Shorter than in production, so that it matters in a run.
pub const LAUNCH_TIMEOUT_MILLIS: u64 = 15_000;
/// Silence after which an agent is given up.
pub const AGENT_TIMEOUT: Duration = Duration::from_secs(8);

/// In so many of a thousand cases time passes between a decision and its proposal.
const HELD_UP: u32 = 150;

/// What a leader remembers.
pub(super) struct Reign {
    pub(super) term: u64,
    memory: Memory,
    /// Outcomes that the control loop waits for.
    awaited: usize,
    failed: bool,
    control_at: Option<Millis>,
    away: Away,
    pub(super) tidy: Tidy,
    /// The session of each agent.
    pub(super) board: BTreeMap<AgentId, u64>,
}

impl Life {
    /// Who leads has changed, or the term.
    pub(super) fn lead(&mut self, told: (u64, Option<u64>, bool), bus: &mut Bus) {
        let (term, leader, leading) = told;
        bus.note(self.name(), format_args!("term {term}, leader {leader:?}, leads {leading}"));
        self.told = told;
        if self.reign.take().is_some() {
            bus.checks.reign_over(self.id);
        }
        let deposed: Vec<u64> = self.sessions.keys().copied().collect();
        deposed.into_iter().for_each(|conn| self.close(conn, "deposed", bus));
        if !leading {
            return;
        }
        let state = self.state();
        bus.figures.reigns += 1;
        bus.checks.reign_begins(bus.now, self.id, term, state.index);
        let mut memory = Memory::default();
        self.clock.read(bus.instant(), bus.wall(self.offset).max(state.now));
        memory.note_everything(&state);
        self.reign = Some(Reign {
            term,
            memory,
            awaited: 0,
            failed: false,
            control_at: None,
            away: Away::default(),
            tidy: Tidy::default(),
            board: BTreeMap::new(),
        });
        if state.cluster_id.is_nil() {
            let cluster_id = bus.uuid();
            self.ask(Asker::Nobody, Command::Found { cluster_id }, bus);
        }
        self.control(bus);
    }

    /// The leader's shells hear of an applied entry.
    pub(super) fn take_news(&mut self, entry: &Entry, bus: &mut Bus) {
        let Some(reign) = &mut self.reign else { return };
        reign.memory.note(&entry.applied);
        if entry.applied.events.iter().any(|event| matches!(event, News::MastersChanged))
            && let Some(message) = masters::all(&entry.after)
        {
            for conn in reign.board.values() {
                if let Some(session) = self.sessions.get_mut(conn) {
                    session.say(*conn, message.clone(), bus);
                }
            }
        }
        for (agent, change) in wanted::changes(&entry.applied, reign.term) {
            if let Some(conn) = reign.board.get(&agent).copied()
                && let Some(session) = self.sessions.get_mut(&conn)
            {
                session.want(conn, change, bus);
            }
        }
    }

    /// A turn of the control loop, unless it waits for something.
    pub(super) fn control(&mut self, bus: &mut Bus) {
        let now = self.time(bus);
        let state = self.state();
        let Some(reign) = self.reign.as_mut().filter(|reign| reign.awaited == 0 && !reign.failed) else {
            return;
        };
        let settings = Settings { launch_timeout_millis: LAUNCH_TIMEOUT_MILLIS, ..Settings::default() };
        let step = control::step(&state, &mut reign.memory, now, bus.rng.u64(..), &settings);
        bus.checks.decides(bus.now, &state, &step.commands);
        if step.commands.is_empty() {
            let pause = step.next_due.map_or(IDLE_MILLIS, |due| due.millis_since(now)).clamp(1, IDLE_MILLIS);
            return self.control_after(pause, bus);
        }
        let commands: Vec<Command> = step.commands.into_iter().flat_map(control::fitting).collect();
        let term = reign.term;
        reign.awaited = commands.len();
        if !bus.chance(HELD_UP) {
            return self.decided(term, commands, bus);
        }
        // Whatever it was that held the loop up, the world goes on meanwhile.
        if let Some((app, agent)) = commands.iter().find_map(some_target) {
            match bus.rng.u8(0..3) {
                0 => bus.after(1, Event::AimAtAgent(agent)),
                1 => bus.after(1, Event::AimAtApp(self.id, app)),
                _ => {}
            }
        }
        let millis = bus.between(20, 500);
        bus.after(millis, Event::Decided(self.id, self.number, term, commands));
    }

    /// What the control loop has decided is proposed.
    pub fn decided(&mut self, term: u64, commands: Vec<Command>, bus: &mut Bus) {
        if self.reign.as_ref().is_some_and(|reign| reign.term == term) {
            commands.into_iter().for_each(|command| self.ask(Asker::Control(term), command, bus));
        }
    }

    fn control_after(&mut self, pause: Millis, bus: &mut Bus) {
        let Some(reign) = &mut self.reign else { return };
        let at = bus.now + pause;
        if reign.control_at.is_none_or(|planned| planned > at || planned <= bus.now) {
            reign.control_at = Some(at);
            bus.queue.push(at, Event::Control(self.id, self.number));
        }
    }

    /// The time that the control loop waited for has come.
    pub fn control_due(&mut self, bus: &mut Bus) {
        let state = self.state();
        let Some(reign) = self.reign.as_mut().filter(|reign| reign.control_at == Some(bus.now)) else {
            return;
        };
        reign.control_at = None;
        if std::mem::take(&mut reign.failed) {
            reign.memory.note_everything(&state);
        }
        self.control(bus);
    }

    pub(super) fn control_answered(&mut self, term: u64, taken: bool, bus: &mut Bus) {
        let Some(reign) = self.reign.as_mut().filter(|reign| reign.term == term) else { return };
        reign.awaited = reign.awaited.saturating_sub(1);
        reign.failed |= !taken;
        if reign.awaited > 0 {
            return;
        }
        if reign.failed {
            reign.control_at = None;
            self.control_after(RETRY_MILLIS, bus);
        } else {
            self.control(bus);
        }
    }

    /// Looks for agents that are away.
    pub fn watch(&mut self, bus: &mut Bus) {
        bus.after(500, Event::Watch(self.id, self.number));
        let state = self.state();
        let Some(reign) = &mut self.reign else { return };
        let connected = reign.board.keys().cloned().collect();
        let verdict = reign.away.judge(&state, &connected, bus.elapsed(), AGENT_TIMEOUT);
        let doomed: Vec<u64> =
            verdict.begin_anew.iter().filter_map(|agent| reign.board.get(agent)).copied().collect();
        for conn in doomed {
            self.close(conn, "given up while it came back", bus);
        }
        for id in verdict.lose {
            bus.note(self.name(), format_args!("gives up {id}"));
            self.ask(Asker::Nobody, Command::LoseAgent { id }, bus);
        }
        self.check_bounds(bus);
    }
}

/// What is to be placed, and where.
fn some_target(command: &Command) -> Option<(AppId, AgentId)> {
    let Command::Place(placements) = command else { return None };
    placements.first().map(|placement| (placement.app.clone(), placement.agent.clone()))
}

/// Nothing of an outcome but whether there was one.
pub(super) fn is_taken(outcome: &Result<Outcome, AskError>) -> bool {
    !matches!(outcome, Err(_) | Ok(Outcome::Refused(_)))
}
