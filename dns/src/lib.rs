//! Name service: tasks to records, the server on every master, the forwarder on every agent.
//!
//! `zone` is pure: it turns tasks into records and answers questions about them. `server` puts a zone on
//! UDP and TCP and hands every other name to `forward`; `resolver` is the small caching forwarder that an
//! agent runs for its tasks.
