//! The line to the leader: dialling the masters in turn, what was said on it, and what it says.

use std::net::SocketAddr;

use spec::protocol::{AgentMessage, Hello, MasterMessage, VERSION, Wanted, Welcome};
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::works::Event;
use super::{AgentError, Node};
use crate::core::{Core, Effect};
use crate::session::{self, BoxedStream, Session};

/// Reports in one message.
const REPORTS_MAX: usize = 1000;
/// Bytes of reports in one message, about.
const REPORT_BYTES_MAX: usize = 1024 * 1024;
/// Messages that are obeyed together, so that one write to disk serves them all.
const MESSAGES_MAX: usize = 64;

/// Whether somebody listens.
pub(super) struct Line {
    masters: usize,
    state: State,
    /// Which master is next.
    turn: usize,
    /// Attempts since the line last stood.
    attempt: u32,
    /// Reports up to here were said on this line.
    said: u64,
}

enum State {
    Down,
    Dialling {
        _dial: AbortOnDropHandle<()>,
    },
    /// Connected, not welcomed yet.
    Opening(Session),
    Up(Session),
}

impl Line {
    pub(super) fn new(masters: &[SocketAddr]) -> Self {
        Self { masters: masters.len(), state: State::Down, turn: 0, attempt: 0, said: 0 }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Up(session) => Some(session),
            _ => None,
        }
    }

    /// What the master says; waits for ever without one, `None` when the line is gone.
    pub(super) async fn receive(&mut self) -> Option<MasterMessage> {
        match &mut self.state {
            State::Opening(session) | State::Up(session) => session.incoming.recv().await,
            State::Down | State::Dialling { .. } => std::future::pending().await,
        }
    }

    fn receive_now(&mut self) -> Option<MasterMessage> {
        match &mut self.state {
            State::Up(session) => session.incoming.try_recv().ok(),
            _ => None,
        }
    }

    /// Where to say something, when somebody listens.
    pub(super) fn outgoing(&self) -> Option<mpsc::Sender<AgentMessage>> {
        self.session().map(|session| session.outgoing.clone())
    }

    pub(super) fn try_reserve(&self) -> Option<OwnedPermit<AgentMessage>> {
        self.outgoing()?.try_reserve_owned().ok()
    }

    /// Are there reports that were not said?
    pub(super) fn has_news(&self, core: &Core) -> bool {
        self.is_up() && core.has_reports_after(self.said)
    }
}

impl Node {
    /// Looks for a master that takes the connection.
    pub(super) fn dial(&mut self) {
        let masters = self.options.masters.clone();
        let (mut turn, mut attempt) = (self.line.turn, self.line.attempt);
        let events = self.works.events();
        let dial = tokio::spawn(async move {
            loop {
                tokio::time::sleep(session::pause(attempt, masters.len(), fastrand::f64())).await;
                let master = masters[turn % masters.len()];
                match session::connect(master).await {
                    Ok(stream) => {
                        return drop(events.send(Event::Connected { stream, turn, attempt }).await);
                    }
                    Err(error) => debug!(%master, %error, "a master cannot be reached"),
                }
                (turn, attempt) = (turn.wrapping_add(1), attempt.saturating_add(1));
            }
        });
        self.line.state = State::Dialling { _dial: AbortOnDropHandle::new(dial) };
    }

    /// A master took the connection: opens the session.
    pub(super) fn on_connected(&mut self, stream: BoxedStream, turn: usize, attempt: u32) {
        let (tasks, said) = self.core.hello();
        let hello = Hello {
            protocol: VERSION,
            agent_id: self.identity.agent_id.clone(),
            cluster_id: self.identity.cluster_id,
            fence: self.core.fence(),
            info: self.info.clone(),
            tasks,
        };
        (self.line.turn, self.line.attempt, self.line.said) = (turn, attempt, said);
        self.line.state = State::Opening(Session::open(stream, hello));
    }

