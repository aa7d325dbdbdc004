//! What is wrong with a document, in the words and paths of Marathon's error bodies (reference section 3).

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

/// One rule broken at one place. `path` is Marathon's: `/field/sub`, list elements `(n)`, `/` for the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where.
    pub path: String,
    /// What, in Marathon's words.
    pub message: String,
}

/// Why a document was refused. Both kinds are HTTP 422.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Violations {
    /// True for a field of the wrong type, missing, or out of its elementary bounds ("Invalid JSON"),
    /// false for a broken rule ("Object is not valid").
    pub malformed: bool,
    /// Never empty.
    pub list: Vec<Violation>,
}

impl Violation {
    /// A violation at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl Violations {
    /// Fields of wrong shape.
    pub fn malformed(list: Vec<Violation>) -> Self {
        Self { malformed: true, list }
    }

    /// Broken rules.
    pub fn invalid(list: Vec<Violation>) -> Self {
        Self { malformed: false, list }
    }

    /// `Ok` when the list is empty.
    pub fn check(list: Vec<Violation>) -> Result<(), Self> {
        if list.is_empty() { Ok(()) } else { Err(Self::invalid(list)) }
    }

    /// `Invalid JSON` or `Object is not valid`.
    pub fn headline(&self) -> &'static str {
        if self.malformed { "Invalid JSON" } else { "Object is not valid" }
    }

    /// The body `{"message", "details": [{"path", "errors": []}]}`, one entry a path.
    pub fn to_json(&self) -> Value {
        let mut by_path: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for violation in &self.list {
            by_path.entry(&violation.path).or_default().push(&violation.message);
        }
        let details: Vec<Value> =
            by_path.iter().map(|(path, errors)| json!({"path": path, "errors": errors})).collect();
        json!({"message": self.headline(), "details": details})
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.headline())?;
        for violation in &self.list {
            write!(f, "; {}: {}", violation.path, violation.message)?;
        }
        Ok(())
    }
}
