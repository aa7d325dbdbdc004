//! Placeholder head, replaced by the crate that lands next.
