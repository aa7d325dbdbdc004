//! What a master does with a disk that it cannot trust or cannot use: it says so in a line that names the file
//! and a way out, and ends; it never begins anew.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use gantry_tests::{SOON, programs, wait_for};
use serde_json::{Value, json};
use xtask::cluster::free_port;
use xtask::http;

/// A text in the state that is looked for on disk.
const MARK: &str = "a-label-that-is-easily-found";
/// Files of the log: what is rare, and the first segment of the entries.
const RARE: &str = "raft.redb";
const LOG: &str = "raft-00000001.log";

/// A master that founds its cluster when its directory is empty.
struct Master {
    child: Child,
    http: String,
    log: PathBuf,
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `clusterctl master` that founds a cluster if it can, with a prefix such as `nsenter`.
fn command(prefix: &[&str], name: &str, dir: &Path) -> anyhow::Result<(Command, String)> {
    let rpc = format!("127.0.0.1:{}", free_port()?);
    command_with(prefix, name, dir, &["--bootstrap", "--rpc", &rpc])
}

fn command_with(prefix: &[&str], name: &str, dir: &Path, more: &[&str]) -> anyhow::Result<(Command, String)> {
    let clusterctl = programs()?.join("clusterctl");
    let mut words = prefix.iter().map(std::ffi::OsStr::new).chain([clusterctl.as_os_str()]);
    let mut command = Command::new(words.next().context("a program")?);
    let http = format!("127.0.0.1:{}", free_port()?);
    command.args(words).args(["master", "--name", name, "--data-dir"]).arg(dir).args(more);
    command.args(["--http", &http, "--dns", &format!("127.0.0.1:{}", free_port()?)]);
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    Ok((command, http))
}

impl Master {
    fn start(prefix: &[&str], scratch: &Path, dir: &Path) -> anyhow::Result<Self> {
        Self::run(command(prefix, "m1", dir)?, scratch.join("master.log"))
    }

    fn run((mut command, http): (Command, String), log: PathBuf) -> anyhow::Result<Self> {
        let file = std::fs::File::create(&log)?;
        let master = Self { child: command.stdout(file.try_clone()?).stderr(file).spawn()?, http, log };
        wait_for("the master", || Ok(http::tcp(&master.http, "GET", "/v2/apps", &[])?.status == 200))?;
        Ok(master)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<(u16, String)> {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = http::tcp(&self.http, method, path, &bytes)?;
        Ok((answer.status, answer.body))
    }

    fn create(&self, id: &str, label: &str) -> anyhow::Result<u16> {
        let app = json!({"id": id, "cmd": "sleep 1", "instances": 0, "labels": {"l": label}});
        Ok(self.call("POST", "/v2/apps", &app)?.0)
    }

    fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until it has ended by itself; its exit code and what it said.
    fn ended(mut self) -> anyhow::Result<(Option<i32>, String)> {
        let mut code = None;
        wait_for("the master to end", || {
            let status = self.child.try_wait()?;
            code = status.and_then(|status| status.code());
            Ok(status.is_some())
        })?;
        Ok((code, std::fs::read_to_string(&self.log)?))
    }
}

/// Runs a master that must not come up; what it said.
fn must_refuse(prefix: &[&str], name: &str, dir: &Path) -> anyhow::Result<Output> {
    must_end(command(prefix, name, dir)?.0)
}

fn must_end(mut command: Command) -> anyhow::Result<Output> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let deadline = Instant::now() + SOON;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            let output = child.wait_with_output()?;
            anyhow::bail!("it runs: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(child.wait_with_output()?)
}

/// One line for people, with these words, and the exit code of a failure.
fn refused(what: &str, output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(1), "{what}: {said}");
    assert!(last.starts_with("error: "), "{what}: {said}");
    for word in words {
        assert!(last.contains(word), "{what}: `{word}` is missing in: {said}");
    }
    assert!(!said.contains("panicked"), "{what}: {said}");
}

/// A directory with the log of a master that has died, and a mark in it.
fn used(scratch: &Path) -> anyhow::Result<PathBuf> {
    let dir = scratch.join("m1");
    let master = Master::start(&[], scratch, &dir)?;
    assert_eq!(master.create("/kept", MARK)?, 201);
    // A last write that is wrong cannot be told from one that was never finished; this is not the last.
    for number in 0..5 {
        assert_eq!(master.create(&format!("/later{number}"), "")?, 201);
    }
    master.kill()?;
    Ok(dir)
}

/// Every file of a directory.
fn files(dir: &Path) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        files.push((path.clone(), std::fs::read(path)?));
    }
    files.sort();
    Ok(files)
}

