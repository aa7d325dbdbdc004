//! Sums over a run and over many.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use crate::queue::Millis;

/// What a run consisted of.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Virtual time.
    pub virtual_millis: Millis,
    /// Time from the end of the faults to convergence, the longest.
    pub converged_millis_max: Millis,
    /// Lines of the trace.
    pub happenings: u64,
    /// Raft messages sent, lost and doubled.
    pub messages: u64,
    /// Lost ones, by chance or at a cut.
    pub messages_lost: u64,
    /// Those that arrived twice.
    pub messages_doubled: u64,
    /// Entries of the log applied for the first time.
    pub commits: u64,
    /// Commands in them.
    pub commands: u64,
    /// Reigns begun.
    pub reigns: u64,
    /// Sessions of agents that stood.
    pub sessions: u64,
    /// Snapshots that a master took, and that it was sent.
    pub snapshots_taken: u64,
    /// Those restored from a leader.
    pub snapshots_received: u64,
    /// Tasks that came up.
    pub tasks_started: u64,
    /// Changes acknowledged to clients, refused, and of unknown fate.
    pub acknowledged: u64,
    /// Linearizable reads answered.
    pub reads: u64,
    /// Surely not done.
    pub refused: u64,
    /// Perhaps done.
    pub unknown: u64,
    /// Comparisons of a replica with what others had at the same index.
    pub compared: u64,
    /// Faults by name.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Figures {
    /// One more fault of this name.
    pub fn fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
    }
}

impl AddAssign<&Figures> for Figures {
    fn add_assign(&mut self, other: &Figures) {
        self.virtual_millis += other.virtual_millis;
        self.converged_millis_max = self.converged_millis_max.max(other.converged_millis_max);
        for (mine, theirs) in [
            (&mut self.happenings, other.happenings),
            (&mut self.messages, other.messages),
            (&mut self.messages_lost, other.messages_lost),
            (&mut self.messages_doubled, other.messages_doubled),
            (&mut self.commits, other.commits),
            (&mut self.commands, other.commands),
            (&mut self.reigns, other.reigns),
            (&mut self.sessions, other.sessions),
            (&mut self.snapshots_taken, other.snapshots_taken),
            (&mut self.snapshots_received, other.snapshots_received),
            (&mut self.tasks_started, other.tasks_started),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.reads, other.reads),
            (&mut self.refused, other.refused),
            (&mut self.unknown, other.unknown),
            (&mut self.compared, other.compared),
        ] {
            *mine += theirs;
        }
        for (name, count) in &other.faults {
            *self.faults.entry(name).or_default() += count;
        }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "virtual time       {} s", self.virtual_millis / 1000)?;
        writeln!(f, "longest recovery   {:.1} s", self.converged_millis_max as f64 / 1000.0)?;
        for (name, value) in [
            ("happenings", self.happenings),
            ("raft messages", self.messages),
            ("  lost", self.messages_lost),
            ("  doubled", self.messages_doubled),
            ("commits", self.commits),
            ("commands", self.commands),
            ("replicas compared", self.compared),
            ("reigns", self.reigns),
            ("agent sessions", self.sessions),
            ("snapshots taken", self.snapshots_taken),
            ("snapshots received", self.snapshots_received),
            ("tasks started", self.tasks_started),
            ("acknowledged", self.acknowledged),
            ("reads", self.reads),
            ("refused", self.refused),
            ("unknown fate", self.unknown),
        ] {
            writeln!(f, "{name:<18} {value}")?;
        }
        writeln!(f, "faults")?;
        for (name, count) in &self.faults {
            writeln!(f, "  {name:<24} {count}")?;
        }
        Ok(())
    }
}
