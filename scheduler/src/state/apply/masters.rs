//! Masters come, move and go: who may be spoken to where. Membership of the replicated group is not decided
//! here.

use std::sync::Arc;

use spec::ids::MasterId;
use uuid::Uuid;

use super::Change;
use crate::state::{Event, MasterEntry, MasterInfo, Outcome, Refusal};

/// Masters at once: far more than vote in any sane cluster.
const MASTERS_MAX: usize = 16;

impl Change<'_> {
    pub(super) fn add_master(&mut self, info: &MasterInfo, ticket: Uuid) -> Result<Outcome, Refusal> {
        let known = self.state.masters.values().find(|master| master.ticket == ticket && !ticket.is_nil());
        if let Some(id) = known.map(|master| master.id) {
            self.set_master(id, info);
            return Ok(Outcome::MasterAdded { id });
        }
        if self.state.masters.len() >= MASTERS_MAX {
            return Err(Refusal::TooManyMasters(MASTERS_MAX));
        }
        // The founder is number 1, also before it has said so.
        let id = MasterId(self.state.last_master.max(1) + 1);
        self.put_master(MasterEntry { id, ticket, info: info.clone() });
        Ok(Outcome::MasterAdded { id })
    }

    /// Also the first word of the master that founded the cluster: it was never added.
    pub(super) fn set_master(&mut self, id: MasterId, info: &MasterInfo) -> Outcome {
        let known = self.state.masters.get(&id);
        if known.is_some_and(|known| known.info == *info) {
            return Outcome::Done;
        }
        let ticket = known.map_or(Uuid::nil(), |known| known.ticket);
        self.put_master(MasterEntry { id, ticket, info: info.clone() });
        Outcome::Done
    }

    pub(super) fn remove_master(&mut self, id: MasterId) -> Result<Outcome, Refusal> {
        self.state.masters.remove(&id).ok_or(Refusal::NoMaster(id))?;
        self.event(Event::MastersChanged);
        Ok(Outcome::Done)
    }

    fn put_master(&mut self, entry: MasterEntry) {
        self.state.last_master = self.state.last_master.max(entry.id.0);
        self.state.masters.insert(entry.id, Arc::new(entry));
        self.event(Event::MastersChanged);
    }
}
