//! In which form definitions are written into log entries and snapshots: one that every master of the cluster
//! reads. While a cluster is being upgraded that is what its oldest master reads.

use super::State;

/// How definitions are written. Both are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As documents.
    Json,
    /// As fields with tags ([`spec::app::StoredApp`]).
    Packed,
}

/// The first version that reads [`Form::Packed`]: its major and minor number.
const PACKED_SINCE: (u64, u64) = (0, 2);

impl State {
    /// What all masters read, those that are down included. Who joins later with an older program stops at the
    /// first entry that it cannot read, and says so.
    pub fn form(&self) -> Form {
        let packed = self.masters.values().all(|master| reads_packed(&master.info.version));
        if packed { Form::Packed } else { Form::Json }
    }
}

/// A version that says nothing is an old one.
fn reads_packed(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { return false };
    (major, minor) >= PACKED_SINCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        for (version, packed) in [
            ("0.1.0", false),
            ("0.1.99", false),
            ("0.2.0", true),
            ("0.2.0-rc1", true),
            ("0.10.3", true),
            ("1.0.0", true),
            ("", false),
            ("7", false),
            ("new", false),
        ] {
            assert_eq!(reads_packed(version), packed, "{version}");
        }
        assert!(reads_packed(env!("CARGO_PKG_VERSION")), "this version itself");
    }
}
