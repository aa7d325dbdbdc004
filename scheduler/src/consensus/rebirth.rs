//! Groups that go on from something else than their own log: from a backup, or from what one survivor holds.
//! Both are built beside and put in place at the end, so that a crash leaves all or nothing.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use protobuf::Message as _;
use raft::eraftpb::{
    ConfChange, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType, SnapshotMetadata,
};
use uuid::Uuid;

use super::node::NodeError;
use super::store::{DiskStore, First, Identity, LogStore, StoreError};
use super::{Machine, OpenError};

/// The log as `recover` found it: a directory of its own within that of the new one, in case the other masters are
/// found after all. Nothing removes it but a later `recover`.
pub const BEFORE_RECOVER: &str = "before-recover";
/// Bytes of entries in memory at once.
const READ_BYTES_MAX: u64 = 8 << 20;

/// Writes the log of a new group into `dir`, which must not exist or be empty: it begins with the state that
/// `chunks` hold, as of `index` and `term`, and with the master `name`, number `id`, as its only voter.
/// Yields the new group's id.
pub fn found_from(
    dir: &Path,
    name: &str,
    id: u64,
    index: u64,
    term: u64,
    chunks: impl IntoIterator<Item = io::Result<Vec<u8>>>,
) -> Result<Uuid, OpenError> {
    if id == raft::INVALID_ID {
        return Err(OpenError::NoId);
    }
    expect_empty(dir)?;
    let identity = Identity { name: name.to_owned(), id, group: Uuid::new_v4() };
    let first = First { meta: alone(id, index.max(1), term.max(1)), chunks: Box::new(chunks.into_iter()) };
    let store = DiskStore::create(dir, &identity, first)?;
    if store.identity() == &identity { Ok(identity.group) } else { Err(OpenError::NotEmpty(dir.to_owned())) }
}

fn expect_empty(dir: &Path) -> Result<(), OpenError> {
    let not_empty = || OpenError::NotEmpty(dir.to_owned());
    let failed = |source| StoreError::Io { action: "read", path: dir.to_owned(), source };
    let entries = match dir.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        if !name.to_str().is_some_and(DiskStore::is_leftover) {
            return Err(not_empty());
        }
    }
    if DiskStore::exists(dir) { Err(not_empty()) } else { Ok(()) }
}

/// What became of the survivor's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Number of the survivor, as before.
    pub id: u64,
    /// The new group.
    pub group: Uuid,
    /// Where the new log begins: everything up to here is in its snapshot.
    pub index: u64,
    /// Term of that snapshot.
    pub term: u64,
    /// The members that are no more.
    pub lost: Vec<u64>,
}

/// Makes the master whose log is in `dir` the only voter of a new group. Everything in its log is applied,
/// also what it did not know to be committed: an acknowledged entry may be among it. What only the others
/// held is lost. `first_term` is given the log's last term and yields the first one of the new group.
/// Nobody may use the directory. The old log stays in [`BEFORE_RECOVER`].
pub fn recover<M: Machine>(
    dir: &Path,
    name: &str,
    first_term: impl FnOnce(u64) -> u64,
    mut machine: M,
) -> Result<Recovered, OpenError> {
    if !DiskStore::exists(dir) {
        return Err(OpenError::Empty(dir.to_owned()));
    }
    let store = DiskStore::open(dir, name)?;
    let index = store.outline().last_index();
    if store.outline().snapshot().index == 0 {
        return Err(OpenError::Nothing(dir.to_owned()));
    }
    let mut members = replay(&store, &mut machine)?;
    let id = store.identity().id;
    members.remove(&id);
    let last = store.outline().term(index).unwrap_or(0).max(store.outline().hard_state().term);
    let term = first_term(last).max(last + 1);
    let identity = Identity { group: Uuid::new_v4(), ..store.identity().clone() };
    let first = First::new(alone(id, index, term), machine.freeze().chunks());
    store.replace(&identity, first, BEFORE_RECOVER)?;
    Ok(Recovered { id, group: identity.group, index, term, lost: members.into_iter().collect() })
}

fn alone(id: u64, index: u64, term: u64) -> SnapshotMetadata {
    let mut meta = SnapshotMetadata { index, term, ..SnapshotMetadata::default() };
    meta.set_conf_state(ConfState { voters: vec![id], ..ConfState::default() });
    meta
}

/// Brings the machine to the end of the log. Yields who took part by then.
fn replay<M: Machine>(store: &DiskStore, machine: &mut M) -> Result<BTreeSet<u64>, OpenError> {
    let outline = store.outline();
    let meta = outline.snapshot();
    let chunks = store.pieces()?.collect::<Result<_, _>>()?;
    let restored = machine.restore(meta.index, chunks);
    restored.map_err(|reason| NodeError::Restore { index: meta.index, reason })?;
    let state = meta.get_conf_state();
    let roles = [&state.voters, &state.voters_outgoing, &state.learners, &state.learners_next];
    let mut members: BTreeSet<u64> = roles.into_iter().flatten().copied().collect();
    let mut next = meta.index + 1;
    while next <= outline.last_index() {
        for entry in store.entries(next, outline.last_index() + 1, READ_BYTES_MAX)? {
            next = entry.index + 1;
            apply(&entry, machine, &mut members)?;
        }
    }
    machine.applied();
    Ok(members)
}

fn apply<M: Machine>(entry: &Entry, machine: &mut M, members: &mut BTreeSet<u64>) -> Result<(), NodeError> {
    let steps = match entry.get_entry_type() {
        // A new leader's first entry is empty and raft's own.
        EntryType::EntryNormal if entry.data.is_empty() => return Ok(()),
        EntryType::EntryNormal => {
            let applied = machine.apply(entry.index, &entry.data);
            return applied.map(|_| ()).map_err(|reason| NodeError::Apply { index: entry.index, reason });
        }
        EntryType::EntryConfChange => {
            let change = ConfChange::parse_from_bytes(&entry.data).map_err(raft::Error::from)?;
            vec![(change.get_change_type(), change.node_id)]
        }
        EntryType::EntryConfChangeV2 => {
            let change = ConfChangeV2::parse_from_bytes(&entry.data).map_err(raft::Error::from)?;
            change.changes.iter().map(|step| (step.get_change_type(), step.node_id)).collect()
        }
    };
    for (kind, id) in steps {
        match kind {
            ConfChangeType::RemoveNode => members.remove(&id),
            ConfChangeType::AddNode | ConfChangeType::AddLearnerNode => members.insert(id),
        };
    }
    Ok(())
}
