//! A master and agents as processes of their own, whose data outlives them. What they leave is removed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use agent::options::Options;
use gantry_tests::{programs, wait_for};
use serde_json::Value;
use xtask::cluster::free_port;
use xtask::{docker, http};

/// A child that is killed when dropped.
pub struct Daemon(Child);

impl Daemon {
    /// Its number.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Has it ended by itself?
    pub fn ended(&mut self) -> bool {
        self.0.try_wait().ok().flatten().is_some()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Addresses and directories that stay the same over restarts.
pub struct Site {
    pub dir: tempfile::TempDir,
    pub http: u16,
    pub rpc: u16,
    pub dns: u16,
    /// First of the ports that agents may give to tasks.
    pub port: u16,
    /// Socket of the Engine that agents use.
    pub engine: PathBuf,
    /// More arguments of the master.
    pub master_args: Vec<&'static str>,
    /// More arguments of every agent.
    pub agent_args: Vec<String>,
}

/// Ports of an agent; each test has its own, outside of what systems choose from.
pub const PORTS: u16 = 20;

/// A range of ports that nobody else is likely to use.
fn range() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let slot = (std::process::id() % 300) as u16 + NEXT.fetch_add(1, Ordering::Relaxed) * 7;
    20_000 + slot % 500 * PORTS
}

impl Site {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            dir: tempfile::Builder::new().prefix("gantry-night-").tempdir()?,
            http: free_port()?,
            rpc: free_port()?,
            dns: free_port()?,
            port: range(),
            engine: docker::socket(),
            master_args: Vec::new(),
            agent_args: Vec::new(),
        })
    }

    fn daemon(&self, name: &str, args: &[&str]) -> anyhow::Result<Daemon> {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join(name))?;
        let mut command = Command::new(programs()?.join("clusterctl"));
        command.args(args).env("DOCKER_HOST", format!("unix://{}", self.engine.display()));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Daemon(command.spawn()?))
    }

    /// A path in the directory of this site.
    pub fn path(&self, name: &str) -> PathBuf {
        Path::join(self.dir.path(), name)
    }

    /// What a daemon said.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// Starts the master and waits until it answers.
    pub fn master(&self) -> anyhow::Result<Daemon> {
        let local = |port: u16| format!("127.0.0.1:{port}");
        let (http, rpc, dns) = (local(self.http), local(self.rpc), local(self.dns));
        let data = self.path("master").display().to_string();
        let args =
            ["master", "--name", "m1", "--data-dir", &data, "--bootstrap", "--http", &http, "--rpc", &rpc];
        let args = [&args[..], &["--dns", &dns], &self.master_args].concat();
        let daemon = self.daemon("master.log", &args)?;
        wait_for("the master", || self.get("/v2/apps").map(|_| true))?;
        Ok(daemon)
    }

    /// Starts the agent of this name, without a name server for its tasks.
    pub fn agent(&self, name: &str, runtime: &str) -> anyhow::Result<Daemon> {
        self.agent_with(name, runtime, &["--no-resolver"])
    }

    /// Starts the agent of this name.
    pub fn agent_with(&self, name: &str, runtime: &str, more: &[&str]) -> anyhow::Result<Daemon> {
        let masters = format!("127.0.0.1:{}", self.rpc);
        let data = self.path(name).display().to_string();
        let ports = format!("{}-{}", self.port, self.port + PORTS - 1);
        let args =
            ["agent", "--masters", &masters, "--data-dir", &data, "--ip", "127.0.0.1", "--runtime", runtime];
        let own: Vec<&str> = self.agent_args.iter().map(String::as_str).collect();
        self.daemon(
            &format!("{name}.log"),
            &[&args[..], &["--ports", &ports, "--hostname", name], &own, more].concat(),
        )
    }

    /// Starts to write every event of a task's state to a file.
    pub fn record_events(&self) -> anyhow::Result<Daemon> {
        let master = format!("http://127.0.0.1:{}", self.http);
        let args = ["--master", &master, "--output", "json", "events", "--type", "status_update_event"];
        let daemon = self.daemon("events.log", &args)?;
        std::thread::sleep(std::time::Duration::from_millis(500));
        Ok(daemon)
    }

    /// (task, state) of the events so far, in order.
    pub fn events(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let log = self.log("events");
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.map(|event| (text(&event["taskId"]), text(&event["taskStatus"]))).collect()
    }

    /// One request that must succeed.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = http::tcp(&format!("127.0.0.1:{}", self.http), method, path, &bytes)?;
        anyhow::ensure!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.body);
        Ok(serde_json::from_str(&answer.body).unwrap_or(Value::Null))
    }

    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call("GET", path, &Value::Null)
    }

    pub fn post(&self, app: &Value) -> anyhow::Result<()> {
        self.call("POST", "/v2/apps", app).map(drop)
    }

    pub fn app(&self, id: &str) -> anyhow::Result<Value> {
        Ok(self.get(&format!("/v2/apps{id}?embed=app.tasks&embed=app.lastTaskFailure"))?["app"].clone())
    }

    /// Every task that the masters know.
    pub fn tasks(&self) -> anyhow::Result<Vec<Value>> {
        Ok(self.get("/v2/tasks")?["tasks"].as_array().cloned().unwrap_or_default())
    }

    /// Ids of the running tasks.
    pub fn running(&self) -> anyhow::Result<BTreeSet<String>> {
        let running = self.tasks()?.into_iter().filter(|task| task["state"] == "TASK_RUNNING");
        Ok(running.filter_map(|task| Some(task["id"].as_str()?.to_owned())).collect())
    }

    /// Waits until so many tasks run and no others are known; their ids.
    pub fn wait_for_tasks(&self, wanted: usize) -> anyhow::Result<BTreeSet<String>> {
        wait_for(&format!("{wanted} running tasks"), || {
            let (all, running) = (self.tasks()?.len(), self.running()?.len());
            anyhow::ensure!(all == wanted && running == wanted, "{running} of {all} run: {}", self.why());
            Ok(true)
        })?;
        self.running()
    }

    fn why(&self) -> String {
        let apps = self.get("/v2/apps?embed=apps.lastTaskFailure").unwrap_or_default();
        let failures = apps["apps"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|app| app["lastTaskFailure"]["message"].to_string());
        failures.collect::<Vec<_>>().join("; ")
    }

    /// Waits for an agent to have a session.
    pub fn wait_for_agents(&self, count: usize) -> anyhow::Result<()> {
        wait_for("the agents", || {
            let agents = self.get("/v2/agents")?;
            let connected = agents["agents"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|one| one["presence"] == "connected");
            anyhow::ensure!(connected.count() == count, "{agents}");
            Ok(true)
        })
    }

    /// Message of the last task of an app that failed.
    pub fn failure(&self, id: &str) -> anyhow::Result<Value> {
        let mut failure = Value::Null;
        wait_for(&format!("a failure of {id}"), || {
            failure = self.app(id)?["lastTaskFailure"].clone();
            Ok(failure.is_object())
        })?;
        Ok(failure)
    }

    /// Removes every app and waits until nothing of theirs is left.
    pub fn remove_all(&self) -> anyhow::Result<()> {
        self.call("DELETE", "/v2/groups?force=true", &Value::Null)?;
        wait_for("all tasks to end", || Ok(self.tasks()?.is_empty()))
    }

    /// Containers of the tasks of an image on this site's Engine: task id, container id, state.
    pub fn containers(&self, image: &str) -> anyhow::Result<BTreeSet<(String, String, String)>> {
        let all = engine(&self.engine, "GET", "/containers/json?all=true")?;
        let ours = all.as_array().into_iter().flatten().filter(|one| one["Image"] == image);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(ours
            .map(|one| (text(&one["Labels"]["gantry.task"]), text(&one["Id"]), text(&one["State"])))
            .collect())
    }
}

