//! The tables of `raft.redb` and how their records are read and written. Damage is told from I/O errors:
//! the outer error is redb's, the inner one says which record cannot be trusted.

use protobuf::Message as _;
use raft::eraftpb::{HardState, SnapshotMetadata};
use redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};
use uuid::Uuid;

use super::log::Extent;
use super::outline::{Outline, Position};
use super::record::{seal, unseal};
use super::{First, Identity, SnapshotWrite, StoreError, Write};

/// Grows whenever an older program could misread the file. Older ones are read and become this one: see
/// [`super::convert`].
pub(super) const FORMAT: u32 = 3;
pub(super) const FORMAT_OLDEST: u32 = 1;

pub(super) const PIECES: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("snapshot");
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

/// Any of redb's errors, in a box: it is large and rare.
#[derive(Debug)]
pub(super) struct Failure(pub(super) Box<redb::Error>);

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure(Box::new(error.into()))
    }
}

/// A record that cannot be trusted.
pub(super) type Damage = String;

/// Keys of the `meta` table.
pub(super) mod key {
    pub const FORMAT: &str = "format";
    pub const NAME: &str = "name";
    pub const ID: &str = "id";
    pub const GROUP: &str = "group";
    pub const BASE: &str = "base";
    pub const SNAPSHOT: &str = "snapshot";
    pub const STAGE: &str = "stage";
    pub const EXTENT: &str = "segments";
}

/// The format version, before anything else is believed. `None`: absent or damaged.
pub(super) fn read_format(db: &Database) -> Result<Option<u32>, Failure> {
    let transaction = db.begin_read()?;
    let Some(bytes) = read_meta(&transaction, key::FORMAT)? else {
        return Ok(None);
    };
    Ok(bytes.as_slice().try_into().ok().map(u32::from_le_bytes))
}

/// Reads whose log it is, and what is known of it without its entries. `staged`: of a format that records the
/// snapshot's stage.
pub(super) fn read_head(db: &Database, staged: bool) -> Result<Result<(Identity, Outline), Damage>, Failure> {
    let transaction = db.begin_read()?;
    let meta = |name: &'static str| {
        let found = read_meta(&transaction, name)?;
        Ok::<_, Failure>(found.ok_or_else(|| format!("record `{name}` is damaged")))
    };
    let identity = identity(meta(key::NAME)?, meta(key::ID)?, meta(key::GROUP)?);
    let stage = if staged { Some(meta(key::STAGE)?) } else { None };
    let outline = outline(meta(key::BASE)?, meta(key::SNAPSHOT)?, stage);
    Ok(identity.and_then(|identity| Ok((identity, outline?))))
}

/// Which segments hold the entries.
pub(super) fn read_extent(db: &Database) -> Result<Result<Extent, Damage>, Failure> {
    let bytes = read_meta(&db.begin_read()?, key::EXTENT)?;
    let extent = bytes.and_then(|bytes| {
        let (numbers, state) = bytes.split_first_chunk::<24>()?;
        let number = |at: usize| Some(u64::from_le_bytes(*numbers.get(at..)?.first_chunk()?));
        let (first, newest, from) = (number(0)?, number(8)?, number(16)?);
        let state = HardState::parse_from_bytes(state).ok()?;
        (first <= newest).then_some(Extent { first, newest, from, state })
    });
    Ok(extent.ok_or_else(|| format!("record `{}` is damaged", key::EXTENT)))
}

/// Takes down which segments hold the entries.
pub(super) fn write_extent(transaction: &WriteTransaction, extent: &Extent) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    for number in [extent.first, extent.newest, extent.from] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&encode(&extent.state));
    write_meta(transaction, key::EXTENT, &bytes)
}

fn identity(
    name: Result<Vec<u8>, Damage>,
    id: Result<Vec<u8>, Damage>,
    group: Result<Vec<u8>, Damage>,
) -> Result<Identity, Damage> {
    let name = String::from_utf8(name?).map_err(|_| "the master's name is damaged")?;
    let id = id?.try_into().map(u64::from_le_bytes).map_err(|_| "the master's id is damaged")?;
    let group = Uuid::from_slice(&group?).map_err(|_| "the cluster's id is damaged")?;
    Ok(Identity { name, id, group })
}

