//! From a launch to a running process: what is planned (pure but for looking up users), then carried out.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use spec::app::{App, Volume, VolumeMode};

use super::files::{self, Mount, RESOLV_CONF, SPEC, Spec};
use super::identity::Identity;
use super::record::Record;
use super::spawn::{self, ShimCommand};
use super::{blocking, failed, group_name};
use crate::runtime::cgroup::{Group, Limits};
use crate::runtime::{Launch, RuntimeError};

/// All that is decided about a start.
#[derive(Debug)]
pub(super) struct Plan {
    spec: Spec,
    limits: Limits,
    resolver: Option<IpAddr>,
}

/// Decides how a task is run, or why it cannot be.
pub(super) fn plan(launch: &Launch, groups: bool, directory: &Path) -> Result<Plan, RuntimeError> {
    let app = &*launch.app;
    if !app.is_host_mode() {
        return Err(RuntimeError::Unsupported(
            "bridge and container networks need a Docker image".to_owned(),
        ));
    }
    let is_root = rustix::process::geteuid().is_root();
    let resolver = launch.resolvers.host.filter(|_| is_root);
    let mut mounts = volume_mounts(app, &launch.sandbox)?;
    if !mounts.is_empty() && !is_root {
        return Err(RuntimeError::Unsupported(
            "volumes of a process need an agent that runs as root".to_owned(),
        ));
    }
    if resolver.is_some() {
        let (source, target) = (directory.join(RESOLV_CONF), PathBuf::from("/etc/resolv.conf"));
        mounts.push(Mount { source, target, read_only: true });
    }
    let spec = Spec {
        task: launch.task.clone(),
        command: command(app)?,
        env: launch.env.clone(),
        sandbox: launch.sandbox.clone(),
        identity: identity(app, is_root)?,
        group: groups.then(|| group_name(&launch.task)),
        mounts,
    };
    Ok(Plan { spec, limits: Limits::of(app), resolver })
}

/// `cmd` by the shell; of `args` the first is the program (reference section 2.3).
fn command(app: &App) -> Result<Vec<String>, RuntimeError> {
    match &app.cmd {
        Some(cmd) => Ok(["/bin/sh", "-c", cmd].map(str::to_owned).to_vec()),
        None if !app.args.is_empty() => Ok(app.args.clone()),
        None => Err(RuntimeError::Unsupported(format!("{} has neither cmd nor args nor an image", app.id))),
    }
}

fn identity(app: &App, is_root: bool) -> Result<Option<Identity>, RuntimeError> {
    let Some(user) = &app.user else {
        return Ok(None);
    };
    let identity = Identity::of_user(user)
        .map_err(|error| failed("looking up users", &error))?
        .ok_or_else(|| RuntimeError::Failed(format!("there is no user `{user}` on this machine")))?;
    if !is_root && !identity.is_current() {
        return Err(RuntimeError::Failed(format!("running as `{user}` needs an agent that runs as root")));
    }
    Ok(Some(identity))
}

/// Host volumes, relative paths in the sandbox on both sides as under Mesos.
fn volume_mounts(app: &App, sandbox: &Path) -> Result<Vec<Mount>, RuntimeError> {
    let volumes = app.container.as_ref().map_or(&[][..], |container| &container.volumes);
    volumes.iter().map(|volume| volume_mount(volume, sandbox)).collect()
}

fn volume_mount(volume: &Volume, sandbox: &Path) -> Result<Mount, RuntimeError> {
    let Volume::Host { container_path, host_path, mode } = volume else {
        return Err(RuntimeError::Unsupported("only host volumes are supported for processes".to_owned()));
    };
    let climbs = |path: &str| Path::new(path).components().any(|part| part == Component::ParentDir);
    if climbs(container_path) || climbs(host_path) {
        return Err(RuntimeError::Unsupported(format!("volume `{container_path}`: `..` in a path")));
    }
    Ok(Mount {
        source: sandbox.join(host_path),
        target: sandbox.join(container_path),
        read_only: *mode == VolumeMode::Ro,
    })
}

/// Starts what was planned; leaves nothing when that fails.
pub(super) async fn carry_out(record: Record, plan: Plan, shim: ShimCommand) -> Result<Record, RuntimeError> {
    let task = plan.spec.task.clone();
    let prepared = record.clone();
    let prepare = blocking(move || {
        // What an earlier launch of the same task may have left.
        prepared.remove(&plan.spec.task)?;
        prepare(prepared.directory(), &plan).map_err(|error| failed("preparing the task", &error))
    });
    let started = match prepare.await {
        Ok(()) => spawn::start(&shim, record.directory()).await.map_err(RuntimeError::Failed),
        Err(error) => Err(error),
    };
    match started {
        Ok(()) => Ok(record),
        Err(error) => {
            let leftover = record.clone();
            blocking(move || leftover.remove(&task)).await?;
            Err(error)
        }
    }
}

fn prepare(directory: &Path, plan: &Plan) -> io::Result<()> {
    fs::create_dir(directory)?;
    if let Some(group) = &plan.spec.group {
        Group::new(group).create(&plan.limits)?;
    }
    if let Some(resolver) = plan.resolver {
        let machine = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        fs::write(directory.join(RESOLV_CONF), resolv_conf(resolver, &machine))?;
    }
    for mount in plan.spec.mounts.iter().filter(|mount| mount.target.starts_with(&plan.spec.sandbox)) {
        fs::create_dir_all(&mount.target)?;
        crate::sandbox::check_inside(&plan.spec.sandbox, &mount.target)?;
    }
    files::write(directory, SPEC, &plan.spec)
}

/// The agent's resolver instead of the machine's, with the machine's search list and options.
fn resolv_conf(resolver: IpAddr, machine: &str) -> String {
    let kept = machine.lines().filter(|line| {
        ["search", "domain", "options"].contains(&line.split_whitespace().next().unwrap_or_default())
    });
    let lines = std::iter::once(format!("nameserver {resolver}")).chain(kept.map(str::to_owned));
    lines.map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_keep_the_search_list() {
        let machine = "# made by hand\nnameserver 10.0.0.1\nsearch a b\noptions ndots:2\n";
        assert_eq!(
            resolv_conf("127.0.0.2".parse().unwrap(), machine),
            "nameserver 127.0.0.2\nsearch a b\noptions ndots:2\n"
        );
    }

    #[test]
    fn volumes_lie_in_the_sandbox_or_are_absolute() {
        let volume = |container_path: &str, host_path: &str| Volume::Host {
            container_path: container_path.to_owned(),
            host_path: host_path.to_owned(),
            mode: VolumeMode::Ro,
        };
        let mount =
            |container_path, host_path| volume_mount(&volume(container_path, host_path), Path::new("/s"));
        let both = mount("in", "/srv").unwrap();
        assert_eq!((both.source.as_path(), both.target.as_path()), (Path::new("/srv"), Path::new("/s/in")));
        assert_eq!(mount("/opt/x", "d").unwrap().source, Path::new("/s/d"));
        assert!(mount("../x", "/srv").is_err() && mount("x", "../srv").is_err());
    }
}
