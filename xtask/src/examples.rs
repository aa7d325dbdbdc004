//! The examples as their readers would run them.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::cargo::{self, Profile, must, root, scratch};
use crate::cluster::{Cluster, Dev};
use crate::python::{self, Environment};

/// Time for the parameter-server job, start to last sum.
const TRAIN_TIMEOUT: Duration = Duration::from_secs(180);

const MXNET: Environment = Environment {
    name: "ps-lite",
    packages: &["mxnet==1.9.1", "numpy==1.23.5"],
    // With a role in the environment the import itself would become a member of a job.
    probe: "import os; os.environ.pop('DMLC_ROLE', None); import mxnet",
};

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
    let python = python::interpreter_of(&MXNET)?;
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
