//! What one app is to the clients that record: absent, or a register of some fields that are set one at a
//! time. Pure.

use std::fmt;

/// How many fields an app has here.
pub const FIELDS: usize = 3;

/// Their values.
pub type Fields = [u64; FIELDS];

/// `None`: there is no such app.
pub type State = Option<Fields>;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// A new app.
    Create(Fields),
    /// One field of an app that is there; the others stay.
    Set(usize, u64),
    /// Its end.
    Delete,
    /// What it is now.
    Read,
}

/// What the client learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A write was acknowledged.
    Done,
    /// A create was refused, since the app is there.
    Exists,
    /// A set, delete or read was refused, since there is no such app.
    Absent,
    /// A read saw this.
    Found(Fields),
    /// It surely did nothing: refused before it was taken.
    Failed,
    /// No answer, or one that says nothing: it may take effect at any later time, or never.
    Unknown,
}

/// The state after the operation, or `None` when it cannot take effect in this state with this outcome.
pub(super) fn step(state: State, call: Call, outcome: Outcome) -> Option<State> {
    match (outcome, call, state) {
        (Outcome::Failed, _, _) => Some(state),
        (Outcome::Done | Outcome::Unknown, Call::Create(fields), None) => Some(Some(fields)),
        (Outcome::Done | Outcome::Unknown, Call::Set(field, value), Some(mut fields)) => {
            *fields.get_mut(field)? = value;
            Some(Some(fields))
        }
        (Outcome::Done | Outcome::Unknown, Call::Delete, Some(_)) => Some(None),
        (Outcome::Exists, Call::Create(_), Some(_)) => Some(state),
        (Outcome::Absent, Call::Set(..) | Call::Delete | Call::Read, None) => Some(state),
        (Outcome::Found(seen), Call::Read, Some(fields)) if seen == fields => Some(state),
        _ => None,
    }
}

/// The state in words.
pub(super) fn describe(state: &State) -> String {
    state.map_or_else(|| "absent".to_owned(), |fields| format!("{fields:?}"))
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(fields) => write!(f, "create {fields:?}"),
            Self::Set(field, value) => write!(f, "set {field} to {value}"),
            Self::Delete => write!(f, "delete"),
            Self::Read => write!(f, "read"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => write!(f, "done"),
            Self::Exists => write!(f, "exists"),
            Self::Absent => write!(f, "absent"),
            Self::Found(fields) => write!(f, "{fields:?}"),
            Self::Failed => write!(f, "failed"),
            Self::Unknown => write!(f, "unknown"),
        }
    }
}
