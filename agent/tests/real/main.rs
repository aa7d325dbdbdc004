//! The agent and its runtimes against the real thing: containers, processes, control groups and mount
//! namespaces of this machine. Run as root, with a Docker Engine: without them these tests fail, since what was
//! never tried is not tested.

mod common;
mod docker;
#[path = "../../src/node/tests/master.rs"]
mod master;
mod node;
mod process;
