//! The other masters: how raft's messages and snapshots reach them, how theirs arrive, and how a new one
//! joins. What the messages say is the log's business, who takes part that of `masters`.
//!
//! Each master dials each other one and sends over that connection (`link`, through a `line` that the log itself writes to);
//! what the others have dialled is served by `serve`. `switch` is the log's way out, `snapshots` have
//! connections of their own, `ask` and `join` are questions with one answer. `admit` (pure) says who is let
//! in, `book` knows where everybody is, `wire` and `channel` are the bytes.

mod admit;
mod ask;
mod book;
mod channel;
mod join;
mod line;
mod link;
mod reports;
mod seats;
mod serve;
mod snapshots;
mod switch;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use spec::ids::MasterId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::Cluster;
use crate::consensus::Handle;
use crate::machine::StateMachine;
use crate::masters::Masters;
use crate::state::MasterInfo;
use admit::Own;
use line::Line;
use seats::Seats;
use wire::{Introduction, Refusal};

pub use admit::was_removed;
pub(crate) use book::Book;
pub use join::JoinError;
pub(crate) use join::{forget_ticket, join};
pub(crate) use reports::Reporter;
pub(crate) use switch::Switch;
pub(crate) use wire::MAGIC;

/// How often the set of masters is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The transport of a log, and what is to run once the log is open.
pub(crate) fn transport() -> (Switch, Reporter) {
    Switch::new()
}

/// All other masters, as this one speaks with them.
pub(crate) struct Peers {
    own: Own,
    info: MasterInfo,
    cluster: Arc<Cluster>,
    log: Handle<StateMachine>,
    masters: Arc<Masters>,
    book: Arc<Book>,
    switch: Switch,
    seats: Seats,
    /// Why this master cannot go on: it is no member any more, or never was one here.
    dismissed: watch::Sender<Option<String>>,
    shutdown: CancellationToken,
}

impl Peers {
    /// Nobody is connected yet.
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        log: Handle<StateMachine>,
        masters: Arc<Masters>,
        switch: Switch,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        let identity = log.identity();
        let own = Own { id: identity.id, group: identity.group };
        let (info, book) = (masters.info().clone(), masters.book().clone());
        let (seats, dismissed) = (Seats::default(), watch::Sender::default());
        Arc::new(Self { own, info, cluster, log, masters, book, switch, seats, dismissed, shutdown })
    }

    /// Connects to whoever is a master, and asks for who is where at `contacts`, until `shutdown`.
    pub(crate) async fn run(self: Arc<Self>, reporter: Reporter, contacts: Vec<SocketAddr>) {
        let tracker = TaskTracker::new();
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = reporter.run(self.log.clone()) => {}
            () = self.keep_lines(&tracker) => {}
            () = self.greet(contacts) => {}
        }
        // Whoever still sends finds no line; the log's end of each is gone.
        self.switch.set(BTreeMap::new());
        tracker.close();
        tracker.wait().await;
    }

    /// Resolves when this master has no place among the others: with a sentence for people.
    pub(crate) async fn dismissed(&self) -> String {
        let mut dismissed = self.dismissed.subscribe();
        match dismissed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// One line for each other master, as they come and go.
    async fn keep_lines(self: &Arc<Self>, tracker: &TaskTracker) {
        let mut lines: BTreeMap<u64, (Arc<Line>, CancellationToken)> = BTreeMap::new();
        loop {
            let wanted = self.others();
            self.seats.expel(|id| self.is_gone(id));
            if !lines.keys().eq(wanted.iter()) {
                lines.retain(|id, (_, close)| {
                    let stays = wanted.contains(id);
                    if !stays {
                        close.cancel();
                    }
                    stays
                });
                for id in wanted {
                    lines.entry(id).or_insert_with(|| self.connect(id, tracker));
                }
                self.switch.set(lines.iter().map(|(id, (line, _))| (*id, line.clone())).collect());
            }
            if self.is_gone(self.own.id) {
                self.refused(&Refusal::Removed);
            }
            let _ = tokio::time::timeout(LOOK_EVERY, self.book.news()).await;
        }
    }

    fn connect(self: &Arc<Self>, id: u64, tracker: &TaskTracker) -> (Arc<Line>, CancellationToken) {
        let (line, outlet, snapshot_queue) = Line::new(id, self.switch.reports.clone());
        let close = self.shutdown.child_token();
        tracker.spawn(link::run(self.clone(), id, outlet, close.clone()));
        tracker.spawn(snapshots::run(self.clone(), id, snapshot_queue, close.clone()));
        (line, close)
    }

    /// Every other master that there is, by its own word, the state's, or the log's.
    fn others(&self) -> BTreeSet<u64> {
        let members = self.log.status().borrow().members.clone();
        let state = self.cluster.state();
        let mut others: BTreeSet<u64> = state.masters.keys().map(|id| id.0).collect();
        others.extend(members.voters.iter().chain(&members.outgoing).chain(&members.learners));
        others.extend(self.book.all().into_keys());
        others.retain(|id| *id != self.own.id && !admit::was_removed(*id, &state, &members));
        others
    }

    fn is_gone(&self, id: u64) -> bool {
        admit::was_removed(id, &self.cluster.state(), &self.log.status().borrow().members)
    }

    /// Another master does not let this one in.
    fn refused(&self, refusal: &Refusal) {
        if *refusal == Refusal::Removed {
            self.dismiss(
                "it was removed from the cluster. To take part again it joins as new: empty its data directory, \
                 and start it with --join",
            );
        }
    }

    fn dismiss(&self, why: &str) {
        self.dismissed
            .send_if_modified(|reason| reason.is_none().then(|| *reason = Some(why.to_owned())).is_some());
    }

    fn introduction(&self, to: Option<u64>) -> Introduction {
        Introduction { group: self.own.group, from: self.own.id, to, info: self.info.clone() }
    }

    /// Where a master is: by its own last word, or by the state's when that leads nowhere.
    fn address(&self, id: u64, attempt: usize) -> Option<SocketAddr> {
        let heard = self.book.all().get(&id).map(|info| info.rpc);
        let known = self.cluster.state().masters.get(&MasterId(id)).map(|entry| entry.info.rpc);
        let (first, second) = if attempt.is_multiple_of(2) { (heard, known) } else { (known, heard) };
        first.or(second)
    }
}