#[test]
fn logs_that_cannot_be_trusted_are_refused_again_and_again() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let dir = used(scratch.path())?;
    let whole = files(&dir)?;
    let (rare, log) = (dir.join(RARE), dir.join(LOG));
    let bytes = std::fs::read(&log)?;
    let marks: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(MARK.as_bytes())).collect();
    ensure!(!marks.is_empty(), "the mark is not on disk");
    let mut flipped = bytes.clone();
    marks.iter().for_each(|at| flipped[*at] ^= 1);
    /// Name, which file, its content (`None`: none), and the words of the refusal.
    type Case<'a> = (&'a str, &'a Path, Option<Vec<u8>>, &'a [&'a str]);
    let missing = ["missing", "restore it from a copy"];
    let cases: [Case<'_>; 11] = [
        ("an entry with a wrong bit", &log, Some(flipped), &["damaged", "restore"]),
        ("entries cut in half", &log, Some(bytes[..bytes.len() / 2].to_vec()), &["bytes instead of"]),
        ("entries cut to a page", &log, Some(bytes[..4096].to_vec()), &["bytes instead of"]),
        ("no entries", &log, Some(Vec::new()), &["cut to 0 bytes"]),
        ("another file in the entries' place", &log, Some(b"hello".repeat(1000)), &["damaged"]),
        ("no file of entries", &log, None, &missing),
        ("a file cut in half", &rare, Some(std::fs::read(&rare)?.split_at(20_000).0.to_vec()), &[]),
        ("a file cut to a page", &rare, Some(std::fs::read(&rare)?[..4096].to_vec()), &[]),
        ("an empty file", &rare, Some(Vec::new()), &[]),
        ("another file in its place", &rare, Some(b"hello".repeat(1000)), &[]),
        ("no log, where one was", &rare, None, &missing),
    ];
    for (what, file, content, words) in cases {
        match &content {
            Some(content) => std::fs::write(file, content)?,
            None => std::fs::remove_file(file)?,
        }
        let path = file.display().to_string();
        // `--bootstrap` is given each time: it founds nothing where something was.
        for _ in 0..2 {
            refused(what, &must_refuse(&[], "m1", &dir)?, &[&[path.as_str()], words].concat());
        }
        assert_eq!(file.exists(), content.is_some(), "{what}: no log was made");
        for (path, bytes) in &whole {
            std::fs::write(path, bytes)?;
        }
    }
    // With everything put back it goes on.
    let master = Master::start(&[], scratch.path(), &dir)?;
    assert!(master.call("GET", "/v2/apps/kept", &Value::Null)?.1.contains(MARK));
    Ok(())
}

#[test]
fn a_directory_belongs_to_one_master() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let dir = used(scratch.path())?;
    let path = dir.display().to_string();
    refused("another's", &must_refuse(&[], "m2", &dir)?, &[&path, "`m1`", "`m2`", "directory of its own"]);
    let master = Master::start(&[], scratch.path(), &dir)?;
    refused("in use", &must_refuse(&[], "m1", &dir)?, &[&path, "in use", "another data directory"]);
    assert!(master.call("GET", "/v2/apps/kept", &Value::Null)?.1.contains(MARK));
    Ok(())
}

#[test]
fn the_directory_of_another_cluster_is_no_way_in() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let foreign = used(scratch.path())?;
    let rpc = format!("127.0.0.1:{}", free_port()?);
    let founder = command_with(&[], "m2", &scratch.path().join("m2"), &["--bootstrap", "--rpc", &rpc])?;
    let master = Master::run(founder, scratch.path().join("founder.log"))?;
    assert_eq!(master.create("/own", "")?, 201);
    for _ in 0..2 {
        let own = format!("127.0.0.1:{}", free_port()?);
        let (joining, _) = command_with(&[], "m1", &foreign, &["--join", &rpc, "--rpc", &own])?;
        refused(
            "another cluster's",
            &must_end(joining)?,
            &["another cluster", "--join", "empty data directory"],
        );
    }
    assert!(foreign.join(LOG).exists(), "its log stays");
    let apps = master.call("GET", "/v2/apps", &Value::Null)?.1;
    assert!(apps.contains("/own") && !apps.contains("/kept"), "{apps}");
    let masters: Value = serde_json::from_str(&master.call("GET", "/v2/masters", &Value::Null)?.1)?;
    assert_eq!(masters["masters"].as_array().map(Vec::len), Some(1), "{masters}");
    Ok(())
}

