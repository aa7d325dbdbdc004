//! Sessions of agents at a master, as `fleet::session` holds them: handshake, reports into the state, and what
//! should run out of it. The judgements are `fleet`'s own.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use scheduler::cluster::AskError;
use scheduler::fleet::hello::{self, Objection};
use scheduler::fleet::{MAKE_WAY, Newcomer, UNASKED_AFTER, masters, newcomer, reports, wanted};
use scheduler::state::{Command, Outcome, Presence};
use spec::ids::{AgentId, TaskId};
use spec::protocol::{
    AgentMessage, Fence, Hello, MasterMessage, SILENCE_MILLIS_MAX, TaskReport, VERSION, Wanted, Welcome,
};

use super::reign::is_taken;
use super::{Asker, Life};
use crate::agent::address;
use crate::bus::{Bus, Event};
use crate::net::Frame;
use crate::queue::Millis;

/// How often a session looks at the time.
const LOOK_MILLIS: Millis = 500;
/// As `fleet::reports` has it.
const RETRY_MILLIS: Millis = 100;
/// As `fleet::session` has it: report frames read ahead of the state.
const REPORTS_AHEAD: usize = 8;
/// As `fleet::session` has it: messages waiting for one agent.
const OUTGOING_MAX: usize = 1_024;

/// One connection of an agent.
pub(super) struct Session {
    stage: Stage,
    agent: Option<AgentId>,
    heard: Millis,
    said: Millis,
    strikes: u32,
    /// What the state is to take in, one after the other.
    commands: VecDeque<Command>,
    /// Tasks that its opening named.
    named: BTreeSet<TaskId>,
    /// To be acknowledged when it has.
    last: Option<u64>,
    /// Reports that wait their turn.
    reports: VecDeque<Vec<TaskReport>>,
    /// Changes that came before the complete set was made.
    early: Vec<Wanted>,
    /// Index of the complete set, once it was said.
    from: Option<u64>,
    /// Of the last order.
    fence: Fence,
}

enum Stage {
    /// It has not said who it is.
    Shy { until: Millis },
    /// An earlier session of its agent is given time to end.
    Waiting { hello: Box<Hello>, until: Millis },
    /// Its registration is on its way into the state.
    Registering { hello: Box<Hello> },
    /// It stands.
    Standing,
}

fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Session {
    /// A change of what should run there.
    pub(super) fn want(&mut self, conn: u64, change: Wanted, bus: &mut Bus) {
        match self.from {
            None => self.early.push(change),
            Some(from) if change.fence.index <= from => {}
            Some(_) => {
                self.fence = change.fence;
                self.say(conn, MasterMessage::Wanted(change), bus);
            }
        }
        bus.checks.bound(bus.now, "changes waiting for an agent", self.early.len(), OUTGOING_MAX);
    }

    pub(super) fn say(&mut self, conn: u64, message: MasterMessage, bus: &mut Bus) {
        self.said = bus.now;
        bus.say_down(conn, Frame::Message(message));
    }
}

impl Life {
    /// An agent calls.
    pub fn accept(&mut self, conn: u64, bus: &mut Bus) {
        let session = Session {
            stage: Stage::Shy { until: bus.now + 5_000 },
            agent: None,
            heard: bus.now,
            said: bus.now,
            strikes: 0,
            commands: VecDeque::new(),
            named: BTreeSet::new(),
            last: None,
            reports: VecDeque::new(),
            early: Vec::new(),
            from: None,
            fence: Fence::default(),
        };
        self.sessions.insert(conn, session);
        bus.after(LOOK_MILLIS, Event::Session(self.id, self.number, conn));
    }

    /// Ends a session.
    pub(super) fn close(&mut self, conn: u64, why: &str, bus: &mut Bus) {
        let Some(session) = self.sessions.remove(&conn) else { return };
        bus.note(self.name(), format_args!("closes session {conn} of {:?}: {why}", session.agent));
        bus.say_down(conn, Frame::Closed);
        if let (Some(agent), Some(reign)) = (session.agent, &mut self.reign)
            && reign.board.get(&agent) == Some(&conn)
        {
            reign.board.remove(&agent);
        }
    }

