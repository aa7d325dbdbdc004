//! The master.
//!
//! Data flows one way: commands enter at the top (REST, agents, the control loop), are replicated by
//! `consensus`, change the [`state`] on every master by a pure `apply`, and leave as events. The
//! leader's `control` loop compares what is wanted with what is, asks [`placement`] where things go,
//! and proposes the next commands. `fleet` talks to agents, `peers` to other masters, `api` to people and
//! programs; `masters` looks after who takes part; `master` puts them together and does nothing else.
//!
//! `state`, `placement` and `control` are pure: no I/O, no clock, no randomness, no tasks, no locks.

pub mod api;
pub mod backup;
pub mod batching;
pub mod clock;
pub mod cluster;
pub mod consensus;
pub mod control;
pub mod fleet;
mod leader;
mod machine;
pub mod master;
pub mod masters;
pub mod mutants;
pub mod names;
pub mod offline;
mod peers;
pub mod placement;
mod proposer;
mod rpc;
pub mod state;
pub mod usage;
