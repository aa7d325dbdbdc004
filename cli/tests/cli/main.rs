//! The command line as people and scripts use it: the real program, real clusters of processes.

mod bed;
mod fake;
mod files;
mod masters;
mod program;
mod verbs;
