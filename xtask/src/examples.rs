//! The examples as their readers would run them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::cargo::{self, Profile, must, root, scratch};
use crate::cluster::{Cluster, Dev};
use crate::docker::{self, which};

/// Time for the parameter-server job, start to last sum.
const TRAIN_TIMEOUT: Duration = Duration::from_secs(180);

/// Runs every example; the first that fails ends it.
pub fn run() -> anyhow::Result<()> {
    let programs = cargo::programs(Profile::Dev);
    ps_lite(&programs).context("examples/ps-lite")?;
    for runtime in ["docker", "process"] {
        println!("examples/search-engine with {runtime}");
        let own = std::env::current_exe()?;
        must(Command::new(own).args(["demo", "--once", "--profile", "dev", "--runtime", runtime]))?;
    }
    Ok(())
}

/// One scheduler, one server and two workers find each other by name and sum what they push.
fn ps_lite(programs: &Path) -> anyhow::Result<()> {
    println!("examples/ps-lite: a parameter-server job of four tasks");
    let python = environment()?;
    let folder = root().join("examples/ps-lite");
    let text = std::fs::read_to_string(folder.join("ps-lite.json"))?;
    let text =
        text.replace("@DIR@", &folder.to_string_lossy()).replace("@PYTHON@", &python.to_string_lossy());
    let scratch = scratch("ps-lite")?;
    let document = scratch.join("ps-lite.json");
    std::fs::write(&document, text)?;
    let cluster = Cluster::start(programs, &scratch, &Dev { runtime: "process", ..Dev::default() })?;
    let file = document.to_str().context("the path is text")?;
    must(&mut cluster.clusterctl(&["deploy", file]))?;
    println!("the members run; they find each other and train (`clusterctl logs /ps-worker`)");
    let deadline = Instant::now() + TRAIN_TIMEOUT;
    loop {
        let output = cluster.clusterctl(&["logs", "/ps-worker"]).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if said.matches("all sums are right").count() == 2 {
            println!("{said}examples/ps-lite: ok, both workers got the right sums");
            return Ok(());
        }
        if Instant::now() > deadline {
            let wrong = String::from_utf8_lossy(&output.stderr);
            bail!(
                "the workers did not print the right sums in time:\n{said}{wrong}\n{}",
                cluster.last_lines()
            );
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The virtual environment, made once; its interpreter.
fn environment() -> anyhow::Result<PathBuf> {
    let folder = root().join("target").join("xtask").join("ps-lite-venv");
    let python = folder.join("bin/python");
    if try_import(&python).is_ok() {
        return Ok(python);
    }
    let system = interpreter()?;
    println!("making a virtual environment in {}", folder.display());
    must(Command::new(system).args(["-m", "venv", "--clear"]).arg(&folder))?;
    println!("installing mxnet in it (50 MB, once)");
    let packages = ["mxnet==1.9.1", "numpy==1.23.5"];
    must(
        Command::new(&python)
            .args(["-m", "pip", "install", "-q", "--disable-pip-version-check"])
            .args(packages),
    )?;
    try_import(&python)
        .with_context(|| format!("mxnet was installed in {} but cannot be imported", folder.display()))?;
    Ok(python)
}

/// Is mxnet there and whole?
fn try_import(python: &Path) -> anyhow::Result<()> {
    let mut probe = Command::new(python);
    // With a role in the environment the import itself would become a member of a job.
    let output = probe.args(["-c", "import mxnet"]).env_remove("DMLC_ROLE").output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("{}", said.lines().last().unwrap_or("Python does not say why"))
}

/// A Python 3.11 with `venv`; Debian's where there is none and it may be installed.
fn interpreter() -> anyhow::Result<PathBuf> {
    let usable = |name: &str| {
        let python = which(name)?;
        let script = "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))";
        let fits =
            Command::new(&python).args(["-c", script]).output().is_ok_and(|output| output.status.success());
        fits.then_some(python)
    };
    if let Some(python) = usable("python3.11").or_else(|| usable("python3")) {
        return Ok(python);
    }
    if docker::is_root() && which("apt-get").is_some() {
        println!("installing Python 3.11 from Debian's packages");
        must(Command::new("apt-get").args(["update", "-qq"]))?;
        let install =
            ["install", "-y", "-qq", "--no-install-recommends", "python3", "python3-venv", "libgomp1"];
        must(Command::new("apt-get").args(install).env("DEBIAN_FRONTEND", "noninteractive"))?;
    }
    usable("python3.11")
        .or_else(|| usable("python3"))
        .context("examples/ps-lite needs Python 3.11 with venv: install it")
}
