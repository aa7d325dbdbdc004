//! Chores of a developer or a first-time user, and the pieces of them that the tests of whole clusters
//! share: a child cluster, images, small blocking clients. Small dependencies only, so that it is built in
//! seconds; everything heavy happens in the programs that it starts.

pub mod bench;
pub mod cargo;
pub mod clients;
pub mod cluster;
pub mod demo;
pub mod docker;
pub mod examples;
pub mod faults;
pub mod history;
pub mod http;
pub mod name;
pub mod python;
pub mod sim;
pub mod stop;
pub mod test;
