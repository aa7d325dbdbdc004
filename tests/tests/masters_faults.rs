//! Three masters and three agents as processes, under load and faults: the short form of `cargo xtask faults`, and
//! what a dead leader costs. Each test runs in namespaces of its own, so it takes root.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use gantry_tests::{in_a_house, programs};
use serde_json::json;
use xtask::cargo::{Profile, must};
use xtask::faults::site::{Role, Site};
use xtask::faults::{Faults, house, prepare_site, rest, start_all, start_site, torment, verify};

/// Fault time of the short run.
const MINUTES: f64 = 0.75;
/// Generous: on a free machine agents are back in a second.
const BACK_MAX: Duration = Duration::from_secs(20);
/// Rounds of killing the leader.
const KILLS: usize = 5;

#[test]
fn nothing_acknowledged_is_lost() -> anyhow::Result<()> {
    in_a_house("nothing_acknowledged_is_lost", |scratch| {
        let faults = Faults { minutes: MINUTES, masters: 3, agents: 3, seed: Some(1), profile: Profile::Dev };
        torment(&faults, &programs()?, scratch)
    })
}

#[test]
fn a_dead_leader_costs_no_task_and_agents_find_the_next() -> anyhow::Result<()> {
    in_a_house("a_dead_leader_costs_no_task_and_agents_find_the_next", |scratch| {
        let mut site = start_site(&programs()?, scratch, 3, 3)?;
        let https = site.https();
        let id = format!("/{}/steady", house::APPS);
        let app = json!({"id": id, "cmd": "exec sleep 1000000", "cpus": 0.01, "mem": 16, "instances": 6});
        let (status, answer) = rest::call(https[0], "POST", "/v2/apps", &app)?;
        ensure!(status == 201, "{status} {answer}");
        verify::wait_until("the tasks", || verify::is_settled(https[0]))?;
        let before = verify::steady(https[0], &id)?;
        ensure!(before.len() == 6, "{before:?}");

        for round in 0..KILLS {
            let leader = rest::leader(&site).context("no leader")?;
            site.member(leader).kill()?;
            let killed = Instant::now();
            let other =
                site.nodes(Role::Master).into_iter().find(|node| *node != leader).context("one is left")?;
            let address = site.member(other).http();
            let patch = json!({"labels": {"round": round.to_string()}, "instances": 0, "id": "/other", "cmd": "true"});
            verify::wait_until("an accepted write", || {
                let (status, answer) = rest::call(address, "PUT", "/v2/apps/other?force=true", &patch)?;
                ensure!(status < 300, "{status} {answer}");
                Ok(())
            })?;
            let write = killed.elapsed();
            verify::wait_until("the agents at the new leader", || {
                verify::agents_are_connected(&site, address)
            })?;
            let back = killed.elapsed();
            println!(
                "round {round}: the next write after {:.2} s, all agents back after {:.2} s",
                write.as_secs_f64(),
                back.as_secs_f64()
            );
            ensure!(back < BACK_MAX, "agents came back only after {back:?}");
            ensure!(verify::steady(address, &id)? == before, "round {round}: tasks were touched");
            site.start(leader, false)?;
            verify::wait_until("the cluster is whole", || verify::is_whole(&site))?;
        }
        ensure!(verify::steady(https[0], &id)? == before, "tasks were touched");
        Ok(())
    })
}

#[test]
fn a_full_disk_of_one_master_stops_only_that_one() -> anyhow::Result<()> {
    in_a_house("a_full_disk_of_one_master_stops_only_that_one", |scratch| {
        let mut site = prepare_site(&programs()?, scratch, 3, 1)?;
        let full = *site.nodes(Role::Master).last().context("three masters")?;
        let dir = site.member(full).dir.clone();
        std::fs::create_dir_all(&dir)?;
        // Mounted in this house only.
        let mut mount = std::process::Command::new("mount");
        must(mount.args(["-t", "tmpfs", "-o", "size=96m", "gantry-test"]).arg(&dir))?;
        start_all(&mut site)?;
        let mut filler = std::fs::File::create(dir.join("filler"))?;
        while std::io::Write::write_all(&mut filler, &[1; 4096]).is_ok() {}

        let address = site.https()[0];
        let mut number = 0;
        let mut create = |site: &mut Site| {
            number += 1;
            let label = "x".repeat(64 * 1024);
            let app =
                json!({"id": format!("/a{number}"), "cmd": "true", "instances": 0, "labels": {"l": label}});
            verify::wait_until("a write", || {
                let reply = rest::ask(address, "POST", "/v2/apps?force=true", &app)?;
                // 409: the write of an earlier try.
                ensure!(matches!(reply.status, 201 | 409), "{} {}", reply.status, reply.body);
                Ok(())
            })?;
            site.member(full).ended()
        };
        let mut ended = None;
        for _ in 0..500 {
            ended = create(&mut site)?;
            if ended.is_some() {
                break;
            }
        }
        let (code, said) = ended.context("the disk is not full")?;
        let last = said.lines().last().unwrap_or_default();
        ensure!(
            code == Some(1) && last.contains("No space left") && last.contains("make room"),
            "{code:?} {said}"
        );
        for _ in 0..20 {
            create(&mut site)?;
        }
        // A file that is open keeps its room.
        drop(filler);
        // With room again it comes back and catches up.
        std::fs::remove_file(dir.join("filler"))?;
        site.member(full).kill()?;
        site.start(full, false)?;
        verify::wait_until("the cluster is whole again", || {
            site.check()?;
            verify::is_whole(&site)?;
            verify::is_equal(&site)
        })
    })
}
