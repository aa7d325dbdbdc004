//! What a container sees of the host's files: its sandbox and its volumes. Pure.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{HostConfig, Mount, MountType, MountVolumeOptions, MountVolumeOptionsDriverConfig};
use spec::app::{ExternalVolume, Volume, VolumeMode};

use super::create::SANDBOX;
use crate::runtime::Launch;

/// Mounts the sandbox, then every volume of the app.
pub(super) fn apply(launch: &Launch, host: &mut HostConfig) -> Result<(), String> {
    let sandbox = text(&launch.sandbox)?;
    let mut binds = vec![bind(sandbox, SANDBOX, VolumeMode::Rw)?];
    let mut mounts = Vec::new();
    let volumes = launch.app.container.as_ref().map_or(&[][..], |container| &container.volumes);
    for volume in volumes {
        match volume {
            Volume::Host { container_path, host_path, mode } => {
                binds.push(bind(&on_host(sandbox, host_path), &inside(container_path), *mode)?);
            }
            Volume::External { container_path, mode, external } => {
                mounts.push(external_mount(container_path, *mode, external)?);
            }
            Volume::Persistent { container_path, .. } => {
                return Err(format!("persistent volume `{container_path}`: not supported by this agent yet"));
            }
            Volume::Secret { container_path, .. } => {
                return Err(format!("secret volume `{container_path}`: not supported by this agent yet"));
            }
        }
    }
    host.binds = Some(binds);
    host.mounts = (!mounts.is_empty()).then_some(mounts);
    Ok(())
}

fn text(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("{} is not UTF-8, which Docker's API requires", path.display()))
}

/// A relative host path lies in the sandbox, as under Mesos.
fn on_host(sandbox: &str, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{sandbox}/{path}") }
}

/// A relative container path lies under the container's view of the sandbox, as under Mesos.
fn inside(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{SANDBOX}/{path}") }
}

/// `docker run -v` form, which makes a missing directory on the host, as Marathon's users expect.
fn bind(source: &str, target: &str, mode: VolumeMode) -> Result<String, String> {
    if let Some(path) = [source, target].into_iter().find(|path| path.contains(':')) {
        return Err(format!("volume path `{path}`: Docker takes no colon in it"));
    }
    let mode = match mode {
        VolumeMode::Ro => "ro",
        VolumeMode::Rw => "rw",
    };
    Ok(format!("{source}:{target}:{mode}"))
}

/// A volume of a Docker volume driver (`dvdi`); other providers have no counterpart in the Engine.
fn external_mount(path: &str, mode: VolumeMode, external: &ExternalVolume) -> Result<Mount, String> {
    let driver = external.options.get("dvdi/driver").and_then(serde_json::Value::as_str);
    let (Some("dvdi"), Some(driver)) = (external.provider.as_deref(), driver) else {
        return Err(format!("external volume `{path}`: only provider dvdi with a dvdi/driver is supported"));
    };
    Ok(Mount {
        typ: Some(MountType::VOLUME),
        source: external.name.clone(),
        target: Some(inside(path)),
        read_only: Some(mode == VolumeMode::Ro),
        volume_options: Some(MountVolumeOptions {
            driver_config: Some(MountVolumeOptionsDriverConfig {
                name: Some(driver.to_owned()),
                options: Some(HashMap::new()),
            }),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    })
}
