//! Logs of formats 1 to 3, which kept the pieces of snapshots in a table of `raft.redb`, and of formats 1 and 2, which
//! kept entries and hard state there as well: how they are read, and how they become logs of the present format. Until
//! the one transaction at the end the old format is in force; what was written before a crash is written again.

use protobuf::Message as _;
use raft::eraftpb::{Entry, HardState};
use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition};

use super::database::RaftFile;
use super::log::{Extent, Folder, Journal, Sizes, is_log_file};
use super::outline::Outline;
use super::pieces::write_stage;
use super::record::unseal;
use super::tables::{self, Damage, Failure, key};
use super::{Identity, StoreError};

/// The entries, by their index.
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const HARD_STATE: &str = "hard state";
/// The pieces of all stages, by stage and number.
const PIECES: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("snapshot");
/// Format 1 had no record of the snapshot's stage: it was the snapshot's index.
const WITHOUT_STAGE: u32 = 1;
/// Formats up to this one had no segments.
const WITHOUT_SEGMENTS: u32 = 2;

/// Where segments begin to be counted.
const FIRST_SEGMENT: u64 = 1;
/// Bytes of entries in a frame, if there is more than one.
const FRAME_BYTES_MAX: u64 = 1 << 20;

/// A log of an old format, checked.
#[derive(PartialEq)]
struct Old {
    identity: Identity,
    outline: Outline,
}

/// Makes a log of an old format one of the present format.
pub(super) fn convert(file: &RaftFile, folder: &Folder, format: u32, sizes: Sizes) -> Result<(), StoreError> {
    let read = || file.checked(|db| read(db, format));
    let old = read()?;
    file.check_pages(&old, read)?;
    let extent =
        if format <= WITHOUT_SEGMENTS { Some(copy_entries(file, folder, &old, sizes)?) } else { None };
    let stage = copy_pieces(file, folder, &old)?;
    file.guarded("write to", |db| finish(db, stage, extent.as_ref()))?;
    tracing::info!(path = %file.path().display(), format, "the log has the present format now");
    Ok(())
}

/// Reads and checks what is in `raft.redb`, except for the pieces of the snapshot.
fn read(db: &Database, format: u32) -> Result<Result<Old, Damage>, Failure> {
    let (identity, mut outline) = match tables::read_head(db, format > WITHOUT_STAGE)? {
        Ok(found) => found,
        Err(damage) => return Ok(Err(damage)),
    };
    if format > WITHOUT_SEGMENTS {
        return Ok(Ok(Old { identity, outline }));
    }
    let transaction = db.begin_read()?;
    let state = tables::read_meta(&transaction, HARD_STATE)?;
    let Some(state) = state.and_then(|bytes| HardState::parse_from_bytes(&bytes).ok()) else {
        return Ok(Err("the hard state is damaged".into()));
    };
    outline.set_hard_state(&state);
    for record in transaction.open_table(LOG)?.range::<u64>(..)? {
        let (index, value) = record?;
        match decode(index.value(), value.value()) {
            Ok(entry) if entry.index == outline.last_index() + 1 => outline.push(&entry),
            Ok(entry) => return Ok(Err(format!("entry {} has no predecessor", entry.index))),
            Err(damage) => return Ok(Err(damage)),
        }
    }
    Ok(tables::plausible(&outline).map(|()| Old { identity, outline }))
}

/// The entries from `low` on: at least one, if there is one, otherwise at most `FRAME_BYTES_MAX`.
fn read_entries(db: &Database, low: u64) -> Result<Result<Vec<Entry>, Damage>, Failure> {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    for record in db.begin_read()?.open_table(LOG)?.range(low..)? {
        let (index, value) = record?;
        let entry = match decode(index.value(), value.value()) {
            Ok(entry) => entry,
            Err(damage) => return Ok(Err(damage)),
        };
        bytes += u64::from(entry.compute_size());
        if bytes > FRAME_BYTES_MAX && !entries.is_empty() {
            break;
        }
        entries.push(entry);
    }
    Ok(Ok(entries))
}

fn decode(index: u64, sealed: &[u8]) -> Result<Entry, Damage> {
    let bytes = unseal(&index.to_le_bytes(), sealed).ok_or_else(|| format!("entry {index} is damaged"))?;
    match Entry::parse_from_bytes(bytes) {
        Ok(entry) if entry.index == index => Ok(entry),
        _ => Err(format!("entry {index} is damaged")),
    }
}

/// Writes the entries into segments. Files that are there already belong to an attempt that came to nothing.
fn copy_entries(file: &RaftFile, folder: &Folder, old: &Old, sizes: Sizes) -> Result<Extent, StoreError> {
    for name in folder.names()?.iter().filter(|name| is_log_file(name)) {
        folder.remove(name)?;
    }
    let state = old.outline.hard_state();
    let mut journal =
        Journal::found(folder.clone(), old.identity.group, FIRST_SEGMENT, state.clone(), sizes)?;
    let mut next = old.outline.first_index();
    while next <= old.outline.last_index() {
        let entries = file.checked(|db| read_entries(db, next))?;
        if !journal.encode(&entries, state) {
            journal.begin_segment(state)?;
        }
        journal.write(&entries)?;
        next += entries.len() as u64;
    }
    journal.close()?;
    Ok(journal.extent().clone())
}

/// Writes the pieces of the snapshot into a file of their own. The number of its stage stays what it was.
fn copy_pieces(file: &RaftFile, folder: &Folder, old: &Old) -> Result<u64, StoreError> {
    let (number, count) = old.outline.stage();
    let table = file.guarded("read", |db| Ok(db.begin_read()?.open_table(PIECES)?))?;
    let chunks = (0..count).map(|piece| file.checked(|_| read_piece(&table, number, piece)));
    Ok(write_stage(folder.clone(), old.identity.group, number, chunks)?.0)
}

fn read_piece(
    table: &ReadOnlyTable<(u64, u32), &'static [u8]>,
    stage: u64,
    piece: u32,
) -> Result<Result<Vec<u8>, Damage>, Failure> {
    let key = [&stage.to_le_bytes()[..], &piece.to_le_bytes()].concat();
    let sealed = table.get((stage, piece))?;
    let chunk = sealed.as_ref().and_then(|sealed| unseal(&key, sealed.value()));
    Ok(chunk.map(<[u8]>::to_vec).ok_or_else(|| format!("piece {piece} of the snapshot is damaged")))
}

/// `extent`: of the segments that were written.
fn finish(db: &Database, stage: u64, extent: Option<&Extent>) -> Result<(), Failure> {
    let transaction = db.begin_write()?;
    transaction.delete_table(PIECES)?;
    if let Some(extent) = extent {
        transaction.delete_table(LOG)?;
        transaction.open_table(tables::META)?.remove(HARD_STATE)?;
        tables::write_extent(&transaction, extent)?;
    }
    tables::write_meta(&transaction, key::STAGE, &stage.to_le_bytes())?;
    tables::write_meta(&transaction, key::FORMAT, &tables::FORMAT.to_le_bytes())?;
    Ok(transaction.commit()?)
}
