//! Python for the examples and tests that need it: one virtual environment a purpose, made once.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::cargo::{must, root};
use crate::docker::{self, which};

/// A virtual environment.
#[derive(Clone, Copy, Debug)]
pub struct Environment {
    /// What it is for; its folder is called so.
    pub name: &'static str,
    /// What is installed, with versions.
    pub packages: &'static [&'static str],
    /// A program that succeeds once everything is there.
    pub probe: &'static str,
}

/// The interpreter of an environment, which is made if it is not there.
pub fn interpreter_of(environment: &Environment) -> anyhow::Result<PathBuf> {
    let folder = root().join("target").join("xtask").join(format!("{}-venv", environment.name));
    let python = folder.join("bin/python");
    if probe(&python, environment.probe).is_ok() {
        return Ok(python);
    }
    let packages = environment.packages;
    println!("making a virtual environment in {}", folder.display());
    must(Command::new(system()?).args(["-m", "venv", "--clear"]).arg(&folder))?;
    println!("installing {} in it (once)", packages.join(", "));
    let install = ["-m", "pip", "install", "-q", "--disable-pip-version-check"];
    must(Command::new(&python).args(install).args(packages))?;
    probe(&python, environment.probe).with_context(|| {
        format!("{} was installed in {} but cannot be used", packages.join(", "), folder.display())
    })?;
    Ok(python)
}

/// Does the program succeed? If not, its last line says why.
fn probe(python: &Path, program: &str) -> anyhow::Result<()> {
    let output = Command::new(python).args(["-c", program]).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("{}", said.lines().last().unwrap_or("Python does not say why"))
}

/// A Python 3.11 with `venv`, for which all packages exist; Debian's where there is none and it may be
/// installed.
fn system() -> anyhow::Result<PathBuf> {
    let find = || usable("python3.11").or_else(|| usable("python3"));
    if let Some(python) = find() {
        return Ok(python);
    }
    if docker::is_root() && which("apt-get").is_some() {
        println!("installing Python 3.11 from Debian's packages");
        must(Command::new("apt-get").args(["update", "-qq"]))?;
        let install =
            ["install", "-y", "-qq", "--no-install-recommends", "python3", "python3-venv", "libgomp1"];
        must(Command::new("apt-get").args(install).env("DEBIAN_FRONTEND", "noninteractive"))?;
    }
    find().context("this needs Python 3.11 with venv: install it")
}

fn usable(name: &str) -> Option<PathBuf> {
    let python = which(name)?;
    fits(&python).then_some(python)
}

fn fits(python: &Path) -> bool {
    let script = "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))";
    Command::new(python).args(["-c", script]).output().is_ok_and(|output| output.status.success())
}
