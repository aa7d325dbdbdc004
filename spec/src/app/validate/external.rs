//! Rules about volumes of other systems: the Docker volume driver interface and CSI (reference section
//! 2.7). CSI has no rules beyond the shape of its options.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::volume::DOTS;
use super::{Findings, Subject};
use crate::app::model::*;

const LABEL: &str = "^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$";
const OPTION: &str = r"^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?/[A-Za-z0-9](?:[-A-Za-z0-9\._:]*[A-Za-z0-9])?$";
const DRIVER: &str = "dvdi/driver";

static LABEL_REGEX: LazyLock<Regex> = LazyLock::new(|| Regex::new(LABEL).expect("a constant"));
static OPTION_REGEX: LazyLock<Regex> = LazyLock::new(|| Regex::new(OPTION).expect("a constant"));

fn is_dvdi(volume: &ExternalVolume) -> bool {
    volume.provider.as_deref() == Some("dvdi")
}

/// The rules for one volume, given by container path, mode and the rest.
pub(super) fn volume(
    subject: Subject<'_>,
    at: &str,
    (path, mode, external): (&str, VolumeMode, &ExternalVolume),
    found: &mut Findings,
) {
    subject.feature("external_volumes", at, found);
    let info = format!("{at}/external");
    provider(&info, external, found);
    if !is_dvdi(external) {
        return;
    }
    found.need(!DOTS.contains(&path), format!("{at}/containerPath"), "can not be one of (.,..)");
    options(&info, external, found);
    if subject.app.is_docker() {
        let only_driver = external.options.keys().all(|key| key == DRIVER);
        found.need(only_driver, format!("{info}/options"), format!("must only contain {DRIVER}"));
        found.need(
            external.size.is_none(),
            format!("{info}/size"),
            "must be undefined for Docker containers",
        );
    } else {
        found.need(mode == VolumeMode::Rw, format!("{at}/mode"), "got RO, expected RW");
    }
}

fn provider(info: &str, external: &ExternalVolume, found: &mut Findings) {
    match external.name.as_deref() {
        None => found.need(false, format!("{info}/name"), "not defined"),
        Some(name) => found.need(!name.is_empty(), format!("{info}/name"), "must not be empty"),
    }
    let at = format!("{info}/provider");
    match external.provider.as_deref() {
        None => found.need(false, at, "not defined"),
        Some("dvdi" | "csi") => {}
        Some(_) => found.need(false, at, "is not one of (dvdi,csi)"),
    }
}

fn options(info: &str, external: &ExternalVolume, found: &mut Findings) {
    for key in external.options.keys() {
        let message = format!("must fully match regular expression '{OPTION}'");
        found.need(OPTION_REGEX.is_match(key), format!("{info}/options"), message);
    }
    let driver = external.options.get(DRIVER).and_then(Value::as_str);
    let at = format!("{info}/options(\"{DRIVER}\")");
    let message = format!("must fully match regular expression '{LABEL}'");
    match driver {
        None => found.need(false, at, "not defined"),
        Some(driver) => found.need(LABEL_REGEX.is_match(driver), at, message),
    }
    if driver == Some("rexray") {
        rexray(info, external, found);
    }
}

/// The options whose form is known for the driver that Marathon was used with.
fn rexray(info: &str, external: &ExternalVolume, found: &mut Findings) {
    type Rule = (&'static str, fn(&str) -> bool, &'static str);
    const RULES: [Rule; 4] = [
        ("dvdi/volumetype", |text| LABEL_REGEX.is_match(text), "must be a label"),
        ("dvdi/newfstype", |text| LABEL_REGEX.is_match(text), "must be a label"),
        ("dvdi/iops", |text| text.parse::<u64>().is_ok_and(|number| number > 0), "must be a natural number"),
        ("dvdi/overwritefs", |text| matches!(text, "true" | "false"), "must be true or false"),
    ];
    for (key, holds, message) in RULES {
        let value = external.options.get(key).and_then(Value::as_str);
        found.need(value.is_none_or(holds), format!("{info}/options(\"{key}\")"), message);
    }
}

/// The rules for an app with such volumes: one volume serves one task.
pub(super) fn app(subject: Subject<'_>, found: &mut Findings) {
    let app = subject.app;
    let volumes = app.container.iter().flat_map(|container| &container.volumes);
    let dvdi = volumes.into_iter().any(|volume| match volume {
        Volume::External { external, .. } => is_dvdi(external) && external.shared != Some(true),
        _ => false,
    });
    if !dvdi {
        return;
    }
    let id = app.id.as_deref().unwrap_or_default();
    let message = format!("Number of instances is limited to 1 when declaring DVDI volumes in app [{id}]");
    found.need(app.instances.unwrap_or(1) <= 1, "/", message);
    super::strategies::resident_upgrade(subject, found);
}
