//! What a cluster begins with that goes on from an older state, or from one that may lack the end: things
//! were acknowledged after it, and agents and clients have heard of them.

use imbl::OrdMap;

use crate::state::State;

/// Log indexes that are left out: clients of the event stream know entries by them, so none is given again.
const INDEXES_SKIPPED: u64 = 1 << 32;
/// Numbers of agents that are left out: an agent that registered after the old state comes back under its
/// number, which nobody else may have by then.
const AGENTS_SKIPPED: u64 = 1 << 20;

/// The first state of a cluster that goes on from `state`, under new masters. The number of its first master
/// is the last that was given ([`State::last_master`]); its log begins at the state's index.
pub fn successor(mut state: State) -> State {
    state.index = state.index.saturating_add(INDEXES_SKIPPED);
    state.next_agent = state.next_agent.saturating_add(AGENTS_SKIPPED);
    // The founder is number 1, also before it has said so.
    state.last_master = state.last_master.max(1).saturating_add(1);
    state.masters = OrdMap::new();
    state
}

/// The state of a cluster that goes on with one of its masters, this one. Its log goes on where it was.
pub fn survivor(mut state: State, name: &str) -> State {
    state.next_agent = state.next_agent.saturating_add(AGENTS_SKIPPED);
    state.masters = state.masters.into_iter().filter(|(_, master)| master.info.name == name).collect();
    state
}
