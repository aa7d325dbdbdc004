//! Was a recorded history linearizable? What clients did to the apps of a cluster, and whether all of it can
//! be explained by one order in which each operation took effect at one instant between its call and its
//! answer. Pure: histories are recorded elsewhere.
//!
//! Each app is a register of its own, so a history is linearizable when its part for every app is
//! (linearizability is local), and each part is searched alone.

mod file;
mod register;
mod search;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

pub use file::{read, write};
pub use register::{Call, FIELDS, Fields, Outcome, State};

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who did it.
    pub client: u32,
    /// The app.
    pub key: String,
    /// What was asked for.
    pub call: Call,
    /// What is known of its end.
    pub outcome: Outcome,
    /// Before the request was sent, in microseconds of the recorder's clock.
    pub invoked: u64,
    /// After the answer was there; of no meaning when the outcome is unknown.
    pub returned: u64,
}

impl Operation {
    /// Until when it took effect, if it did.
    fn deadline(&self) -> u64 {
        if self.outcome == Outcome::Unknown { u64::MAX } else { self.returned }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |micros: u64| format!("{:.6}", std::time::Duration::from_micros(micros).as_secs_f64());
        let end = if self.outcome == Outcome::Unknown { "?".to_owned() } else { seconds(self.returned) };
        write!(
            f,
            "[{} .. {end}] client {} {} {} -> {}",
            seconds(self.invoked),
            self.client,
            self.key,
            self.call,
            self.outcome
        )
    }
}

/// Why a history is not (known to be) linearizable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// No order explains what was seen of this app.
    NotLinearizable {
        /// The app.
        key: String,
        /// The longest prefix that an order explains leaves the app so,
        state: State,
        /// and then none of these can come next.
        stuck: Vec<Operation>,
    },
    /// The search was given up: too many operations of this app overlap.
    TooHard {
        /// The app.
        key: String,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooHard { key } => write!(f, "{key}: too many overlapping operations to decide"),
            Self::NotLinearizable { key, state, stuck } => {
                let state = register::describe(state);
                write!(
                    f,
                    "{key} is not linearizable: after the longest order found it is {state}, and then"
                )?;
                stuck.iter().try_for_each(|operation| write!(f, "\n  {operation}"))
            }
        }
    }
}

/// Checks every app of a history; what is wrong, by app.
pub fn check(history: &[Operation]) -> Vec<Violation> {
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        keys.entry(&operation.key).or_default().push(operation);
    }
    keys.into_iter().filter_map(|(key, operations)| search::check(key, &operations).err()).collect()
}
