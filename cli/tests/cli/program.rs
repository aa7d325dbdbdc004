//! The program itself: help that teaches, completions, and a one-process cluster that leaves nothing behind,
//! however it ends.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bed::{Run, clusterctl, entries, is_running};

/// Verbs, each of which teaches itself.
const VERBS: [&str; 19] = [
    "dev",
    "master",
    "agent",
    "deploy",
    "apps",
    "tasks",
    "agents",
    "deployments",
    "queue",
    "scale",
    "restart",
    "remove",
    "kill",
    "logs",
    "events",
    "masters",
    "backup",
    "restore",
    "recover",
];

#[test]
fn every_verb_teaches_by_an_example() {
    for verb in VERBS {
        let run =
            Run::alone(&[verb, "--help"]).must(0, &["Usage: clusterctl", "Example:\n  clusterctl"], &[]);
        let long = run.out.lines().find(|line| line.chars().count() > 100);
        assert_eq!(long, None, "{verb}");
    }
    Run::alone(&["--help"]).must(0, &VERBS, &[]);
    Run::alone(&["deplyo"]).must(2, &[], &["deploy"]);
}

#[test]
fn completions_are_a_script() {
    let script = Run::alone(&["completions", "bash"]).must(0, &["_clusterctl"], &[]).out;
    let checked = Command::new("bash").args(["-n", "-c", &script]).status().unwrap();
    assert!(checked.success());
}

#[test]
fn without_a_master_there_is_a_hint() {
    let run = Run::alone(&["apps", "--master", "http://127.0.0.1:1"]);
    run.must(1, &[], &["no master answers at http://127.0.0.1:1", "clusterctl dev"]);
}

#[test]
fn a_port_that_is_taken_comes_with_the_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let temporary = dir.path().to_str().unwrap();
    let child = dev(temporary, &["--http", &address]).spawn().unwrap();
    let hints =
        [&format!("cannot listen on {address} for REST")[..], "--http 127.0.0.1:", "CLUSTERCTL_MASTER=http"];
    Run::of(&["dev"], child).must(1, &[], &hints);
    assert_eq!(entries(dir.path()), Vec::<std::path::PathBuf>::new());
}

/// A cluster of processes with its temporary files in a place of its own.
fn dev(temporary: &str, more: &[&str]) -> Command {
    let mut command = Command::new(clusterctl());
    command.args(["dev", "--runtime", "process", "--dns", "127.0.0.1:0"]).args(more).env("TMPDIR", temporary);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts one on a free port; up when this returns.
fn dev_up(temporary: &str) -> (Child, String) {
    let http = format!("127.0.0.1:{}", xtask::cluster::free_port().unwrap());
    let child = dev(temporary, &["--http", &http]).spawn().unwrap();
    let master = format!("http://{http}");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !Run::alone(&["agents", "--master", &master]).out.contains("connected") {
        assert!(Instant::now() < deadline, "the cluster does not come up");
        std::thread::sleep(Duration::from_millis(50));
    }
    (child, master)
}

/// Runs a task whose command line holds `marker`.
fn run_task(temporary: &str, master: &str, marker: &str) {
    let file = format!("{temporary}/app.json");
    let command = format!("exec sleep {marker}");
    let app = serde_json::json!({"id": "/t", "cmd": command, "cpus": 0.01, "mem": 16});
    std::fs::write(&file, app.to_string()).unwrap();
    Run::alone(&["deploy", &file, "--master", master]).must(0, &[], &[]);
    std::fs::remove_file(&file).unwrap();
    assert!(is_running(marker));
}

#[test]
fn an_ended_cluster_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // Told apart from every other sleep of the machine.
    let marker = format!("1000.{}1", std::process::id());
    let temporary = dir.path().to_str().unwrap();
    let (child, master) = dev_up(temporary);
    run_task(temporary, &master, &marker);
    xtask::stop::signal(child.id(), libc::SIGINT);
    let http = format!("REST   {master}");
    Run::of(&["dev"], child).must(0, &["Gantry is up: a master and an agent", &http, "Ctrl-C"], &[]);
    assert!(!is_running(&marker), "its task runs on");
    assert_eq!(entries(dir.path()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_killed_cluster_can_be_removed() {
    let dir = tempfile::tempdir().unwrap();
    let temporary = dir.path().to_str().unwrap();
    let marker = format!("1000.{}2", std::process::id());
    let (mut child, master) = dev_up(temporary);
    run_task(temporary, &master, &marker);
    let left = entries(dir.path());
    let home = left[0].to_str().unwrap();
    Run::alone(&["dev", "--remove", "--data-dir", home]).must(1, &[], &["another agent uses"]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_running(&marker), "tasks outlive the cluster");

    let (child, _) = dev_up(temporary);
    xtask::stop::signal(child.id(), libc::SIGINT);
    let remedy = format!("clusterctl dev --data-dir {home} --remove");
    Run::of(&["dev"], child).must(0, &[], &["a cluster was killed", &remedy]);

    Run::alone(&["dev", "--remove", "--data-dir", home]).must(0, &["is removed"], &[]);
    assert!(!is_running(&marker), "its task runs on");
    assert_eq!(entries(dir.path()), Vec::<std::path::PathBuf>::new());
    Run::alone(&["dev", "--remove", "--data-dir", temporary]).must(1, &[], &["holds no cluster"]);
}
