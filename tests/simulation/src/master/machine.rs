//! The real state under the real log, with a window through which the run looks at every entry it applied.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft::eraftpb::Message;
use scheduler::consensus::{Frozen, Machine, Pieces, Transport};
use scheduler::state::{Applied, Batch, Outcome, State};

use crate::bus::Letter;

/// One applied entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// As it was in the log.
    pub bytes: Vec<u8>,
    /// As it was read.
    pub batch: Batch,
    /// One a command.
    pub outcomes: Vec<Outcome>,
    /// Its events.
    pub applied: Applied,
    /// The state after it.
    pub after: State,
}

/// What a machine has done since it was last looked at.
#[derive(Debug, Default)]
pub struct Seen {
    /// The state as it is.
    pub state: State,
    /// Entries applied, in order.
    pub entries: Vec<Entry>,
    /// The state was replaced by a snapshot.
    pub restored: bool,
    /// Term, leader, and whether this master leads.
    pub leadership: Vec<(u64, Option<u64>, bool)>,
}

/// The window.
#[derive(Clone, Debug, Default)]
pub struct Window(Arc<Mutex<Seen>>);

impl Window {
    /// Opens it.
    pub fn open(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state; cheap.
    pub fn state(&self) -> State {
        self.open().state.clone()
    }
}

/// The machine of a simulated master.
#[derive(Debug, Default)]
pub struct Simulated(pub Window);

impl Machine for Simulated {
    type Output = Vec<Outcome>;

    fn apply(&mut self, index: u64, entry: &[u8]) -> Result<Vec<Outcome>, String> {
        let batch = Batch::decode(entry).map_err(|error| error.to_string())?;
        let mut seen = self.0.open();
        let (outcomes, applied) = seen.state.apply(index, batch.clone());
        let (bytes, after) = (entry.to_vec(), seen.state.clone());
        seen.entries.push(Entry { bytes, batch, outcomes: outcomes.clone(), applied, after });
        Ok(outcomes)
    }

    fn applied(&mut self) {}

    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(Copy(self.0.state()))
    }

    fn restore(&mut self, _index: u64, chunks: Vec<Vec<u8>>) -> Result<(), String> {
        let mut seen = self.0.open();
        seen.state = State::restore(&chunks).map_err(|error| error.to_string())?;
        seen.restored = true;
        Ok(())
    }

    fn leadership(&mut self, term: u64, leader: Option<u64>, leading: bool) {
        self.0.open().leadership.push((term, leader, leading));
    }
}

struct Copy(State);

impl Frozen for Copy {
    fn chunks(self: Box<Self>) -> Box<dyn Iterator<Item = Vec<u8>>> {
        Box::new(self.0.snapshot())
    }
}

/// Messages that a node wants sent.
#[derive(Clone, Default)]
pub struct Outbox(pub Arc<Mutex<Vec<Letter>>>);

impl Outbox {
    /// Takes what there is.
    pub fn take(&self) -> Vec<Letter> {
        std::mem::take(&mut *self.open())
    }

    fn open(&self) -> MutexGuard<'_, Vec<Letter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Outbox {
    fn send(&self, _to: u64, message: Message) {
        self.open().push(Letter { message, pieces: Vec::new() });
    }

    fn send_snapshot(&self, _to: u64, message: Message, pieces: Pieces) {
        // Disks that fail in reading are not simulated.
        let pieces = pieces.filter_map(Result::ok).collect();
        self.open().push(Letter { message, pieces });
    }
}
