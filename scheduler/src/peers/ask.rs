//! Questions of a member to another one, each over a connection of its own: where everybody is, how far the
//! log is, and to be let go.

use std::net::SocketAddr;
use std::time::Duration;

use tracing::{debug, warn};

use super::channel::{Channel, REPLY_TIMEOUT};
use super::wire::{Opening, Purpose, Refusal, Reply};
use super::{Peers, link::LinkError};

/// The leader may have to ask a majority first, or to change the group.
const WORK_PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
const GREET_PAUSE: Duration = Duration::from_secs(1);

impl Peers {
    /// Says where this master is at every contact that is not itself, until each has answered once; then
    /// forever waits. Where all of them are of another cluster the directory is the wrong one, and this master
    /// stops; one among others may be a left-over of an earlier cluster, and stops nobody.
    pub(super) async fn greet(&self, mut contacts: Vec<SocketAddr>) {
        contacts.retain(|contact| *contact != self.info.rpc);
        let (mut strangers, all) = (0, contacts.len());
        while !contacts.is_empty() {
            let mut silent = Vec::new();
            for contact in contacts {
                match self.ask(contact, None, Purpose::Greet, REPLY_TIMEOUT).await {
                    Ok(Reply::Welcome { id, info }) if id != self.own.id => {
                        debug!(id, %contact, "became acquainted with another master");
                        self.book.note(id, info);
                    }
                    Ok(_) => {}
                    Err(LinkError::Refused(refusal)) => {
                        warn!(%contact, reason = %refusal, "a master that --join names refuses this one");
                        strangers += usize::from(matches!(refusal, Refusal::Group(_)));
                        self.refused(&refusal);
                    }
                    Err(_) => silent.push(contact),
                }
            }
            contacts = silent;
            tokio::time::sleep(GREET_PAUSE).await;
        }
        if strangers > 0 && strangers == all {
            self.dismiss(&format!(
                "its data directory is that of another cluster (group {}) than the masters that --join names: \
                 check both; to join them it needs an empty data directory",
                self.own.group
            ));
        }
        std::future::pending().await
    }

    /// Waits until this master, which does not lead, has applied all that was committed when its leader was
    /// first asked: names and apps are then answered for from what the cluster is, not from what it was.
    pub(crate) async fn caught_up(&self) {
        let commit = loop {
            if let Some(leader) = self.leader_rpc()
                && let Ok(Reply::Commit(index)) =
                    self.ask(leader, None, Purpose::Current, WORK_PATIENCE).await
            {
                break index;
            }
            tokio::time::sleep(PAUSE).await;
        };
        let mut status = self.log.status();
        if status.wait_for(|status| status.applied >= commit).await.is_err() {
            std::future::pending().await
        }
    }

    /// Asks the leader, which is another one, to take this master out of the cluster.
    pub(crate) async fn leave(&self) -> Result<(), Option<String>> {
        let leader = self.leader_rpc().ok_or(None)?;
        match self.ask(leader, None, Purpose::Leave, WORK_PATIENCE).await {
            // Asked again after it was done.
            Ok(Reply::Left) | Err(LinkError::Refused(Refusal::Removed)) => Ok(()),
            Err(LinkError::Refused(refusal)) => Err(Some(refusal.to_string())),
            _ => Err(None),
        }
    }

    async fn ask(
        &self,
        address: SocketAddr,
        to: Option<u64>,
        purpose: Purpose,
        patience: Duration,
    ) -> Result<Reply, LinkError> {
        let opening = Opening::Member { who: self.introduction(to), purpose };
        match Channel::open(address, &opening, patience).await?.1 {
            Reply::Refused(refusal) => Err(refusal.into()),
            reply => Ok(reply),
        }
    }
}
