//! The operator's worst night: what is killed, full, taken, paused or away, on real processes and containers.

mod agent_killed;
mod endings;
mod engine;
mod image;
mod ports;
mod resolver;
mod site;