fn outline(
    base: Result<Vec<u8>, Damage>,
    snapshot: Result<Vec<u8>, Damage>,
    stage: Option<Result<Vec<u8>, Damage>>,
) -> Result<Outline, Damage> {
    let base: [u8; 16] = base?.try_into().map_err(|_| "the begin of the log is damaged")?;
    let (index, term) = base.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let base = Position { index: number(index), term: number(term) };
    let snapshot = snapshot?;
    let (pieces, meta) = snapshot.split_first_chunk().ok_or("the snapshot's record is damaged")?;
    let meta = SnapshotMetadata::parse_from_bytes(meta).map_err(|_| "the snapshot's record is damaged")?;
    let stage = stage.transpose()?.map_or(Ok(meta.index), |stage| stage.try_into().map(u64::from_le_bytes));
    let stage = stage.map_err(|_| "the snapshot's record is damaged")?;
    Ok(Outline::new(base, HardState::default(), meta, (stage, u32::from_le_bytes(*pieces))))
}

/// What holds of every log that was written by this program.
pub(super) fn plausible(outline: &Outline) -> Result<(), Damage> {
    let (snapshot, commit) = (outline.snapshot().index, outline.hard_state().commit);
    let (base, last) = (outline.base().index, outline.last_index());
    if base <= snapshot && snapshot <= commit && commit <= last {
        return Ok(());
    }
    Err(format!("begin {base}, snapshot {snapshot}, commit {commit} and end {last} are out of order"))
}

/// One piece of a stage, out of a table that was opened for reading.
pub(super) fn read_piece(
    table: &ReadOnlyTable<(u64, u32), &'static [u8]>,
    stage: u64,
    piece: u32,
) -> Result<Result<Vec<u8>, Damage>, Failure> {
    let sealed = table.get((stage, piece))?;
    let chunk = sealed.as_ref().and_then(|sealed| unseal(&piece_key(stage, piece), sealed.value()));
    Ok(chunk.map(<[u8]>::to_vec).ok_or_else(|| format!("piece {piece} of the snapshot is damaged")))
}

/// The pieces of all stages, as they are now.
pub(super) fn open_pieces(db: &Database) -> Result<ReadOnlyTable<(u64, u32), &'static [u8]>, Failure> {
    Ok(db.begin_read()?.open_table(PIECES)?)
}

/// Whether a stage has exactly so many pieces. They are written in order.
pub(super) fn has_pieces(db: &Database, stage: u64, pieces: u32) -> Result<bool, Failure> {
    let table = open_pieces(db)?;
    let last = table.range((stage, 0)..=(stage, u32::MAX))?.next_back().transpose()?;
    Ok(last.map_or(0, |(key, _)| key.value().1 + 1) == pieces)
}

/// Removes the pieces of snapshots that were never finished.
pub(super) fn tidy(db: &Database, current: u64) -> Result<(), Failure> {
    let table = open_pieces(db)?;
    let first = table.first()?.map(|(key, _)| key.value().0);
    let last = table.last()?.map(|(key, _)| key.value().0);
    if first.is_none_or(|first| first == current) && last.is_none_or(|last| last == current) {
        return Ok(());
    }
    let transaction = db.begin_write()?;
    transaction.open_table(PIECES)?.retain(|(stage, _), _| stage == current)?;
    Ok(transaction.commit()?)
}

/// Removes the pieces of one stage, some at a time: another write waits for each transaction.
pub(super) fn remove_stage(db: &Database, stage: u64) -> Result<(), Failure> {
    loop {
        let transaction = db.begin_write()?;
        let mut left = REMOVED_AT_ONCE;
        transaction.open_table(PIECES)?.retain_in((stage, 0)..=(stage, u32::MAX), |_, _| {
            let keep = left == 0;
            left = left.saturating_sub(1);
            keep
        })?;
        transaction.commit()?;
        if left > 0 {
            return Ok(());
        }
    }
}

