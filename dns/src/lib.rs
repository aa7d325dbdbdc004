//! Name service: tasks to records, the server on every master, the forwarder on every agent.
//!
//! `zone` is pure: it keeps the running tasks and answers questions about them (`names` has the rules for
//! names, `answer` puts records into a message, `packet` reads messages). `server` puts a zone on UDP and TCP
//! and hands every other name to `forward`; `resolver` is the small caching forwarder that an agent runs for
//! its tasks. `listen` holds the sockets of both, `exchange` asks one server one question.

pub mod answer;
mod cache;
mod exchange;
pub mod forward;
mod listen;
pub mod names;
pub mod packet;
pub mod resolver;
pub mod server;
mod sha1;
#[cfg(test)]
mod testing;
pub mod zone;

pub use forward::Upstream;
pub use zone::{Protocol, Settings, Zone, ZonePort, ZoneTask, is_domain};
