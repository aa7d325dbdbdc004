//! What decisions about masters look at: the state's names, the group's numbers, and what was heard. Pure.

use std::collections::BTreeMap;

use spec::ids::MasterId;

use crate::consensus::{Standing, Status};
use crate::state::{MasterEntry, MasterInfo, State};

/// One moment.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The master that looks.
    pub own: u64,
    /// How it is reached.
    pub info: &'a MasterInfo,
    /// Names and addresses.
    pub state: &'a State,
    /// Who takes part, and how far each is.
    pub status: &'a Status,
    /// What masters said of themselves.
    pub heard: &'a BTreeMap<u64, MasterInfo>,
}

impl<'a> View<'a> {
    /// Does it take part in the group, also in one that is being left?
    pub fn is_member(&self, id: u64) -> bool {
        let members = &self.status.members;
        self.is_voter(id) || members.learners.contains(&id)
    }

    /// Does it vote, also in a group that is being left?
    pub(super) fn is_voter(&self, id: u64) -> bool {
        let members = &self.status.members;
        members.voters.contains(&id) || members.outgoing.contains(&id)
    }

    /// What the leader knows of its progress.
    pub(super) fn standing(&self, id: u64) -> Option<&'a Standing> {
        self.status.standings.iter().find(|standing| standing.id == id)
    }

    /// Was it heard of lately? The leader, which looks, is there.
    pub(super) fn is_active(&self, id: u64) -> bool {
        id == self.own || self.standing(id).is_some_and(|standing| standing.active)
    }

    /// Has it said how far it is?
    pub(super) fn is_known(&self, id: u64) -> bool {
        self.is_active(id) || self.standing(id).is_some_and(|standing| standing.matched > 0)
    }

    /// Entries of the log that it lacks.
    pub(super) fn behind(&self, id: u64) -> u64 {
        let matched = self.standing(id).map_or(0, |standing| standing.matched);
        if id == self.own { 0 } else { self.status.commit.saturating_sub(matched) }
    }

    /// Its entry in the state.
    pub(super) fn entry(&self, id: u64) -> Option<&'a MasterEntry> {
        self.state.masters.get(&MasterId(id)).map(|entry| &**entry)
    }

    /// As people call it.
    pub(super) fn name(&self, id: u64) -> String {
        self.entry(id).map_or_else(|| format!("number {id}"), |entry| entry.info.name.clone())
    }

    /// Could these voters go on: is a majority of them there?
    pub(super) fn has_majority(&self, voters: &[u64]) -> bool {
        2 * voters.iter().filter(|id| self.is_active(**id)).count() > voters.len()
    }
}
