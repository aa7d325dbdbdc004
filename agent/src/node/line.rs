//! The line to the leader: dialling masters as `search` says, what was said on it, and what it says.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use spec::protocol::{AgentMessage, HEARTBEAT_MILLIS, Hello, MasterMessage, VERSION, Wanted};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::crowd::{Company, Standing};
use super::works::Event;
use super::{AgentError, Node};
use crate::core::{Core, Effect};
use crate::search::{Attempt, Search};
use crate::session::{self, BoxedStream, Heard, Session};
use crate::usage::Told;

/// Reports in one message.
const REPORTS_MAX: usize = 1000;
/// Bytes of reports in one message, about.
const REPORT_BYTES_MAX: usize = 1024 * 1024;
/// Messages that are obeyed together, so that one write to disk serves them all.
const MESSAGES_MAX: usize = 64;

/// How long the news that a task was accepted may wait for the next.
const ACCEPTED_PATIENCE: Duration = Duration::from_millis(50);

/// How long each of the other masters may take to say whether there is a later leader than one that is silent.
const ASK_PATIENCE: Duration = Duration::from_millis(HEARTBEAT_MILLIS);

/// Whether somebody listens.
pub(super) struct Line {
    pub(super) search: Search,
    state: State,
    /// Reports up to here were said on this line.
    said: u64,
    /// Since when there are others.
    unsaid_since: Option<Instant>,
    pub(super) company: Arc<Company>,
}

enum State {
    Down,
    Dialling {
        _dial: AbortOnDropHandle<()>,
    },
    /// Connected, not welcomed yet.
    Opening {
        session: Session,
        master: SocketAddr,
        _turn: Option<OwnedSemaphorePermit>,
    },
    Up(Up),
}

/// A session that stands.
struct Up {
    session: Session,
    master: SocketAddr,
    term: u64,
    since: Instant,
    /// What it was told of what is used here.
    told: Told,
    _asking: Option<AbortOnDropHandle<()>>,
    _standing: Standing,
}

impl Line {
    pub(super) fn new(given: Vec<SocketAddr>, learned: Vec<SocketAddr>, company: Arc<Company>) -> Self {
        Self { search: Search::new(given, learned), state: State::Down, said: 0, unsaid_since: None, company }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// The master that was asked to open a session and has not welcomed yet.
    pub(super) fn opening(&self) -> Option<SocketAddr> {
        match self.state {
            State::Opening { master, .. } => Some(master),
            _ => None,
        }
    }

    /// The session of an opening stands from now on, with the leader of `term`.
    pub(super) fn stand(&mut self, term: u64) {
        if let State::Opening { session, master, .. } = std::mem::replace(&mut self.state, State::Down) {
            let (since, standing) = (Instant::now(), self.company.stand());
            let told = Told::default();
            self.state =
                State::Up(Up { session, master, term, since, told, _asking: None, _standing: standing });
        }
    }

    /// What is heard of the master; waits for ever without one, `None` when the line is gone.
    pub(super) async fn receive(&mut self) -> Option<Heard> {
        match &mut self.state {
            State::Opening { session, .. } | State::Up(Up { session, .. }) => session.incoming.recv().await,
            State::Down | State::Dialling { .. } => std::future::pending().await,
        }
    }

    fn receive_now(&mut self) -> Option<Heard> {
        match &mut self.state {
            State::Up(up) => up.session.incoming.try_recv().ok(),
            _ => None,
        }
    }

    /// What the leader was told of what is used here, when there is one.
    pub(super) fn told(&mut self) -> Option<&mut Told> {
        match &mut self.state {
            State::Up(up) => Some(&mut up.told),
            _ => None,
        }
    }

    /// Where to say something, when somebody listens.
    pub(super) fn outgoing(&self) -> Option<mpsc::Sender<AgentMessage>> {
        match &self.state {
            State::Up(up) => Some(up.session.outgoing.clone()),
            _ => None,
        }
    }

    pub(super) fn try_reserve(&self) -> Option<OwnedPermit<AgentMessage>> {
        self.outgoing()?.try_reserve_owned().ok()
    }

    /// When to say what was not said: `None` when there is nothing. That tasks were accepted waits for what
    /// becomes of them, if that takes no time: one message instead of two.
    pub(super) fn say_at(&mut self, core: &Core) -> Option<Instant> {
        if !self.is_up() || !core.has_reports_after(self.said) {
            self.unsaid_since = None;
            return None;
        }
        let since = *self.unsaid_since.get_or_insert_with(Instant::now);
        let patience =
            if core.has_urgent_reports_after(self.said) { Duration::ZERO } else { ACCEPTED_PATIENCE };
        Some(since + patience)
    }
}

impl Node {
    /// Tries the next master.
    pub(super) fn dial(&mut self) {
        let attempt = self.line.search.next(fastrand::f64());
        let (events, company) = (self.works.events(), self.line.company.clone());
        let dial = tokio::spawn(async move {
            tokio::time::sleep(attempt.pause).await;
            let turn = company.turn().await;
            let stream = session::connect(attempt.master, attempt.patience).await;
            let _ = events.send(Event::Dialled { attempt, stream, turn }).await;
        });
        self.line.state = State::Dialling { _dial: AbortOnDropHandle::new(dial) };
    }

