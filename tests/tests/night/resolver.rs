//! Names as tasks see them: in the host's network, behind a bridge, in a process; and without a master.

use std::process::Command;

use gantry_tests::{programs, wait_for};
use serde_json::{Value, json};

use crate::image::ActorImage;
use crate::site::Site;

const NAMES: [&str; 4] = ["other.marathon.mesos", "missing.marathon.mesos", "example.com", "SELF"];

/// The last line that a task has written about a name: (answer, milliseconds).
fn seen(site: &Site, app: &str, name: &str) -> anyhow::Result<(String, u64)> {
    let output = Command::new(programs()?.join("clusterctl"))
        .args(["--master", &format!("http://127.0.0.1:{}", site.http), "logs", "-n", "20", app])
        .output()?;
    last(&String::from_utf8_lossy(&output.stdout), name)
}

fn last(text: &str, name: &str) -> anyhow::Result<(String, u64)> {
    let line = text.lines().rev().find(|line| line.contains(&format!("{name} ")) && line.ends_with("ms"));
    let line = line.ok_or_else(|| anyhow::anyhow!("nothing about {name} in {text}"))?;
    let (_, rest) = line.split_once(&format!("{name} ")).unwrap_or_default();
    let (answer, millis) = rest.rsplit_once(' ').unwrap_or_default();
    Ok((answer.to_owned(), millis.trim_end_matches("ms").parse()?))
}

/// An address of this test's own that containers behind the bridge reach too: on the bridge's there is one
/// port 53, which any other agent on the machine may have.
struct Address(String);

impl Address {
    fn add() -> anyhow::Result<Self> {
        let address = format!("198.51.100.{}", std::process::id() % 250 + 1);
        let done =
            Command::new("ip").args(["address", "add", &format!("{address}/32"), "dev", "lo"]).status()?;
        anyhow::ensure!(done.success(), "adding an address needs root");
        Ok(Self(address))
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["address", "del", &format!("{}/32", self.0), "dev", "lo"]).status();
    }
}

#[test]
fn names_in_every_kind_of_task_and_without_a_master() -> anyhow::Result<()> {
    let image = ActorImage::new("names")?;
    let site = Site::new()?;
    let master = site.master()?;
    let address = Address::add()?;
    let _agent = site.agent_with("a1", "auto", &["--resolver-ip", &address.0])?;
    site.wait_for_agents(1)?;
    let actor = programs()?.join("actor").display().to_string();
    let names = |own: &str| {
        NAMES.map(|name| if name == "SELF" { format!("{own}.marathon.mesos") } else { name.to_owned() })
    };
    let words = |own: &str| names(own).join(" ");
    let common = |id: &str| json!({"id": id, "cpus": 0.01, "mem": 16, "taskKillGracePeriodSeconds": 1});
    let with = |id: &str, more: Value| {
        let mut app = common(id);
        app.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        app
    };
    let args = |own: &str| [vec!["resolve".to_owned()], names(own).to_vec()].concat();
    let container = json!({"type": "DOCKER", "docker": {"image": image.0}});
    site.post(&with("/other", json!({"cmd": "sleep 100000"})))?;
    site.post(&with("/plain", json!({"cmd": format!("exec {actor} resolve {}", words("plain"))})))?;
    site.post(&with(
        "/hosted",
        json!({"args": args("hosted"), "container": container, "networks": [{"mode": "host"}]}),
    ))?;
    site.post(&with(
        "/bridged",
        json!({"args": args("bridged"), "container": container, "networks": [{"mode": "container/bridge"}]}),
    ))?;
    site.wait_for_tasks(4)?;
    for app in ["plain", "hosted", "bridged"] {
        for name in names(app) {
            wait_for(&format!("{name} in {app}"), || {
                let (answer, millis) = seen(&site, &format!("/{app}"), &name)?;
                let right = match name.as_str() {
                    "missing.marathon.mesos" => answer == "NXDomain",
                    // Whatever the outside says, here usually nothing: but it is an answer.
                    "example.com" => !answer.contains("silence"),
                    _ => answer.parse::<std::net::IpAddr>().is_ok(),
                };
                anyhow::ensure!(right && millis < 4500, "{answer} after {millis} ms");
                Ok(true)
            })?;
        }
    }
    // Without a master what was known goes on to be answered, at once.
    drop(master);
    std::thread::sleep(std::time::Duration::from_secs(4));
    for (app, file) in logs(&site)? {
        let text = file()?;
        let (answer, millis) = last(&text, "other.marathon.mesos")?;
        assert!(
            answer.parse::<std::net::IpAddr>().is_ok() && millis < 1500,
            "{app}: {answer} after {millis} ms"
        );
        let (answer, millis) = last(&text, "missing.marathon.mesos")?;
        assert!(["NXDomain", "ServFail"].contains(&answer.as_str()) && millis < 1500, "{app}: {answer}");
    }
    let _master = site.master()?;
    site.remove_all()
}

type Read = Box<dyn Fn() -> anyhow::Result<String>>;

/// What tasks have written, read without a master.
fn logs(site: &Site) -> anyhow::Result<Vec<(String, Read)>> {
    let mut all: Vec<(String, Read)> = Vec::new();
    for entry in std::fs::read_dir(site.path("a1/sandboxes"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("plain") {
            all.push((name, Box::new(move || Ok(std::fs::read_to_string(path.join("stdout"))?))));
        } else if !name.starts_with("other") {
            let container = format!("gantry-{name}");
            let read = move || {
                let output = Command::new("docker").args(["logs", "--tail", "20", &container]).output()?;
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            };
            all.push((name, Box::new(read)));
        }
    }
    anyhow::ensure!(all.len() == 3, "{} tasks", all.len());
    Ok(all)
}
