//! A master and an agent as processes of their own: each is killed and comes back, and no task notices.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use gantry_tests::{programs, wait_for};
use serde_json::{Value, json};
use xtask::cluster::free_port;
use xtask::http;

/// A child that is killed when dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Addresses and directories that stay the same over restarts.
struct Site {
    dir: tempfile::TempDir,
    http: u16,
    rpc: u16,
    dns: u16,
}

impl Site {
    fn daemon(&self, name: &str, args: &[&str]) -> anyhow::Result<Daemon> {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join(name))?;
        let mut command = Command::new(programs()?.join("clusterctl"));
        command.args(args).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Daemon(command.spawn()?))
    }

    fn path(&self, name: &str) -> String {
        Path::join(self.dir.path(), name).display().to_string()
    }

    fn master(&self) -> anyhow::Result<Daemon> {
        let local = |port: u16| format!("127.0.0.1:{port}");
        let (http, rpc, dns, data) =
            (local(self.http), local(self.rpc), local(self.dns), self.path("master"));
        let args =
            ["master", "--name", "m1", "--data-dir", &data, "--bootstrap", "--http", &http, "--rpc", &rpc];
        self.daemon("master.log", &[&args[..], &["--dns", &dns]].concat())
    }

    fn agent(&self) -> anyhow::Result<Daemon> {
        let masters = format!("127.0.0.1:{}", self.rpc);
        let data = self.path("agent");
        let args = ["agent", "--masters", &masters, "--data-dir", &data, "--ip", "127.0.0.1"];
        self.daemon("agent.log", &[&args[..], &["--runtime", "process", "--no-resolver"]].concat())
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = http::tcp(&format!("127.0.0.1:{}", self.http), method, path, &bytes)?;
        anyhow::ensure!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.body);
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// Ids and start times of the running tasks.
    fn running(&self) -> anyhow::Result<BTreeSet<(String, String)>> {
        let tasks = self.call("GET", "/v2/tasks", &Value::Null)?;
        let running =
            tasks["tasks"].as_array().into_iter().flatten().filter(|task| task["state"] == "TASK_RUNNING");
        Ok(running.map(|task| (task["id"].to_string(), task["startedAt"].to_string())).collect())
    }

    fn wait_for_tasks(&self, wanted: usize) -> anyhow::Result<BTreeSet<(String, String)>> {
        wait_for(&format!("{wanted} running tasks"), || Ok(self.running()?.len() == wanted))?;
        self.running()
    }
}

/// Processes whose command line is `words`.
fn pids(words: &str) -> BTreeSet<String> {
    let wanted: Vec<u8> = words.split(' ').flat_map(|word| word.bytes().chain([0])).collect();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == wanted))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn tasks_outlive_their_agent_and_their_master() -> anyhow::Result<()> {
    let site = Site { dir: tempfile::tempdir()?, http: free_port()?, rpc: free_port()?, dns: free_port()? };
    let mut master = site.master()?;
    let mut agent = site.agent()?;
    wait_for("the master", || site.call("GET", "/v2/apps", &Value::Null).map(|_| true))?;
    // A number of seconds that no other process on the machine sleeps.
    let sleep = format!("{}.{}", 100_000, std::process::id());
    let app = json!({"id": "/steady", "cmd": format!("exec sleep {sleep}"), "cpus": 0.01, "mem": 16, "instances": 3});
    site.call("POST", "/v2/apps", &app)?;
    let tasks = site.wait_for_tasks(3)?;
    let processes = pids(&format!("sleep {sleep}"));
    assert_eq!(processes.len(), 3, "{processes:?}");

    for round in 0..3 {
        drop(agent);
        agent = site.agent()?;
        drop(master);
        master = site.master()?;
        wait_for("the agent to be back", || {
            let agents = site.call("GET", "/v2/agents", &Value::Null)?;
            Ok(agents["agents"][0]["used"].is_object())
        })?;
        assert_eq!(site.wait_for_tasks(3)?, tasks, "round {round}: the same tasks, started once");
        assert_eq!(pids(&format!("sleep {sleep}")), processes, "round {round}: the same processes");
    }

    site.call("DELETE", "/v2/apps/steady", &Value::Null)?;
    wait_for("the processes to end", || Ok(pids(&format!("sleep {sleep}")).is_empty()))
}
