//! The connection to one other master that this one dials: for raft's messages, as long as the other is a
//! member. Comes again by itself. The log writes to it through a `line`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Peers;
use super::channel::{Channel, REPLY_TIMEOUT, Reader};
use super::line::Outlet;
use super::wire::{self, Opening, Purpose, Refusal, Reply};
use crate::consensus::Sent;

/// Pauses between attempts: the first, and the longest. Shorter by chance by up to a half.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A connection that stood for as long was a good one.
const GOOD: Duration = Duration::from_secs(5);

/// Why a connection ended or did not come about.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("its address is not known yet")]
    Nowhere,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("it answered something else")]
    OutOfTurn,
}

/// Keeps the master `to` connected until `close`.
pub(super) async fn run(peers: Arc<Peers>, to: u64, outlet: Outlet, close: CancellationToken) {
    let (mut pause, mut attempt, mut told) = (PAUSE_FIRST, 0, String::new());
    loop {
        let began = Instant::now();
        let ended = tokio::select! {
            () = close.cancelled() => return,
            ended = connect(&peers, to, attempt, &outlet, &mut told) => ended,
        };
        outlet.connected(None);
        peers.switch.reports.tell(to, Sent::Unreachable);
        let Err(error) = ended else { continue };
        mention(to, &error, &mut told);
        if let LinkError::Refused(refusal) = error {
            peers.refused(&refusal);
        }
        attempt += 1;
        pause = if began.elapsed() >= GOOD { PAUSE_FIRST } else { (pause * 2).min(PAUSE_MAX) };
        tokio::select! {
            () = close.cancelled() => return,
            () = tokio::time::sleep(pause.mul_f64(0.5 + 0.5 * fastrand::f64())) => {}
        }
    }
}

/// The same again is no news.
fn mention(to: u64, error: &LinkError, told: &mut String) {
    let text = error.to_string();
    match error {
        _ if *told == text => debug!(to, %error, "another master is still away"),
        LinkError::Refused(_) => warn!(to, %error, "another master refuses this one"),
        // What it was first is news; that it is still away is not.
        _ if !told.is_empty() => debug!(to, %error, "another master is still away"),
        _ => info!(to, %error, "no connection to another master"),
    }
    *told = text;
}

async fn connect(
    peers: &Arc<Peers>,
    to: u64,
    attempt: usize,
    outlet: &Outlet,
    told: &mut String,
) -> Result<(), LinkError> {
    let address = peers.address(to, attempt).ok_or(LinkError::Nowhere)?;
    let channel = open(peers, to, address, Purpose::Messages).await?;
    info!(to, %address, "connected to another master");
    told.clear();
    let Channel { mut reader, writer } = channel;
    outlet.connected(Some(writer.into_half()));
    tokio::select! {
        ended = last_word(&mut reader) => ended,
        ended = outlet.drain() => ended.map_err(Into::into),
    }
}

/// Opens a connection to the master `to`, for messages or a snapshot.
pub(super) async fn open(
    peers: &Arc<Peers>,
    to: u64,
    address: SocketAddr,
    purpose: Purpose,
) -> Result<Channel, LinkError> {
    let opening = Opening::Member { who: peers.introduction(Some(to)), purpose };
    let (channel, reply) = Channel::open(address, &opening, REPLY_TIMEOUT).await?;
    match reply {
        Reply::Welcome { id, info } if id == to => peers.book.note(id, info),
        Reply::Refused(refusal) => return Err(refusal.into()),
        _ => return Err(LinkError::OutOfTurn),
    }
    Ok(channel)
}

/// The other side only speaks again to say why it goes.
async fn last_word(reader: &mut Reader) -> Result<(), LinkError> {
    match reader.next().await? {
        None => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
        Some(frame) => match wire::read_reply(&frame)? {
            Reply::Refused(refusal) => Err(refusal.into()),
            _ => Err(LinkError::OutOfTurn),
        },
    }
}
