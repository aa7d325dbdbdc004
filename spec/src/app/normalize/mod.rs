//! From what a document said to the one canonical form (reference section 2): deprecated fields become
//! the fields that replaced them, defaults are filled in, and a judged document becomes an [`App`].
//!
//! The rules are not here: [`super::validate`] judges between the steps.

mod defaults;
mod deprecated;
mod finish;

pub(super) use defaults::complete;
pub(super) use deprecated::translate;
pub(super) use finish::finish;

use super::raw::RawApp;
use crate::ids::canonical_path;

/// Makes the ids of a document absolute: they are relative to the group `base`. What is no path stays
/// as it is, for validation to refuse.
pub(super) fn resolve_ids(raw: &mut RawApp, base: &str) {
    let ids = raw.id.iter_mut().chain(raw.dependencies.iter_mut().flatten());
    for id in ids {
        let from_root = if id.starts_with('/') { id.clone() } else { format!("{base}/{id}") };
        if let Ok(path) = canonical_path(&from_root) {
            *id = path;
        }
    }
    raw.dependencies = raw.dependencies.take().map(super::read::node::distinct);
}
