//! Masters for tests of the pure parts: number 1 looks and leads.

use std::collections::BTreeMap;
use std::sync::Arc;

use spec::ids::MasterId;
use uuid::Uuid;

use super::view::View;
use crate::consensus::{Members, Standing, Status};
use crate::state::{MasterEntry, MasterInfo, State};

/// Entries that everybody has.
pub(super) const COMMIT: u64 = 100;

/// How a master of that name is reached.
pub(crate) fn info(name: &str) -> MasterInfo {
    MasterInfo {
        name: name.to_owned(),
        http: "127.0.0.1:8080".to_owned(),
        rpc: "127.0.0.1:5050".parse().unwrap(),
        dns: "127.0.0.1:53".parse().unwrap(),
        version: "1".to_owned(),
    }
}

/// As the state knows it; its ticket is its number.
pub(crate) fn entry(id: u64, name: &str) -> MasterEntry {
    MasterEntry { id: MasterId(id), ticket: Uuid::from_u128(u128::from(id)), info: info(name) }
}

/// A group.
pub(super) struct Bench {
    pub(super) state: State,
    pub(super) status: Status,
    pub(super) heard: BTreeMap<u64, MasterInfo>,
    info: MasterInfo,
}

impl Bench {
    /// All there, with all of the log, called `m1`, `m2`, ...
    pub(super) fn new(voters: &[u64], learners: &[u64]) -> Self {
        let all = || voters.iter().chain(learners).copied();
        let mut state = State { last_master: all().max().unwrap_or(0), ..State::default() };
        for id in all() {
            state.masters.insert(MasterId(id), Arc::new(entry(id, &format!("m{id}"))));
        }
        let members = Members { voters: voters.to_vec(), learners: learners.to_vec(), ..Members::default() };
        let standings = all().map(|id| Standing { id, matched: COMMIT, active: true }).collect();
        let status = Status {
            leading: true,
            leader: Some(1),
            commit: COMMIT,
            members,
            standings,
            ..Status::default()
        };
        Self { state, status, heard: BTreeMap::new(), info: info("m1") }
    }

    /// These are away; what they had before is lost, too.
    pub(super) fn away(mut self, ids: &[u64]) -> Self {
        for standing in self.status.standings.iter_mut().filter(|standing| ids.contains(&standing.id)) {
            (standing.active, standing.matched) = (false, 0);
        }
        self
    }

    /// How far one is.
    pub(super) fn matched(mut self, id: u64, matched: u64) -> Self {
        self.status
            .standings
            .iter_mut()
            .filter(|standing| standing.id == id)
            .for_each(|standing| standing.matched = matched);
        self
    }

    /// One has the name of another.
    pub(super) fn named(mut self, id: u64, name: &str) -> Self {
        self.state.masters.insert(MasterId(id), Arc::new(entry(id, name)));
        self
    }

    pub(super) fn view<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        let Self { state, status, heard, info } = self;
        look(&View { own: 1, info, state, status, heard })
    }
}