/// One request to an Engine.
pub fn engine(socket: &Path, method: &str, path: &str) -> anyhow::Result<Value> {
    let answer = http::unix(socket, method, path, "application/json", &[])?;
    anyhow::ensure!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.body);
    Ok(serde_json::from_str(&answer.body).unwrap_or(Value::Null))
}

impl Drop for Site {
    /// Also after a test that failed nothing goes on running.
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        let entries = std::fs::read_dir(self.dir.path()).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()).filter(|path| path.join("identity.json").is_file()) {
            let local = std::net::IpAddr::from([127, 0, 0, 1]);
            let options =
                Options { docker_socket: Some(self.engine.clone()), ..Options::new(Vec::new(), path, local) };
            if let Err(error) = runtime.block_on(agent::node::remove_everything(options)) {
                eprintln!("an agent's tasks were not removed: {error}");
            }
        }
    }
}

/// Processes whose command line contains these words, one after the other.
pub fn pids(words: &str) -> BTreeSet<i32> {
    let wanted: Vec<u8> = words.split(' ').collect::<Vec<_>>().join("\0").into_bytes();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            std::fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| line.windows(wanted.len()).any(|window| window == wanted))
        })
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// A number of seconds that no other process on this machine sleeps.
pub fn seconds(n: u32) -> String {
    format!("{}.{}", 100_000 + n, std::process::id())
}

/// SIGKILL to one process.
pub fn kill(pid: i32) {
    let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
}
