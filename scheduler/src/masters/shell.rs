//! Serves what is asked about masters, and carries the plan out while this master leads.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::plan::{self, Memory, Step};
use super::slow::HandOver;
use super::{Masters, NotDone, roster, rules};
use crate::clock;
use crate::cluster::{AskError, MastersError, MastersRequest};
use crate::consensus::{MemberChange, ProposeError};
use crate::peers::Peers;

/// How often the leader looks at the masters.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Changes of the masters that may wait; each takes a few round trips.
const CHANGES_MAX: usize = 16;
/// Readers that wait for a majority to confirm that this master leads; they share one answer.
const READERS_MAX: usize = 8192;
/// A read that no majority confirms by then is not confirmed.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a leader that removes itself asks its successor to do so.
const LEAVE_PATIENCE: Duration = Duration::from_secs(10);
/// A new leader has not heard of the others yet, and takes them to be away: it is asked again for so long.
const ACQUAINTANCE: Duration = Duration::from_secs(2);
const LEAVE_PAUSE: Duration = Duration::from_millis(100);

type Reader = oneshot::Sender<Result<(), AskError>>;
type Answer = oneshot::Sender<Result<(), MastersError>>;

/// Serves requests until `shutdown`.
pub(crate) async fn serve(
    masters: Arc<Masters>,
    peers: Arc<Peers>,
    requests: mpsc::Receiver<MastersRequest>,
    shutdown: CancellationToken,
) {
    let (readers, reader_queue) = mpsc::channel(READERS_MAX);
    let (changes, change_queue) = mpsc::channel(CHANGES_MAX);
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = sort(&masters, requests, &readers, &changes) => {}
        () = confirm_reads(&masters, reader_queue) => {}
        () = make_changes(&masters, &peers, change_queue) => {}
        () = tidy(&masters) => {}
    }
}

/// What takes long must not hold up the rest.
async fn sort(
    masters: &Masters,
    mut requests: mpsc::Receiver<MastersRequest>,
    readers: &mpsc::Sender<Reader>,
    changes: &mpsc::Sender<MastersRequest>,
) {
    while let Some(request) = requests.recv().await {
        match request {
            MastersRequest::Current(reader) => {
                if let Err(error) = readers.try_send(reader) {
                    let _ = error.into_inner().send(Err(AskError::Busy));
                }
            }
            MastersRequest::List(answer) => drop(answer.send(Ok(masters.view(roster::roster)))),
            change => {
                if let Err(error) = changes.try_send(change)
                    && let MastersRequest::Remove { answer, .. } | MastersRequest::Transfer { answer, .. } =
                        error.into_inner()
                {
                    let _ = answer.send(Err(AskError::Busy.into()));
                }
            }
        }
    }
}

/// One question to the majority answers all who waited when it was asked.
async fn confirm_reads(masters: &Masters, mut queue: mpsc::Receiver<Reader>) {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, READERS_MAX).await > 0 {
        let confirmed = match timeout(READ_TIMEOUT, masters.log.read_index()).await {
            Ok(outcome) => outcome.map_err(|error| read_error(&error)),
            Err(_) => Err(AskError::TimedOut),
        };
        for reader in waiting.drain(..) {
            let _ = reader.send(confirmed.clone());
        }
    }
}

/// A read that was not confirmed did nothing.
fn read_error(error: &ProposeError) -> AskError {
    match error {
        ProposeError::Busy => AskError::Busy,
        ProposeError::Stopped => AskError::Closed,
        _ => AskError::NotLeader,
    }
}

/// One after the other.
async fn make_changes(masters: &Masters, peers: &Peers, mut queue: mpsc::Receiver<MastersRequest>) {
    while let Some(request) = queue.recv().await {
        match request {
            MastersRequest::Remove { id, answer } => {
                if masters.view(|view| view.entry(id.0).is_none() && !view.is_member(id.0)) {
                    let _ = answer.send(Err(MastersError::Unknown(id)));
                } else {
                    reply(answer, remove(masters, peers, id.0).await);
                }
            }
            MastersRequest::Transfer { to, answer } => match to {
                Some(id) if masters.view(|view| view.entry(id.0).is_none() && !view.is_member(id.0)) => {
                    let _ = answer.send(Err(MastersError::Unknown(id)));
                }
                to => reply(answer, masters.transfer(to.map(|id| id.0)).await),
            },
            MastersRequest::Current(_) | MastersRequest::List(_) => {}
        }
    }
}

fn reply(answer: Answer, done: Result<(), NotDone>) {
    let _ = answer.send(done.map_err(|not_done| match not_done {
        NotDone::NotLeader => AskError::NotLeader.into(),
        NotDone::Later => AskError::TimedOut.into(),
        NotDone::Refused(reason) => MastersError::Refused(reason),
    }));
}

/// Any master, also this one: then it first hands over, and asks its successor to remove it.
async fn remove(masters: &Masters, peers: &Peers, id: u64) -> Result<(), NotDone> {
    masters.must_lead()?;
    if id != masters.own {
        return masters.leave(id).await;
    }
    masters.judge(|view| rules::may_leave(view, id)).await?;
    masters.transfer(None).await?;
    let (deadline, acquainted) = (Instant::now() + LEAVE_PATIENCE, Instant::now() + ACQUAINTANCE);
    loop {
        match peers.leave().await {
            Ok(()) => return Ok(()),
            Err(Some(reason)) if Instant::now() > acquainted => return Err(NotDone::Refused(reason)),
            Err(Some(_)) => sleep(LEAVE_PAUSE).await,
            Err(None) if Instant::now() > deadline => return Err(NotDone::Later),
            Err(None) => sleep(LEAVE_PAUSE).await,
        }
    }
}

/// Looks after the masters whenever this one leads.
pub(super) async fn tidy(masters: &Masters) {
    let mut leadership = masters.cluster.leadership();
    while leadership.wait_for(|now| now.leading).await.is_ok() {
        let mut memory = Memory::default();
        while leadership.borrow_and_update().leading {
            let steps = masters.view(|view| plan::plan(view, &mut memory, clock::now()));
            for step in steps {
                if let Err(error) = carry_out(masters, step.clone()).await {
                    warn!(?step, ?error, "not done about the masters; trying again");
                    break;
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

fn tell(masters: &Masters, change: MemberChange) {
    let name = |id| masters.view(|view| view.name(id));
    match change {
        MemberChange::Promote { id, replacing: None } => info!(master = name(id), id, "a master votes now"),
        MemberChange::Promote { id, replacing: Some(former) } => {
            info!(master = name(id), id, former, "a master votes now, in the place of the former one");
        }
        MemberChange::AddLearner(id) => info!(master = name(id), id, "a master is added"),
        MemberChange::Remove(id) => info!(master = name(id), id, "a master is taken out"),
    }
}

async fn carry_out(masters: &Masters, step: Step) -> Result<(), NotDone> {
    match step {
        Step::Ask(command) => drop(masters.cluster.ask(command).await?),
        Step::Change(change) => {
            masters.change(change).await?;
            tell(masters, change);
        }
        Step::HandOver(HandOver { to, commit }) => {
            let successor = masters.view(|view| view.name(to));
            let millis = commit.as_millis();
            warn!(
                "the disk of this master takes {millis} ms to sync, so {successor} is to lead: look at the disk"
            );
            masters.transfer(Some(to)).await?;
        }
    }
    Ok(())
}
