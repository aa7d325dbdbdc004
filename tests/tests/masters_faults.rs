//! Three masters and three agents as processes, under load and faults: the short form of `cargo xtask faults`, and
//! what a dead leader costs. Each test runs in namespaces of its own, so it takes root.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use gantry_tests::{in_a_house, programs};
use serde_json::json;
use xtask::cargo::Profile;
use xtask::faults::site::Role;
use xtask::faults::{Faults, house, rest, start_site, torment, verify};

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
