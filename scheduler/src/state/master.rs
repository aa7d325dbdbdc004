//! Masters as the state knows them: who they are and how to reach them. Which of them vote is the replicated
//! log's own business (`consensus`), never repeated here.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use spec::ids::MasterId;
use uuid::Uuid;

/// What a master says of itself. Every address is the one that others reach it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterInfo {
    /// `--name`. A master that lost its disk joins under its old name and gets a new id.
    pub name: String,
    /// REST, as `host:port`.
    pub http: String,
    /// Agents and masters.
    pub rpc: SocketAddr,
    /// DNS.
    pub dns: SocketAddr,
    /// Version of the program.
    pub version: String,
}

/// A master that was added and not removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterEntry {
    /// Its number in the replicated group.
    pub id: MasterId,
    /// Drawn by the joining master before it asked: asking again with the same ticket yields the same id.
    /// Nil for the master that founded, restored or recovered the cluster.
    pub ticket: Uuid,
    /// How to reach it.
    pub info: MasterInfo,
}
