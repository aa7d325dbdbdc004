//! Daemons refuse what would open the cluster to the world or lose what it knows.

use std::process::{Command, Output};

use gantry_tests::programs;

fn clusterctl(args: &[&str]) -> anyhow::Result<Output> {
    Ok(Command::new(programs()?.join("clusterctl")).args(args).output()?)
}

fn refused(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is missing in: {said}");
    }
}

#[test]
fn listening_beyond_loopback_takes_a_word() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("m").display().to_string();
    refused(&clusterctl(&["dev", "--http", "0.0.0.0:0"])?, &["--http 0.0.0.0:0", "--insecure"]);
    for option in ["--http", "--rpc", "--dns"] {
        let output =
            clusterctl(&["master", "--name", "m", "--data-dir", &data, "--bootstrap", option, "0.0.0.0:0"])?;
        refused(&output, &[option, "--insecure"]);
    }
    assert!(!dir.path().join("m").exists(), "a refusal leaves nothing behind");
    Ok(())
}

#[test]
fn an_empty_directory_is_no_cluster() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("m").display().to_string();
    let output = clusterctl(&[
        "master",
        "--name",
        "m",
        "--data-dir",
        &data,
        "--http",
        "127.0.0.1:0",
        "--rpc",
        "127.0.0.1:0",
        "--dns",
        "127.0.0.1:0",
    ])?;
    refused(&output, &["--bootstrap"]);
    Ok(())
}

#[test]
fn no_master_is_a_clear_error() -> anyhow::Result<()> {
    let output = clusterctl(&["apps", "--master", "http://127.0.0.1:1"])?;
    refused(&output, &["no master answers at http://127.0.0.1:1", "clusterctl dev"]);
    Ok(())
}
