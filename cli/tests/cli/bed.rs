//! What the tests of the command line share: the program, a cluster of processes, and one run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use xtask::cluster::{Cluster, Dev};

/// The program under test.
pub fn clusterctl() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_clusterctl"))
}

/// A cluster that runs processes, with a directory of its own.
pub struct Bed {
    pub cluster: Cluster,
    pub dir: tempfile::TempDir,
}

impl Bed {
    /// Two agents.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("gantry-cli-").tempdir().unwrap();
        let more = vec!["--agents".to_owned(), "2".to_owned()];
        let dev = Dev { runtime: "process", more, ..Dev::default() };
        let cluster = Cluster::start(clusterctl().parent().unwrap(), dir.path(), &dev).unwrap();
        Self { cluster, dir }
    }

    /// The arguments that run a verb here.
    pub fn command(&self, args: &[&str]) -> Command {
        self.cluster.clusterctl(args)
    }

    /// Runs a verb with a document on its standard input.
    pub fn run(&self, args: &[&str], input: &str) -> Run {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A verb that does not read its input may be gone before it is written.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Run::of(args, child)
    }

    /// Ids of the running tasks of an app.
    pub fn tasks(&self, app: &str) -> Vec<String> {
        let tasks = self.run(&["tasks", app, "--output", "json"], "").json();
        tasks.as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// How a run ended and what it said.
pub struct Run {
    pub line: String,
    pub exit: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Run {
    /// Waits for the end.
    pub fn of(args: &[&str], child: Child) -> Self {
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        Self { line: args.join(" "), exit: output.status.code(), out, err }
    }

    /// Runs the program without a cluster.
    pub fn alone(args: &[&str]) -> Self {
        let mut command = Command::new(clusterctl());
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::of(args, command.spawn().unwrap())
    }

    /// The exit code, and words that each output must hold.
    #[track_caller]
    pub fn must(self, exit: i32, out: &[&str], err: &[&str]) -> Self {
        assert_eq!(self.exit, Some(exit), "{self}");
        for words in out {
            assert!(self.out.contains(words), "standard output lacks {words:?}: {self}");
        }
        for words in err {
            assert!(self.err.contains(words), "standard error lacks {words:?}: {self}");
        }
        assert!(!self.out.contains('\x1b') && !self.err.contains('\x1b'), "colours off a terminal: {self}");
        self
    }

    /// Standard output as one JSON value and nothing else.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` exits with {:?}\n--- out\n{}\n--- err\n{}", self.line, self.exit, self.out, self.err)
    }
}

/// Is a process with these words in its command line running?
pub fn is_running(words: &str) -> bool {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let cmdline = |path: PathBuf| std::fs::read(path.join("cmdline")).unwrap_or_default();
    entries.map(|entry| cmdline(entry.path())).any(|line| String::from_utf8_lossy(&line).contains(words))
}

/// Entries of a directory.
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}