/// What of a write is kept here: the snapshot, where the log begins, which segments are needed. `before` is the
/// log as it stands.
pub(super) fn write(
    transaction: &WriteTransaction,
    before: &Outline,
    write: &Write,
    extent: &Extent,
) -> Result<(), Failure> {
    if let Some(snapshot) = &write.snapshot {
        write_snapshot(transaction, snapshot)?;
    }
    write_meta(transaction, key::BASE, &base_bytes(before.base_after(write)))?;
    write_extent(transaction, extent)
}

/// Pieces that one transaction removes.
const REMOVED_AT_ONCE: u32 = 8;

/// Stage of the snapshot that a log begins with.
const FIRST_STAGE: u64 = 1;

/// The hard state that a log begins with.
pub(super) fn first_state(meta: &SnapshotMetadata) -> HardState {
    HardState { term: meta.term, commit: meta.index, ..HardState::default() }
}

/// All records of a new log whose only segment, `extent`, holds nothing. A transaction for each piece: they may
/// be many.
pub(super) fn write_first(
    db: &Database,
    identity: &Identity,
    first: First<'_>,
    extent: &Extent,
) -> Result<Result<(), StoreError>, Failure> {
    let mut pieces = 0;
    for chunk in first.chunks {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => return Ok(Err(StoreError::Source(error))),
        };
        let transaction = db.begin_write()?;
        write_piece(&transaction, FIRST_STAGE, pieces, &chunk)?;
        transaction.commit()?;
        pieces += 1;
    }
    let transaction = db.begin_write()?;
    transaction.open_table(PIECES)?;
    write_meta(&transaction, key::FORMAT, &FORMAT.to_le_bytes())?;
    write_meta(&transaction, key::NAME, identity.name.as_bytes())?;
    write_meta(&transaction, key::ID, &identity.id.to_le_bytes())?;
    write_meta(&transaction, key::GROUP, identity.group.as_bytes())?;
    let snapshot = Some(SnapshotWrite::Received { meta: first.meta, stage: FIRST_STAGE, pieces });
    write(&transaction, &Outline::default(), &Write { snapshot, ..Write::default() }, extent)?;
    Ok(Ok(transaction.commit()?))
}

/// The pieces of the one before it stay: see [`remove_stage`].
fn write_snapshot(transaction: &WriteTransaction, snapshot: &SnapshotWrite) -> Result<(), Failure> {
    let (stage, pieces) = snapshot.stage();
    let mut record = pieces.to_le_bytes().to_vec();
    record.extend_from_slice(&encode(snapshot.meta()));
    write_meta(transaction, key::SNAPSHOT, &record)?;
    write_meta(transaction, key::STAGE, &stage.to_le_bytes())
}

/// One piece of a stage.
pub(super) fn write_piece(
    transaction: &WriteTransaction,
    stage: u64,
    piece: u32,
    chunk: &[u8],
) -> Result<(), Failure> {
    let mut pieces = transaction.open_table(PIECES)?;
    let sealed = seal(&piece_key(stage, piece), chunk);
    pieces.insert((stage, piece), sealed.as_slice())?;
    Ok(())
}

pub(super) fn read_meta(transaction: &ReadTransaction, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    let table = transaction.open_table(META)?;
    let sealed = table.get(name)?;
    Ok(sealed.and_then(|sealed| unseal(name.as_bytes(), sealed.value()).map(<[u8]>::to_vec)))
}

pub(super) fn write_meta(transaction: &WriteTransaction, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    let mut table = transaction.open_table(META)?;
    table.insert(name, seal(name.as_bytes(), bytes).as_slice())?;
    Ok(())
}

fn encode(message: &impl protobuf::Message) -> Vec<u8> {
    message.write_to_bytes().expect("raft's messages have no required fields, so encoding cannot fail")
}

fn base_bytes(base: Position) -> [u8; 16] {
    (u128::from(base.term) << 64 | u128::from(base.index)).to_le_bytes()
}

fn piece_key(stage: u64, piece: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&stage.to_le_bytes());
    key[8..].copy_from_slice(&piece.to_le_bytes());
    key
}