    /// What an agent says arrives.
    pub fn hear(&mut self, conn: u64, frames: Vec<Frame<AgentMessage>>, bus: &mut Bus) {
        for frame in frames {
            let Some(session) = self.sessions.get_mut(&conn) else { return };
            session.heard = bus.now;
            match frame {
                Frame::Closed => return self.close(conn, "its agent hung up", bus),
                Frame::Message(AgentMessage::Hello(hello)) => self.admit(conn, hello, bus),
                Frame::Message(AgentMessage::Status(list)) => {
                    session.reports.push_back(list);
                    bus.checks.bound(
                        bus.now,
                        "reports waiting at a session",
                        session.reports.len(),
                        8 * REPORTS_AHEAD,
                    );
                    self.next_command(conn, bus);
                }
                Frame::Message(AgentMessage::Explain(tasks)) => self.explain(conn, &tasks, bus),
                Frame::Message(AgentMessage::Beat) => {
                    if matches!(session.stage, Stage::Standing) {
                        session.say(conn, MasterMessage::Beat, bus);
                    }
                }
                Frame::Message(_) => {}
            }
        }
    }

    fn explain(&mut self, conn: u64, tasks: &[TaskId], bus: &mut Bus) {
        let state = self.state();
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        if let Some(agent) = session.agent.clone().filter(|_| session.from.is_some()) {
            let told = wanted::explanation(&state, &agent, session.fence, tasks);
            session.say(conn, MasterMessage::Wanted(told), bus);
        }
    }

