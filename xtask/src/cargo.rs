//! Calls of cargo and where its products are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// Root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command and fails with its name when it does.
pub fn must(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot run {name}"))?;
    if !status.success() {
        bail!(
            "{name} {} failed ({status})",
            command.get_args().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ")
        );
    }
    Ok(())
}

/// Which build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// Fast to build.
    Dev,
    /// Fast to run.
    Release,
}

/// Builds packages and returns the directory that holds their programs.
pub fn build(packages: &[&str], profile: Profile) -> anyhow::Result<PathBuf> {
    let mut command = cargo();
    command.arg("build");
    for package in packages {
        command.args(["--package", package]);
    }
    if profile == Profile::Release {
        command.arg("--release");
    }
    must(&mut command)?;
    Ok(programs(profile))
}

/// Where programs of a profile are. This program lies in `<target>/<triple>/debug` itself.
pub fn programs(profile: Profile) -> PathBuf {
    let own = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().and_then(Path::parent).map(Path::to_path_buf));
    let folder = if profile == Profile::Release { "release" } else { "debug" };
    own.unwrap_or_else(|| root().join("target")).join(folder)
}

/// A scratch directory below `target`, emptied.
pub fn scratch(name: &str) -> anyhow::Result<PathBuf> {
    let dir = root().join("target").join("xtask").join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}
