//! The app definition: one canonical form, how a document becomes it, and how it is written back.
//!
//! [`model`] is the form that everything else works with; `read` takes JSON apart and collects every
//! field of the wrong shape ("Invalid JSON"); `normalize` translates deprecated fields and fills
//! defaults; `validate` holds the rules ("Object is not valid"); `update` merges a partial update; `stored` is the form
//! inside log entries and snapshots.

pub mod model;
mod normalize;
pub mod pattern;
mod raw;
mod read;
mod stored;
mod update;
mod validate;

pub use model::*;
pub use stored::StoredApp;

use serde_json::Value;

use crate::features::Features;
use crate::time::Timestamp;
use crate::violation::Violations;
use raw::RawApp;
use validate::Subject;

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
    create_in(document, "/", features)
}

/// Like [`create`], but ids are relative to the group `base` (canonical, `/` for the root), as they are
/// inside a group's document. Whether the app is a child of that group is for the group to judge.
pub fn create_in(document: &Value, base: &str, features: &Features) -> Result<App, Violations> {
    let mut raw = read::app(document)?;
    normalize::resolve_ids(&mut raw, base);
    Violations::check(validate::deprecated(&raw))?;
    normalize::translate(&mut raw, features)?;
    conclude(raw, features, None)
}

/// Merges a partial update into `current`, then normalises and validates the result, which keeps the
/// version of `current`. An `id` in the document is ignored.
pub fn update(current: &App, document: &Value, features: &Features) -> Result<Update, Violations> {
    let mut raw = read::update(document)?;
    normalize::resolve_ids(&mut raw, "/");
    let mut violations = validate::deprecated(&raw);
    violations.extend(validate::update(&raw));
    Violations::check(violations)?;
    if let Some(version) = raw.version {
        return Ok(Update::Rollback(version));
    }
    normalize::translate(&mut raw, features)?;
    let app = conclude(update::merge(current, raw), features, Some(&current.role))?;
    let (version, version_info) = (current.version, current.version_info);
    Ok(Update::Define(Box::new(App { version, version_info, ..app })))
}

/// The steps that definitions and merged updates share. `role` is the one that the app already has.
fn conclude(mut raw: RawApp, features: &Features, role: Option<&str>) -> Result<App, Violations> {
    normalize::complete(&mut raw, features);
    Violations::check(validate::complete(Subject { app: &raw, features, role }))?;
    normalize::finish(raw)
}
