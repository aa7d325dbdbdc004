//! The app definition: one canonical form, how a document becomes it, and how it is written back.
//!
//! [`model`] is the form that everything else works with; [`read`] takes JSON apart and collects every
//! field of the wrong shape ("Invalid JSON"); [`normalize`] translates deprecated fields and fills
//! defaults; [`validate`] holds the rules ("Object is not valid"); [`update`] merges a partial update.

pub mod model;

pub use model::*;