    fn admit(&mut self, conn: u64, hello: Box<Hello>, bus: &mut Bus) {
        let (state, (term, leader, leading)) = (self.state(), self.told);
        if !leading || state.cluster_id.is_nil() {
            let leader = leader.filter(|leader| *leader != self.id).map(address);
            bus.say_down(conn, Frame::Message(MasterMessage::Elsewhere { leader, term }));
            return self.close(conn, "does not lead", bus);
        }
        let here = Fence { term, index: state.index };
        match hello::objection(&hello, state.cluster_id, here) {
            None => {}
            Some(Objection::Stale) => return self.close(conn, "stale", bus),
            Some(Objection::Refused(reason)) => return self.refuse(conn, reason, bus),
        }
        let earlier = hello.agent_id.as_ref().and_then(|agent| self.reign.as_ref()?.board.get(agent));
        let stage = match earlier {
            Some(_) => {
                let until = bus.now + millis(MAKE_WAY);
                Stage::Waiting { hello, until }
            }
            None => return self.register(conn, hello, bus),
        };
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.stage = stage;
        }
    }

    /// A person would have to do something: in a run nobody ever should.
    fn refuse(&mut self, conn: u64, reason: String, bus: &mut Bus) {
        bus.checks.refused_agent(bus.now, &reason);
        bus.say_down(conn, Frame::Message(MasterMessage::Refused { reason }));
        self.close(conn, "refused", bus);
    }

    fn register(&mut self, conn: u64, hello: Box<Hello>, bus: &mut Bus) {
        let command = Command::RegisterAgent { id: hello.agent_id.clone(), info: hello.info.clone() };
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        session.stage = Stage::Registering { hello };
        self.ask(Asker::Session(conn), command, bus);
    }

    /// A look at the time: silence, beats, and newcomers that have waited.
    pub fn look_at_session(&mut self, conn: u64, bus: &mut Bus) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        bus.after(LOOK_MILLIS, Event::Session(self.id, self.number, conn));
        match &mut session.stage {
            Stage::Shy { until } if *until <= bus.now => return self.close(conn, "shy", bus),
            Stage::Waiting { until, .. } if *until <= bus.now => return self.make_way(conn, bus),
            Stage::Waiting { .. } => return self.make_way_early(conn, bus),
            Stage::Standing if bus.now >= session.heard + SILENCE_MILLIS_MAX => {
                return self.close(conn, "silent", bus);
            }
            _ => {}
        }
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        if matches!(session.stage, Stage::Standing) && bus.now >= session.said + millis(UNASKED_AFTER) {
            session.say(conn, MasterMessage::Beat, bus);
        }
    }

    fn earlier(&self, conn: u64) -> Option<u64> {
        let Stage::Waiting { hello, .. } = &self.sessions.get(&conn)?.stage else { return None };
        self.reign.as_ref()?.board.get(hello.agent_id.as_ref()?).copied()
    }

    fn make_way_early(&mut self, conn: u64, bus: &mut Bus) {
        if self.earlier(conn).is_none() {
            self.make_way(conn, bus);
        }
    }

    /// A newcomer has waited for the session before it.
    fn make_way(&mut self, conn: u64, bus: &mut Bus) {
        let earlier = self.earlier(conn).and_then(|earlier| self.sessions.get_mut(&earlier));
        let judged = earlier.map_or(Newcomer::Welcome, |earlier| {
            let silence = Duration::from_millis(bus.now - earlier.heard);
            let judged = newcomer(silence, earlier.strikes);
            earlier.strikes += u32::from(judged != Newcomer::Welcome);
            judged
        });
        match judged {
            Newcomer::Welcome => {
                let session = self.sessions.get_mut(&conn);
                let stage = session.map(|session| std::mem::replace(&mut session.stage, Stage::Standing));
                if let Some(Stage::Waiting { hello, .. }) = stage {
                    self.register(conn, hello, bus);
                }
            }
            Newcomer::Later => self.close(conn, "its agent has a session", bus),
            Newcomer::Twin => self.refuse(conn, "a twin".to_owned(), bus),
        }
    }

    pub(super) fn session_answered(&mut self, conn: u64, outcome: Result<Outcome, AskError>, bus: &mut Bus) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        match (&session.stage, outcome) {
            (Stage::Registering { .. }, Ok(Outcome::Registered { id })) => self.welcome(conn, id, bus),
            (Stage::Registering { .. }, outcome) => {
                self.close(conn, &format!("registration: {outcome:?}"), bus);
            }
            (_, Err(AskError::Busy | AskError::TimedOut)) => {
                bus.after(RETRY_MILLIS, Event::SessionRetry(self.id, self.number, conn));
            }
            (_, outcome) if is_taken(&outcome) => {
                session.commands.pop_front();
                if session.commands.is_empty() {
                    self.taken_in(conn, bus);
                } else {
                    self.propose_command(conn, bus);
                }
            }
            (_, outcome) => self.close(conn, &format!("reports: {outcome:?}"), bus),
        }
    }

    fn welcome(&mut self, conn: u64, id: AgentId, bus: &mut Bus) {
        let (state, (term, ..)) = (self.state(), self.told);
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let Stage::Registering { hello } = std::mem::replace(&mut session.stage, Stage::Standing) else {
            return;
        };
        session.agent = Some(id.clone());
        session.last = hello.tasks.iter().map(|report| report.seq).max();
        session.named = wanted::named(&hello);
        session.commands = reports::opening(&state, &id, hello.tasks).into();
        let welcome = Welcome {
            protocol: VERSION,
            agent_id: id.clone(),
            cluster_id: state.cluster_id,
            fence: Fence { term, index: state.index },
            dns: Vec::new(),
            dns_domain: "mesos".to_owned(),
        };
        session.say(conn, MasterMessage::Welcome(welcome), bus);
        if let Some(message) = masters::all(&state) {
            session.say(conn, message, bus);
        }
        let before = self.reign.as_mut().and_then(|reign| reign.board.insert(id, conn));
        if let Some(before) = before.filter(|before| *before != conn) {
            self.close(before, "replaced", bus);
        }
        bus.figures.sessions += 1;
        match self.sessions.get(&conn).is_some_and(|session| session.commands.is_empty()) {
            true => self.taken_in(conn, bus),
            false => self.propose_command(conn, bus),
        }
    }

    /// Proposes the session's next command, again if need be.
    pub fn propose_command(&mut self, conn: u64, bus: &mut Bus) {
        let command = self.sessions.get(&conn).and_then(|session| session.commands.front().cloned());
        if let Some(command) = command {
            self.ask(Asker::Session(conn), command, bus);
        }
    }

    /// The state has taken in what the session was at.
    fn taken_in(&mut self, conn: u64, bus: &mut Bus) {
        let (state, (term, ..)) = (self.state(), self.told);
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let Some(agent) = session.agent.clone() else { return };
        if session.from.is_none() {
            if state.agents.get(&agent).is_none_or(|agent| agent.presence != Presence::Connected) {
                return self.close(conn, "given up while it came back", bus);
            }
            session.from = Some(state.index);
            let complete = wanted::complete(&state, &agent, term, &std::mem::take(&mut session.named));
            session.fence = complete.fence;
            session.say(conn, MasterMessage::Wanted(complete), bus);
            for change in std::mem::take(&mut session.early) {
                session.want(conn, change, bus);
            }
        }
        if let Some(seq) = session.last.take() {
            session.say(conn, MasterMessage::Acknowledged { seq }, bus);
        }
        self.next_command(conn, bus);
    }

    /// Reports that wait together go into the state together.
    fn next_command(&mut self, conn: u64, bus: &mut Bus) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let is_free = session.commands.is_empty() && session.from.is_some();
        let Some(agent) = session.agent.clone().filter(|_| is_free && !session.reports.is_empty()) else {
            return;
        };
        let news: Vec<TaskReport> = session.reports.drain(..).flatten().collect();
        session.last = news.iter().map(|report| report.seq).max();
        session.commands = reports::news(&agent, news).into();
        self.propose_command(conn, bus);
    }
}
