//! What masters say to each other, as bytes: magic, then length-delimited frames. The first frame says in
//! which version who wants what ([`Opening`]), the second is the answer ([`Reply`]); what follows depends on
//! the opening. Openings and replies are `postcard` and only grow at the end; raft's messages are its own
//! protobuf.

use std::io;
use std::net::SocketAddr;

use protobuf::Message as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::consensus::Message;
use crate::state::MasterInfo;

/// First bytes of a connection between masters.
pub(crate) const MAGIC: [u8; 4] = *b"GNTM";
/// The newest version of this protocol that this release speaks, and the oldest.
pub(super) const VERSION: u16 = 1;
pub(super) const OLDEST: u16 = 1;
/// No frame of an opening or a reply is larger.
pub(super) const OPENING_BYTES_MAX: usize = 64 * 1024;
/// No other frame is larger: a raft message carries about 1 MiB of entries, of which each may be as large, and
/// so is a piece of a snapshot.
pub(super) const FRAME_BYTES_MAX: usize = 8 << 20;
/// First byte of a frame with a piece of a snapshot, and of the one after the last.
const PIECE: u8 = 0;
const END: u8 = 1;

/// What the dialer wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Opening {
    /// To become a master of the cluster.
    Join { ticket: Uuid, info: MasterInfo },
    /// Something that a member of the group may want.
    Member { who: Introduction, purpose: Purpose },
}

/// What a member wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// To send raft's messages, one a frame, until either side closes.
    Messages,
    /// To send one snapshot: a frame with raft's message, frames with pieces, one that says that it was the
    /// last; then [`Reply::Taken`] or [`Reply::Spoilt`].
    Snapshot,
    /// To become acquainted: addresses have changed, and who is where is not known.
    Greet,
    /// To be taken out of the cluster.
    Leave,
    /// To know how far the log is that a majority has.
    Current,
}

/// A member of the group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Introduction {
    /// The group.
    pub(super) group: Uuid,
    /// Who dials.
    pub(super) from: u64,
    /// Whom it means; `None`: whoever is there.
    pub(super) to: Option<u64>,
    /// How the dialer is reached.
    pub(super) info: MasterInfo,
}

/// What comes of an opening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Reply {
    /// Go on.
    Welcome { id: u64, info: MasterInfo },
    /// No, and why. Also said later, when the reason comes up.
    Refused(Refusal),
    /// The dialer is a member, under this number.
    Joined { id: u64, group: Uuid },
    /// The leader is there.
    Elsewhere(SocketAddr),
    /// There is no leader now, or it could not do it now: ask again.
    Later,
    /// The dialer is no member any more.
    Left,
    /// The index up to which the dialer has to apply the log.
    Commit(u64),
    /// The snapshot was taken.
    Taken,
    /// The snapshot was not taken.
    Spoilt,
}

/// Why somebody is sent away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it speaks versions {oldest} to {newest} of the masters' protocol: run releases that are closer")]
    Protocol { oldest: u16, newest: u16 },
    #[error("it belongs to another cluster (group {0}): check the addresses and the data directory")]
    Group(Uuid),
    #[error("this master was removed from the cluster")]
    Removed,
    #[error("it is master {0} and not the one that was dialled")]
    Addressee(u64),
    #[error("{0}")]
    Reason(String),
}

/// The magic bytes and the frame of an opening.
pub(super) fn opening(opening: &Opening) -> io::Result<Vec<u8>> {
    let mut frame = [VERSION.to_le_bytes(), OLDEST.to_le_bytes()].concat();
    frame.extend(postcard::to_allocvec(opening).map_err(invalid)?);
    let mut bytes = MAGIC.to_vec();
    put_frame(&mut bytes, &frame);
    Ok(bytes)
}

/// Reads an opening: it, and the version to speak from now on.
pub(super) fn read_opening(frame: &[u8]) -> io::Result<Result<(Opening, u16), Refusal>> {
    let (Some((newest, rest)), true) = (frame.split_first_chunk::<2>(), frame.len() >= 4) else {
        return Err(invalid("an opening that is cut short"));
    };
    let (oldest, rest) = rest.split_at(2);
    let (newest, oldest) = (u16::from_le_bytes(*newest), u16::from_le_bytes([oldest[0], oldest[1]]));
    let version = newest.min(VERSION);
    if version < OLDEST.max(oldest) {
        return Ok(Err(Refusal::Protocol { oldest: OLDEST, newest: VERSION }));
    }
    // Later versions may say more behind it.
    let (opening, _) = postcard::take_from_bytes(rest).map_err(invalid)?;
    Ok(Ok((opening, version)))
}

/// The frame of a reply, with the version that is spoken from now on.
pub(super) fn reply(reply: &Reply, version: u16) -> io::Result<Vec<u8>> {
    let mut frame = version.to_le_bytes().to_vec();
    frame.extend(postcard::to_allocvec(reply).map_err(invalid)?);
    let mut bytes = Vec::new();
    put_frame(&mut bytes, &frame);
    Ok(bytes)
}

pub(super) fn read_reply(frame: &[u8]) -> io::Result<Reply> {
    let (_version, rest) =
        frame.split_first_chunk::<2>().ok_or_else(|| invalid("a reply that is cut short"))?;
    Ok(postcard::take_from_bytes(rest).map_err(invalid)?.0)
}

/// Appends the frame of a raft message; false when it is too large for one.
pub(super) fn put_message(bytes: &mut Vec<u8>, message: &Message) -> io::Result<bool> {
    let size = message.compute_size() as usize;
    if size > FRAME_BYTES_MAX {
        return Ok(false);
    }
    bytes.extend((size as u32).to_be_bytes());
    message.write_to_vec(bytes).map_err(invalid)?;
    Ok(true)
}

/// Reads a raft message that `from` sent to `to`.
pub(super) fn read_message(frame: &[u8], from: u64, to: u64) -> io::Result<Message> {
    let message = Message::parse_from_bytes(frame).map_err(invalid)?;
    if (message.from, message.to) == (from, to) {
        Ok(message)
    } else {
        Err(invalid("a message of somebody else, or to somebody else"))
    }
}

/// The frame of one piece of a snapshot; `None`: there are no more.
pub(super) fn piece(piece: Option<&[u8]>) -> Vec<u8> {
    let (tag, piece) = piece.map_or((END, &[][..]), |piece| (PIECE, piece));
    let mut bytes = Vec::with_capacity(piece.len() + 5);
    bytes.extend((piece.len() as u32 + 1).to_be_bytes());
    bytes.push(tag);
    bytes.extend(piece);
    bytes
}

/// What [`piece`] wrote.
pub(super) fn read_piece(frame: &[u8]) -> io::Result<Option<&[u8]>> {
    match frame.split_first() {
        Some((&PIECE, piece)) => Ok(Some(piece)),
        Some((&END, [])) => Ok(None),
        _ => Err(invalid("neither a piece of a snapshot nor its end")),
    }
}

fn put_frame(bytes: &mut Vec<u8>, frame: &[u8]) {
    bytes.extend((frame.len() as u32).to_be_bytes());
    bytes.extend(frame);
}

pub(super) fn invalid(why: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}