    /// A master took the connection, then the session is opened; or it did not.
    pub(super) fn on_dialled(
        &mut self,
        attempt: Attempt,
        stream: io::Result<BoxedStream>,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<(), AgentError> {
        let master = attempt.master;
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                debug!(%master, %error, "a master cannot be reached");
                self.line.search.failed(master);
                return self.dial_on();
            }
        };
        let (tasks, said) = self.core.hello();
        let hello = Hello {
            protocol: VERSION,
            agent_id: self.identity.agent_id.clone(),
            cluster_id: self.identity.cluster_id,
            fence: self.core.fence(),
            info: self.info.clone(),
            tasks,
        };
        self.line.said = said;
        let session = Session::open(stream, hello, attempt.patience, self.line.company.definitions.clone());
        self.line.state = State::Opening { session, master, _turn: turn };
        Ok(())
    }

    /// Tries the next master, unless there is no use in it.
    pub(super) fn dial_on(&mut self) -> Result<(), AgentError> {
        if let Some(reason) = self.line.search.hopeless() {
            return Err(AgentError::Refused(reason.clone()));
        }
        self.dial();
        Ok(())
    }

    /// The line is gone: looks for the leader, wherever it is now.
    pub(super) async fn on_end(&mut self) -> Result<(), AgentError> {
        match self.take_line() {
            State::Up(up) => {
                let reason = up.session.ended().await;
                warn!(master = %up.master, %reason, "lost the leader; tasks go on");
                self.line.search.lost(up.master, up.term, up.since.elapsed());
            }
            State::Opening { session, master, .. } => {
                let reason = session.ended().await;
                debug!(%master, %reason, "a master did not take this agent");
                self.line.search.failed(master);
            }
            State::Down | State::Dialling { .. } => {}
        }
        self.dial_on()
    }

    /// Closes the line, if there is one.
    pub(super) fn hang_up(&mut self) {
        drop(self.take_line());
    }

    fn take_line(&mut self) -> State {
        self.logs.clear();
        std::mem::replace(&mut self.line.state, State::Down)
    }

    /// Registers anew, with the same master: what the agent is has changed.
    pub(super) fn redial(&mut self) {
        let master = match self.line.state {
            State::Up(Up { master, .. }) | State::Opening { master, .. } => master,
            State::Down | State::Dialling { .. } => return,
        };
        self.hang_up();
        self.line.search.again(master);
        self.dial();
    }

    /// The leader is silent: asks the others whether there is a later one.
    fn ask_others(&mut self) {
        let masters = self.line.search.masters();
        let events = self.works.events();
        let State::Up(up) = &mut self.line.state else { return };
        let (current, term) = (up.master, up.term);
        debug!(master = %current, "the leader is silent; asking the others");
        let asking = tokio::spawn(async move {
            let others = masters.into_iter().filter(|master| *master != current);
            let answers = join_all(others.map(|master| session::who_leads(master, ASK_PATIENCE))).await;
            let known = answers.into_iter().flatten().filter_map(|(leader, term)| Some((term, leader?)));
            if let Some((term, leader)) = known.filter(|(later, _)| *later > term).max() {
                let _ = events.send(Event::Leads { leader, term }).await;
            }
        });
        up._asking = Some(AbortOnDropHandle::new(asking));
    }

