//! The masters of the cluster: who joins, votes, leaves and leads. A thin shell round the replicated group
//! (`consensus`), which knows numbers only, and the state, which knows names and addresses.
//!
//! `plan` (pure) says what the leader has to do by itself: let learners vote, put a new master in the place of
//! a dead one of its name, forget who has gone, keep addresses true, and not lead with a slow disk (`slow`).
//! `rules` (pure) says what is refused when somebody asks, `roster` (pure) is the list; `shell` serves requests
//! and carries the plan out.

#[cfg(test)]
pub(crate) mod fixture;
pub mod plan;
mod roster;
pub mod rules;
mod shell;
pub mod slow;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;
use std::time::Duration;

use spec::ids::MasterId;
use tokio::time::Instant;
use tracing::info;
use uuid::Uuid;

use crate::cluster::{AskError, Cluster};
use crate::consensus::{Handle, MemberChange, ProposeError, Status};
use crate::machine::StateMachine;
use crate::peers::Book;
pub use crate::peers::was_removed;
use crate::state::{Command, MasterInfo, Outcome};
pub use view::View;

pub(crate) use shell::serve;

/// How long a change of the group is tried while another one is under way.
const CHANGE_PATIENCE: Duration = Duration::from_secs(6);
/// What a leader that has just been elected takes at most to hear of the others.
const HEARING: Duration = Duration::from_secs(1);
/// Between two attempts.
const CHANGE_PAUSE: Duration = Duration::from_millis(50);

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotDone {
    /// Only the leader can.
    NotLeader,
    /// It did not come about; it may be asked again.
    Later,
    /// A person has to do something else first.
    Refused(String),
}

/// What this master does about masters while it leads.
pub(crate) struct Masters {
    own: u64,
    info: MasterInfo,
    cluster: Arc<Cluster>,
    log: Handle<StateMachine>,
    book: Arc<Book>,
}

impl Masters {
    /// For the master that calls itself `info`.
    pub(crate) fn new(cluster: Arc<Cluster>, log: Handle<StateMachine>, info: MasterInfo) -> Arc<Self> {
        let (own, book) = (log.identity().id, Arc::default());
        Arc::new(Self { own, info, cluster, log, book })
    }

    /// How this master is reached.
    pub(crate) fn info(&self) -> &MasterInfo {
        &self.info
    }

    /// Where the others say they are.
    pub(crate) fn book(&self) -> &Arc<Book> {
        &self.book
    }

    fn view<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        let (state, status, heard) = (self.cluster.state(), self.status(), self.book.all());
        look(&View { own: self.own, info: &self.info, state: &state, status: &status, heard: &heard })
    }

    fn status(&self) -> Status {
        self.log.status().borrow().clone()
    }

    fn must_lead(&self) -> Result<(), NotDone> {
        if self.log.status().borrow().leading { Ok(()) } else { Err(NotDone::NotLeader) }
    }

    /// What a rule says of who is there. A leader that has just been elected takes the others for away until it
    /// has heard of them, so a refusal counts once it has stood for a moment.
    async fn judge<T>(&self, rule: impl Fn(&View<'_>) -> Result<T, String>) -> Result<T, NotDone> {
        let deadline = Instant::now() + HEARING;
        loop {
            self.must_lead()?;
            match self.view(&rule) {
                Ok(verdict) => return Ok(verdict),
                Err(reason) if Instant::now() > deadline || self.is_alone() => {
                    return Err(NotDone::Refused(reason));
                }
                Err(_) => tokio::time::sleep(CHANGE_PAUSE).await,
            }
        }
    }

    fn is_alone(&self) -> bool {
        self.status().members.voters == [self.own]
    }

    /// A new master: gives it a number, and the log from now on. It votes when it has caught up.
    pub(crate) async fn join(&self, ticket: Uuid, info: MasterInfo) -> Result<u64, NotDone> {
        self.must_lead()?;
        self.view(|view| rules::may_join(view, &info, ticket)).map_err(NotDone::Refused)?;
        let name = info.name.clone();
        let id = match self.cluster.ask(Command::AddMaster { info, ticket }).await? {
            Outcome::MasterAdded { id } => id.0,
            Outcome::Refused(refusal) => return Err(NotDone::Refused(refusal.to_string())),
            _ => return Err(NotDone::Later),
        };
        if !self.view(|view| view.is_member(id)) {
            self.change(MemberChange::AddLearner(id)).await?;
            info!(name, id, "a new master joins");
        }
        Ok(id)
    }

    /// Takes another master out of the group, then forgets it.
    pub(crate) async fn leave(&self, id: u64) -> Result<(), NotDone> {
        self.judge(|view| rules::may_leave(view, id)).await?;
        if id == self.own {
            return Err(NotDone::Later);
        }
        if self.view(|view| view.is_member(id)) {
            self.change(MemberChange::Remove(id)).await?;
        }
        self.cluster.ask(Command::RemoveMaster { id: MasterId(id) }).await?;
        info!(id, "a master was removed");
        Ok(())
    }

    /// How far the log is that a majority has, confirmed by it.
    pub(crate) async fn commit(&self) -> Result<u64, NotDone> {
        self.log.read_index().await?;
        Ok(self.log.status().borrow().applied)
    }

    /// Lets another master lead: the one that is furthest unless told whom. Ends when another one leads.
    pub(crate) async fn transfer(&self, to: Option<u64>) -> Result<(), NotDone> {
        let Some(to) = self.judge(|view| rules::successor(view, to)).await? else {
            return Ok(());
        };
        info!(to, "handing leadership over");
        match self.log.transfer(to).await {
            Err(ProposeError::Busy) => Err(NotDone::Refused(
                "The other master did not take over in time; this one goes on leading".to_owned(),
            )),
            other => Ok(other?),
        }
    }

    /// Changes the group as soon as no other change is under way.
    async fn change(&self, change: MemberChange) -> Result<(), NotDone> {
        let deadline = Instant::now() + CHANGE_PATIENCE;
        loop {
            match self.log.change_members(change).await {
                Err(ProposeError::Busy) if Instant::now() < deadline => {
                    tokio::time::sleep(CHANGE_PAUSE).await
                }
                other => return Ok(other?),
            }
        }
    }
}

impl From<AskError> for NotDone {
    fn from(error: AskError) -> Self {
        match error {
            AskError::NotLeader => Self::NotLeader,
            AskError::TooLarge { .. } => Self::Refused(error.to_string()),
            AskError::Busy | AskError::TimedOut | AskError::Closed => Self::Later,
        }
    }
}

impl From<ProposeError> for NotDone {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { .. } => Self::NotLeader,
            _ => Self::Later,
        }
    }
}
