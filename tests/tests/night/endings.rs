//! How tasks end when they do not want to, cannot, or are murdered; and what is said of it.

use std::time::{Duration, Instant};

use gantry_tests::{programs, wait_for};
use serde_json::{Value, json};

use crate::image::ActorImage;
use crate::site::{Site, kill, pids, seconds};

fn in_docker(id: &str, image: &ActorImage, args: &[&str], mem: u32) -> Value {
    json!({"id": id, "args": args, "cpus": 0.01, "mem": mem, "taskKillGracePeriodSeconds": 1,
        "backoffSeconds": 3600, "maxLaunchDelaySeconds": 3600,
        "container": {"type": "DOCKER", "docker": {"image": image.0}}, "networks": [{"mode": "host"}]})
}

fn as_process(id: &str, cmd: &str, mem: u32) -> Value {
    json!({"id": id, "cmd": cmd, "cpus": 0.01, "mem": mem, "taskKillGracePeriodSeconds": 1,
        "backoffSeconds": 3600, "maxLaunchDelaySeconds": 3600})
}

#[test]
fn what_is_said_of_endings() -> anyhow::Result<()> {
    let image = ActorImage::new("endings")?;
    let site = Site::new()?;
    let _master = site.master()?;
    let _agent = site.agent("a1", "auto")?;
    site.wait_for_agents(1)?;
    let actor = programs()?.join("actor").display().to_string();
    let child = seconds(21);
    let apps = [
        (as_process("/p/oom", &format!("exec {actor} hog"), 32), "emory"),
        (as_process("/p/oom-child", &format!("{actor} hog; exit 1"), 32), "emory"),
        (as_process("/p/code", "exit 7", 32), "status 7"),
        (as_process("/p/signal", "kill -SEGV $$", 32), "signal 11"),
        (as_process("/p/missing", "no-such-program-here", 32), "status 127"),
        // The shell ends, what it left goes with it.
        (as_process("/p/forked", &format!("(trap '' HUP; sleep {child}) & exit 5"), 32), "status 5"),
        (in_docker("/d/oom", &image, &["hog"], 32), "emory"),
        (in_docker("/d/code", &image, &["exit", "7"], 32), "7"),
    ];
    for (app, _) in &apps {
        site.post(app)?;
    }
    for (app, words) in &apps {
        let id = app["id"].as_str().unwrap_or_default();
        let failure = site.failure(id)?;
        let message = failure["message"].as_str().unwrap_or_default();
        assert!(message.contains(words), "{id}: {failure}");
        assert_eq!(failure["state"], "TASK_FAILED", "{id}");
    }
    wait_for("the child that was left", || Ok(pids(&format!("sleep {child}")).is_empty()))?;
    site.remove_all()
}

#[test]
fn murdered_shims_and_tasks_and_deaf_ones() -> anyhow::Result<()> {
    let image = ActorImage::new("deaf")?;
    let site = Site::new()?;
    let _master = site.master()?;
    let _agent = site.agent("a1", "auto")?;
    site.wait_for_agents(1)?;
    let (main, grandchild) = (seconds(31), seconds(32));
    let family = format!("(setsid sleep {grandchild} &) ; exec sleep {main}");
    let mut app = as_process("/family", &family, 32);
    (app["backoffSeconds"], app["maxLaunchDelaySeconds"]) = (json!(0), json!(1));
    site.post(&app)?;
    for victim in ["task", "shim"] {
        let before = site.wait_for_tasks(1)?;
        wait_for("the family", || {
            Ok([&main, &grandchild].iter().all(|name| pids(&format!("sleep {name}")).len() == 1))
        })?;
        let old: Vec<i32> =
            pids(&format!("sleep {grandchild}")).into_iter().chain(pids(&format!("sleep {main}"))).collect();
        match victim {
            "task" => pids(&format!("sleep {main}")).into_iter().for_each(kill),
            _ => shims(&site)?.into_iter().for_each(kill),
        }
        wait_for("another task", || Ok(site.running()?.iter().any(|task| !before.contains(task))))?;
        wait_for("the old family to be gone", || {
            Ok(old.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()))
        })?;
        wait_for(&format!("one new family after the {victim}"), || {
            Ok([&main, &grandchild].iter().all(|name| pids(&format!("sleep {name}")).len() == 1))
        })?;
    }
    site.remove_all()?;

    site.post(&as_process("/deaf", &format!("trap '' TERM; while true; do sleep {main}; done"), 32))?;
    site.post(&in_docker("/deaf-container", &image, &["ignore-term", "sleep"], 32))?;
    site.wait_for_tasks(2)?;
    let before = Instant::now();
    site.remove_all()?;
    let took = before.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(6), "{took:?}");
    assert!(pids(&format!("sleep {main}")).is_empty());
    Ok(())
}

/// The processes that watch this site's tasks.
fn shims(site: &Site) -> anyhow::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(site.path("a1/process"))? {
        let started: Value = serde_json::from_slice(&std::fs::read(entry?.path().join("started.json"))?)?;
        found.extend(started["shim"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()));
    }
    Ok(found)
}
