//! Full and read-only disks, and tasks that write too much.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gantry_tests::{programs, wait_for};
use serde_json::json;

use crate::image::ActorImage;
use crate::site::{Site, seconds};

/// A small file system of this test's own.
struct Small(PathBuf);

impl Small {
    fn mount(path: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(path)?;
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m,mode=755", "gantry-night"])
            .arg(path)
            .status()?;
        anyhow::ensure!(done.success(), "mounting needs root");
        Ok(Self(path.to_owned()))
    }

    fn remount(&self, option: &str) -> anyhow::Result<()> {
        let done = Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.0).status()?;
        anyhow::ensure!(done.success(), "remounting {option}");
        Ok(())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_and_a_read_only_disk() -> anyhow::Result<()> {
    let site = Site::new()?;
    let small = Small::mount(&site.path("a1"))?;
    let _master = site.master()?;
    let mut agent = site.agent("a1", "process")?;
    site.wait_for_agents(1)?;
    let sleep = seconds(51);
    let app = |id: &str| {
        json!({"id": id, "cmd": format!("exec sleep {sleep}"), "cpus": 0.01, "mem": 16,
        "backoffSeconds": 1, "maxLaunchDelaySeconds": 1})
    };
    site.post(&app("/before"))?;
    let before = site.wait_for_tasks(1)?;

    let filler = site.path("a1/filler");
    let _full = std::fs::write(&filler, vec![1; 4 * 1024 * 1024]);
    site.post(&app("/full"))?;
    wait_for("a word about the disk", || {
        let log = site.log("a1");
        Ok(log.contains("No space left") && log.contains("nothing is done until it can"))
    })?;
    std::thread::sleep(Duration::from_secs(2));
    assert!(!agent.ended(), "{}", site.log("a1"));
    assert_eq!(site.running()?, before, "what ran goes on, and nothing is said to run that does not");
    std::fs::remove_file(&filler)?;
    let both = site.wait_for_tasks(2)?;
    assert!(both.is_superset(&before));
    // Full again, and told to stop: it does not wait for the disk.
    let _full = std::fs::write(&filler, vec![1; 4 * 1024 * 1024]);
    site.post(&app("/fuller"))?;
    std::thread::sleep(Duration::from_millis(1500));
    xtask::stop::signal(agent.pid(), 15);
    wait_for("the agent to stop", || Ok(agent.ended()))?;
    std::fs::remove_file(&filler)?;
    agent = site.agent("a1", "process")?;
    assert!(site.wait_for_tasks(3)?.is_superset(&both));
    site.remove_all()?;
    drop(agent);

    small.remount("ro")?;
    let mut refused = site.agent("a1", "process")?;
    wait_for("an agent that cannot write to end", || Ok(refused.ended()))?;
    let log = site.log("a1");
    assert!(log.lines().last().is_some_and(|line| line.contains("Read-only file system")), "{log}");
    small.remount("rw")
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default().to_owned();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
fn a_flood_of_output_fills_neither_memory_nor_disk() -> anyhow::Result<()> {
    let image = ActorImage::new("flood")?;
    let site = Site::new()?;
    let _master = site.master()?;
    let agent = site.agent("a1", "auto")?;
    site.wait_for_agents(1)?;
    let actor = programs()?.join("actor").display().to_string();
    site.post(
        &json!({"id": "/process", "cmd": format!("exec {actor} flood 100 sleep"), "cpus": 0.1, "mem": 64}),
    )?;
    site.post(&json!({"id": "/container", "args": ["flood", "100", "sleep"], "cpus": 0.1, "mem": 64,
        "taskKillGracePeriodSeconds": 1,
        "container": {"type": "DOCKER", "docker": {"image": image.0}}, "networks": [{"mode": "host"}]}))?;
    site.wait_for_tasks(2)?;
    let clusterctl = programs()?.join("clusterctl");
    for app in ["/process", "/container"] {
        wait_for(&format!("the end of the flood of {app}"), || {
            let master = format!("http://127.0.0.1:{}", site.http);
            let output =
                Command::new(&clusterctl).args(["--master", &master, "logs", "-n", "1", app]).output()?;
            Ok(String::from_utf8_lossy(&output.stdout).contains("the flood is over"))
        })?;
    }
    let resident = resident_kib(agent.pid());
    assert!(resident < 100 * 1024, "{resident} KiB");
    wait_for("the sandboxes to be small", || {
        let used = Command::new("du").arg("-sm").arg(site.path("a1/sandboxes")).output()?;
        let used = String::from_utf8_lossy(&used.stdout).into_owned();
        let used: u64 = used.split_whitespace().next().unwrap_or_default().parse()?;
        anyhow::ensure!(used < 32, "{used} MiB");
        Ok(true)
    })?;
    site.remove_all()
}
