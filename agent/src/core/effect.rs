//! What the core wants done. The shell does it in order and says how it went.

// The fields of effects are the task, its runtime, and what the variant names.
#![allow(missing_docs)]

use std::net::IpAddr;
use std::sync::Arc;

use spec::app::App;
use spec::ids::TaskId;

use super::choice::RuntimeKind;
use super::record::{Kept, Record};
use crate::runtime::Signal;

/// One thing to do. Reports are not among them: the session fetches what is new (`Core::reports_after`).
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Keep this on disk, durably, before doing what follows or sending any report.
    Persist(Kept),
    /// Keep this about a task.
    Record(Box<Record>),
    /// Delete what was kept about a task.
    Forget(TaskId),
    /// Launch; answered by `launched`, `launch_failed` or, after `CancelLaunch`, `launch_cancelled`.
    Launch(LaunchOrder),
    /// Stop launching: drop the future.
    CancelLaunch(TaskId),
    /// Wait for its end; answered by `exited` or `vanished`.
    Watch { task: TaskId, runtime: RuntimeKind },
    /// Signal it. Not answered: the end is seen by the watch.
    Signal { task: TaskId, runtime: RuntimeKind, signal: Signal },
    /// Remove every trace but the sandbox; answered by `removed` or `remove_failed`.
    Remove { task: TaskId, runtime: RuntimeKind },
    /// Probe it; results come as `probed`.
    StartChecks(CheckTarget),
    /// Stop probing it.
    StopChecks(TaskId),
    /// Delete the sandbox of an ended task.
    DropSandbox(TaskId),
}

/// A task to launch.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchOrder {
    /// The task.
    pub task: TaskId,
    /// How.
    pub runtime: RuntimeKind,
    /// Its definition.
    pub app: Arc<App>,
    /// Allocated host ports.
    pub host_ports: Vec<u16>,
}

/// A task to probe.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckTarget {
    /// The task.
    pub task: TaskId,
    /// How it runs.
    pub runtime: RuntimeKind,
    /// Its definition.
    pub app: Arc<App>,
    /// Allocated host ports.
    pub host_ports: Vec<u16>,
    /// Its own addresses; empty means the agent's.
    pub addresses: Vec<IpAddr>,
}