    /// There is a leader of a later term than the one that is silent.
    pub(super) fn on_leads(&mut self, leader: SocketAddr, term: u64) {
        let State::Up(up) = &self.line.state else { return };
        if term <= up.term {
            return;
        }
        let (from, before) = (up.master, up.term);
        warn!(silent = %from, %leader, "the leader is silent and there is a later one; moving over");
        self.hang_up();
        self.line.search.moved(from, before, leader);
        self.dial();
    }

    /// Does what the master says, or looks for another.
    pub(super) async fn on_heard(&mut self, heard: Heard) -> Result<(), AgentError> {
        match heard {
            Heard::Message(message) => self.on_message(message).await,
            Heard::Silence => {
                self.ask_others();
                Ok(())
            }
        }
    }

    async fn on_message(&mut self, message: MasterMessage) -> Result<(), AgentError> {
        match message {
            MasterMessage::Welcome(welcome) => self.on_welcome(welcome).await,
            MasterMessage::Refused { reason } => {
                self.on_refused(format!("the leader refuses this agent: {reason}"))
            }
            MasterMessage::Elsewhere { leader, term } => self.on_elsewhere(leader, term),
            // Before the welcome nothing counts.
            _ if !self.line.is_up() => Ok(()),
            MasterMessage::Wanted(wanted) => self.on_wanted(wanted).await,
            MasterMessage::Acknowledged { seq } => {
                let now = self.now();
                let effects = self.core.acknowledged(seq, now);
                self.perform(effects).await
            }
            MasterMessage::Beat => Ok(()),
            MasterMessage::Masters { rpc, dns } => self.on_masters(&rpc, dns).await,
            MasterMessage::OpenLog(request) => {
                self.open_log(request);
                Ok(())
            }
            MasterMessage::CloseLog { stream } => {
                self.logs.remove(&stream);
                Ok(())
            }
            MasterMessage::MoreLog { stream, parts } => {
                if let Some(reading) = self.logs.get(&stream) {
                    reading.more(parts);
                }
                Ok(())
            }
        }
    }

    /// Obeys what has arrived, together: one write to disk for all of it.
    async fn on_wanted(&mut self, first: Wanted) -> Result<(), AgentError> {
        let mut effects = self.obey(first);
        for _ in 1..MESSAGES_MAX {
            match self.line.receive_now() {
                Some(Heard::Message(MasterMessage::Wanted(wanted))) => effects.extend(self.obey(wanted)),
                Some(other) => {
                    self.perform(effects).await?;
                    return Box::pin(self.on_heard(other)).await;
                }
                None => break,
            }
        }
        self.perform(effects).await
    }

    fn obey(&mut self, wanted: Wanted) -> Vec<Effect> {
        let (now, theirs, complete) = (self.now(), wanted.fence, wanted.complete);
        let Some(effects) = self.core.wanted(wanted, now) else {
            warn!(?theirs, obeyed = ?self.core.fence(), "refused an order of an old leader");
            return Vec::new();
        };
        let unexplained = if complete { self.core.unexplained() } else { Vec::new() };
        if let Some(outgoing) = self.line.outgoing().filter(|_| !unexplained.is_empty()) {
            let asking = async move { drop(outgoing.send(AgentMessage::Explain(unexplained)).await) };
            self.works.spawn(asking);
        }
        effects
    }

    /// Says what is new about tasks.
    pub(super) fn say(&mut self, permit: OwnedPermit<AgentMessage>) {
        let (mut reports, mut bytes) = (Vec::new(), 0);
        for report in self.core.reports_after(self.line.said, REPORTS_MAX) {
            bytes += postcard::experimental::serialized_size(report).unwrap_or(0);
            if bytes > REPORT_BYTES_MAX && !reports.is_empty() {
                break;
            }
            self.line.said = report.seq;
            reports.push(report.clone());
        }
        (self.unreported, self.line.unsaid_since) = (0, None);
        permit.send(AgentMessage::Status(reports));
    }
}
