//! What kind of change a definition makes, and the versions it is stamped with (reference section 5.1).

use std::sync::Arc;

use spec::app::{App, VersionInfo};
use spec::time::Timestamp;

/// How a definition differs from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There was none.
    Created,
    /// Anything but `instances` differs: running tasks are outdated.
    Upgraded,
    /// Only `instances` differs.
    Scaled,
    /// Nothing differs and it was asked for: running tasks are outdated.
    Restarted,
    /// Nothing differs.
    Unchanged,
}

/// A definition that is about to be stored.
pub(super) struct Changed {
    pub(super) app: Arc<App>,
    pub(super) kind: Kind,
    pub(super) original: Option<Arc<App>>,
}

impl Changed {
    /// Compares a definition with the one it replaces and stamps it.
    pub(super) fn new(mut app: Arc<App>, original: Option<&Arc<App>>, version: Timestamp) -> Self {
        let kind = original.map_or(Kind::Created, |original| compare(Arc::make_mut(&mut app), original));
        Self::stamped(app, kind, original.cloned(), version)
    }

    /// The definition as it is, to be started anew.
    pub(super) fn restart(original: &Arc<App>, version: Timestamp) -> Self {
        Self::stamped(original.clone(), Kind::Restarted, Some(original.clone()), version)
    }

    fn stamped(mut app: Arc<App>, kind: Kind, original: Option<Arc<App>>, version: Timestamp) -> Self {
        let before = original.as_ref().map(|original| stamps(original));
        let stamped = Arc::make_mut(&mut app);
        stamped.version = version;
        let all = VersionInfo { last_scaling_at: version, last_config_change_at: version };
        stamped.version_info = Some(match (kind, before) {
            (Kind::Scaled, Some(before)) => VersionInfo { last_scaling_at: version, ..before },
            (Kind::Restarted, Some(before)) => VersionInfo { last_config_change_at: version, ..before },
            _ => all,
        });
        Self { app, kind, original }
    }
}

fn stamps(app: &App) -> VersionInfo {
    let version = app.version;
    app.version_info.unwrap_or(VersionInfo { last_scaling_at: version, last_config_change_at: version })
}

/// Lends `app` what does not count as a difference, and takes the new number of instances back.
fn compare(app: &mut App, original: &App) -> Kind {
    let instances = app.instances;
    app.version = original.version;
    app.version_info = original.version_info;
    app.instances = original.instances;
    let upgraded = *app != *original;
    app.instances = instances;
    match (upgraded, instances == original.instances) {
        (true, _) => Kind::Upgraded,
        (false, false) => Kind::Scaled,
        (false, true) => Kind::Unchanged,
    }
}
