//! Docker goes away, comes back, comes late; containers are handled behind the agent's back.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use gantry_tests::wait_for;
use serde_json::{Value, json};

use crate::image::{ActorImage, copy};
use crate::site::{Site, engine};

fn app(id: &str, image: &ActorImage) -> Value {
    json!({"id": id, "args": ["serve"], "cpus": 0.01, "mem": 16, "taskKillGracePeriodSeconds": 1,
        "backoffSeconds": 0, "maxLaunchDelaySeconds": 1,
        "container": {"type": "DOCKER", "docker": {"image": image.0}}, "networks": [{"mode": "host"}]})
}

/// An Engine of this test's own. It lives in namespaces of its own: without a bridge it would remove the
/// `docker0` of the machine's Engine, and with its namespace of processes all that it started ends too.
struct Private {
    dir: PathBuf,
    child: Option<Child>,
}

impl Private {
    fn new(dir: PathBuf) -> Self {
        Self { dir, child: None }
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("s")
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    fn start(&mut self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        let path = |name: &str| self.dir.join(name).display().to_string();
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("log"))?;
        // As after a boot, when /run is empty: pid files of the last one would name processes of this one.
        let _pid = std::fs::remove_file(self.dir.join("pid"));
        let _exec = std::fs::remove_dir_all(self.dir.join("exec"));
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "dockerd"]);
        command.args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")]);
        command.args(["-H", &format!("unix://{}", self.socket().display()), "--shutdown-timeout", "2"]);
        command.args(["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]);
        self.child = Some(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?);
        wait_for("the private Engine", || engine(&self.socket(), "GET", "/version").map(|_| true))
            .with_context(|| self.last_words())
    }

    /// As a crash of the machine: everything that it ran is gone with it.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// In order, as `systemctl stop docker`: it ends its containers.
    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // `unshare` itself does not pass signals on.
            let children = format!("/proc/{0}/task/{0}/children", child.id());
            for engine in std::fs::read_to_string(children).unwrap_or_default().split_whitespace() {
                let _ = Command::new("kill").arg(engine).status();
            }
            let _ = child.wait();
        }
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn comes_late_goes_and_comes_back() -> anyhow::Result<()> {
    let image = ActorImage::new("engine")?;
    let mut site = Site::new()?;
    site.engine = site.path("e/s");
    let mut private = Private::new(site.path("e"));
    let _master = site.master()?;
    let _events = site.record_events()?;
    let mut agent = site.agent("a1", "docker")?;
    site.wait_for_agents(1)?;
    assert_eq!(site.get("/v2/agents")?["agents"][0]["runtimes"]["docker"], json!(false));
    site.post(&app("/late", &image))?;
    std::thread::sleep(Duration::from_secs(1));
    assert!(site.running()?.is_empty());

    private.start()?;
    copy(&image, &private.socket())?;
    let first = site.wait_for_tasks(1)?;
    assert_eq!(site.containers(&image.0)?.len(), 1);

    // It ends its containers; the agent cannot see how. Somebody wants more meanwhile.
    private.stop();
    site.call("PUT", "/v2/apps/late?force=true", &json!({"instances": 2}))?;
    std::thread::sleep(Duration::from_secs(2));
    assert!(!agent.ended(), "an agent goes on without Docker");
    private.start()?;
    wait_for("the one that the Engine ended to be replaced", || {
        let running = site.running()?;
        Ok(running.len() == 2 && running.is_disjoint(&first))
    })?;
    wait_for("two containers", || Ok(site.containers(&image.0)?.len() == 2))?;

    private.kill();
    std::thread::sleep(Duration::from_millis(500));
    private.start()?;
    site.wait_for_tasks(2)?;
    wait_for("two containers", || Ok(site.containers(&image.0)?.len() == 2))?;
    site.remove_all()?;
    wait_for("no containers", || Ok(site.containers(&image.0)?.is_empty()))
}

fn create(socket: &Path, name: &str, image: &ActorImage, labels: &Value) -> anyhow::Result<String> {
    let body =
        json!({"Image": image.0, "Cmd": ["serve"], "Labels": labels, "HostConfig": {"NetworkMode": "host"}});
    let path = format!("/containers/create?name={name}");
    let answer = xtask::http::unix(socket, "POST", &path, "application/json", body.to_string().as_bytes())?;
    anyhow::ensure!(answer.status == 201, "{}", answer.body);
    let id = serde_json::from_str::<Value>(&answer.body)?["Id"].as_str().unwrap_or_default().to_owned();
    engine(socket, "POST", &format!("/containers/{id}/start"))?;
    Ok(id)
}

#[test]
fn behind_the_agents_back() -> anyhow::Result<()> {
    let image = ActorImage::new("behind")?;
    let site = Site::new()?;
    let _master = site.master()?;
    let mut agent = site.agent("a1", "docker")?;
    site.wait_for_agents(1)?;
    site.post(&app("/web", &image))?;
    for (action, method, query) in
        [("rm", "DELETE", "?force=true"), ("stop", "POST", "/stop?t=0"), ("kill", "POST", "/kill")]
    {
        let before = site.wait_for_tasks(1)?;
        let containers = site.containers(&image.0)?;
        let (_, id, _) = containers.first().expect("one runs");
        engine(&site.engine, method, &format!("/containers/{id}{query}"))?;
        wait_for(&format!("a replacement after {action}"), || Ok(site.running()?.is_disjoint(&before)))?;
        wait_for("one container", || {
            Ok(site.wait_for_tasks(1).is_ok() && site.containers(&image.0)?.len() == 1)
        })?;
    }
    // A paused one still counts as running, and can be ended.
    site.wait_for_tasks(1)?;
    let containers = site.containers(&image.0)?;
    let (task, id, _) = containers.first().expect("one runs");
    engine(&site.engine, "POST", &format!("/containers/{id}/pause"))?;
    site.call("DELETE", &format!("/v2/apps/web/tasks/{task}"), &Value::Null)?;
    wait_for("a replacement of a paused one", || Ok(site.running()?.iter().all(|other| other != task)))?;
    site.wait_for_tasks(1)?;

    // One of ours that no master knows, one of another agent, one that is nobody's.
    let identity: Value = serde_json::from_slice(&std::fs::read(site.path("a1/identity.json"))?)?;
    let orphan = "gone.instance-00000000-0000-4000-8000-000000000001._app.1";
    let (ours, theirs) = (identity["owner"].clone(), json!("00000000-0000-0000-0000-000000000000"));
    drop(agent);
    let pid = std::process::id();
    let labels =
        |owner: &Value| json!({"gantry.owner": owner, "gantry.task": orphan, "MESOS_TASK_ID": orphan});
    create(&site.engine, &format!("gantry-{orphan}"), &image, &labels(&ours))?;
    let foreign = create(&site.engine, &format!("night-foreign-{pid}"), &image, &labels(&theirs))?;
    let nobodys = create(&site.engine, &format!("night-nobodys-{pid}"), &image, &json!({}))?;
    agent = site.agent("a1", "docker")?;
    let gone = wait_for("the orphan to be removed", || {
        Ok(!site.containers(&image.0)?.iter().any(|(task, id, _)| task == orphan && *id != foreign))
    });
    let left = site.containers(&image.0)?;
    for id in [&foreign, &nobodys] {
        engine(&site.engine, "DELETE", &format!("/containers/{id}?force=true"))?;
        assert!(left.iter().any(|(_, other, state)| other == id && state == "running"), "{left:?}");
    }
    gone?;
    site.wait_for_tasks(1)?;
    site.remove_all()?;
    drop(agent);
    Ok(())
}
