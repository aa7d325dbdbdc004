//! Becoming a master of a cluster that there is, before this one has a log: asks until it is given a number.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::info;
use uuid::Uuid;

use super::channel::Channel;
use super::wire::{Opening, Refusal, Reply};
use crate::state::MasterInfo;

/// The leader changes the group before it answers.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(500);
/// Rounds between two lines in the log.
const SAY_EVERY: u32 = 10;
/// In the data directory, while there is no log yet.
const TICKET_FILE: &str = "join-ticket";

/// Why a master could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// There is nobody to ask.
    #[error("--join needs the --rpc address of at least one master")]
    Nobody,
    /// A person has to do something about it.
    #[error("{address} does not let this master join: {reason}")]
    Refused {
        /// Who said so.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// The data directory.
    #[error("cannot keep the join ticket {}: {source}", path.display())]
    Ticket {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A place in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) id: u64,
    pub(crate) group: Uuid,
}

/// Asks the masters at `addresses` for a place in their cluster until one gives it, or refuses.
pub(crate) async fn join(
    data_dir: &Path,
    info: &MasterInfo,
    addresses: &[SocketAddr],
) -> Result<Joined, JoinError> {
    let opening = Opening::Join { ticket: ticket(data_dir)?, info: info.clone() };
    if addresses.is_empty() {
        return Err(JoinError::Nobody);
    }
    let mut rounds = 0;
    loop {
        let mut last = String::new();
        for &address in addresses {
            match ask(address, &opening).await? {
                Ok(joined) => return Ok(joined),
                Err(why_not) => last = format!("{address}: {why_not}"),
            }
        }
        if rounds % SAY_EVERY == 0 {
            info!(last, "waiting to be let into the cluster");
        }
        rounds += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// One master, and the leader that it may name. The inner error says why to ask again.
async fn ask(first: SocketAddr, opening: &Opening) -> Result<Result<Joined, String>, JoinError> {
    let mut address = first;
    // Leaders change, but not while one asks.
    for _ in 0..2 {
        match Channel::open(address, opening, PATIENCE).await {
            Ok((_, Reply::Joined { id, group })) => {
                info!(%address, id, "let into the cluster");
                return Ok(Ok(Joined { id, group }));
            }
            Ok((_, Reply::Elsewhere(leader))) => address = leader,
            Ok((_, Reply::Refused(refusal))) => return Err(refused(address, refusal)),
            Ok((_, Reply::Later)) => return Ok(Err("the cluster has no leader now".to_owned())),
            Ok(_) => return Ok(Err("it answered something else".to_owned())),
            Err(error) => return Ok(Err(error.to_string())),
        }
    }
    Ok(Err("the leader is not where it was said to be".to_owned()))
}

fn refused(address: SocketAddr, refusal: Refusal) -> JoinError {
    JoinError::Refused { address, reason: refusal.to_string() }
}

/// The ticket of this attempt to join: on disk before it is used, so that a master that crashes while it joins
/// is given the same number again.
fn ticket(dir: &Path) -> Result<Uuid, JoinError> {
    let path = dir.join(TICKET_FILE);
    let kept = || match std::fs::read_to_string(&path) {
        Ok(text) => Uuid::parse_str(text.trim()).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let ticket = Uuid::new_v4();
            std::fs::create_dir_all(dir)?;
            write_whole(dir, &path, &ticket.to_string())?;
            Ok(ticket)
        }
        Err(error) => Err(error),
    };
    kept().map_err(|source| JoinError::Ticket { path: path.clone(), source })
}

/// There is a log now: a ticket that outlived it would bring back a member that has forgotten its votes.
pub(crate) fn forget_ticket(dir: &Path) -> Result<(), JoinError> {
    let path = dir.join(TICKET_FILE);
    match std::fs::remove_file(&path).and_then(|()| sync(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(JoinError::Ticket { path, source: error })
        }
        _ => Ok(()),
    }
}

/// All of it or nothing, also after a power cut.
fn write_whole(dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    let draft = path.with_extension("new");
    let mut file = std::fs::File::create(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    sync(dir)
}

fn sync(dir: &Path) -> io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_kept_until_it_has_been_used() {
        let scratch = tempfile::tempdir().unwrap();
        // Nobody has made it yet.
        let dir = &scratch.path().join("m2");
        let first = ticket(dir).unwrap();
        assert_eq!(ticket(dir).unwrap(), first);
        forget_ticket(dir).unwrap();
        forget_ticket(dir).unwrap();
        assert_ne!(ticket(dir).unwrap(), first);
        std::fs::write(dir.join(TICKET_FILE), "nonsense").unwrap();
        assert!(matches!(ticket(dir), Err(JoinError::Ticket { .. })));
    }
}