/// A mount namespace, held by a process, in which a directory is a small file system.
struct Disk {
    holder: Child,
    dir: PathBuf,
}

impl Disk {
    fn new(dir: &Path, mount: &str) -> anyhow::Result<Self> {
        ensure!(xtask::docker::is_root(), "mounting takes root: run the tests as root");
        std::fs::create_dir_all(dir)?;
        let script = format!("{mount} && echo mounted && exec sleep 1000000");
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", &script, "sh"]).arg(dir).stdin(Stdio::null());
        let mut holder = unshare.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let stdout = holder.stdout.take().context("no output")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
        let disk = Self { holder, dir: dir.to_owned() };
        ensure!(line.trim() == "mounted", "cannot mount at {}", dir.display());
        Ok(disk)
    }

    fn namespace(&self) -> String {
        format!("--mount=/proc/{}/ns/mnt", self.holder.id())
    }

    /// A path in the directory, as those outside see it.
    fn path(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.dir.strip_prefix("/").unwrap_or(&self.dir)).join(name)
    }

    /// Fills what is left of it.
    fn fill(&self) -> anyhow::Result<()> {
        let mut file = std::fs::File::create(self.path("filler"))?;
        while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

const SMALL: &str = "mount -t tmpfs -o size=24m gantry-test \"$1\"";

#[test]
fn a_full_disk_stops_a_master_and_nothing_acknowledged_is_lost() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let disk = Disk::new(&scratch.path().join("disk"), SMALL)?;
    let namespace = disk.namespace();
    let prefix = ["nsenter", namespace.as_str(), "--"];
    let dir = scratch.path().join("disk/m1");
    let path = dir.join("raft-").display().to_string();

    let master = Master::start(&prefix, scratch.path(), &dir)?;
    assert_eq!(master.create("/before", MARK)?, 201);
    disk.fill()?;
    // Apps of some size, until there is no room for one more.
    let label = "x".repeat(64 * 1024);
    let mut acknowledged = 0;
    while acknowledged < 1000 {
        match master.create(&format!("/a{acknowledged}"), &label) {
            Ok(201) => acknowledged += 1,
            Ok(status) => {
                assert!(matches!(status, 500..=599), "{status}");
                break;
            }
            Err(_) => break,
        }
    }
    assert!(acknowledged < 1000, "the disk is not full");
    let (code, said) = master.ended()?;
    assert_eq!(code, Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    for word in ["error: ", &path, "No space left", "make room and start again"] {
        assert!(last.contains(word), "`{word}` is missing in: {last}");
    }

    // Full as it is, it either comes up with all it knew or refuses; never less.
    std::fs::remove_file(disk.path("filler"))?;
    let master = Master::start(&prefix, scratch.path(), &dir)?;
    for id in (0..acknowledged).map(|n| format!("a{n}")).chain(["before".to_owned()]) {
        assert_eq!(master.call("GET", &format!("/v2/apps/{id}"), &Value::Null)?.0, 200, "{id} is lost");
    }
    Ok(())
}

#[test]
fn a_cluster_is_not_founded_on_a_full_or_read_only_disk() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path().join("disk/m1");
    let path = dir.display().to_string();
    for (what, mount, words) in [
        (
            "full",
            "mount -t tmpfs -o size=32k gantry-test \"$1\"",
            ["No space left", "make room and start again"],
        ),
        (
            "read-only",
            "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\"",
            ["Read-only", "--data-dir"],
        ),
    ] {
        let disk = Disk::new(&scratch.path().join("disk"), mount)?;
        let namespace = disk.namespace();
        let output = must_refuse(&["nsenter", &namespace, "--"], "m1", &dir)?;
        refused(what, &output, &[&[path.as_str()], &words[..]].concat());
    }
    Ok(())
}

#[test]
fn a_log_on_a_disk_that_became_read_only_is_refused() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let dir = used(scratch.path())?;
    let disk = Disk::new(&dir, "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\"")?;
    let namespace = disk.namespace();
    let output = must_refuse(&["nsenter", &namespace, "--"], "m1", &dir)?;
    refused("read-only", &output, &[&dir.display().to_string(), "Read-only", "writable"]);
    drop(disk);
    let master = Master::start(&[], scratch.path(), &dir)?;
    assert!(master.call("GET", "/v2/apps/kept", &Value::Null)?.1.contains(MARK));
    Ok(())
}
