//! Why tasks wait, counted the way `/v2/queue` shows it (reference section 1.7).

use spec::ids::AgentId;
use spec::time::Timestamp;

/// Why one agent cannot take one more task of an app: Marathon's reasons, in its order. An agent counts
/// under the first that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The app accepts only resources reserved for a role.
    UnfulfilledRole,
    /// A constraint is broken, or the agent lacks the runtime.
    UnfulfilledConstraint,
    /// The app's volumes are elsewhere.
    NoCorrespondingReservationFound,
    /// The agent takes nothing now.
    AgentMaintenance,
    /// Too little CPU is free.
    InsufficientCpus,
    /// Too little memory is free.
    InsufficientMemory,
    /// Too little disk is free.
    InsufficientDisk,
    /// Too few GPUs are free.
    InsufficientGpus,
    /// A fixed port is taken, or too few are free.
    InsufficientPorts,
    /// What the agent has is kept for those who need it.
    DeclinedScarceResources,
}

impl Reason {
    /// All, in funnel order.
    pub const ALL: [Self; 10] = [
        Self::UnfulfilledRole,
        Self::UnfulfilledConstraint,
        Self::NoCorrespondingReservationFound,
        Self::AgentMaintenance,
        Self::InsufficientCpus,
        Self::InsufficientMemory,
        Self::InsufficientDisk,
        Self::InsufficientGpus,
        Self::InsufficientPorts,
        Self::DeclinedScarceResources,
    ];
}

/// How often each reason was the first to hold, by position in [`Reason::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejects {
    /// Agents looked at.
    pub processed: u64,
    /// Of these, turned down for each reason.
    pub declined: [u64; 10],
}

/// What the leader last found out about an app whose tasks wait. Soft: made anew after a failover.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Waiting {
    /// Since when tasks of the app have been waiting without a break.
    pub since: Timestamp,
    /// Agents looked at since then.
    pub processed: u64,
    /// Of these, unfit.
    pub unused: u64,
    /// When an agent was last found unfit.
    pub last_unused_at: Option<Timestamp>,
    /// When an agent last took a task.
    pub last_used_at: Option<Timestamp>,
    /// The last look at every agent.
    pub last_agents: Rejects,
    /// All looks since tasks began to wait.
    pub launch_attempt: Rejects,
    /// A sample of the last look, at most [`SAMPLE_MAX`] agents.
    pub sample: Vec<Unfit>,
}

/// Most agents named in [`Waiting::sample`].
pub const SAMPLE_MAX: usize = 20;

/// One agent that could not take the task, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Unfit {
    /// The agent.
    pub agent: AgentId,
    /// Every reason that holds, in order.
    pub reasons: Vec<Reason>,
    /// The same in words, with names and numbers: "needs 2.0 cpus, 0.5 free".
    pub detail: String,
}
