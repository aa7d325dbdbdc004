//! Rules about volumes of all kinds but those of other systems (reference section 2.7).

use super::{Findings, Subject, all_differ, external};
use crate::app::model::*;
use crate::app::pattern;

/// What no volume of our own may be called.
pub(super) const DOTS: [&str; 2] = [".", ".."];

/// Compiling patterns takes time, so there is an end to them and to volumes; Marathon has none.
const CONSTRAINTS_MAX: usize = 2;
const VOLUMES_MAX: usize = 64;

pub(super) fn volumes(subject: Subject<'_>, found: &mut Findings) {
    let Some(container) = &subject.app.container else {
        return;
    };
    let names = container.volumes.iter().map(|volume| match volume {
        Volume::External { external, .. } => external.name.as_ref(),
        _ => None,
    });
    found.need(all_differ(names), "/container/volumes", "Volume names must be unique");
    let bounded = container.volumes.len() <= VOLUMES_MAX;
    let message = format!("at most {VOLUMES_MAX} volumes are supported");
    found.need(bounded, "/container/volumes", message);
    for (n, volume) in container.volumes.iter().enumerate().take(VOLUMES_MAX) {
        let at = format!("/container/volumes({n})");
        match volume {
            Volume::Host { .. } => {}
            Volume::Secret { secret: name, .. } => secret(subject, &at, name, found),
            Volume::Persistent { container_path, mode, persistent } => {
                place(&at, container_path, found);
                found.need(*mode == VolumeMode::Rw, format!("{at}/mode"), "got RO, expected RW");
                info(&format!("{at}/persistent"), persistent, found);
            }
            Volume::External { container_path, mode, external } => {
                external::volume(subject, &at, (container_path, *mode, external), found);
            }
        }
    }
    external::app(subject, found);
}

fn secret(subject: Subject<'_>, at: &str, name: &str, found: &mut Findings) {
    subject.feature("secrets", at, found);
    let known = subject.app.secrets.as_ref().is_some_and(|secrets| secrets.contains_key(name));
    found.need(known, at, "volume.secret must refer to an existing secret");
}

fn place(at: &str, container_path: &str, found: &mut Findings) {
    let at = format!("{at}/containerPath");
    found.need(!DOTS.contains(&container_path), at.as_str(), "can not be one of (.,..)");
    found.need(!container_path.contains('/'), at, "value must not contain \"/\"");
}

fn info(at: &str, volume: &PersistentVolume, found: &mut Findings) {
    let kind = volume.kind.unwrap_or(PersistentVolumeType::Root);
    found.need(volume.size > 0, format!("{at}/size"), "got 0, expected more than 0");
    let mount_only = volume.max_size.is_none() || kind == PersistentVolumeType::Mount;
    found.need(mount_only, at, "Only mount volumes can have maxSize");
    let ordered = volume.max_size.is_none_or(|max| max > volume.size);
    found.need(ordered, at, "Max size must be larger than size");
    let constrained_root = kind == PersistentVolumeType::Root && !volume.constraints.is_empty();
    found.need(!constrained_root, at, "Constraints on root volumes are not supported");
    let bounded = volume.constraints.len() <= CONSTRAINTS_MAX;
    let message = format!("at most {CONSTRAINTS_MAX} constraints are supported");
    found.need(bounded, format!("{at}/constraints"), message);
    for (n, parts) in volume.constraints.iter().enumerate().take(CONSTRAINTS_MAX) {
        if let Err(message) = constraint(parts) {
            found.need(false, format!("{at}/constraints({n})"), message);
        }
    }
}

fn constraint(parts: &[String]) -> Result<(), String> {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        [] => Err("Missing field and operator".to_owned()),
        ["path", "LIKE" | "UNLIKE", value, ..] if pattern::compile(value).is_none() => {
            Err("Invalid regular expression".to_owned())
        }
        ["path", "LIKE" | "UNLIKE", _, ..] => Ok(()),
        ["path", operator, _, ..] if Operator::from_name(operator).is_some() => {
            Err("Operator must be one of LIKE, UNLIKE".to_owned())
        }
        ["path", operator, _, ..] => Err(format!("unknown constraint operator {operator}")),
        _ => Err(format!("Unsupported constraint {}", parts.join(","))),
    }
}
