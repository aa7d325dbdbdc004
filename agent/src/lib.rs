//! The node: runs what the leader wants and says what it sees.
//!
//! [`core`] decides (pure): wanted against running, kill escalation, what to report. [`runtime`] starts
//! and ends tasks, `checks` probes them, `sandbox` keeps their files, `search` (pure) says where
//! the leader is looked for, `definitions` are what tasks of one process share, `session` is the stream to it and
//! `rhythm` (pure) when something is said on it, `resolver` answers their DNS; `node` puts these together and does
//! nothing else.

mod alarm;
pub mod checks;
pub mod core;
pub mod definitions;
pub mod environment;
pub mod identity;
pub mod machine;
pub mod mutants;
pub mod node;
pub mod options;
pub mod resolver;
pub mod rhythm;
pub mod roster;
pub mod runtime;
pub mod sandbox;
pub mod search;
pub mod session;
pub mod shim;
pub mod usage;
