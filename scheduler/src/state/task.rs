//! A task in the replicated state. It exists here before its agent hears of it, and goes when it has ended.

#![allow(missing_docs, reason = "conditions are named as Marathon names them")]

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use spec::app::App;
use spec::ids::{AgentId, TaskId};
use spec::protocol::{HealthReport, ReadinessReport};
use spec::time::Timestamp;

/// One task that may exist on an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The definition it was started from.
    pub app: Arc<App>,
    /// Where it runs. A task never moves; its replacement is another task.
    pub agent: AgentId,
    /// Host ports allocated to it, in the order of the declared ports that get one.
    pub host_ports: Box<[u16]>,
    /// What it is doing.
    pub condition: Condition,
    /// What is wanted of it.
    pub goal: Goal,
    /// When it was placed.
    pub staged_at: Timestamp,
    /// When it was first seen running.
    pub started_at: Option<Timestamp>,
    /// When `condition` last changed.
    pub since: Timestamp,
    /// Its own addresses; empty means its agent's.
    pub addresses: Box<[IpAddr]>,
    /// Results of health checks, by index of the check.
    pub health: Box<[HealthReport]>,
    /// Results of readiness checks.
    pub readiness: Box<[ReadinessReport]>,
    /// Sequence number of the last report taken in; older ones are ignored.
    pub seq: u64,
}

/// What a task is doing (Marathon's conditions, section 5.7; a scheduled instance has no task here).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Condition {
    /// Placed; the agent has not confirmed it.
    Provisioned,
    Staging,
    Starting,
    Running,
    /// Told to end.
    Killing,
    /// Its agent is away.
    Unreachable,
    /// Its agent has been away for `inactiveAfterSeconds`: it is being replaced.
    UnreachableInactive,
}

impl Condition {
    /// Every one, in order.
    pub const ALL: [Self; 7] = [
        Self::Provisioned,
        Self::Staging,
        Self::Starting,
        Self::Running,
        Self::Killing,
        Self::Unreachable,
        Self::UnreachableInactive,
    ];
}

/// What is wanted of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    /// Keep it running. When it ends its instance is started anew.
    Running,
    /// End it, and start its instance anew.
    Restarting,
    /// End it for good.
    Decommissioned,
}

impl Task {
    /// Was it started from an older definition than `current`? A change of `instances` alone does not
    /// make a task outdated.
    pub fn is_outdated(&self, current: &App) -> bool {
        self.app.config_version() < current.config_version()
    }

    /// Does it count towards the wanted number of instances?
    pub fn counts(&self) -> bool {
        self.goal == Goal::Running && self.condition != Condition::UnreachableInactive
    }

    /// Running, and healthy as far as a deployment is concerned: without health checks running is
    /// healthy, with them every check must have succeeded last.
    pub fn is_healthy(&self) -> bool {
        self.condition == Condition::Running && self.health_verdict() != Some(false) && self.has_all_results()
    }

    /// `Some(true)`: every check alive; `Some(false)`: one is not; `None`: no result yet or no checks.
    pub fn health_verdict(&self) -> Option<bool> {
        match &*self.health {
            [] => None,
            results if results.iter().any(|result| !result.alive) => Some(false),
            _ if self.has_all_results() => Some(true),
            _ => None,
        }
    }

    /// Have all readiness checks passed?
    pub fn is_ready(&self) -> bool {
        self.app
            .readiness_checks
            .iter()
            .all(|check| self.readiness.iter().any(|result| result.name == check.name && result.ready))
    }

    /// Does it run as it is wanted to, healthy and ready? Then nothing is to be done with it and nothing awaited,
    /// until it changes or its app asks for something else.
    pub fn is_at_rest(&self) -> bool {
        self.goal == Goal::Running && self.is_healthy() && self.is_ready()
    }

    fn has_all_results(&self) -> bool {
        self.health.len() >= self.app.health_checks.len()
    }
}
