//! The tables of `raft.redb` and how their records are read and written. Damage is told from I/O errors:
//! the outer error is redb's, the inner one says which record cannot be trusted.

use protobuf::Message as _;
use raft::eraftpb::{HardState, SnapshotMetadata};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use uuid::Uuid;

use super::log::Extent;
use super::outline::{Outline, Position};
use super::record::{seal, unseal};
use super::{Adopted, Identity, Received};

/// Grows whenever an older program could misread the file. Older ones are read and become this one: see
/// [`super::convert`].
pub(super) const FORMAT: u32 = 4;
pub(super) const FORMAT_OLDEST: u32 = 1;

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
    let extent = bytes.as_deref().and_then(extent_of);
    Ok(extent.ok_or_else(|| format!("record `{}` is damaged", key::EXTENT)))
}

fn extent_of(bytes: &[u8]) -> Option<Extent> {
    let (numbers, state) = bytes.split_first_chunk::<24>()?;
    let number = |at: usize| Some(u64::from_le_bytes(*numbers.get(at..)?.first_chunk()?));
    let (first, newest, from) = (number(0)?, number(8)?, number(16)?);
    let state = HardState::parse_from_bytes(state).ok()?;
    (first <= newest).then_some(Extent { first, newest, from, state })
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
    let (pieces, meta) = snapshot_of(&snapshot?)?;
    let stage = stage.transpose()?.map_or(Ok(meta.index), |stage| stage.try_into().map(u64::from_le_bytes));
    let stage = stage.map_err(|_| "the snapshot's record is damaged")?;
    Ok(Outline::new(base, HardState::default(), meta, (stage, pieces)))
}

/// The number of the snapshot's pieces, and what it is of.
fn snapshot_of(record: &[u8]) -> Result<(u32, SnapshotMetadata), Damage> {
    let (pieces, meta) = record.split_first_chunk().ok_or("the snapshot's record is damaged")?;
    let meta = SnapshotMetadata::parse_from_bytes(meta).map_err(|_| "the snapshot's record is damaged")?;
    Ok((u32::from_le_bytes(*pieces), meta))
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

/// A snapshot from the leader: it is the current one, and the log begins after it.
pub(super) fn receive(
    transaction: &WriteTransaction,
    received: &Received,
    extent: &Extent,
) -> Result<(), Failure> {
    let Received { meta, stage, pieces } = received;
    write_snapshot(transaction, meta, (*stage, *pieces))?;
    write_meta(transaction, key::BASE, &base_bytes(Position { index: meta.index, term: meta.term }))?;
    write_extent(transaction, extent)
}

/// A snapshot of our own becomes the current one, and the log begins with the segment `first`. `false`: another one
/// that is as new is there already.
pub(super) fn adopt(db: &Database, own: &Adopted, first: u64) -> Result<bool, Failure> {
    let transaction = db.begin_write()?;
    if snapshot_index(&transaction)? >= own.meta.index {
        return Ok(false);
    }
    write_snapshot(&transaction, &own.meta, (own.stage, own.pieces))?;
    write_meta(&transaction, key::BASE, &base_bytes(own.base))?;
    let extent = written_extent(&transaction)?;
    write_extent(&transaction, &Extent { first, ..extent })?;
    transaction.commit()?;
    Ok(true)
}

/// Takes down which segment is the newest. The oldest one may have changed meanwhile.
pub(super) fn write_newest(transaction: &WriteTransaction, newest: u64) -> Result<(), Failure> {
    let extent = written_extent(transaction)?;
    write_extent(transaction, &Extent { newest, ..extent })
}

fn written_extent(transaction: &WriteTransaction) -> Result<Extent, Failure> {
    let bytes = written_meta(transaction, key::EXTENT)?;
    bytes.as_deref().and_then(extent_of).ok_or_else(|| damaged_now(key::EXTENT))
}

fn snapshot_index(transaction: &WriteTransaction) -> Result<u64, Failure> {
    let bytes = written_meta(transaction, key::SNAPSHOT)?;
    let found = bytes.and_then(|bytes| snapshot_of(&bytes).ok());
    Ok(found.ok_or_else(|| damaged_now(key::SNAPSHOT))?.1.index)
}

/// A record that was whole when the log was opened.
fn damaged_now(name: &str) -> Failure {
    Failure(Box::new(redb::Error::Corrupted(format!("record `{name}` is damaged"))))
}

/// The hard state that a log begins with.
pub(super) fn first_state(meta: &SnapshotMetadata) -> HardState {
    HardState { term: meta.term, commit: meta.index, ..HardState::default() }
}

/// All records of a new log that begins with `first` and whose only segment, `extent`, holds nothing.
pub(super) fn write_first(
    db: &Database,
    identity: &Identity,
    first: &Received,
    extent: &Extent,
) -> Result<(), Failure> {
    let transaction = db.begin_write()?;
    write_meta(&transaction, key::FORMAT, &FORMAT.to_le_bytes())?;
    write_meta(&transaction, key::NAME, identity.name.as_bytes())?;
    write_meta(&transaction, key::ID, &identity.id.to_le_bytes())?;
    write_meta(&transaction, key::GROUP, identity.group.as_bytes())?;
    receive(&transaction, first, extent)?;
    Ok(transaction.commit()?)
}

fn write_snapshot(
    transaction: &WriteTransaction,
    meta: &SnapshotMetadata,
    (stage, pieces): (u64, u32),
) -> Result<(), Failure> {
    let mut record = pieces.to_le_bytes().to_vec();
    record.extend_from_slice(&encode(meta));
    write_meta(transaction, key::SNAPSHOT, &record)?;
    write_meta(transaction, key::STAGE, &stage.to_le_bytes())
}

pub(super) fn read_meta(transaction: &ReadTransaction, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    meta_in(&transaction.open_table(META)?, name)
}

/// As it is in the transaction that is to change it.
fn written_meta(transaction: &WriteTransaction, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    meta_in(&transaction.open_table(META)?, name)
}

fn meta_in(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<Vec<u8>>, Failure> {
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
