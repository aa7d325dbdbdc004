//! The replicated state as `consensus` sees it: entries are batches of commands, snapshots are chunks.
//! Publishes what was applied to the shells; decides nothing.

use std::sync::Arc;

use crate::cluster::{Cluster, Leadership};
use crate::consensus::{Frozen, Machine};
use crate::state::{Applied, Batch, Outcome, State};

/// The state and what of it has not been published yet.
#[derive(Debug)]
pub struct StateMachine {
    state: State,
    unpublished: Vec<Applied>,
    cluster: Arc<Cluster>,
}

impl StateMachine {
    /// An empty state that publishes to `cluster`.
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { state: State::default(), unpublished: Vec::new(), cluster }
    }
}

impl Machine for StateMachine {
    /// One outcome a command; empty when the entry could not be read.
    type Output = Vec<Outcome>;

    fn apply(&mut self, index: u64, entry: &[u8]) -> Result<Vec<Outcome>, String> {
        let batch = Batch::decode(entry).map_err(|error| error.to_string())?;
        let (outcomes, applied) = self.state.apply(index, &batch);
        self.unpublished.push(applied);
        Ok(outcomes)
    }

    fn applied(&mut self) {
        self.cluster.publish(self.state.clone(), self.unpublished.drain(..));
    }

    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(FrozenState(self.state.clone()))
    }

    fn restore(&mut self, _index: u64, chunks: Vec<Vec<u8>>) -> Result<(), String> {
        self.state = State::restore(&chunks).map_err(|error| error.to_string())?;
        self.unpublished.clear();
        self.cluster.publish(self.state.clone(), []);
        Ok(())
    }

    fn leadership(&mut self, term: u64, leader: Option<u64>, leading: bool) {
        // With one voter the leader is this master or nobody.
        let leader_http = leader.map(|_| self.cluster.options.advertised_http.clone());
        self.cluster.set_leadership(Leadership { term, leading, leader_http });
    }
}

/// A state on its way into a snapshot.
pub(crate) struct FrozenState(pub(crate) State);

impl Frozen for FrozenState {
    fn chunks(self: Box<Self>) -> Box<dyn Iterator<Item = Vec<u8>>> {
        Box::new(self.0.snapshot())
    }
}
