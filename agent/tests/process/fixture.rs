//! An agent of a test's own: its runtime and its sandboxes; its tasks end with it.

use std::path::{Path, PathBuf};

use gantry_agent::runtime::cgroup::Group;
use gantry_agent::runtime::process::files::{self, STARTED, Started};
use gantry_agent::runtime::process::{Process, ShimCommand, group_name};
use gantry_agent::runtime::{Launch, Runtime};
use gantry_agent::sandbox::Sandboxes;
use serde_json::{Value, json};
use spec::ids::TaskId;
use spec::protocol::LogFile;

use crate::common::{self, SHIM, eventually, launch, silent, task, text};

/// One test's agent. Its tasks go with it.
pub struct Fixture {
    pub process: Process,
    sandboxes: Sandboxes,
    pub data: tempfile::TempDir,
    tasks: std::sync::Mutex<Vec<TaskId>>,
}

impl Fixture {
    pub fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "run these tests as root");
        Self::unprivileged()
    }

    /// As whoever runs the test.
    pub fn unprivileged() -> Self {
        let data = tempfile::tempdir().unwrap();
        // A data directory that tasks of other users can pass.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(data.path(), mode).unwrap();
        Self {
            process: open(data.path()),
            sandboxes: Sandboxes::open(data.path()).unwrap(),
            data,
            tasks: std::sync::Mutex::default(),
        }
    }

    pub fn prepare(&self, name: &str, fields: Value) -> Launch {
        let task = task(name);
        self.tasks.lock().unwrap().push(task.clone());
        let user = fields.get("user").and_then(Value::as_str).map(str::to_owned);
        let sandbox = self.sandboxes.create(&task, user.as_deref()).unwrap();
        launch(&task, sandbox, fields)
    }

    pub async fn run(&self, name: &str, fields: Value) -> TaskId {
        let launch = self.prepare(name, fields);
        let found = self.process.launch(&launch, silent()).await.expect("it starts");
        assert!(found.started_at.is_some() && found.handle.contains('@'), "{found:?}");
        launch.task
    }

    pub async fn shell(&self, name: &str, cmd: &str) -> TaskId {
        self.run(name, json!({ "cmd": cmd })).await
    }

    pub async fn output(&self, task: &TaskId) -> String {
        text(self.process.log(task, LogFile::Stdout, None, true).await.unwrap()).await
    }

    pub fn started(&self, task: &TaskId) -> Started {
        let directory = self.data.path().join("process").join(task.to_string());
        files::read(&directory, STARTED).unwrap().expect("a started task")
    }

    pub fn sandbox(&self, task: &TaskId) -> PathBuf {
        self.sandboxes.path(task)
    }
}

impl Drop for Fixture {
    /// Without the runtime's own `remove`: that is what is tested.
    fn drop(&mut self) {
        for task in self.tasks.lock().unwrap().iter() {
            let group = Group::new(group_name(task));
            group.kill_all();
            group.remove();
        }
    }
}

pub fn open(data: &Path) -> Process {
    let shim = ShimCommand {
        program: common::this_program(),
        args: Vec::new(),
        env: vec![(SHIM.into(), "1".into())],
    };
    Process::open(data, shim).unwrap()
}

pub fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// The number that a task wrote into a file of its sandbox.
pub async fn pid_in(path: PathBuf) -> i32 {
    eventually("a pid is written", async || std::fs::read_to_string(&path).ok()?.trim().parse().ok()).await
}