    /// The line is gone: tries the same master again when it had welcomed us, the next one otherwise.
    pub(super) async fn hang_up(&mut self) {
        self.logs.clear();
        let masters = u32::try_from(self.line.masters).unwrap_or(u32::MAX);
        match std::mem::replace(&mut self.line.state, State::Down) {
            State::Up(session) => {
                let reason = session.ended().await;
                warn!(%reason, "lost the leader; tasks go on");
                // Not at once: a leader that closes again and again is not to be hammered.
                self.line.attempt = masters;
            }
            State::Opening(session) => {
                let reason = session.ended().await;
                debug!(%reason, "a master did not take this agent");
                self.line.turn = self.line.turn.wrapping_add(1);
                self.line.attempt = self.line.attempt.saturating_add(1);
            }
            State::Down | State::Dialling { .. } => {}
        }
        self.dial();
    }

    /// Registers anew: what the agent is has changed.
    pub(super) async fn redial(&mut self) {
        if matches!(self.line.state, State::Up(_) | State::Opening(_)) {
            self.line.state = State::Down;
            self.hang_up().await;
        }
    }

    /// Does what the master says.
    pub(super) async fn on_message(&mut self, message: MasterMessage) -> Result<(), AgentError> {
        match message {
            MasterMessage::Welcome(welcome) => self.on_welcome(welcome).await,
            MasterMessage::Refused { reason } => Err(AgentError::Refused(reason)),
            // Before the welcome nothing counts.
            _ if !self.line.is_up() => Ok(()),
            MasterMessage::Wanted(wanted) => self.on_wanted(wanted).await,
            MasterMessage::Acknowledged { seq } => {
                let now = self.now();
                let effects = self.core.acknowledged(seq, now);
                self.perform(effects).await
            }
            MasterMessage::Beat => Ok(()),
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

    async fn on_welcome(&mut self, welcome: Welcome) -> Result<(), AgentError> {
        if welcome.protocol != VERSION {
            return Err(AgentError::Protocol(welcome.protocol));
        }
        let theirs = welcome.cluster_id;
        if let Some(ours) = self.identity.cluster_id.filter(|ours| *ours != theirs) {
            let dir = self.options.data_dir.clone();
            return Err(AgentError::OtherCluster { ours, theirs, dir });
        }
        if welcome.fence < self.core.fence() {
            warn!(theirs = ?welcome.fence, obeyed = ?self.core.fence(), "an old leader; trying another master");
            self.hang_up().await;
            return Ok(());
        }
        let mut identity = self.identity.clone();
        identity.agent_id = Some(welcome.agent_id);
        identity.cluster_id = Some(theirs);
        identity.dns = Some((welcome.dns, welcome.dns_domain));
        self.save(identity).await?;
        if let Some((masters, domain)) = &self.identity.dns {
            self.resolver.learn(masters, domain);
        }
        if let State::Opening(session) = std::mem::replace(&mut self.line.state, State::Down) {
            self.line.state = State::Up(session);
        }
        info!(agent = %self.agent_id(), cluster = %theirs, "joined");
        Ok(())
    }

    /// Obeys what has arrived, together: one write to disk for all of it.
    async fn on_wanted(&mut self, first: Wanted) -> Result<(), AgentError> {
        let mut effects = self.obey(first);
        for _ in 1..MESSAGES_MAX {
            match self.line.receive_now() {
                Some(MasterMessage::Wanted(wanted)) => effects.extend(self.obey(wanted)),
                Some(other) => {
                    self.perform(effects).await?;
                    return Box::pin(self.on_message(other)).await;
                }
                None => break,
            }
        }
        self.perform(effects).await
    }

    fn obey(&mut self, wanted: Wanted) -> Vec<Effect> {
        let (now, theirs) = (self.now(), wanted.fence);
        self.core.wanted(wanted, now).unwrap_or_else(|| {
            warn!(?theirs, obeyed = ?self.core.fence(), "refused an order of an old leader");
            Vec::new()
        })
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
        self.unreported = 0;
        permit.send(AgentMessage::Status(reports));
    }
}
