//! The replicated state as `consensus` sees it: entries are batches of commands, snapshots are chunks.
//! Publishes what was applied to the shells; decides nothing.

use std::sync::Arc;

use spec::ids::MasterId;
use tracing::info;

use crate::cluster::{Cluster, Leadership};
use crate::consensus::{Frozen, Machine};
use crate::state::{Applied, Batch, Event, Outcome, State};

/// The state and what of it has not been published yet.
#[derive(Debug)]
pub struct StateMachine {
    state: State,
    unpublished: Vec<Applied>,
    /// Term, leader and whether this master leads, as last heard.
    reign: (u64, Option<u64>, bool),
    cluster: Arc<Cluster>,
}

impl StateMachine {
    /// An empty state that publishes to `cluster`.
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { state: State::default(), unpublished: Vec::new(), reign: (0, None, false), cluster }
    }
}

impl StateMachine {
    /// Says who leads, and where that is as far as the state knows.
    fn tell_leadership(&self) {
        let (term, leader, leading) = self.reign;
        let entry = leader.and_then(|leader| self.state.masters.get(&MasterId(leader)));
        let leader_http = match leading {
            // Also before its first word about itself is in the state.
            true => Some(self.cluster.options.advertised_http.clone()),
            false => entry.map(|entry| entry.info.http.clone()),
        };
        self.cluster.set_leadership(Leadership { term, leading, leader_http });
    }

    /// One line for whoever reads the log.
    fn note(&self, term: u64, leader: Option<u64>, leading: bool) {
        let name = |id: u64| {
            let entry = self.state.masters.get(&MasterId(id));
            entry.map_or_else(|| format!("number {id}"), |entry| entry.info.name.clone())
        };
        match leader {
            _ if leading => info!(term, "this master leads"),
            Some(leader) if self.reign.1 != Some(leader) => info!(term, leader = name(leader), "a leader"),
            None if self.reign.1.is_some() => info!(term, "no leader"),
            _ => {}
        }
    }
}

impl Machine for StateMachine {
    /// One outcome a command; empty when the entry could not be read.
    type Output = Vec<Outcome>;

    fn apply(&mut self, index: u64, entry: &[u8]) -> Result<Vec<Outcome>, String> {
        let batch = Batch::decode(entry).map_err(|error| error.to_string())?;
        let (outcomes, applied) = self.state.apply(index, batch);
        self.unpublished.push(applied);
        Ok(outcomes)
    }

    fn applied(&mut self) {
        let moved =
            |applied: &Applied| applied.events.iter().any(|event| matches!(event, Event::MastersChanged));
        let moved = self.unpublished.iter().any(moved);
        self.cluster.publish(self.state.clone(), self.unpublished.drain(..));
        if moved {
            self.tell_leadership();
        }
    }

    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(FrozenState(self.state.clone()))
    }

    fn restore(&mut self, _index: u64, chunks: Vec<Vec<u8>>) -> Result<(), String> {
        self.state = State::restore(&chunks).map_err(|error| error.to_string())?;
        self.unpublished.clear();
        self.cluster.replace(self.state.clone());
        self.tell_leadership();
        Ok(())
    }

    fn leadership(&mut self, term: u64, leader: Option<u64>, leading: bool) {
        self.note(term, leader, leading);
        self.reign = (term, leader, leading);
        self.tell_leadership();
    }
}

/// A state on its way into a snapshot.
pub(crate) struct FrozenState(pub(crate) State);

impl Frozen for FrozenState {
    fn chunks(self: Box<Self>) -> Box<dyn Iterator<Item = Vec<u8>>> {
        Box::new(self.0.snapshot())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Options;
    use crate::masters::fixture;
    use crate::state::{self, Command};

    fn options() -> Options {
        Options { advertised_http: "own:80".to_owned(), ..Options::on_free_ports("m1") }
    }

    #[test]
    fn the_leader_is_found_whether_it_is_heard_of_before_or_after_its_address() {
        let (cluster, _inlets) = Cluster::new(options());
        let mut machine = StateMachine::new(cluster.clone());
        let leader = || cluster.leadership().borrow().leader_http.clone();
        let set = |machine: &mut StateMachine, index, http: &str| {
            let info = state::MasterInfo { http: http.to_owned(), ..fixture::info("m2") };
            let commands = vec![Command::SetMaster { id: MasterId(2), info }];
            let batch = Batch { at: spec::time::Timestamp::default(), seed: 0, commands };
            machine.apply(index, &batch.encode(state::Form::Packed)).unwrap();
            machine.applied();
        };
        machine.leadership(3, Some(2), false);
        assert_eq!(leader(), None);
        set(&mut machine, 1, "m2:80");
        assert_eq!(leader().as_deref(), Some("m2:80"));
        set(&mut machine, 2, "m2:81");
        assert_eq!(leader().as_deref(), Some("m2:81"));
        machine.leadership(4, Some(1), true);
        assert_eq!(leader().as_deref(), Some("own:80"));
        machine.leadership(5, None, false);
        assert_eq!(leader(), None);
        machine.leadership(6, Some(2), false);
        assert_eq!(leader().as_deref(), Some("m2:81"));
        // A snapshot brings addresses, too.
        let chunks: Vec<_> = machine.freeze().chunks().collect();
        let (other, _inlets) = Cluster::new(options());
        let mut machine = StateMachine::new(other.clone());
        machine.leadership(6, Some(2), false);
        machine.restore(2, chunks).unwrap();
        assert_eq!(other.leadership().borrow().leader_http.as_deref(), Some("m2:81"));
    }
}
