//! What waits to be started: back-off first, then a place (reference sections 5.5 and 1.7).

use std::sync::Arc;

use spec::time::Timestamp;

use super::memory::Memory;
use super::subject::Subject;
use crate::placement::{self, Demand, Terms};
use crate::state::{Placement, State};

/// What an app's missing tasks ask for now.
#[derive(Debug, Default)]
pub(super) struct Launch {
    /// Places.
    pub(super) demand: Option<Demand>,
    /// Patience until then.
    pub(super) due: Option<Timestamp>,
}

/// Decides whether missing tasks may be started now.
pub(super) fn consider(memory: &mut Memory, subject: &Subject<'_>, missing: u32) -> Launch {
    let Some(entry) = subject.entry.filter(|_| missing > 0) else {
        memory.waits_no_more(subject.id);
        return Launch::default();
    };
    memory.waits(subject.id, subject.now);
    let until = entry.delay.map(|delay| delay.until()).filter(|until| *until > subject.now);
    if until.is_some() || memory.is_blocked(&entry.app) {
        return Launch { demand: None, due: until };
    }
    Launch { demand: Some(Demand { app: Arc::clone(&entry.app), count: missing }), due: None }
}

/// Finds places and notes why some were not found. Asked also when nothing is wanted: the index would else keep
/// a state alive that is long gone.
pub(super) fn place(state: &State, memory: &mut Memory, demands: &[Demand], terms: Terms) -> Vec<Placement> {
    let plan = placement::place(memory.index(), state, demands, terms);
    for (app, look) in &plan.waiting {
        memory.found_no_place(app, look);
        if let Some(demand) = demands.iter().find(|demand| demand.app.id == *app) {
            memory.block(&demand.app);
        }
    }
    plan.placements
}
