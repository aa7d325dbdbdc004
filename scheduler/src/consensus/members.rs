//! Who takes part in the replicated group, and changes of that. Ids only: names and addresses are the
//! machine's business.

/// The group as of the last applied entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// They vote.
    pub voters: Vec<u64>,
    /// They voted before the change that is under way; empty outside of one.
    pub outgoing: Vec<u64>,
    /// They receive the log and do not vote.
    pub learners: Vec<u64>,
}

/// How far a member is, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The member.
    pub id: u64,
    /// Last entry known to be on its disk.
    pub matched: u64,
    /// Was it heard of within the last election timeout?
    pub active: bool,
}

/// A change of the group. One at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// A new member that does not vote yet.
    AddLearner(u64),
    /// A learner becomes a voter; `replacing` leaves the group in the same step.
    Promote {
        /// The learner.
        id: u64,
        /// Who leaves.
        replacing: Option<u64>,
    },
    /// A member leaves.
    Remove(u64),
}
