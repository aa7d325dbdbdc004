//! The name server and the forwarder with real sockets, on loopback.

#![allow(missing_docs, reason = "tests")]

mod common;
mod resolver;
mod server;
#[path = "../../src/testing.rs"]
mod testing;
