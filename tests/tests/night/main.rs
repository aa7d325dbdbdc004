//! The operator's worst night: what is killed, full, taken, paused or away, on real processes and containers.

mod agent_killed;
mod disk;
mod endings;
mod engine;
mod health;
mod image;
mod measures;
mod ports;
mod resolver;
mod site;
